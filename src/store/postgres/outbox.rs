//! Due rows on their way to workers, and what was forgotten on it.

use std::time::Duration;

use crate::domain::{PerLane, RunId};

use super::{
    super::{
        Backlog, DueRow, Rescued, StoreError, Swept,
        rows::{OutboxRow, read_all, read_run_id},
    },
    PostgresStore, begin, micros,
    read::texts,
};

// The queues are found by skipping along the index, so that a long one costs no more than a short
// one; with many of them, each is read no further than twice its share, and the next round comes at
// once. Organisations take turns within a lane. Several relays never wait for each other, and never
// get the same row.
const LEASE_DUE: &str = "
    with recursive queues (lane, organization_id) as (
        (select lane, organization_id
           from outbox
          where sent_at is null
          order by lane, organization_id
          limit 1)
        union all
        select next.lane, next.organization_id
          from queues
         cross join lateral (
               select outbox.lane, outbox.organization_id
                 from outbox
                where outbox.sent_at is null
                  and (outbox.lane, outbox.organization_id) > (queues.lane, queues.organization_id)
                order by outbox.lane, outbox.organization_id
                limit 1) as next
    ), rooms (lane, room) as (
        values ('interactive', $1::bigint), ('automatic', $2::bigint), ('bulk', $3::bigint)
    ), shared as (
        select queues.lane, queues.organization_id, rooms.room,
               least(rooms.room, 1 + 2 * rooms.room / count(*) over (partition by queues.lane)) as share
          from queues
          join rooms on rooms.lane = queues.lane
    ), due as (
        select first.run_id, first.due_at, shared.lane, shared.room,
               row_number() over (
                   partition by shared.lane, shared.organization_id
                   order by first.due_at, first.run_id) as turn
          from shared
         cross join lateral (
               select run_id, due_at
                 from outbox
                where outbox.sent_at is null
                  and outbox.lane = shared.lane
                  and outbox.organization_id = shared.organization_id
                  and outbox.due_at <= statement_timestamp() - $5::bigint * interval '1 microsecond'
                  and (outbox.locked_until is null or outbox.locked_until <= statement_timestamp())
                order by outbox.due_at, outbox.run_id
                limit shared.share) as first
    ), ranked as (
        select run_id, room,
               row_number() over (partition by lane order by turn, due_at, run_id) as place
          from due
    ), picked as (
        select outbox.run_id
          from ranked
          join outbox on outbox.run_id = ranked.run_id
         where ranked.place <= ranked.room
           and outbox.sent_at is null
           and outbox.due_at <= statement_timestamp()
           and (outbox.locked_until is null or outbox.locked_until <= statement_timestamp())
           for update of outbox skip locked
    ), leased as (
        update outbox
           set locked_until = clock_timestamp() + $4::bigint * interval '1 microsecond'
          from picked
         where outbox.run_id = picked.run_id
        returning outbox.run_id, outbox.due_at
    )
    select leased.run_id, runs.created, retries.id as retry_id, runs.organization_id, runs.lane,
           runs.traceparent
      from leased
      join runs on runs.id = leased.run_id
      left join retries on retries.run_id = leased.run_id
     order by leased.due_at, leased.run_id";

const GIVE_BACK: &str = "
    update outbox
       set locked_until = null
     where run_id = any ($1::text[]) and sent_at is null";

// A row that no relay has is another one: the run was claimed and parked meanwhile.
const MARK_SENT: &str = "
    with sent as (
        select run_id
          from outbox
         where run_id = any ($1::text[]) and sent_at is null and locked_until is not null
         order by run_id
           for update
    )
    update outbox
       set sent_at = clock_timestamp(), sends = sends + 1, locked_until = null
      from sent
     where outbox.run_id = sent.run_id";

const UNMARK_SENT: &str = "
    update outbox set sent_at = null where run_id = $1 and sent_at is not null";

// A worker died and nobody noticed yet. Its lease stays on the run: the next claim counts it.
const RESCUE_EXPIRED: &str = "
    insert into outbox (run_id, organization_id, lane, due_at)
    select id, organization_id, lane, clock_timestamp()
      from runs
     where lease_owner is not null
       and lease_until <= statement_timestamp()
       and not exists (select 1 from outbox where outbox.run_id = runs.id)
       for no key update skip locked
    on conflict (run_id) do nothing";

// One look into the outbox for each run: a join would read all of it.
const SWEEP: &str = "
    with page as (
        select id
          from runs
         where status = 'waiting'
           and waiting_for = 'queue'
           and lease_owner is null
           and id > $1
         order by id
         limit $2
    ), forgotten as (
        select runs.id, runs.organization_id, runs.lane
          from page
          join runs on runs.id = page.id
         where (select true from outbox where outbox.run_id = page.id) is null
           and runs.status = 'waiting'
           and runs.waiting_for = 'queue'
           and runs.lease_owner is null
           for no key update of runs skip locked
    ), due as (
        insert into outbox (run_id, organization_id, lane, due_at)
        select id, organization_id, lane, clock_timestamp()
          from forgotten
        on conflict (run_id) do nothing
        returning run_id
    )
    select (select count(*) from due),
           (select id from page order by id offset $2 - 1 limit 1)";

// The message is lost, or waits behind very many: 30 s, doubling with every send up to 10 min.
const RESCUE_UNCLAIMED: &str = "
    with unclaimed as (
        select run_id
          from outbox
         where sent_at is not null
           and sent_at <= statement_timestamp()
               - least(interval '10 minutes', interval '30 seconds' * (1 << least(sends - 1, 5)::int))
         order by run_id
           for update skip locked
    )
    update outbox
       set sent_at = null
      from unclaimed
     where outbox.run_id = unclaimed.run_id";

const FORGET_SENT: &str = "update outbox set sent_at = null, locked_until = null";

const EXPIRE_LEASES: &str = "
    update runs
       set lease_until = clock_timestamp()
     where lease_owner is not null and lease_until > clock_timestamp()";

const BACKLOG_DUE: &str = "
    select count(*),
           coalesce(extract(epoch from clock_timestamp() - min(due_at)), 0)::float8,
           coalesce(extract(epoch from clock_timestamp()
               - min(due_at) filter (where sent_at is null)), 0)::float8
      from outbox
     where due_at <= statement_timestamp()";

const BACKLOG_LEASED: &str = "
    select count(*)
      from runs
     where lease_owner is not null and lease_until > statement_timestamp()";

const LOST_LEASES: &str = "
    select lost_leases + (lease_owner is not null and lease_until <= clock_timestamp())::int::bigint
      from runs
     where id = $1";

impl PostgresStore {
    pub(in crate::store) async fn lost_leases(&self, run: &RunId) -> Result<i64, StoreError> {
        let lost: Option<i64> = sqlx::query_scalar(LOST_LEASES)
            .bind(run.as_str())
            .fetch_optional(&self.pool)
            .await?;
        Ok(lost.unwrap_or(0))
    }

    pub(in crate::store) async fn lease_due(
        &self,
        room: &PerLane<u32>,
        age: Duration,
        lease: Duration,
    ) -> Result<Vec<DueRow>, StoreError> {
        let rows: Vec<OutboxRow> = sqlx::query_as(LEASE_DUE)
            .bind(i64::from(room.interactive))
            .bind(i64::from(room.automatic))
            .bind(i64::from(room.bulk))
            .bind(micros(lease))
            .bind(micros(age))
            .fetch_all(&self.pool)
            .await?;
        read_all(rows)
    }

    pub(in crate::store) async fn give_back(&self, runs: &[RunId]) -> Result<(), StoreError> {
        sqlx::query(GIVE_BACK)
            .bind(texts(runs))
            .execute(&self.pool)
            .await?;
        Ok(())
    }

    pub(in crate::store) async fn mark_sent(&self, runs: &[RunId]) -> Result<(), StoreError> {
        sqlx::query(MARK_SENT)
            .bind(texts(runs))
            .execute(&self.pool)
            .await?;
        Ok(())
    }

    pub(in crate::store) async fn unmark_sent(&self, run: &RunId) -> Result<(), StoreError> {
        sqlx::query(UNMARK_SENT)
            .bind(run.as_str())
            .execute(&self.pool)
            .await?;
        Ok(())
    }

    pub(in crate::store) async fn rescue(&self) -> Result<Rescued, StoreError> {
        // Each by itself: a process that freezes between two statements keeps no rows.
        let expired = sqlx::query(RESCUE_EXPIRED).execute(&self.pool).await?;
        let unclaimed = sqlx::query(RESCUE_UNCLAIMED).execute(&self.pool).await?;
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
        let (forgotten, next): (i64, Option<String>) = sqlx::query_as(SWEEP)
            .bind(after.map_or("", RunId::as_str))
            .bind(i64::from(most))
            .fetch_one(&self.pool)
            .await?;
        Ok(Swept {
            forgotten: u64::try_from(forgotten).unwrap_or(0),
            next: next.map(|id| read_run_id("runs", &id)).transpose()?,
        })
    }

    pub(in crate::store) async fn expire_leases(&self) -> Result<u64, StoreError> {
        let mut tx = begin(&self.pool).await?;
        let expired = sqlx::query(EXPIRE_LEASES).execute(&mut *tx).await?;
        sqlx::query(FORGET_SENT).execute(&mut *tx).await?;
        tx.commit().await.map_err(StoreError::at_commit)?;
        Ok(expired.rows_affected())
    }

    pub(in crate::store) async fn backlog(&self) -> Result<Backlog, StoreError> {
        let (due, oldest_seconds, oldest_unsent_seconds): (i64, f64, f64) =
            sqlx::query_as(BACKLOG_DUE).fetch_one(&self.pool).await?;
        let leased: i64 = sqlx::query_scalar(BACKLOG_LEASED)
            .fetch_one(&self.pool)
            .await?;
        let (workers, slots) = self.live_workers().await?;
        Ok(Backlog {
            due,
            oldest_seconds,
            oldest_unsent_seconds,
            leased,
            workers,
            slots,
            dead_letters: self.count_dead_letters().await?,
        })
    }
}
