-- Runs that nodes of other runs started.

create table children (
    run_id text collate "C" primary key references runs (id),
    parent_run_id text collate "C" not null references runs (id),
    parent_path text collate "C" not null,
    depth bigint not null,
    constraint children_depth_check check (depth >= 1)
);
create index children_of_parent on children (parent_run_id);
comment on table children is 'Runs that nodes of other runs started.';
comment on column children.run_id is 'The run.';
comment on column children.parent_run_id is 'The run whose node started it.';
comment on column children.parent_path is 'That node.';
comment on column children.depth is 'How many runs started each other above it.';
