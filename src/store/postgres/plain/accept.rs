//! The first retry of a run that has ended.

use std::collections::HashSet;

use sqlx::PgConnection;

use super::super::{
    super::{IdempotencyKey, NewRetry, StoreError},
    progress::{column, text},
    together::Together,
};
use crate::domain::{Retry, Run, RunId, WaitingFor};

// What an ended run is does not change. The chain is locked by its root and a key as the flow locks
// them, but nobody is waited for. What was decided between the statement's beginning and the lock it
// finds in unique indexes: a chain with a live retry and a run with one that counts are left out, and a
// key that is there ends the whole statement.
const ACCEPT_PLAIN: &str = "
    with asked as (
        select *
          from unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[],
                      $7::text[], $8::text[], $9::text[], $10::text[], $11::text[],
                      $12::bigint[], $13::text[], $14::text[], $15::text[], $16::text[],
                      $17::text[], $18::boolean[], $19::boolean[], $20::text[],
                      $21::timestamptz[], $22::text[], $23::text[], $24::text[], $25::text[],
                      $26::text[], $27::text[], $28::text[], $29::timestamptz[],
                      $30::boolean[], $31::bigint[], $32::text[], $33::text[],
                      $34::timestamptz[], $35::timestamptz[])
               as asked (id, organization_id, root_run_id, source_run_id, waiting_for,
                         definition_hash, trigger_node_id, trigger_source, triggered_by,
                         workflow_id, workflow_owner_user_id, workflow_version, prop_values,
                         variables, simulation_forks, simulation_mode, total_cu, is_simulation,
                         is_dust_test, lane, created_at, traceparent, retry_id, state, request,
                         reason, retry_triggered_by, status, due_at, include_partial,
                         chain_limit, key, fingerprint, retry_created_at,
                         updated_at)
    ), fit as (
        select asked.*
          from asked
          join runs as source on source.organization_id = asked.organization_id
                             and source.id = asked.source_run_id
          join runs as root on root.id = asked.root_run_id
         where source.created and source.root_run_id = asked.root_run_id
           and (source.status in ('failure', 'cancelled')
                or source.status = 'partial' and asked.include_partial)
           and not exists (
                select 1 from retries
                 where retries.root_run_id = asked.root_run_id and retries.live)
           and not exists (
                select 1 from retries
                 where retries.source_run_id = asked.source_run_id
                   and retries.ordinal is not null)
           and not exists (
                select 1 from idempotency_keys as earlier
                 where earlier.organization_id = asked.organization_id
                   and earlier.key = asked.key)
           and (asked.key is null
                or pg_try_advisory_xact_lock(
                       hashtextextended(asked.organization_id || ' ' || asked.key, 0)))
           and asked.chain_limit > (
                with recursive line (run_id) as (
                    select asked.source_run_id collate \"C\"
                    union all
                    select retries.source_run_id
                      from line
                      join retries on retries.run_id = line.run_id
                )
                select count(*) from line)
           for no key update of root skip locked
    ), reserved as (
        insert into retries (
            id, organization_id, source_run_id, run_id, root_run_id, ordinal, state, live, lane,
            request, reason, triggered_by, created_at, updated_at)
        select retry_id, organization_id, source_run_id, id, root_run_id, 1, state, true, lane,
               request, reason, retry_triggered_by, retry_created_at, updated_at
          from fit
         order by root_run_id
            on conflict do nothing
        returning retries.run_id
    ), made as (
        insert into runs (
            id, organization_id, root_run_id, source_run_id, status, waiting_for, created,
            definition_hash, trigger_node_id, trigger_source, triggered_by, workflow_id,
            workflow_version, workflow_owner_user_id, prop_values, variables,
            simulation_forks, simulation_mode, is_simulation, is_dust_test, total_cu,
            created_at, lane, traceparent)
        select fit.id, organization_id, root_run_id, source_run_id, status, waiting_for, false,
               definition_hash, trigger_node_id, trigger_source, triggered_by, workflow_id,
               workflow_version, workflow_owner_user_id, prop_values, variables,
               simulation_forks, simulation_mode, is_simulation, is_dust_test, total_cu,
               created_at, lane, traceparent
          from reserved
          join fit on fit.id = reserved.run_id
    ), due as (
        insert into outbox (run_id, organization_id, lane, due_at)
        select fit.id, organization_id, lane, coalesce(due_at, clock_timestamp())
          from reserved
          join fit on fit.id = reserved.run_id
    ), kept as (
        insert into idempotency_keys (organization_id, key, fingerprint, run_id, created_at)
        select organization_id, key, fingerprint, fit.id, clock_timestamp()
          from reserved
          join fit on fit.id = reserved.run_id
         where key is not null
    )
    select run_id from reserved";

/// An acceptance that is tried.
#[derive(Debug)]
pub(super) struct Acceptance {
    new: NewRetry,
    root: RunId,
    key: Option<IdempotencyKey>,
}

impl Acceptance {
    /// None where the chain is not known.
    pub(super) fn of(new: &NewRetry, key: Option<&IdempotencyKey>) -> Option<Self> {
        Some(Self {
            root: new.retry.root_run_id.clone()?,
            new: new.clone(),
            key: key.cloned(),
        })
    }

    fn run(&self) -> &Run {
        &self.new.run
    }

    fn retry(&self) -> &Retry {
        &self.new.retry
    }

    /// What was accepted.
    fn accepted(&self) -> (Run, Retry) {
        let run = Run {
            root_run_id: self.root.clone(),
            ..self.new.run.clone()
        };
        let retry = Retry {
            ordinal: Some(1),
            ..self.new.retry.clone()
        };
        (run, retry)
    }
}

impl Together for Acceptance {
    type Answer = (Run, Retry);

    const WRITES: bool = true;

    fn id(&self) -> &str {
        self.root.as_str()
    }

    fn bytes(&self) -> usize {
        let run = self.run();
        1024 + run.prop_values.as_str().len()
            + run.variables.as_str().len()
            + self.retry().request.as_str().len()
    }

    async fn ask(
        db: &mut PgConnection,
        all: &[Self],
    ) -> Result<Vec<Option<(Run, Retry)>>, StoreError> {
        let asked = &first_of_each_key(all);
        let query = sqlx::query_scalar(ACCEPT_PLAIN)
            .bind(column(asked, |one| one.run().id.as_str()))
            .bind(column(asked, |one| one.run().organization_id.as_str()))
            .bind(column(asked, |one| one.root.as_str()))
            .bind(column(asked, |one| one.retry().source_run_id.as_str()))
            .bind(column(asked, |one| {
                one.run().waiting_for.map(WaitingFor::as_str)
            }))
            .bind(column(asked, |one| {
                one.run().definition_hash.as_ref().map(AsRef::as_ref)
            }))
            .bind(column(asked, |one| {
                one.run().trigger_node_id.as_ref().map(AsRef::as_ref)
            }))
            .bind(column(asked, |one| one.run().trigger_source.as_deref()))
            .bind(column(asked, |one| one.run().triggered_by.as_deref()))
            .bind(column(asked, |one| one.run().workflow_id.as_deref()))
            .bind(column(asked, |one| {
                one.run().workflow_owner_user_id.as_deref()
            }))
            .bind(column(asked, |one| one.run().workflow_version))
            .bind(column(asked, |one| one.run().prop_values.as_str()))
            .bind(column(asked, |one| one.run().variables.as_str()))
            .bind(column(asked, |one| {
                text(one.run().simulation.forks.as_ref())
            }))
            .bind(column(asked, |one| one.run().simulation.mode.as_deref()))
            .bind(column(asked, |one| one.run().total_cu.as_str()))
            .bind(column(asked, |one| one.run().simulation.is_simulation))
            .bind(column(asked, |one| one.run().simulation.is_dust_test))
            .bind(column(asked, |one| one.retry().lane.as_str()))
            .bind(column(asked, |one| one.run().created_at))
            .bind(column(asked, |one| one.new.traceparent.as_deref()))
            .bind(column(asked, |one| one.retry().id.as_str()))
            .bind(column(asked, |one| one.retry().state.as_str()))
            .bind(column(asked, |one| one.retry().request.as_str()))
            .bind(column(asked, |one| one.retry().reason.as_deref()))
            .bind(column(asked, |one| one.retry().triggered_by.as_deref()))
            .bind(column(asked, |one| one.run().status.as_str()))
            .bind(column(asked, |one| one.new.due_at))
            .bind(column(asked, |one| one.new.terms.include_partial))
            .bind(column(asked, |one| i64::from(one.new.terms.chain_limit)))
            .bind(column(asked, |one| {
                one.key.as_ref().map(|key| key.key.as_str())
            }))
            .bind(column(asked, |one| {
                one.key.as_ref().map(|key| key.fingerprint.as_str())
            }))
            .bind(column(asked, |one| one.retry().created_at))
            .bind(column(asked, |one| one.retry().updated_at));
        let reserved: Vec<String> = query.fetch_all(db).await.map_err(StoreError::at_commit)?;
        let reserved: HashSet<_> = reserved.iter().map(String::as_str).collect();
        Ok(column(all, |one| {
            let is_reserved = reserved.contains(one.run().id.as_str());
            is_reserved.then(|| one.accepted())
        }))
    }
}

/// Without those that come under the key of another one: a statement has a lock once.
fn first_of_each_key(all: &[Acceptance]) -> Vec<&Acceptance> {
    let mut keys = HashSet::new();
    all.iter()
        .filter(|&one| match &one.key {
            Some(key) => keys.insert((&key.organization_id, &key.key)),
            None => true,
        })
        .collect()
}
