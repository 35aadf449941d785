//! What workers say of themselves, and what they are asked.

use chrono::TimeDelta;

use crate::domain::{PerLane, RunId, Timestamp};

use super::{
    super::{
        StoreError, Window, WorkerReport,
        rows::{read_run_id, read_window},
    },
    SqliteStore,
    read::texts,
    time::text,
};

// The rows that are sent are few: the window bounds them.
const SENT: &str = "
    select lane, count(*) from outbox where sent_at is not null group by lane";

const LIVE_WORKERS: &str = "
    select count(*), coalesce(sum(slots), 0) from workers where seen_at > $1";

const WORKER_SEEN: &str = "
    insert into workers (name, slots, busy, started_at, seen_at)
    values ($1, $2, $3, $4, $4)
    on conflict (name) do update
       set slots = excluded.slots, busy = excluded.busy, seen_at = excluded.seen_at";

const WORKER_GONE: &str = "delete from workers where name = $1 or seen_at < $2";

const CANCEL_REQUESTED: &str = "
    select id
      from runs
     where id in (select value from json_each($1)) and cancel_requested_at is not null";

impl SqliteStore {
    /// How many workers live, and how many slots they have.
    pub(super) async fn live_workers(&self) -> Result<(i64, i64), StoreError> {
        Ok(sqlx::query_as(LIVE_WORKERS)
            .bind(text(self.now() - TimeDelta::seconds(15)))
            .fetch_one(&self.reader)
            .await?)
    }

    pub(in crate::store) async fn window(&self) -> Result<Window, StoreError> {
        let (_, slots) = self.live_workers().await?;
        let sent: Vec<(String, i64)> = sqlx::query_as(SENT).fetch_all(&self.reader).await?;
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
            .bind(text(self.now()))
            .execute(&self.writer)
            .await?;
        Ok(())
    }

    pub(in crate::store) async fn worker_gone(&self, name: &str) -> Result<(), StoreError> {
        sqlx::query(WORKER_GONE)
            .bind(name)
            .bind(text(self.now() - TimeDelta::hours(1)))
            .execute(&self.writer)
            .await?;
        Ok(())
    }

    pub(in crate::store) async fn cancel_requested(
        &self,
        runs: &[RunId],
    ) -> Result<Vec<RunId>, StoreError> {
        let ids: Vec<String> = sqlx::query_scalar(CANCEL_REQUESTED)
            .bind(texts(runs))
            .fetch_all(&self.reader)
            .await?;
        ids.iter().map(|id| read_run_id("runs", id)).collect()
    }

    /// One process, one clock.
    #[expect(
        clippy::unused_async,
        reason = "the other engine asks its server for the time"
    )]
    pub(in crate::store) async fn clock(&self) -> Result<Timestamp, StoreError> {
        Ok(self.now())
    }
}
