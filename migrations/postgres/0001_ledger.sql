-- The ledger. User JSON and the times that users see are text: they come back as they went in.
-- Times of the machinery are timestamptz and compared with the database's own clock.

create table definitions (
    hash text collate "C" primary key,
    body text not null
);
comment on table definitions is 'Workflow definitions, stored once each.';
comment on column definitions.hash is 'SHA-256 of body, hexadecimal.';
comment on column definitions.body is 'The definition as it came.';

create table runs (
    id text collate "C" primary key,
    organization_id text collate "C" not null,
    root_run_id text collate "C" not null,
    source_run_id text collate "C",
    status text not null,
    waiting_for text,
    created boolean not null,
    lane text not null,
    traceparent text,
    definition_hash text collate "C" references definitions (hash),
    trigger_node_id text,
    trigger_source text,
    triggered_by text,
    workflow_id text,
    workflow_version bigint,
    workflow_owner_user_id text,
    prop_values text not null,
    variables text not null,
    simulation_forks text,
    simulation_mode text,
    is_simulation boolean not null,
    is_dust_test boolean not null,
    plan text,
    summary text,
    total_cu text not null,
    created_at timestamptz not null,
    started_at text,
    finished_at text,
    cancel_requested_at timestamptz,
    lease_owner text,
    lease_epoch bigint not null default 0,
    lease_until timestamptz,
    lost_leases bigint not null default 0,
    constraint runs_organization_id_id_key unique (organization_id, id),
    constraint runs_root_fkey foreign key (organization_id, root_run_id) references runs (organization_id, id),
    constraint runs_status_check check (status in ('waiting', 'running', 'success', 'partial', 'failure', 'cancelled')),
    constraint runs_waiting_for_check check (waiting_for in ('queue', 'schedule', 'wait', 'delay', 'node_retry', 'child', 'breaker')),
    constraint runs_waiting_check check ((status = 'waiting') = (waiting_for is not null)),
    constraint runs_lane_check check (lane in ('interactive', 'automatic', 'bulk')),
    constraint runs_finished_check check (finished_at is null or status not in ('waiting', 'running')),
    constraint runs_running_check check (status <> 'running' or (created and lease_owner is not null)),
    constraint runs_lease_check check ((lease_owner is null) = (lease_until is null)),
    constraint runs_lease_ends_check check (lease_owner is null or status in ('waiting', 'running')),
    constraint runs_epoch_check check (lease_epoch >= 0 and lost_leases >= 0)
);
create index runs_newest on runs (organization_id, created_at desc, id desc);
create index runs_newest_by_status on runs (organization_id, status, created_at desc, id desc);
create index runs_leased on runs (lease_until) where lease_owner is not null;
create index runs_queued on runs (id) where status = 'waiting' and waiting_for = 'queue' and lease_owner is null;
comment on table runs is 'Headers of runs. An ended run never changes.';
comment on column runs.id is 'The run.';
comment on column runs.organization_id is 'Whose run it is.';
comment on column runs.root_run_id is 'The first run of its chain; itself when it is no retry.';
comment on column runs.source_run_id is 'The run it retries; an import may name one that is not here.';
comment on column runs.status is 'Where it stands.';
comment on column runs.waiting_for is 'What it waits for, exactly while it is waiting.';
comment on column runs.created is 'Whether it has a state of its own: a retry''s run has none until a worker creates it.';
comment on column runs.lane is 'Which share of the workers it draws on.';
comment on column runs.traceparent is 'The W3C trace context of the request behind it.';
comment on column runs.definition_hash is 'Its definition, by content.';
comment on column runs.trigger_node_id is 'The trigger that fired.';
comment on column runs.trigger_source is 'How it came to be.';
comment on column runs.triggered_by is 'Who started or retried it.';
comment on column runs.workflow_id is 'The workflow it belongs to.';
comment on column runs.workflow_version is 'The version of that workflow.';
comment on column runs.workflow_owner_user_id is 'The owner of that workflow.';
comment on column runs.prop_values is 'Its propValues, JSON.';
comment on column runs.variables is 'The values of its variables when it was accepted, JSON.';
comment on column runs.simulation_forks is 'simulationForks, JSON.';
comment on column runs.simulation_mode is 'simulationMode.';
comment on column runs.is_simulation is 'isSimulation.';
comment on column runs.is_dust_test is 'isDustTest.';
comment on column runs.plan is 'The plan that a retry''s run was created by, JSON.';
comment on column runs.summary is 'One sentence about how it ended.';
comment on column runs.total_cu is 'What it cost, a JSON number.';
comment on column runs.created_at is 'When it was accepted.';
comment on column runs.started_at is 'When it began, as shown; an import''s as it came.';
comment on column runs.finished_at is 'When it ended, as shown; an import may lack it.';
comment on column runs.cancel_requested_at is 'When its cancellation was asked for.';
comment on column runs.lease_owner is 'The worker that holds it, or held it last if lease_until is past.';
comment on column runs.lease_epoch is 'Rises with every claim; every write of the run compares it.';
comment on column runs.lease_until is 'When the lease expires.';
comment on column runs.lost_leases is 'Leases that expired since the last outcome of a node.';

create table nodes (
    run_id text collate "C" not null references runs (id),
    path text collate "C" not null,
    position bigint not null,
    type text not null,
    status text not null,
    input text,
    result text,
    error text,
    started_at text,
    finished_at text,
    due_at text,
    branch text,
    attempts text not null,
    effect text,
    origin_run_id text collate "C",
    extra text,
    primary key (run_id, path),
    constraint nodes_position_key unique (run_id, position),
    constraint nodes_status_check check (status in ('pending', 'running', 'success', 'partial', 'failure', 'skipped', 'waiting', 'scheduled', 'cancelled'))
);
comment on table nodes is 'What is known of each node of each run. Nodes that never started may have no row.';
comment on column nodes.run_id is 'The run.';
comment on column nodes.path is 'Where the node stands: its id, and the iterations around it.';
comment on column nodes.position is 'Rows of a run in the order in which they were first written.';
comment on column nodes.type is 'The node''s type.';
comment on column nodes.status is 'Where it stands in its life.';
comment on column nodes.input is 'The resolved payload, JSON.';
comment on column nodes.result is 'What it gave, JSON.';
comment on column nodes.error is 'Why it failed, JSON.';
comment on column nodes.started_at is 'When it started, as shown.';
comment on column nodes.finished_at is 'When it ended, as shown.';
comment on column nodes.due_at is 'When a scheduled node is due, as shown.';
comment on column nodes.branch is 'The branch it took.';
comment on column nodes.attempts is 'Its executions in this run, a JSON array.';
comment on column nodes.effect is 'The effect key and what became of it, JSON.';
comment on column nodes.origin_run_id is 'The run that executed it, when it is reused.';
comment on column nodes.extra is 'Other members of an imported record, JSON.';

create table variable_writes (
    run_id text collate "C" not null references runs (id),
    position bigint not null,
    name text not null,
    old_value text not null,
    new_value text not null,
    written_by_node text,
    written_at timestamptz not null,
    primary key (run_id, position)
);
comment on table variable_writes is 'The log of writes to variables.';
comment on column variable_writes.run_id is 'The run that wrote.';
comment on column variable_writes.position is 'Writes of a run in their order.';
comment on column variable_writes.name is 'The variable.';
comment on column variable_writes.old_value is 'The value before, JSON.';
comment on column variable_writes.new_value is 'The value after, JSON.';
comment on column variable_writes.written_by_node is 'The path of the node that wrote; none for a request''s own values.';
comment on column variable_writes.written_at is 'When.';

create table retries (
    id text collate "C" primary key,
    organization_id text collate "C" not null,
    source_run_id text collate "C" not null,
    run_id text collate "C" not null,
    root_run_id text collate "C" not null,
    ordinal bigint,
    state text not null,
    live boolean not null,
    lane text not null,
    request text not null,
    reason text,
    triggered_by text,
    refusal_reason text,
    refusal_message text,
    refusal_run_id text,
    refusal_retry_id text,
    created_at timestamptz not null,
    updated_at timestamptz not null,
    constraint retries_run_key unique (run_id),
    constraint retries_source_ordinal_key unique (source_run_id, ordinal),
    constraint retries_source_fkey foreign key (organization_id, source_run_id) references runs (organization_id, id),
    constraint retries_run_fkey foreign key (organization_id, run_id) references runs (organization_id, id),
    constraint retries_root_fkey foreign key (organization_id, root_run_id) references runs (organization_id, id),
    constraint retries_state_check check (state in ('scheduled', 'queued', 'claimed', 'created', 'refused', 'superseded', 'cancelled')),
    constraint retries_counts_check check ((ordinal is null) = (state in ('refused', 'superseded', 'cancelled'))),
    constraint retries_ordinal_check check (ordinal >= 1),
    constraint retries_live_check check (not live or ordinal is not null),
    constraint retries_lane_check check (lane in ('interactive', 'automatic', 'bulk')),
    constraint retries_refusal_check check ((state = 'refused') = (refusal_reason is not null) and (refusal_reason is null) = (refusal_message is null))
);
create unique index retries_one_live on retries (root_run_id) where live;
create index retries_newest on retries (organization_id, created_at desc, id desc);
comment on table retries is 'What became of each accepted retry.';
comment on column retries.id is 'The retry.';
comment on column retries.organization_id is 'Whose it is.';
comment on column retries.source_run_id is 'The run that is retried.';
comment on column retries.run_id is 'The new run, chosen at acceptance.';
comment on column retries.root_run_id is 'The first run of the chain.';
comment on column retries.ordinal is 'Which retry of its source it is, from 1; none once it does not count.';
comment on column retries.state is 'Where it stands.';
comment on column retries.live is 'From its acceptance until its run has ended; a chain has one at most.';
comment on column retries.lane is 'Which share of the workers it draws on.';
comment on column retries.request is 'The request as accepted, JSON.';
comment on column retries.reason is 'Why, in the requester''s words.';
comment on column retries.triggered_by is 'Who asked.';
comment on column retries.refusal_reason is 'The word for why it was refused after acceptance.';
comment on column retries.refusal_message is 'The sentence for it.';
comment on column retries.refusal_run_id is 'The run to look at instead.';
comment on column retries.refusal_retry_id is 'The live retry that stood in its way.';
comment on column retries.created_at is 'When it was accepted.';
comment on column retries.updated_at is 'When its state last changed.';

create table outbox (
    run_id text collate "C" primary key references runs (id),
    due_at timestamptz not null,
    sent_at timestamptz,
    sends bigint not null default 0,
    locked_until timestamptz,
    constraint outbox_sent_check check (sent_at is null or sends > 0),
    constraint outbox_lock_check check (sent_at is null or locked_until is null)
);
create index outbox_due on outbox (due_at, run_id) where sent_at is null;
create index outbox_sent on outbox (sent_at) where sent_at is not null;
comment on table outbox is 'Runs that need a worker and have none.';
comment on column outbox.run_id is 'The run.';
comment on column outbox.due_at is 'Not before.';
comment on column outbox.sent_at is 'When the broker confirmed it, if it waits there.';
comment on column outbox.sends is 'How often it was sent; the wait before it is sent again doubles with it.';
comment on column outbox.locked_until is 'Until when one relay has it.';

create table tokens (
    id text collate "C" primary key,
    organization_id text collate "C" not null,
    name text,
    secret_hash text not null,
    scopes text not null,
    created_at timestamptz not null,
    revoked_at timestamptz
);
comment on table tokens is 'API tokens; the secrets themselves are not here.';
comment on column tokens.id is 'The token, a part of what its user presents.';
comment on column tokens.organization_id is 'The organisation it speaks for.';
comment on column tokens.name is 'A name for people.';
comment on column tokens.secret_hash is 'SHA-256 of the secret, hexadecimal.';
comment on column tokens.scopes is 'What it may do, separated by spaces.';
comment on column tokens.created_at is 'When it was made.';
comment on column tokens.revoked_at is 'When it was revoked.';
