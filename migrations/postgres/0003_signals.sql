-- What comes from outside to a node that waits: somebody's resume, its time-out.

create table signals (
    run_id text collate "C" not null references runs (id),
    path text collate "C" not null,
    kind text not null,
    body text not null,
    applied boolean not null default false,
    created_at timestamptz not null,
    primary key (run_id, path),
    constraint signals_kind_check check (kind in ('resumed', 'timed_out'))
);
comment on table signals is 'What ended the wait of a node: of a resume and a time-out the first one counts.';
comment on column signals.run_id is 'The run.';
comment on column signals.path is 'The node that waits: it is armed once in a run.';
comment on column signals.kind is 'Whether somebody resumed it or its time was over.';
comment on column signals.body is 'What came with it, JSON.';
comment on column signals.applied is 'Whether the record of the node has it.';
comment on column signals.created_at is 'When.';
