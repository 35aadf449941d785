-- Runs that nodes of other runs started.

create table children (
    -- The run.
    run_id text primary key references runs (id),
    -- The run whose node started it.
    parent_run_id text not null references runs (id),
    -- That node.
    parent_path text not null,
    -- How many runs started each other above it.
    depth integer not null,
    constraint children_depth_check check (depth >= 1)
) strict;
create index children_of_parent on children (parent_run_id);
