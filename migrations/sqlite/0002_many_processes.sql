-- The same columns as on PostgreSQL: relays pick by lane and organisation, workers say how much they
-- take, other platforms publish retries, and what can't be used is kept as evidence.

-- A column that is not null can't be added to a table with rows, so both tables are made anew.
create table outbox_2 (
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
    -- Whose run it is: organisations take turns.
    organization_id text not null,
    -- Which share of the workers it draws on.
    lane text not null,
    constraint outbox_sent_check check (sent_at is null or sends > 0),
    constraint outbox_lock_check check (sent_at is null or locked_until is null),
    constraint outbox_lane_check check (lane in ('interactive', 'automatic', 'bulk'))
) strict;
insert into outbox_2 (run_id, due_at, sent_at, sends, locked_until, organization_id, lane)
select outbox.run_id, outbox.due_at, outbox.sent_at, outbox.sends, outbox.locked_until,
       runs.organization_id, runs.lane
  from outbox
  join runs on runs.id = outbox.run_id;
drop table outbox;
alter table outbox_2 rename to outbox;
create index outbox_due on outbox (lane, organization_id, due_at, run_id) where sent_at is null;
create index outbox_sent on outbox (sent_at) where sent_at is not null;

-- Processes that execute runs; one that was not seen for a while is gone.
create table workers (
    -- The owner in the leases it holds.
    name text primary key,
    -- Runs that it executes at once.
    slots integer not null,
    -- How many of them were taken when it was last seen.
    busy integer not null,
    -- When it was first seen.
    started_at text not null,
    -- When it was last seen.
    seen_at text not null,
    constraint workers_slots_check check (slots >= 1 and busy >= 0)
) strict;

-- The id of a retry that somebody else published is theirs: unique within their organisation. One
-- that is refused before it was accepted has no run, and its source may be unknown here.
create table retries_2 (
    -- The retry.
    id text not null,
    -- Whose it is.
    organization_id text not null,
    -- The run that is retried.
    source_run_id text not null,
    -- The new run, chosen at acceptance; none if a published intent was refused.
    run_id text,
    -- The first run of the chain; none without a run.
    root_run_id text,
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
    -- The message it came as, if it was published and not requested, JSON.
    intent text,
    constraint retries_pkey primary key (organization_id, id),
    constraint retries_run_key unique (run_id),
    constraint retries_source_ordinal_key unique (source_run_id, ordinal),
    constraint retries_run_fkey foreign key (organization_id, run_id) references runs (organization_id, id),
    constraint retries_root_fkey foreign key (organization_id, root_run_id) references runs (organization_id, id),
    constraint retries_state_check check (state in ('scheduled', 'queued', 'claimed', 'created', 'refused', 'superseded', 'cancelled')),
    constraint retries_counts_check check ((ordinal is null) = (state in ('refused', 'superseded', 'cancelled'))),
    constraint retries_ordinal_check check (ordinal >= 1),
    constraint retries_live_check check (not live or ordinal is not null),
    constraint retries_lane_check check (lane in ('interactive', 'automatic', 'bulk')),
    constraint retries_refusal_check check ((state = 'refused') = (refusal_reason is not null) and (refusal_reason is null) = (refusal_message is null)),
    constraint retries_run_check check ((run_id is null) = (root_run_id is null)
        and (run_id is not null or (state = 'refused' and intent is not null)))
) strict;
insert into retries_2 (
    id, organization_id, source_run_id, run_id, root_run_id, ordinal, state, live, lane, request,
    reason, triggered_by, refusal_reason, refusal_message, refusal_run_id, refusal_retry_id,
    created_at, updated_at)
select id, organization_id, source_run_id, run_id, root_run_id, ordinal, state, live, lane, request,
       reason, triggered_by, refusal_reason, refusal_message, refusal_run_id, refusal_retry_id,
       created_at, updated_at
  from retries;
drop table retries;
alter table retries_2 rename to retries;
create unique index retries_one_live on retries (root_run_id) where live;
create index retries_newest on retries (organization_id, created_at desc, id desc);

-- Messages that could not be used: evidence, nothing waits on them.
create table dead_letters (
    -- The dead letter.
    id text primary key,
    -- The word for why.
    reason text not null,
    -- The sentence for it.
    message text not null,
    -- The queue it came from, if the broker says so.
    queue text,
    -- The beginning of its bytes.
    body blob not null,
    -- How many bytes it had.
    body_bytes integer not null,
    -- Its headers, JSON.
    headers text not null,
    -- When it was taken from the dead-letter queue.
    received_at text not null,
    constraint dead_letters_body_check check (body_bytes >= length(body))
) strict;
create index dead_letters_newest on dead_letters (received_at desc, id desc);
