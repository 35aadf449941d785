//! What readers see, outside any transaction.

use sqlx::{PgConnection, PgExecutor};

use crate::domain::{
    DefinitionHash, JsonText, NodePath, NodeRecord, OrganizationId, Retry, RetryId, RetryState,
    Run, RunId, RunStatus, VariableWrite,
};

use super::{
    super::{
        RetryFilter, RunFilter, StoreError,
        rows::{NodeRow, RetryRow, RunRow, VariableWriteRow, read_all},
    },
    PostgresStore,
    many::{LineWritesOf, NodesOf, RetryOf, RunOf},
    together::alone,
};

const RUNS: &str = "
    select id, organization_id, root_run_id, source_run_id, status, waiting_for, created,
           definition_hash, trigger_node_id, trigger_source, triggered_by, workflow_id,
           workflow_version, workflow_owner_user_id, prop_values, variables, simulation_forks,
           simulation_mode, is_simulation, is_dust_test, summary, total_cu, created_at,
           started_at, finished_at, cancel_requested_at
      from runs
     where organization_id = $1
       and ($2::text is null or status = $2)
       and ($5::text is null or root_run_id = $5)
       and ($6::text is null or workflow_id = $6)
     order by created_at desc, id desc
     limit $3 offset $4";

const DEFINITION: &str = "select body from definitions where hash = $1";

const NODES_AT: &str = "
    select run_id, path, type, status, input, result, error, started_at, finished_at, due_at,
           branch, attempts, effect, origin_run_id, extra
      from nodes
     where run_id = $1 and path = any ($2::text[])
     order by position";

const VARIABLE_WRITES: &str = "
    select run_id, name, old_value, new_value, written_by_node, written_at, lasts
      from variable_writes
     where run_id = any ($1::text[])
     order by array_position($1::text[], run_id), position";

const RETRY: &str = "
    select id, organization_id, source_run_id, run_id, root_run_id, ordinal, state, lane, request,
           reason, triggered_by, refusal_reason, refusal_message, refusal_run_id,
           refusal_retry_id, created_at, updated_at
      from retries
     where organization_id = $1 and id = $2";

const RETRIES: &str = "
    select id, organization_id, source_run_id, run_id, root_run_id, ordinal, state, lane, request,
           reason, triggered_by, refusal_reason, refusal_message, refusal_run_id,
           refusal_retry_id, created_at, updated_at
      from retries
     where organization_id = $1
       and ($2::text is null or state = $2)
       and ($3::text is null or source_run_id = $3)
       and ($6::text is null or root_run_id = $6)
     order by created_at desc, id desc
     limit $4 offset $5";

const INTENT: &str = "select intent from retries where organization_id = $1 and id = $2";

/// One record of a run, in a transaction.
pub(super) async fn node(
    db: &mut PgConnection,
    run: &RunId,
    path: &NodePath,
) -> Result<Option<NodeRecord>, StoreError> {
    let row: Option<NodeRow> = sqlx::query_as(NODES_AT)
        .bind(run.as_str())
        .bind(texts(std::slice::from_ref(path)))
        .fetch_optional(db)
        .await?;
    row.map(NodeRecord::try_from).transpose()
}

/// A run of an organisation, in a transaction.
pub(super) async fn run(
    db: &mut PgConnection,
    organization: &OrganizationId,
    id: &RunId,
) -> Result<Option<Run>, StoreError> {
    alone(db, RunOf(organization.clone(), id.clone())).await
}

/// Whether there is a retry, and the intent that it came as, in or outside a transaction.
pub(super) async fn intent(
    db: impl PgExecutor<'_>,
    organization: &OrganizationId,
    id: &RetryId,
) -> Result<Option<Option<JsonText>>, StoreError> {
    let row: Option<Option<String>> = sqlx::query_scalar(INTENT)
        .bind(organization.as_str())
        .bind(id.as_str())
        .fetch_optional(db)
        .await?;
    Ok(row.map(|intent| intent.map(JsonText::trusted)))
}

/// The retry that a run is the outcome of, in a transaction.
pub(super) async fn retry_of_run(
    db: &mut PgConnection,
    run: &RunId,
) -> Result<Option<Retry>, StoreError> {
    alone(db, RetryOf(run.clone())).await
}

impl PostgresStore {
    pub(in crate::store) async fn run(
        &self,
        organization: &OrganizationId,
        id: &RunId,
    ) -> Result<Option<Run>, StoreError> {
        let asked = RunOf(organization.clone(), id.clone());
        self.reads.run.read(asked).await
    }

    pub(in crate::store) async fn runs(
        &self,
        organization: &OrganizationId,
        filter: &RunFilter,
    ) -> Result<Vec<Run>, StoreError> {
        let rows: Vec<RunRow> = sqlx::query_as(RUNS)
            .bind(organization.as_str())
            .bind(filter.status.map(RunStatus::as_str))
            .bind(i64::from(filter.limit))
            .bind(i64::try_from(filter.offset).unwrap_or(i64::MAX))
            .bind(filter.root_run_id.as_ref().map(RunId::as_str))
            .bind(filter.workflow_id.as_deref())
            .fetch_all(&self.pool)
            .await?;
        read_all(rows)
    }

    pub(in crate::store) async fn definition(
        &self,
        hash: &DefinitionHash,
    ) -> Result<Option<JsonText>, StoreError> {
        let body: Option<String> = sqlx::query_scalar(DEFINITION)
            .bind(hash.as_str())
            .fetch_optional(&self.pool)
            .await?;
        Ok(body.map(JsonText::trusted))
    }

    pub(in crate::store) async fn nodes(
        &self,
        run: &RunId,
        paths: Option<&[NodePath]>,
    ) -> Result<Vec<NodeRecord>, StoreError> {
        let Some(paths) = paths else {
            return self.reads.nodes.read(NodesOf(run.clone())).await;
        };
        let rows: Vec<NodeRow> = sqlx::query_as(NODES_AT)
            .bind(run.as_str())
            .bind(texts(paths))
            .fetch_all(&self.pool)
            .await?;
        read_all(rows)
    }

    pub(in crate::store) async fn variable_writes(
        &self,
        runs: &[RunId],
    ) -> Result<Vec<(RunId, VariableWrite)>, StoreError> {
        let rows: Vec<VariableWriteRow> = sqlx::query_as(VARIABLE_WRITES)
            .bind(texts(runs))
            .fetch_all(&self.pool)
            .await?;
        read_all(rows)
    }

    pub(in crate::store) async fn line_writes(
        &self,
        run: &RunId,
    ) -> Result<Vec<(RunId, VariableWrite)>, StoreError> {
        self.reads.line_writes.read(LineWritesOf(run.clone())).await
    }

    pub(in crate::store) async fn retry(
        &self,
        organization: &OrganizationId,
        id: &RetryId,
    ) -> Result<Option<Retry>, StoreError> {
        let row: Option<RetryRow> = sqlx::query_as(RETRY)
            .bind(organization.as_str())
            .bind(id.as_str())
            .fetch_optional(&self.pool)
            .await?;
        row.map(Retry::try_from).transpose()
    }

    pub(in crate::store) async fn retry_of_run(
        &self,
        run: &RunId,
    ) -> Result<Option<Retry>, StoreError> {
        self.reads.retry_of_run.read(RetryOf(run.clone())).await
    }

    pub(in crate::store) async fn retries(
        &self,
        organization: &OrganizationId,
        filter: &RetryFilter,
    ) -> Result<Vec<Retry>, StoreError> {
        let rows: Vec<RetryRow> = sqlx::query_as(RETRIES)
            .bind(organization.as_str())
            .bind(filter.state.map(RetryState::as_str))
            .bind(filter.source_run_id.as_ref().map(RunId::as_str))
            .bind(i64::from(filter.limit))
            .bind(i64::try_from(filter.offset).unwrap_or(i64::MAX))
            .bind(filter.root_run_id.as_ref().map(RunId::as_str))
            .fetch_all(&self.pool)
            .await?;
        read_all(rows)
    }
}

/// Ids or paths as an array to bind.
pub(super) fn texts<T: ToString>(items: &[T]) -> Vec<String> {
    items.iter().map(T::to_string).collect()
}
