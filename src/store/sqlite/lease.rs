//! Leases go on.

use std::time::Duration;

use super::{
    super::{
        Fence, Renewed, StoreError, later,
        rows::{RenewedRow, read_all},
    },
    SqliteStore,
    time::text,
};

// One statement for all of them. An expired lease stays expired: the run may be due already.
const RENEW: &str = "
    update runs
       set lease_until = $2
      from (select value ->> 0 as run_id, value ->> 1 as epoch from json_each($1)) as fences
     where runs.id = fences.run_id
       and runs.lease_epoch = fences.epoch
       and runs.lease_owner is not null
       and runs.lease_until > $3
    returning runs.id as run_id, runs.cancel_requested_at is not null as cancel_requested,
              1 as extended";

impl SqliteStore {
    pub(in crate::store) async fn renew(
        &self,
        fences: &[Fence],
        ttl: Duration,
    ) -> Result<Vec<Renewed>, StoreError> {
        let pair = |fence: &Fence| serde_json::json!([fence.run_id.as_str(), fence.epoch]);
        let pairs = serde_json::Value::Array(fences.iter().map(pair).collect());
        let now = self.now();
        let rows: Vec<RenewedRow> = sqlx::query_as(RENEW)
            .bind(pairs.to_string())
            .bind(text(later(now, ttl)))
            .bind(text(now))
            .fetch_all(&self.writer)
            .await?;
        read_all(rows)
    }
}
