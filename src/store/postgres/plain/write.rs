//! A checkpoint of records.

use sqlx::{Connection, PgConnection};

use super::{
    super::{
        super::{Checkpoint, Fence, StoreError, Written},
        progress::{bind_records, column},
        together::Together,
    },
    written::{Records, written},
};

// A record that is there keeps its position.
const WRITE_PLAIN: &str = "
    with asked as (
        select id, epoch, total_cu, has_outcome
          from unnest($1::text[], $2::bigint[], $3::text[], $4::boolean[])
               as asked (id, epoch, total_cu, has_outcome)
    ), held as (
        select asked.*, runs.cancel_requested_at is not null as cancel_requested
          from asked
          join runs on runs.id = asked.id
         where runs.lease_epoch = asked.epoch and runs.lease_owner is not null
           and runs.status = 'running'
           for no key update of runs skip locked
    ), put as (
        insert into nodes (
            run_id, position, path, type, status, input, result, error, started_at, finished_at,
            due_at, branch, attempts, effect, origin_run_id, extra)
        select held.id, last.position + n.ordinality, n.path, n.type, n.status, n.input, n.result,
               n.error, n.started_at, n.finished_at, n.due_at, n.branch, n.attempts, n.effect,
               n.origin_run_id, n.extra
          from unnest($5::text[], $6::text[], $7::text[], $8::text[], $9::text[], $10::text[],
                      $11::text[], $12::text[], $13::text[], $14::text[], $15::text[],
                      $16::text[], $17::text[], $18::text[], $19::text[])
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
    ), counted as (
        update runs
           set total_cu = held.total_cu,
               lost_leases = case when held.has_outcome then 0 else runs.lost_leases end
          from held
         where runs.id = held.id
           and (runs.total_cu <> held.total_cu or held.has_outcome and runs.lost_leases > 0)
    )
    select id, cancel_requested from held";

/// A checkpoint that is tried.
#[derive(Debug)]
pub(super) struct Writing {
    fence: Fence,
    checkpoint: Checkpoint,
    bytes: usize,
}

impl Writing {
    pub(super) fn of(fence: &Fence, checkpoint: &Checkpoint) -> Self {
        Self {
            fence: fence.clone(),
            checkpoint: checkpoint.clone(),
            bytes: Records::bytes(&checkpoint.records),
        }
    }
}

impl Together for Writing {
    type Answer = Written;

    const WRITES: bool = true;

    fn id(&self) -> &str {
        self.fence.run_id.as_str()
    }

    fn bytes(&self) -> usize {
        self.bytes
    }

    async fn ask(db: &mut PgConnection, all: &[Self]) -> Result<Vec<Option<Written>>, StoreError> {
        let records = Records::of(all.iter().map(|one| (one.id(), &*one.checkpoint.records)));
        let query = sqlx::query(WRITE_PLAIN)
            .bind(column(all, Self::id))
            .bind(column(all, |one| one.fence.epoch))
            .bind(column(all, |one| one.checkpoint.total_cu.as_str()))
            .bind(column(all, |one| one.checkpoint.has_outcome))
            .bind(&records.run_ids);
        // Committed once it was answered: a checkpoint whose connection is given up may still be on
        // its way, and would undo what was written after it. A creation and an end that come late
        // find that they fit no more.
        let mut tx = db.begin().await?;
        let query = bind_records(query, &records.records)?;
        let rows = query.fetch_all(&mut *tx).await?;
        tx.commit().await.map_err(StoreError::at_commit)?;
        written(&rows, all)
    }
}
