-- What comes from outside to a node that waits: somebody's resume, its time-out.

create table signals (
    -- The run.
    run_id text not null references runs (id),
    -- The node that waits: it is armed once in a run.
    path text not null,
    -- Whether somebody resumed it or its time was over.
    kind text not null,
    -- What came with it, JSON.
    body text not null,
    -- Whether the record of the node has it.
    applied integer not null default 0,
    -- When.
    created_at text not null,
    primary key (run_id, path),
    constraint signals_kind_check check (kind in ('resumed', 'timed_out'))
) strict;
