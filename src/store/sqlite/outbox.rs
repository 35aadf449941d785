//! Due rows on their way to workers, and what was forgotten on it.

use std::time::Duration;

use chrono::TimeDelta;
use sqlx::SqliteConnection;

use crate::domain::{Lane, PerLane, RunId, Timestamp};

use super::{
    super::{
        Backlog, DueRow, Rescued, StoreError, Swept, later,
        rows::{OutboxRow, read_all, read_run_id},
    },
    IMMEDIATE, SqliteStore,
    read::texts,
    time::text,
};

// Found by skipping along the index, so that a long queue costs no more than a short one.
const QUEUES: &str = "
    with recursive queues (organization_id) as (
        select min(organization_id) from outbox where sent_at is null and lane = $1
        union all
        select (select min(outbox.organization_id)
                  from outbox
                 where outbox.sent_at is null
                   and outbox.lane = $1
                   and outbox.organization_id > queues.organization_id)
          from queues
         where queues.organization_id is not null
    )
    select organization_id from queues where organization_id is not null";

const PICK_DUE: &str = "
    select outbox.run_id, runs.created, retries.id as retry_id, runs.organization_id, runs.lane,
           runs.traceparent
      from outbox
      join runs on runs.id = outbox.run_id
      left join retries on retries.run_id = outbox.run_id
     where outbox.sent_at is null
       and outbox.lane = $4
       and outbox.organization_id = $5
       and outbox.due_at <= $3
       and (outbox.locked_until is null or outbox.locked_until <= $2)
     order by outbox.due_at, outbox.run_id
     limit $1";

const GIVE_BACK: &str = "
    update outbox
       set locked_until = null
     where run_id in (select value from json_each($1)) and sent_at is null";

const LOCK_DUE: &str = "
    update outbox
       set locked_until = $2
     where run_id in (select value from json_each($1))";

// A row that no relay has is another one: the run was claimed and parked meanwhile.
const MARK_SENT: &str = "
    update outbox
       set sent_at = $2, sends = sends + 1, locked_until = null
     where run_id in (select value from json_each($1))
       and sent_at is null
       and locked_until is not null";

const UNMARK_SENT: &str = "
    update outbox set sent_at = null where run_id = $1 and sent_at is not null";

// A worker died and nobody noticed yet. Its lease stays on the run: the next claim counts it.
const RESCUE_EXPIRED: &str = "
    insert into outbox (run_id, organization_id, lane, due_at)
    select id, organization_id, lane, $1
      from runs
     where lease_owner is not null
       and lease_until <= $1
       and not exists (select 1 from outbox where outbox.run_id = runs.id)";

const SWEEP_PAGE: &str = "
    select id
      from runs
     where status = 'waiting'
       and waiting_for = 'queue'
       and lease_owner is null
       and id > $1
     order by id
     limit 1 offset $2 - 1";

const SWEEP: &str = "
    insert into outbox (run_id, organization_id, lane, due_at)
    select id, organization_id, lane, $3
      from runs
     where status = 'waiting'
       and waiting_for = 'queue'
       and lease_owner is null
       and id > $1
       and ($2 is null or id <= $2)
       and not exists (select 1 from outbox where outbox.run_id = runs.id)";

// The message is lost, or waits behind very many: 30 s, doubling with every send up to 10 min.
const RESCUE_UNCLAIMED: &str = "
    update outbox
       set sent_at = null
     where sent_at is not null
       and sent_at <= case sends when 1 then $1 when 2 then $2 when 3 then $3 when 4 then $4
                                 when 5 then $5 else $6 end";

const FORGET_SENT: &str = "update outbox set sent_at = null, locked_until = null";

const EXPIRE_LEASES: &str = "
    update runs set lease_until = $1 where lease_owner is not null and lease_until > $1";

const BACKLOG_DUE: &str = "
    select count(*), min(due_at), min(due_at) filter (where sent_at is null)
      from outbox
     where due_at <= $1";

const BACKLOG_LEASED: &str = "
    select count(*) from runs where lease_owner is not null and lease_until > $1";

const LOST_LEASES: &str = "
    select lost_leases + (lease_owner is not null and lease_until <= $2) from runs where id = $1";

impl SqliteStore {
    pub(in crate::store) async fn lost_leases(&self, run: &RunId) -> Result<i64, StoreError> {
        let lost: Option<i64> = sqlx::query_scalar(LOST_LEASES)
            .bind(run.as_str())
            .bind(text(self.now()))
            .fetch_optional(&self.reader)
            .await?;
        Ok(lost.unwrap_or(0))
    }

    pub(in crate::store) async fn lease_due(
        &self,
        room: &PerLane<u32>,
        age: Duration,
        lease: Duration,
    ) -> Result<Vec<DueRow>, StoreError> {
        let mut tx = self.writer.begin_with(IMMEDIATE).await?;
        let now = self.now();
        let mut due = Vec::new();
        for lane in Lane::ALL {
            due.extend(pick_due(&mut tx, lane, *room.of(lane), (now, age)).await?);
        }
        let ids: Vec<_> = due.iter().map(|row| &row.run_id).collect();
        sqlx::query(LOCK_DUE)
            .bind(texts(&ids))
            .bind(text(later(now, lease)))
            .execute(&mut *tx)
            .await?;
        tx.commit().await.map_err(StoreError::at_commit)?;
        Ok(due)
    }

    pub(in crate::store) async fn give_back(&self, runs: &[RunId]) -> Result<(), StoreError> {
        sqlx::query(GIVE_BACK)
            .bind(texts(runs))
            .execute(&self.writer)
            .await?;
        Ok(())
    }

    pub(in crate::store) async fn mark_sent(&self, runs: &[RunId]) -> Result<(), StoreError> {
        sqlx::query(MARK_SENT)
            .bind(texts(runs))
            .bind(text(self.now()))
            .execute(&self.writer)
            .await?;
        Ok(())
    }

    pub(in crate::store) async fn unmark_sent(&self, run: &RunId) -> Result<(), StoreError> {
        sqlx::query(UNMARK_SENT)
            .bind(run.as_str())
            .execute(&self.writer)
            .await?;
        Ok(())
    }

    pub(in crate::store) async fn rescue(&self) -> Result<Rescued, StoreError> {
        let mut tx = self.writer.begin_with(IMMEDIATE).await?;
        let now = self.now();
        let expired = sqlx::query(RESCUE_EXPIRED)
            .bind(text(now))
            .execute(&mut *tx)
            .await?;
        let ago = |seconds| text(now - TimeDelta::seconds(seconds));
        let unclaimed = sqlx::query(RESCUE_UNCLAIMED)
            .bind(ago(30))
            .bind(ago(60))
            .bind(ago(120))
            .bind(ago(240))
            .bind(ago(480))
            .bind(ago(600))
            .execute(&mut *tx)
            .await?;
        tx.commit().await.map_err(StoreError::at_commit)?;
        Ok(Rescued {
            abandoned: expired.rows_affected(),
            unclaimed: unclaimed.rows_affected(),
        })
    }

    pub(in crate::store) async fn sweep(
        &self,
        after: Option<&RunId>,
        most: u32,
    ) -> Result<Swept, StoreError> {
        let after = after.map_or("", RunId::as_str);
        let mut tx = self.writer.begin_with(IMMEDIATE).await?;
        let next: Option<String> = sqlx::query_scalar(SWEEP_PAGE)
            .bind(after)
            .bind(i64::from(most))
            .fetch_optional(&mut *tx)
            .await?;
        let forgotten = sqlx::query(SWEEP)
            .bind(after)
            .bind(next.as_deref())
            .bind(text(self.now()))
            .execute(&mut *tx)
            .await?;
        tx.commit().await.map_err(StoreError::at_commit)?;
        Ok(Swept {
            forgotten: forgotten.rows_affected(),
            next: next.map(|id| read_run_id("runs", &id)).transpose()?,
        })
    }

    pub(in crate::store) async fn expire_leases(&self) -> Result<u64, StoreError> {
        let mut tx = self.writer.begin_with(IMMEDIATE).await?;
        let expired = sqlx::query(EXPIRE_LEASES)
            .bind(text(self.now()))
            .execute(&mut *tx)
            .await?;
        sqlx::query(FORGET_SENT).execute(&mut *tx).await?;
        tx.commit().await.map_err(StoreError::at_commit)?;
        Ok(expired.rows_affected())
    }

    pub(in crate::store) async fn backlog(&self) -> Result<Backlog, StoreError> {
        let now = self.now();
        let (due, oldest, oldest_unsent): (i64, Option<Timestamp>, Option<Timestamp>) =
            sqlx::query_as(BACKLOG_DUE)
                .bind(text(now))
                .fetch_one(&self.reader)
                .await?;
        let leased: i64 = sqlx::query_scalar(BACKLOG_LEASED)
            .bind(text(now))
            .fetch_one(&self.reader)
            .await?;
        let (workers, slots) = self.live_workers().await?;
        let age = |oldest: Option<Timestamp>| {
            let age = oldest.map_or(TimeDelta::zero(), |oldest| now - oldest);
            age.to_std().unwrap_or_default().as_secs_f64()
        };
        Ok(Backlog {
            due,
            oldest_seconds: age(oldest),
            oldest_unsent_seconds: age(oldest_unsent),
            leased,
            workers,
            slots,
            dead_letters: self.count_dead_letters().await?,
        })
    }
}

/// Up to `room` due rows of a lane, its organisations taking turns.
async fn pick_due(
    db: &mut SqliteConnection,
    lane: Lane,
    room: u32,
    (now, age): (Timestamp, Duration),
) -> Result<Vec<DueRow>, StoreError> {
    if room == 0 {
        return Ok(Vec::new());
    }
    let due_by = TimeDelta::from_std(age).map_or(now, |age| now - age);
    let organizations: Vec<String> = sqlx::query_scalar(QUEUES)
        .bind(lane.as_str())
        .fetch_all(&mut *db)
        .await?;
    let count = u32::try_from(organizations.len().max(1)).unwrap_or(u32::MAX);
    let share = room.min(1 + room.saturating_mul(2) / count);
    let mut queues = Vec::new();
    for organization in &organizations {
        let rows: Vec<OutboxRow> = sqlx::query_as(PICK_DUE)
            .bind(i64::from(share))
            .bind(text(now))
            .bind(text(due_by))
            .bind(lane.as_str())
            .bind(organization)
            .fetch_all(&mut *db)
            .await?;
        queues.push(read_all::<_, DueRow>(rows)?.into_iter());
    }
    let most = usize::try_from(room).unwrap_or(usize::MAX);
    let mut due = Vec::new();
    while due.len() < most {
        let turn: Vec<_> = queues.iter_mut().filter_map(Iterator::next).collect();
        if turn.is_empty() {
            break;
        }
        due.extend(turn);
    }
    due.truncate(most);
    Ok(due)
}
