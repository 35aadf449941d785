//! A claimed retry's run gets its state.

use sqlx::PgConnection;

use super::{
    super::{
        super::{Creation, Fence, StoreError, Written},
        progress::{bind_records, column},
        together::Together,
    },
    written::{Records, written},
};
use crate::domain::{NodePath, format_timestamp};

// The source has ended, so its records don't change; one that is to be reused and is not there makes
// a case for the flow. The records never leave the database, and who executed them stays known over
// any number of copies.
const CREATE_PLAIN: &str = "
    with asked as (
        select id, epoch, at, started_at, plan, reused
          from unnest($1::text[], $2::bigint[], $3::timestamptz[], $4::text[], $5::text[],
                      $6::bigint[])
               as asked (id, epoch, at, started_at, plan, reused)
    ), held as (
        select asked.*, runs.cancel_requested_at is not null as cancel_requested
          from asked
          join runs on runs.id = asked.id
         where runs.lease_epoch = asked.epoch and runs.lease_owner is not null
           and runs.status = 'waiting' and not runs.created
           for no key update of runs skip locked
    ), lead as (
        select held.*, retries.source_run_id
          from held
          join retries on retries.run_id = held.id
         where retries.state = 'claimed'
    ), source as (
        select lead.id, nodes.*
          from unnest($7::text[], $8::text[]) as reuse (id, path)
          join lead on lead.id = reuse.id
          join nodes on nodes.run_id = lead.source_run_id and nodes.path = reuse.path
    ), whole as (
        select lead.*
          from lead
         where lead.reused = (select count(*) from source where source.id = lead.id)
    ), advanced as (
        update retries
           set state = 'created', updated_at = whole.at
          from whole
         where retries.run_id = whole.id
    ), copied as (
        insert into nodes (
            run_id, position, path, type, status, input, result, error, started_at, finished_at,
            due_at, branch, attempts, effect, origin_run_id, extra)
        select whole.id, row_number() over (partition by whole.id order by source.position),
               source.path, source.type, source.status, source.input, source.result,
               source.error, source.started_at, source.finished_at, source.due_at,
               source.branch, '[]', source.effect, coalesce(source.origin_run_id, source.run_id),
               source.extra
          from source
          join whole on whole.id = source.id
    ), added as (
        insert into nodes (
            run_id, position, path, type, status, input, result, error, started_at, finished_at,
            due_at, branch, attempts, effect, origin_run_id, extra)
        select whole.id, whole.reused + n.ordinality, n.path, n.type, n.status, n.input, n.result,
               n.error, n.started_at, n.finished_at, n.due_at, n.branch, n.attempts, n.effect,
               n.origin_run_id, n.extra
          from unnest($9::text[], $10::text[], $11::text[], $12::text[], $13::text[],
                      $14::text[], $15::text[], $16::text[], $17::text[], $18::text[],
                      $19::text[], $20::text[], $21::text[], $22::text[], $23::text[])
               with ordinality as n (id, path, type, status, input, result, error, started_at,
                                     finished_at, due_at, branch, attempts, effect,
                                     origin_run_id, extra, ordinality)
          join whole on whole.id = n.id
    ), started as (
        update runs
           set status = 'running', waiting_for = null, created = true, plan = whole.plan,
               started_at = coalesce(runs.started_at, whole.started_at)
          from whole
         where runs.id = whole.id
    )
    select id, cancel_requested from whole";

/// A creation that is tried.
#[derive(Debug)]
pub(super) struct Creating {
    fence: Fence,
    creation: Creation,
    bytes: usize,
}

impl Creating {
    pub(super) fn of(fence: &Fence, creation: &Creation) -> Self {
        let bytes = creation.plan.as_str().len() + Records::bytes(&creation.records);
        Self {
            fence: fence.clone(),
            creation: creation.clone(),
            bytes,
        }
    }
}

impl Together for Creating {
    type Answer = Written;

    const WRITES: bool = true;

    fn id(&self) -> &str {
        self.fence.run_id.as_str()
    }

    fn bytes(&self) -> usize {
        self.bytes
    }

    async fn ask(db: &mut PgConnection, all: &[Self]) -> Result<Vec<Option<Written>>, StoreError> {
        let reuse: Vec<(&str, &NodePath)> = all
            .iter()
            .flat_map(|one| one.creation.reuse.iter().map(|path| (one.id(), path)))
            .collect();
        let records = Records::of(all.iter().map(|one| (one.id(), &*one.creation.records)));
        let reused = |one: &Self| i64::try_from(one.creation.reuse.len()).unwrap_or(i64::MAX);
        let query = sqlx::query(CREATE_PLAIN)
            .bind(column(all, Self::id))
            .bind(column(all, |one| one.fence.epoch))
            .bind(column(all, |one| one.creation.now))
            .bind(column(all, |one| format_timestamp(one.creation.now)))
            .bind(column(all, |one| one.creation.plan.as_str()))
            .bind(column(all, reused))
            .bind(column(&reuse, |(id, _)| *id))
            .bind(column(&reuse, |(_, path)| path.to_string()))
            .bind(&records.run_ids);
        let query = bind_records(query, &records.records)?;
        let rows = query.fetch_all(db).await.map_err(StoreError::at_commit)?;
        written(&rows, all)
    }
}
