//! The statements of one transaction on runs, the outbox and retries.

use sqlx::{PgConnection, Postgres, Transaction};

use crate::domain::{
    JsonText, Lane, NodePath, NodeRecord, OrganizationId, Retry, RetryId, Run, RunId, Timestamp,
    VariableWrite, WaitingFor,
};

use super::{
    super::{
        Earlier, IdempotencyKey, Signal, SignalKind, StoreError, StoredDefinition,
        rows::{LockedRow, LockedRun, read_live_retry, read_run_id},
        statements::{Cancellation, Statements},
    },
    acceptance, children, progress, read, signals, workflows,
};

/// A transaction under way; dropped, it is rolled back.
pub(in crate::store) struct PostgresTransaction(pub(super) Transaction<'static, Postgres>);

// Locks the row, not its key: others may refer to it meanwhile. The clock is read after the lock was
// waited for.
const LOCK_RUN: &str = "
    select locked.*, clock_timestamp() as now
      from (select id, organization_id, root_run_id, source_run_id, status, waiting_for, created,
                   definition_hash, trigger_node_id, trigger_source, triggered_by, workflow_id,
                   workflow_version, workflow_owner_user_id, prop_values, variables,
                   simulation_forks, simulation_mode, is_simulation, is_dust_test, summary,
                   total_cu, created_at, started_at, finished_at, cancel_requested_at,
                   lease_owner, lease_epoch, lease_until, lost_leases
              from runs
             where id = $1
               for no key update) as locked";

const UPDATE_RUN: &str = "
    update runs
       set status = $2, waiting_for = $3, created = $4, summary = $5, total_cu = $6,
           started_at = $7, finished_at = $8, cancel_requested_at = $9, lease_owner = $10,
           lease_epoch = $11, lease_until = $12, lost_leases = $13, plan = coalesce($14, plan)
     where id = $1";

const INSERT_RUN: &str = "
    insert into runs (
        id, organization_id, root_run_id, source_run_id, status, waiting_for, created,
        definition_hash, trigger_node_id, trigger_source, triggered_by, workflow_id,
        workflow_version, workflow_owner_user_id, prop_values, variables, simulation_forks,
        simulation_mode, is_simulation, is_dust_test, summary, total_cu, created_at, started_at,
        finished_at, cancel_requested_at, lane, traceparent)
    values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19,
            $20, $21, $22, $23, $24, $25, $26, $27, $28)
    on conflict (id) do nothing";

const PUT_OUTBOX: &str = "
    insert into outbox (run_id, organization_id, lane, due_at)
    select id, organization_id, lane, coalesce($2, clock_timestamp()) from runs where id = $1
    on conflict (run_id) do update
       set due_at = excluded.due_at, sent_at = null, sends = 0, locked_until = null";

const TAKE_DUE: &str = "delete from outbox where run_id = $1 and due_at <= clock_timestamp()";

const DELETE_OUTBOX: &str = "delete from outbox where run_id = $1";

const INSERT_RETRY: &str = "
    insert into retries (
        id, organization_id, source_run_id, run_id, root_run_id, ordinal, state, live, lane,
        request, reason, triggered_by, refusal_reason, refusal_message, refusal_run_id,
        refusal_retry_id, created_at, updated_at, intent)
    values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19)";

const UPDATE_RETRY: &str = "
    update retries
       set state = $2, ordinal = $3, live = $4, refusal_reason = $5, refusal_message = $6,
           refusal_run_id = $7, refusal_retry_id = $8, updated_at = $9
     where organization_id = $10 and id = $1";

const LIVE_RETRY: &str = "select id, run_id from retries where root_run_id = $1 and live";

// At every run of the line its newest counted retry leads on.
pub(super) const HEAD: &str = "
    with recursive line (run_id, depth) as (
        select $1::text collate \"C\", 0
        union all
        select retries.run_id, line.depth + 1
          from line
          join retries on retries.source_run_id = line.run_id
         where retries.ordinal = (
               select max(newest.ordinal)
                 from retries as newest
                where newest.source_run_id = line.run_id)
    )
    select run_id from line where depth > 0 order by depth desc limit 1";

const NEXT_ORDINAL: &str = "
    select coalesce(max(ordinal), 0) + 1 from retries where source_run_id = $1";

// Up the sources, to the run that is its own root.
const CHAIN_LENGTH: &str = "
    with recursive line (run_id) as (
        select $1::text collate \"C\"
        union all
        select retries.source_run_id
          from line
          join retries on retries.run_id = line.run_id
    )
    select count(*) from line";

/// A locked run, and when it was locked.
#[derive(sqlx::FromRow)]
struct TimedRow {
    #[sqlx(flatten)]
    locked: LockedRow,
    now: Timestamp,
}

impl PostgresTransaction {
    fn db(&mut self) -> &mut PgConnection {
        &mut self.0
    }
}

impl Statements for PostgresTransaction {
    async fn commit(self) -> Result<(), StoreError> {
        self.0.commit().await.map_err(StoreError::at_commit)
    }

    async fn run(
        &mut self,
        organization: &OrganizationId,
        id: &RunId,
    ) -> Result<Option<Run>, StoreError> {
        read::run(self.db(), organization, id).await
    }

    async fn lock_run(&mut self, id: &RunId) -> Result<Option<LockedRun>, StoreError> {
        let row: Option<TimedRow> = sqlx::query_as(LOCK_RUN)
            .bind(id.as_str())
            .fetch_optional(self.db())
            .await?;
        row.map(|row| row.locked.at(row.now)).transpose()
    }

    async fn update_run(&mut self, locked: &LockedRun) -> Result<(), StoreError> {
        let run = &locked.run;
        sqlx::query(UPDATE_RUN)
            .bind(run.id.as_str())
            .bind(run.status.as_str())
            .bind(run.waiting_for.map(WaitingFor::as_str))
            .bind(run.created)
            .bind(run.summary.as_deref())
            .bind(run.total_cu.as_str())
            .bind(run.started_at.as_deref())
            .bind(run.finished_at.as_deref())
            .bind(run.cancel_requested_at)
            .bind(locked.owner.as_deref())
            .bind(locked.epoch)
            .bind(locked.until)
            .bind(locked.lost_leases)
            .bind(locked.plan.as_ref().map(JsonText::as_str))
            .execute(self.db())
            .await?;
        Ok(())
    }

    async fn insert_run(
        &mut self,
        run: &Run,
        lane: Lane,
        traceparent: Option<&str>,
    ) -> Result<bool, StoreError> {
        let done = sqlx::query(INSERT_RUN)
            .bind(run.id.as_str())
            .bind(run.organization_id.as_str())
            .bind(run.root_run_id.as_str())
            .bind(run.source_run_id.as_ref().map(RunId::as_str))
            .bind(run.status.as_str())
            .bind(run.waiting_for.map(WaitingFor::as_str))
            .bind(run.created)
            .bind(run.definition_hash.as_ref().map(AsRef::as_ref))
            .bind(run.trigger_node_id.as_ref().map(AsRef::as_ref))
            .bind(run.trigger_source.as_deref())
            .bind(run.triggered_by.as_deref())
            .bind(run.workflow_id.as_deref())
            .bind(run.workflow_version)
            .bind(run.workflow_owner_user_id.as_deref())
            .bind(run.prop_values.as_str())
            .bind(run.variables.as_str())
            .bind(run.simulation.forks.as_ref().map(JsonText::as_str))
            .bind(run.simulation.mode.as_deref())
            .bind(run.simulation.is_simulation)
            .bind(run.simulation.is_dust_test)
            .bind(run.summary.as_deref())
            .bind(run.total_cu.as_str())
            .bind(run.created_at)
            .bind(run.started_at.as_deref())
            .bind(run.finished_at.as_deref())
            .bind(run.cancel_requested_at)
            .bind(lane.as_str())
            .bind(traceparent)
            .execute(self.db())
            .await?;
        Ok(done.rows_affected() > 0)
    }

    async fn put_definition(&mut self, definition: &StoredDefinition) -> Result<(), StoreError> {
        progress::put_definition(self.db(), definition).await
    }

    async fn put_nodes(&mut self, run: &RunId, records: &[NodeRecord]) -> Result<(), StoreError> {
        progress::put_nodes(self.db(), run, records).await
    }

    async fn copy_nodes(
        &mut self,
        from: &RunId,
        to: &RunId,
        paths: &[NodePath],
    ) -> Result<u64, StoreError> {
        progress::copy_nodes(self.db(), from, to, paths).await
    }

    async fn cancel_nodes(&mut self, run: &RunId, how: &Cancellation) -> Result<(), StoreError> {
        progress::cancel_nodes(self.db(), run, how).await
    }

    async fn log_variable_writes(
        &mut self,
        run: &RunId,
        writes: &[VariableWrite],
    ) -> Result<(), StoreError> {
        progress::log_variable_writes(self.db(), run, writes).await
    }

    async fn put_outbox(
        &mut self,
        run: &RunId,
        due_at: Option<Timestamp>,
    ) -> Result<(), StoreError> {
        sqlx::query(PUT_OUTBOX)
            .bind(run.as_str())
            .bind(due_at)
            .execute(self.db())
            .await?;
        Ok(())
    }

    async fn take_due(&mut self, run: &RunId) -> Result<bool, StoreError> {
        let done = sqlx::query(TAKE_DUE)
            .bind(run.as_str())
            .execute(self.db())
            .await?;
        Ok(done.rows_affected() > 0)
    }

    async fn delete_outbox(&mut self, run: &RunId) -> Result<(), StoreError> {
        sqlx::query(DELETE_OUTBOX)
            .bind(run.as_str())
            .execute(self.db())
            .await?;
        Ok(())
    }

    async fn insert_retry(
        &mut self,
        retry: &Retry,
        live: bool,
        intent: Option<&JsonText>,
    ) -> Result<(), StoreError> {
        insert_retry(self.db(), retry, live, intent).await
    }

    async fn intent(
        &mut self,
        organization: &OrganizationId,
        id: &RetryId,
    ) -> Result<Option<Option<JsonText>>, StoreError> {
        read::intent(self.db(), organization, id).await
    }

    async fn retry_of_run(&mut self, run: &RunId) -> Result<Option<Retry>, StoreError> {
        read::retry_of_run(self.db(), run).await
    }

    async fn update_retry(&mut self, retry: &Retry, live: bool) -> Result<(), StoreError> {
        let refusal = retry.refusal.as_ref();
        sqlx::query(UPDATE_RETRY)
            .bind(retry.id.as_str())
            .bind(retry.state.as_str())
            .bind(retry.ordinal)
            .bind(live)
            .bind(refusal.map(|refusal| refusal.reason.as_str()))
            .bind(refusal.map(|refusal| refusal.message.as_str()))
            .bind(refusal.and_then(|refusal| refusal.run_id.as_ref().map(RunId::as_str)))
            .bind(refusal.and_then(|refusal| refusal.retry_id.as_ref().map(RetryId::as_str)))
            .bind(retry.updated_at)
            .bind(retry.organization_id.as_str())
            .execute(self.db())
            .await?;
        Ok(())
    }

    async fn live_retry(&mut self, root: &RunId) -> Result<Option<(RetryId, RunId)>, StoreError> {
        let row: Option<(String, String)> = sqlx::query_as(LIVE_RETRY)
            .bind(root.as_str())
            .fetch_optional(self.db())
            .await?;
        row.map(read_live_retry).transpose()
    }

    async fn head(&mut self, run: &RunId) -> Result<Option<RunId>, StoreError> {
        let head: Option<String> = sqlx::query_scalar(HEAD)
            .bind(run.as_str())
            .fetch_optional(self.db())
            .await?;
        head.map(|id| read_run_id("retries", &id)).transpose()
    }

    async fn earlier(&mut self, key: &IdempotencyKey) -> Result<Option<Earlier>, StoreError> {
        if !acceptance::try_lock(self.db(), key).await? {
            return Ok(Some(Earlier::InFlight));
        }
        acceptance::earlier(self.db(), key).await
    }

    async fn keep_key(&mut self, key: &IdempotencyKey, run: &RunId) -> Result<(), StoreError> {
        acceptance::keep(self.db(), key, run).await
    }

    async fn live_runs(
        &mut self,
        organization: &OrganizationId,
        most: u32,
    ) -> Result<i64, StoreError> {
        acceptance::live_runs(self.db(), organization, most).await
    }

    async fn next_ordinal(&mut self, source: &RunId) -> Result<i64, StoreError> {
        Ok(sqlx::query_scalar(NEXT_ORDINAL)
            .bind(source.as_str())
            .fetch_one(self.db())
            .await?)
    }

    async fn node(
        &mut self,
        run: &RunId,
        path: &NodePath,
    ) -> Result<Option<NodeRecord>, StoreError> {
        read::node(self.db(), run, path).await
    }

    async fn persist_variables(
        &mut self,
        run: &Run,
        writes: &[VariableWrite],
    ) -> Result<(), StoreError> {
        workflows::persist_variables(self.db(), run, writes).await
    }

    async fn insert_child(
        &mut self,
        run: &RunId,
        parent: &RunId,
        path: &NodePath,
        depth: i64,
    ) -> Result<(), StoreError> {
        children::insert_child(self.db(), run, parent, path, depth).await
    }

    async fn waits_for_child(&mut self, run: &RunId) -> Result<bool, StoreError> {
        children::waits_for_child(self.db(), run).await
    }

    async fn waiting_parents(&mut self, child: &RunId) -> Result<Vec<RunId>, StoreError> {
        children::waiting_parents(self.db(), child).await
    }

    async fn insert_signal(
        &mut self,
        run: &RunId,
        path: &NodePath,
        kind: SignalKind,
        body: &JsonText,
        at: Timestamp,
    ) -> Result<bool, StoreError> {
        signals::insert_signal(self.db(), run, path, kind, body, at).await
    }

    async fn signal(&mut self, run: &RunId, path: &NodePath) -> Result<Option<Signal>, StoreError> {
        signals::signal(self.db(), run, path).await
    }

    async fn has_signals(&mut self, run: &RunId) -> Result<bool, StoreError> {
        signals::has_signals(self.db(), run).await
    }

    async fn apply_signals(&mut self, run: &RunId, paths: &[NodePath]) -> Result<(), StoreError> {
        signals::apply_signals(self.db(), run, paths).await
    }

    async fn chain_length(&mut self, run: &RunId) -> Result<i64, StoreError> {
        Ok(sqlx::query_scalar(CHAIN_LENGTH)
            .bind(run.as_str())
            .fetch_one(self.db())
            .await?)
    }
}

/// Adds a retry, in or outside a transaction of several statements.
pub(super) async fn insert_retry(
    db: &mut PgConnection,
    retry: &Retry,
    live: bool,
    intent: Option<&JsonText>,
) -> Result<(), StoreError> {
    let refusal = retry.refusal.as_ref();
    sqlx::query(INSERT_RETRY)
        .bind(retry.id.as_str())
        .bind(retry.organization_id.as_str())
        .bind(retry.source_run_id.as_str())
        .bind(retry.run_id.as_ref().map(RunId::as_str))
        .bind(retry.root_run_id.as_ref().map(RunId::as_str))
        .bind(retry.ordinal)
        .bind(retry.state.as_str())
        .bind(live)
        .bind(retry.lane.as_str())
        .bind(retry.request.as_str())
        .bind(retry.reason.as_deref())
        .bind(retry.triggered_by.as_deref())
        .bind(refusal.map(|refusal| refusal.reason.as_str()))
        .bind(refusal.map(|refusal| refusal.message.as_str()))
        .bind(refusal.and_then(|refusal| refusal.run_id.as_ref().map(RunId::as_str)))
        .bind(refusal.and_then(|refusal| refusal.retry_id.as_ref().map(RetryId::as_str)))
        .bind(retry.created_at)
        .bind(retry.updated_at)
        .bind(intent.map(JsonText::as_str))
        .execute(db)
        .await?;
    Ok(())
}
