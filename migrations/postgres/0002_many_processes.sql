-- Any number of processes: relays pick by lane and organisation, workers say how much they take,
-- other platforms publish retries, and what can't be used is kept as evidence.

alter table outbox
    add column organization_id text collate "C",
    add column lane text;
update outbox
   set organization_id = runs.organization_id, lane = runs.lane
  from runs
 where runs.id = outbox.run_id;
alter table outbox
    alter column organization_id set not null,
    alter column lane set not null,
    add constraint outbox_lane_check check (lane in ('interactive', 'automatic', 'bulk'));
drop index outbox_due;
create index outbox_due on outbox (lane, organization_id, due_at, run_id) where sent_at is null;
comment on column outbox.organization_id is 'Whose run it is: organisations take turns.';
comment on column outbox.lane is 'Which share of the workers it draws on.';

create table workers (
    name text collate "C" primary key,
    slots bigint not null,
    busy bigint not null,
    started_at timestamptz not null default clock_timestamp(),
    seen_at timestamptz not null default clock_timestamp(),
    constraint workers_slots_check check (slots >= 1 and busy >= 0)
);
comment on table workers is 'Processes that execute runs; one that was not seen for a while is gone.';
comment on column workers.name is 'The owner in the leases it holds.';
comment on column workers.slots is 'Runs that it executes at once.';
comment on column workers.busy is 'How many of them were taken when it was last seen.';
comment on column workers.started_at is 'When it was first seen.';
comment on column workers.seen_at is 'When it was last seen.';

-- The id of a retry that somebody else published is theirs: unique within their organisation. One
-- that is refused before it was accepted has no run, and its source may be unknown here.
alter table retries
    drop constraint retries_pkey,
    add constraint retries_pkey primary key (organization_id, id),
    drop constraint retries_source_fkey,
    alter column run_id drop not null,
    alter column root_run_id drop not null,
    add column intent text,
    add constraint retries_run_check check ((run_id is null) = (root_run_id is null)
        and (run_id is not null or (state = 'refused' and intent is not null)));
comment on column retries.run_id is 'The new run, chosen at acceptance; none if a published intent was refused.';
comment on column retries.root_run_id is 'The first run of the chain; none without a run.';
comment on column retries.intent is 'The message it came as, if it was published and not requested, JSON.';

create table dead_letters (
    id text collate "C" primary key,
    reason text not null,
    message text not null,
    queue text,
    body bytea not null,
    body_bytes bigint not null,
    headers text not null,
    received_at timestamptz not null,
    constraint dead_letters_body_check check (body_bytes >= length(body))
);
create index dead_letters_newest on dead_letters (received_at desc, id desc);
comment on table dead_letters is 'Messages that could not be used: evidence, nothing waits on them.';
comment on column dead_letters.id is 'The dead letter.';
comment on column dead_letters.reason is 'The word for why.';
comment on column dead_letters.message is 'The sentence for it.';
comment on column dead_letters.queue is 'The queue it came from, if the broker says so.';
comment on column dead_letters.body is 'The beginning of its bytes.';
comment on column dead_letters.body_bytes is 'How many bytes it had.';
comment on column dead_letters.headers is 'Its headers, JSON.';
comment on column dead_letters.received_at is 'When it was taken from the dead-letter queue.';
