-- Keys that requests came with, so that each is done once.

create table idempotency_keys (
    -- Whose request it was.
    organization_id text not null,
    -- The key, as the requester chose it.
    key text not null,
    -- SHA-256 of method, path and body, hexadecimal.
    fingerprint text not null,
    -- The run that the request made.
    run_id text not null references runs (id),
    -- When it was accepted.
    created_at text not null,
    primary key (organization_id, key)
) strict;
create index idempotency_keys_oldest on idempotency_keys (created_at);
