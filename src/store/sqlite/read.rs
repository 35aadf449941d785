//! What readers see, outside any transaction.

use sqlx::{SqliteConnection, SqliteExecutor};

use crate::domain::{
    DefinitionHash, JsonText, NodePath, NodeRecord, OrganizationId, Retry, RetryId, RetryState,
    Run, RunId, RunStatus, VariableWrite,
};

use super::{
    super::{
        RetryFilter, RunFilter, StoreError,
        rows::{NodeRow, RetryRow, RunRow, VariableWriteRow, read_all, read_run_id},
    },
    SqliteStore,
};

const RUN: &str = "
    select id, organization_id, root_run_id, source_run_id, status, waiting_for, created,
           definition_hash, trigger_node_id, trigger_source, triggered_by, workflow_id,
           workflow_version, workflow_owner_user_id, prop_values, variables, simulation_forks,
           simulation_mode, is_simulation, is_dust_test, summary, total_cu, created_at,
           started_at, finished_at, cancel_requested_at
      from runs
     where organization_id = $1 and id = $2";

const RUNS: &str = "
    select id, organization_id, root_run_id, source_run_id, status, waiting_for, created,
           definition_hash, trigger_node_id, trigger_source, triggered_by, workflow_id,
           workflow_version, workflow_owner_user_id, prop_values, variables, simulation_forks,
           simulation_mode, is_simulation, is_dust_test, summary, total_cu, created_at,
           started_at, finished_at, cancel_requested_at
      from runs
     where organization_id = $1
       and ($2 is null or status = $2)
       and ($5 is null or root_run_id = $5)
       and ($6 is null or workflow_id = $6)
     order by created_at desc, id desc
     limit $3 offset $4";

const DEFINITION: &str = "select body from definitions where hash = $1";

const NODES: &str = "
    select run_id, path, type, status, input, result, error, started_at, finished_at, due_at,
           branch, attempts, effect, origin_run_id, extra
      from nodes
     where run_id = $1
     order by position";

const NODES_AT: &str = "
    select run_id, path, type, status, input, result, error, started_at, finished_at, due_at,
           branch, attempts, effect, origin_run_id, extra
      from nodes
     where run_id = $1 and path in (select value from json_each($2))
     order by position";

const VARIABLE_WRITES: &str = "
    select run_id, name, old_value, new_value, written_by_node, written_at, lasts
      from variable_writes
      join (select key as place, value as id from json_each($1)) as runs on runs.id = run_id
     order by runs.place, position";

// Up the sources, to the run that is its own root.
const LINE: &str = "
    with recursive line (run_id, height) as (
        select $1, 0
        union all
        select retries.source_run_id, line.height + 1
          from line
          join retries on retries.run_id = line.run_id
    )
    select run_id from line order by height desc";

const RETRY: &str = "
    select id, organization_id, source_run_id, run_id, root_run_id, ordinal, state, lane, request,
           reason, triggered_by, refusal_reason, refusal_message, refusal_run_id,
           refusal_retry_id, created_at, updated_at
      from retries
     where organization_id = $1 and id = $2";

const RETRY_OF_RUN: &str = "
    select id, organization_id, source_run_id, run_id, root_run_id, ordinal, state, lane, request,
           reason, triggered_by, refusal_reason, refusal_message, refusal_run_id,
           refusal_retry_id, created_at, updated_at
      from retries
     where run_id = $1";

const RETRIES: &str = "
    select id, organization_id, source_run_id, run_id, root_run_id, ordinal, state, lane, request,
           reason, triggered_by, refusal_reason, refusal_message, refusal_run_id,
           refusal_retry_id, created_at, updated_at
      from retries
     where organization_id = $1
       and ($2 is null or state = $2)
       and ($3 is null or source_run_id = $3)
       and ($6 is null or root_run_id = $6)
     order by created_at desc, id desc
     limit $4 offset $5";

const INTENT: &str = "select intent from retries where organization_id = $1 and id = $2";

/// One record of a run, in a transaction.
pub(super) async fn node(
    db: &mut SqliteConnection,
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

/// A run of an organisation, in or outside a transaction.
pub(super) async fn run(
    db: impl SqliteExecutor<'_>,
    organization: &OrganizationId,
    id: &RunId,
) -> Result<Option<Run>, StoreError> {
    let row: Option<RunRow> = sqlx::query_as(RUN)
        .bind(organization.as_str())
        .bind(id.as_str())
        .fetch_optional(db)
        .await?;
    row.map(Run::try_from).transpose()
}

/// Whether there is a retry, and the intent that it came as, in or outside a transaction.
pub(super) async fn intent(
    db: impl SqliteExecutor<'_>,
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

/// The retry that a run is the outcome of, in or outside a transaction.
pub(super) async fn retry_of_run(
    db: impl SqliteExecutor<'_>,
    run: &RunId,
) -> Result<Option<Retry>, StoreError> {
    let row: Option<RetryRow> = sqlx::query_as(RETRY_OF_RUN)
        .bind(run.as_str())
        .fetch_optional(db)
        .await?;
    row.map(Retry::try_from).transpose()
}

impl SqliteStore {
    pub(in crate::store) async fn run(
        &self,
        organization: &OrganizationId,
        id: &RunId,
    ) -> Result<Option<Run>, StoreError> {
        run(&self.reader, organization, id).await
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
            .fetch_all(&self.reader)
            .await?;
        read_all(rows)
    }

    pub(in crate::store) async fn definition(
        &self,
        hash: &DefinitionHash,
    ) -> Result<Option<JsonText>, StoreError> {
        let body: Option<String> = sqlx::query_scalar(DEFINITION)
            .bind(hash.as_str())
            .fetch_optional(&self.reader)
            .await?;
        Ok(body.map(JsonText::trusted))
    }

    pub(in crate::store) async fn nodes(
        &self,
        run: &RunId,
        paths: Option<&[NodePath]>,
    ) -> Result<Vec<NodeRecord>, StoreError> {
        let rows: Vec<NodeRow> = match paths {
            None => sqlx::query_as(NODES).bind(run.as_str()),
            Some(paths) => sqlx::query_as(NODES_AT)
                .bind(run.as_str())
                .bind(texts(paths)),
        }
        .fetch_all(&self.reader)
        .await?;
        read_all(rows)
    }

    pub(in crate::store) async fn variable_writes(
        &self,
        runs: &[RunId],
    ) -> Result<Vec<(RunId, VariableWrite)>, StoreError> {
        let rows: Vec<VariableWriteRow> = sqlx::query_as(VARIABLE_WRITES)
            .bind(texts(runs))
            .fetch_all(&self.reader)
            .await?;
        read_all(rows)
    }

    pub(in crate::store) async fn line_writes(
        &self,
        run: &RunId,
    ) -> Result<Vec<(RunId, VariableWrite)>, StoreError> {
        let line = self.line(run).await?;
        self.variable_writes(&line).await
    }

    /// The runs from the root of a run's chain to the run itself, by their sources.
    async fn line(&self, run: &RunId) -> Result<Vec<RunId>, StoreError> {
        let ids: Vec<String> = sqlx::query_scalar(LINE)
            .bind(run.as_str())
            .fetch_all(&self.reader)
            .await?;
        ids.iter().map(|id| read_run_id("retries", id)).collect()
    }

    pub(in crate::store) async fn retry(
        &self,
        organization: &OrganizationId,
        id: &RetryId,
    ) -> Result<Option<Retry>, StoreError> {
        let row: Option<RetryRow> = sqlx::query_as(RETRY)
            .bind(organization.as_str())
            .bind(id.as_str())
            .fetch_optional(&self.reader)
            .await?;
        row.map(Retry::try_from).transpose()
    }

    pub(in crate::store) async fn retry_of_run(
        &self,
        run: &RunId,
    ) -> Result<Option<Retry>, StoreError> {
        retry_of_run(&self.reader, run).await
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
            .fetch_all(&self.reader)
            .await?;
        read_all(rows)
    }
}

/// Ids or paths as a JSON array to bind.
pub(super) fn texts<T: ToString>(items: &[T]) -> String {
    let texts: Vec<_> = items.iter().map(|item| item.to_string().into()).collect();
    serde_json::Value::Array(texts).to_string()
}
