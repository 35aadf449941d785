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

// One statement for all of them. An expired lease stays expired: the run may be due already.
const RENEW: &str = "
    update runs
       set lease_until = clock_timestamp() + $3::bigint * interval '1 microsecond'
      from unnest($1::text[], $2::bigint[]) as fences (run_id, epoch)
     where runs.id = fences.run_id
       and runs.lease_epoch = fences.epoch
       and runs.lease_owner is not null
       and runs.lease_until > clock_timestamp()
    returning runs.id as run_id, runs.cancel_requested_at is not null as cancel_requested";

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
