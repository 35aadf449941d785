//! Leases go on.

use std::time::Duration;

use super::{
    super::{
        Fence, Renewed, StoreError,
        rows::{RenewedRow, read_all},
    },
    PostgresStore, micros,
    read::texts,
};

// One statement for all of them. An expired lease stays expired: the run may be due already. A row
// that a transaction of its own holder has locked, on a slow wire for seconds, holds up no other: it
// stays as it is until the next time.
const RENEW: &str = "
    with fences (run_id, epoch) as (
        select * from unnest($1::text[], $2::bigint[])
    ), held as (
        select runs.id, runs.cancel_requested_at is not null as cancel_requested
          from fences
          join runs on runs.id = fences.run_id and runs.lease_epoch = fences.epoch
         where runs.lease_owner is not null
           and runs.lease_until > clock_timestamp()
    ), free as (
        select runs.id
          from held
          join runs on runs.id = held.id
          join fences on fences.run_id = runs.id and fences.epoch = runs.lease_epoch
         where runs.lease_owner is not null
           and runs.lease_until > clock_timestamp()
           for no key update of runs skip locked
    ), renewed as (
        update runs
           set lease_until = clock_timestamp() + $3::bigint * interval '1 microsecond'
          from free
         where runs.id = free.id
        returning runs.id
    )
    select held.id as run_id, held.cancel_requested, renewed.id is not null as extended
      from held
      left join renewed on renewed.id = held.id";

impl PostgresStore {
    pub(in crate::store) async fn renew(
        &self,
        fences: &[Fence],
        ttl: Duration,
    ) -> Result<Vec<Renewed>, StoreError> {
        let runs: Vec<_> = fences.iter().map(|fence| &fence.run_id).collect();
        let epochs: Vec<_> = fences.iter().map(|fence| fence.epoch).collect();
        let rows: Vec<RenewedRow> = sqlx::query_as(RENEW)
            .bind(texts(&runs))
            .bind(epochs)
            .bind(micros(ttl))
            .fetch_all(&self.lease_pool)
            .await?;
        read_all(rows)
    }
}
