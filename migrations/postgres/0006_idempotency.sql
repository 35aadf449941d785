-- Keys that requests came with, so that each is done once.

create table idempotency_keys (
    organization_id text collate "C" not null,
    key text collate "C" not null,
    fingerprint text not null,
    run_id text collate "C" not null references runs (id),
    created_at timestamptz not null,
    primary key (organization_id, key)
);
create index idempotency_keys_oldest on idempotency_keys (created_at);
comment on table idempotency_keys is 'Keys of requests that were accepted; one is forgotten after a day.';
comment on column idempotency_keys.organization_id is 'Whose request it was.';
comment on column idempotency_keys.key is 'The key, as the requester chose it.';
comment on column idempotency_keys.fingerprint is 'SHA-256 of method, path and body, hexadecimal.';
comment on column idempotency_keys.run_id is 'The run that the request made.';
comment on column idempotency_keys.created_at is 'When it was accepted.';
