-- Which programs may work on this database: two versions work side by side while one replaces the
-- other. A migration that takes something away which programs of an earlier schema use says so here.

create table compatibility (
    only_row boolean primary key default true,
    oldest_schema bigint not null,
    constraint compatibility_only_row_check check (only_row)
);
comment on table compatibility is 'Which programs may work on this database; one row.';
comment on column compatibility.only_row is 'There is no second row.';
comment on column compatibility.oldest_schema is 'Programs that know only older migrations than this one would do damage.';
insert into compatibility (oldest_schema) values (6);
