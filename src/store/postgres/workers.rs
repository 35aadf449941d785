//! What workers say of themselves, and what they are asked.

use crate::domain::{PerLane, RunId, Timestamp};

use super::{
    super::{
        StoreError, Window, WorkerReport,
        rows::{read_run_id, read_window},
    },
    PostgresStore,
    read::texts,
};

// The rows that are sent are few: the window bounds them.
const SENT: &str = "
    select lane, count(*) from outbox where sent_at is not null group by lane";

const LIVE_WORKERS: &str = "
    select count(*), coalesce(sum(slots), 0)::bigint
      from workers
     where seen_at > statement_timestamp() - interval '15 seconds'";

const WORKER_SEEN: &str = "
    insert into workers (name, slots, busy)
    values ($1, $2, $3)
    on conflict (name) do update
       set slots = excluded.slots, busy = excluded.busy, seen_at = clock_timestamp()";

const WORKER_GONE: &str = "
    delete from workers
     where name = $1 or seen_at < statement_timestamp() - interval '1 hour'";

const CANCEL_REQUESTED: &str = "
    select id from runs where id = any ($1::text[]) and cancel_requested_at is not null";

const CLOCK_NOW: &str = "select clock_timestamp()";

impl PostgresStore {
    /// How many workers live, and how many slots they have.
    pub(super) async fn live_workers(&self) -> Result<(i64, i64), StoreError> {
        Ok(sqlx::query_as(LIVE_WORKERS).fetch_one(&self.pool).await?)
    }

    pub(in crate::store) async fn window(&self) -> Result<Window, StoreError> {
        let (_, slots) = self.live_workers().await?;
        let sent: Vec<(String, i64)> = sqlx::query_as(SENT).fetch_all(&self.pool).await?;
        let sent: PerLane<u32> = read_window(&sent)?;
        Ok(Window {
            slots: u32::try_from(slots).unwrap_or(u32::MAX),
            sent,
        })
    }

    pub(in crate::store) async fn worker_seen(
        &self,
        report: &WorkerReport,
    ) -> Result<(), StoreError> {
        sqlx::query(WORKER_SEEN)
            .bind(&report.name)
            .bind(i64::from(report.slots))
            .bind(i64::from(report.busy))
            .execute(&self.lease_pool)
            .await?;
        Ok(())
    }

    pub(in crate::store) async fn worker_gone(&self, name: &str) -> Result<(), StoreError> {
        sqlx::query(WORKER_GONE)
            .bind(name)
            .execute(&self.lease_pool)
            .await?;
        Ok(())
    }

    pub(in crate::store) async fn cancel_requested(
        &self,
        runs: &[RunId],
    ) -> Result<Vec<RunId>, StoreError> {
        let ids: Vec<String> = sqlx::query_scalar(CANCEL_REQUESTED)
            .bind(texts(runs))
            .fetch_all(&self.lease_pool)
            .await?;
        ids.iter().map(|id| read_run_id("runs", id)).collect()
    }

    pub(in crate::store) async fn clock(&self) -> Result<Timestamp, StoreError> {
        Ok(sqlx::query_scalar(CLOCK_NOW).fetch_one(&self.pool).await?)
    }
}
