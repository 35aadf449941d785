//! The end of a run that nothing came for.

use sqlx::PgConnection;

use super::{
    super::{
        super::{Fence, Finish, Finished, StoreError},
        progress::{bind_records, column},
        together::Together,
    },
    written::{Records, written},
};
use crate::domain::format_timestamp;

// No run waits for one that no node started: whether one did is known before it begins. The row of
// the outbox is gone since the claim, but for one that somebody put there meanwhile.
const FINISH_PLAIN: &str = "
    with asked as (
        select id, epoch, total_cu, has_outcome, status, summary, finished_at
          from unnest($1::text[], $2::bigint[], $3::text[], $4::boolean[], $5::text[],
                      $6::text[], $7::text[])
               as asked (id, epoch, total_cu, has_outcome, status, summary, finished_at)
    ), held as (
        select asked.*, runs.root_run_id
          from asked
          join runs on runs.id = asked.id
         where runs.lease_epoch = asked.epoch and runs.lease_owner is not null
           and runs.status = 'running' and runs.cancel_requested_at is null
           and not exists (select 1 from children where children.run_id = runs.root_run_id)
           for no key update of runs skip locked
    ), put as (
        insert into nodes (
            run_id, position, path, type, status, input, result, error, started_at, finished_at,
            due_at, branch, attempts, effect, origin_run_id, extra)
        select held.id, last.position + n.ordinality, n.path, n.type, n.status, n.input, n.result,
               n.error, n.started_at, n.finished_at, n.due_at, n.branch, n.attempts, n.effect,
               n.origin_run_id, n.extra
          from unnest($8::text[], $9::text[], $10::text[], $11::text[], $12::text[], $13::text[],
                      $14::text[], $15::text[], $16::text[], $17::text[], $18::text[],
                      $19::text[], $20::text[], $21::text[], $22::text[])
               with ordinality as n (id, path, type, status, input, result, error, started_at,
                                     finished_at, due_at, branch, attempts, effect,
                                     origin_run_id, extra, ordinality)
          join held on held.id = n.id
         cross join lateral (
               select coalesce(max(position), 0) as position
                 from nodes
                where nodes.run_id = held.id) as last
        on conflict (run_id, path) do update
           set type = excluded.type, status = excluded.status, input = excluded.input,
               result = excluded.result, error = excluded.error,
               started_at = excluded.started_at, finished_at = excluded.finished_at,
               due_at = excluded.due_at, branch = excluded.branch, attempts = excluded.attempts,
               effect = excluded.effect, origin_run_id = excluded.origin_run_id,
               extra = excluded.extra
    ), ended as (
        update runs
           set status = held.status, waiting_for = null, summary = held.summary,
               total_cu = held.total_cu, finished_at = held.finished_at, lease_owner = null,
               lease_until = null,
               lost_leases = case when held.has_outcome then 0 else runs.lost_leases end
          from held
         where runs.id = held.id
    ), outlived as (
        update retries set live = false from held where retries.run_id = held.id
    ), gone as (
        delete from outbox using held where outbox.run_id = held.id
    )
    select id, false from held";

/// An end that is tried.
#[derive(Debug)]
pub(super) struct Finishing {
    fence: Fence,
    finish: Finish,
    bytes: usize,
}

impl Finishing {
    pub(super) fn of(fence: &Fence, finish: &Finish) -> Self {
        Self {
            fence: fence.clone(),
            finish: finish.clone(),
            bytes: Records::bytes(&finish.checkpoint.records),
        }
    }
}

impl Together for Finishing {
    type Answer = Finished;

    const WRITES: bool = true;

    fn id(&self) -> &str {
        self.fence.run_id.as_str()
    }

    fn bytes(&self) -> usize {
        self.bytes
    }

    async fn ask(db: &mut PgConnection, all: &[Self]) -> Result<Vec<Option<Finished>>, StoreError> {
        let records = all
            .iter()
            .map(|one| (one.id(), &*one.finish.checkpoint.records));
        let records = Records::of(records);
        let query = sqlx::query(FINISH_PLAIN)
            .bind(column(all, Self::id))
            .bind(column(all, |one| one.fence.epoch))
            .bind(column(all, |one| one.finish.checkpoint.total_cu.as_str()))
            .bind(column(all, |one| one.finish.checkpoint.has_outcome))
            .bind(column(all, |one| one.finish.status.as_str()))
            .bind(column(all, |one| one.finish.summary.as_str()))
            .bind(column(all, |one| format_timestamp(one.finish.now)))
            .bind(&records.run_ids);
        let query = bind_records(query, &records.records)?;
        let rows = query.fetch_all(db).await.map_err(StoreError::at_commit)?;
        let ended = written(&rows, all)?;
        Ok(column(&ended, |one| one.map(|_| Finished::Ended)))
    }
}
