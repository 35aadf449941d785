-- The ledger. User JSON and the times that users see are text: they come back as they went in.
-- Times of the machinery are text too: RFC 3339, UTC, six digits of fraction, `Z`; so they sort.

-- Workflow definitions, stored once each.
create table definitions (
    -- SHA-256 of body, hexadecimal.
    hash text primary key,
    -- The definition as it came.
    body text not null
) strict;

-- Headers of runs. An ended run never changes.
create table runs (
    -- The run.
    id text primary key,
    -- Whose run it is.
    organization_id text not null,
    -- The first run of its chain; itself when it is no retry.
    root_run_id text not null,
    -- The run it retries; an import may name one that is not here.
    source_run_id text,
    -- Where it stands.
    status text not null,
    -- What it waits for, exactly while it is waiting.
    waiting_for text,
    -- Whether it has a state of its own: a retry's run has none until a worker creates it.
    created integer not null check (created in (0, 1)),
    -- Which share of the workers it draws on.
    lane text not null,
    -- The W3C trace context of the request behind it.
    traceparent text,
    -- Its definition, by content.
    definition_hash text references definitions (hash),
    -- The trigger that fired.
    trigger_node_id text,
    -- How it came to be.
    trigger_source text,
    -- Who started or retried it.
    triggered_by text,
    -- The workflow it belongs to.
    workflow_id text,
    -- The version of that workflow.
    workflow_version integer,
    -- The owner of that workflow.
    workflow_owner_user_id text,
    -- Its propValues, JSON.
    prop_values text not null,
    -- The values of its variables when it was accepted, JSON.
    variables text not null,
    -- simulationForks, JSON.
    simulation_forks text,
    -- simulationMode.
    simulation_mode text,
    -- isSimulation.
    is_simulation integer not null check (is_simulation in (0, 1)),
    -- isDustTest.
    is_dust_test integer not null check (is_dust_test in (0, 1)),
    -- The plan that a retry's run was created by, JSON.
    plan text,
    -- One sentence about how it ended.
    summary text,
    -- What it cost, a JSON number.
    total_cu text not null,
    -- When it was accepted.
    created_at text not null,
    -- When it began, as shown; an import's as it came.
    started_at text,
    -- When it ended, as shown; an import may lack it.
    finished_at text,
    -- When its cancellation was asked for.
    cancel_requested_at text,
    -- The worker that holds it, or held it last if lease_until is past.
    lease_owner text,
    -- Rises with every claim; every write of the run compares it.
    lease_epoch integer not null default 0,
    -- When the lease expires.
    lease_until text,
    -- Leases that expired since the last outcome of a node.
    lost_leases integer not null default 0,
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
) strict;
create index runs_newest on runs (organization_id, created_at desc, id desc);
create index runs_newest_by_status on runs (organization_id, status, created_at desc, id desc);
create index runs_leased on runs (lease_until) where lease_owner is not null;
create index runs_queued on runs (id) where status = 'waiting' and waiting_for = 'queue' and lease_owner is null;

-- What is known of each node of each run. Nodes that never started may have no row.
create table nodes (
    -- The run.
    run_id text not null references runs (id),
    -- Where the node stands: its id, and the iterations around it.
    path text not null,
    -- Rows of a run in the order in which they were first written.
    position integer not null,
    -- The node's type.
    type text not null,
    -- Where it stands in its life.
    status text not null,
    -- The resolved payload, JSON.
    input text,
    -- What it gave, JSON.
    result text,
    -- Why it failed, JSON.
    error text,
    -- When it started, as shown.
    started_at text,
    -- When it ended, as shown.
    finished_at text,
    -- When a scheduled node is due, as shown.
    due_at text,
    -- The branch it took.
    branch text,
    -- Its executions in this run, a JSON array.
    attempts text not null,
    -- The effect key and what became of it, JSON.
    effect text,
    -- The run that executed it, when it is reused.
    origin_run_id text,
    -- Other members of an imported record, JSON.
    extra text,
    primary key (run_id, path),
    constraint nodes_position_key unique (run_id, position),
    constraint nodes_status_check check (status in ('pending', 'running', 'success', 'partial', 'failure', 'skipped', 'waiting', 'scheduled', 'cancelled'))
) strict;

-- The log of writes to variables.
create table variable_writes (
    -- The run that wrote.
    run_id text not null references runs (id),
    -- Writes of a run in their order.
    position integer not null,
    -- The variable.
    name text not null,
    -- The value before, JSON.
    old_value text not null,
    -- The value after, JSON.
    new_value text not null,
    -- The path of the node that wrote; none for a request's own values.
    written_by_node text,
    -- When.
    written_at text not null,
    primary key (run_id, position)
) strict;

-- What became of each accepted retry.
create table retries (
    -- The retry.
    id text primary key,
    -- Whose it is.
    organization_id text not null,
    -- The run that is retried.
    source_run_id text not null,
    -- The new run, chosen at acceptance.
    run_id text not null,
    -- The first run of the chain.
    root_run_id text not null,
    -- Which retry of its source it is, from 1; none once it does not count.
    ordinal integer,
    -- Where it stands.
    state text not null,
    -- From its acceptance until its run has ended; a chain has one at most.
    live integer not null check (live in (0, 1)),
    -- Which share of the workers it draws on.
    lane text not null,
    -- The request as accepted, JSON.
    request text not null,
    -- Why, in the requester's words.
    reason text,
    -- Who asked.
    triggered_by text,
    -- The word for why it was refused after acceptance.
    refusal_reason text,
    -- The sentence for it.
    refusal_message text,
    -- The run to look at instead.
    refusal_run_id text,
    -- The live retry that stood in its way.
    refusal_retry_id text,
    -- When it was accepted.
    created_at text not null,
    -- When its state last changed.
    updated_at text not null,
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
) strict;
create unique index retries_one_live on retries (root_run_id) where live;
create index retries_newest on retries (organization_id, created_at desc, id desc);

-- Runs that need a worker and have none.
create table outbox (
    -- The run.
    run_id text primary key references runs (id),
    -- Not before.
    due_at text not null,
    -- When the broker confirmed it, if it waits there.
    sent_at text,
    -- How often it was sent; the wait before it is sent again doubles with it.
    sends integer not null default 0,
    -- Until when one relay has it.
    locked_until text,
    constraint outbox_sent_check check (sent_at is null or sends > 0),
    constraint outbox_lock_check check (sent_at is null or locked_until is null)
) strict;
create index outbox_due on outbox (due_at, run_id) where sent_at is null;
create index outbox_sent on outbox (sent_at) where sent_at is not null;

-- API tokens; the secrets themselves are not here.
create table tokens (
    -- The token, a part of what its user presents.
    id text primary key,
    -- The organisation it speaks for.
    organization_id text not null,
    -- A name for people.
    name text,
    -- SHA-256 of the secret, hexadecimal.
    secret_hash text not null,
    -- What it may do, separated by spaces.
    scopes text not null,
    -- When it was made.
    created_at text not null,
    -- When it was revoked.
    revoked_at text
) strict;
