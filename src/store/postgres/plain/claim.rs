//! The first claim of a retry's run.

use std::{collections::HashMap, time::Duration};

use sqlx::{Connection, PgConnection};

use super::super::{
    super::{
        Claim, StoreError,
        rows::{ClaimedRow, read_all},
    },
    micros,
    progress::column,
    together::Together,
};
use crate::domain::RunId;

// Nobody ever held the run, its retry was accepted and nothing else, and its row is due.
const CLAIM_PLAIN: &str = "
    with asked as (
        select id, owner from unnest($1::text[], $2::text[]) as asked (id, owner)
    ), held as (
        select runs.id, asked.owner
          from asked
          join runs on runs.id = asked.id
         where runs.status = 'waiting' and not runs.created and runs.lease_owner is null
           and runs.lease_epoch = 0 and runs.cancel_requested_at is null
           for no key update of runs skip locked
    ), due as (
        select outbox.run_id, held.owner
          from held
          join outbox on outbox.run_id = held.id
         where outbox.due_at <= clock_timestamp()
         order by outbox.run_id
           for update of outbox
    ), claimed as (
        update retries
           set state = 'claimed', updated_at = clock_timestamp()
          from due
         where retries.run_id = due.run_id and retries.state in ('scheduled', 'queued')
        returning retries.*, due.owner
    ), taken as (
        delete from outbox using claimed where outbox.run_id = claimed.run_id
    ), leased as (
        update runs
           set lease_owner = claimed.owner, lease_epoch = 1,
               lease_until = clock_timestamp() + $3::bigint * interval '1 microsecond'
          from claimed
         where runs.id = claimed.run_id
        returning runs.*
    )
    select leased.id, leased.organization_id, leased.root_run_id, leased.source_run_id,
           leased.status, leased.waiting_for, leased.created, leased.definition_hash,
           leased.trigger_node_id, leased.trigger_source, leased.triggered_by,
           leased.workflow_id, leased.workflow_version, leased.workflow_owner_user_id,
           leased.prop_values, leased.variables, leased.simulation_forks,
           leased.simulation_mode, leased.is_simulation, leased.is_dust_test, leased.summary,
           leased.total_cu, leased.created_at, leased.started_at, leased.finished_at,
           leased.cancel_requested_at, leased.lease_epoch, claimed.id as retry_id,
           claimed.source_run_id as retry_source_run_id, claimed.ordinal, claimed.state,
           claimed.lane, claimed.request, claimed.reason,
           claimed.triggered_by as retry_triggered_by, claimed.created_at as retry_created_at,
           claimed.updated_at
      from leased
      join claimed on claimed.run_id = leased.id";

/// A claim that is tried.
#[derive(Debug)]
pub(super) struct Claiming {
    run_id: RunId,
    owner: String,
    ttl: Duration,
}

impl Claiming {
    pub(super) fn of(run: &RunId, owner: &str, ttl: Duration) -> Self {
        Self {
            run_id: run.clone(),
            owner: owner.to_owned(),
            ttl,
        }
    }
}

impl Together for Claiming {
    type Answer = Claim;

    const WRITES: bool = true;

    fn id(&self) -> &str {
        self.run_id.as_str()
    }

    fn bytes(&self) -> usize {
        self.owner.len()
    }

    async fn ask(db: &mut PgConnection, all: &[Self]) -> Result<Vec<Option<Claim>>, StoreError> {
        // All claims of a process are for the same time.
        let ttl = all.iter().map(|one| one.ttl).min().unwrap_or_default();
        let query = sqlx::query_as(CLAIM_PLAIN)
            .bind(column(all, |one| one.run_id.as_str()))
            .bind(column(all, |one| one.owner.as_str()))
            .bind(micros(ttl));
        // Committed once it was read: a lease that nobody knows of would have to expire first.
        let mut tx = db.begin().await?;
        let rows: Vec<ClaimedRow> = query.fetch_all(&mut *tx).await?;
        let claims: Vec<Claim> = read_all(rows)?;
        tx.commit().await.map_err(StoreError::at_commit)?;
        let mut claims: HashMap<_, _> = claims
            .into_iter()
            .map(|claim| (claim.run.id.clone(), claim))
            .collect();
        Ok(column(all, |one| claims.remove(&one.run_id)))
    }
}
