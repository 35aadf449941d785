-- Which programs may work on this database: two versions work side by side while one replaces the
-- other. A migration that takes something away which programs of an earlier schema use says so here.

create table compatibility (
    -- There is no second row.
    only_row integer primary key default 1,
    -- Programs that know only older migrations than this one would do damage.
    oldest_schema integer not null,
    constraint compatibility_only_row_check check (only_row = 1)
) strict;
insert into compatibility (oldest_schema) values (6);
