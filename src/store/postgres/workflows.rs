//! Workflows, their versions, and the variables that live on them.

use sqlx::PgConnection;

use crate::domain::{
    DefinitionHash, JsonText, OrganizationId, Run, Timestamp, VariableWrite, Workflow,
    WorkflowVariable,
};

use super::{
    super::{
        NewWorkflow, StoreError,
        rows::{WorkflowRow, WorkflowVariableRow, read_all},
    },
    PostgresStore, begin, progress,
};

// Another definition is another version.
const PUT_WORKFLOW: &str = "
    insert into workflows (
        organization_id, id, name, version, definition_hash, owner_user_id, created_at, updated_at)
    values ($1, $2, $3, 1, $4, $5, $6, $6)
    on conflict (organization_id, id) do update
       set name = coalesce(excluded.name, workflows.name),
           version = workflows.version + (workflows.definition_hash <> excluded.definition_hash)::int,
           definition_hash = excluded.definition_hash,
           owner_user_id = coalesce(excluded.owner_user_id, workflows.owner_user_id),
           updated_at = excluded.updated_at
    returning organization_id, id, name, version, definition_hash, owner_user_id, created_at,
              updated_at";

const PUT_VERSION: &str = "
    insert into workflow_versions (
        organization_id, workflow_id, version, definition_hash, created_at)
    values ($1, $2, $3, $4, $5)
    on conflict (organization_id, workflow_id, version) do nothing";

const WORKFLOW: &str = "
    select organization_id, id, name, version, definition_hash, owner_user_id, created_at,
           updated_at
      from workflows
     where organization_id = $1 and id = $2";

const WORKFLOWS: &str = "
    select organization_id, id, name, version, definition_hash, owner_user_id, created_at,
           updated_at
      from workflows
     where organization_id = $1
     order by created_at desc, id desc
     limit $2 offset $3";

const VERSION: &str = "
    select definition_hash
      from workflow_versions
     where organization_id = $1 and workflow_id = $2 and version = $3";

const VARIABLES: &str = "
    select name, value, run_id, updated_at
      from workflow_variables
     where organization_id = $1 and workflow_id = $2
     order by name";

// Only registered workflows keep values.
const SET_VARIABLE: &str = "
    insert into workflow_variables (
        organization_id, workflow_id, name, value, run_id, updated_at)
    select organization_id, id, $3, $4, $5, $6
      from workflows
     where organization_id = $1 and id = $2
    on conflict (organization_id, workflow_id, name) do update
       set value = excluded.value, run_id = excluded.run_id, updated_at = excluded.updated_at";

const UNSET_VARIABLE: &str = "
    delete from workflow_variables
     where organization_id = $1 and workflow_id = $2 and name = $3";

/// Keeps the values that a run writes to its workflow.
pub(super) async fn persist_variables(
    db: &mut PgConnection,
    run: &Run,
    writes: &[VariableWrite],
) -> Result<(), StoreError> {
    let lasting = writes.iter().filter(|write| write.lasts);
    for write in lasting {
        sqlx::query(SET_VARIABLE)
            .bind(run.organization_id.as_str())
            .bind(run.workflow_id.as_deref())
            .bind(&write.name)
            .bind(write.new_value.as_str())
            .bind(run.id.as_str())
            .bind(write.written_at)
            .execute(&mut *db)
            .await?;
    }
    Ok(())
}

impl PostgresStore {
    pub(in crate::store) async fn put_workflow(
        &self,
        new: &NewWorkflow,
    ) -> Result<Workflow, StoreError> {
        let mut tx = begin(&self.pool).await?;
        progress::put_definition(&mut tx, &new.definition).await?;
        let row: WorkflowRow = sqlx::query_as(PUT_WORKFLOW)
            .bind(new.organization_id.as_str())
            .bind(&new.id)
            .bind(new.name.as_deref())
            .bind(new.definition.hash.as_str())
            .bind(new.owner_user_id.as_deref())
            .bind(new.now)
            .fetch_one(&mut *tx)
            .await?;
        let workflow = Workflow::try_from(row)?;
        sqlx::query(PUT_VERSION)
            .bind(workflow.organization_id.as_str())
            .bind(&workflow.id)
            .bind(workflow.version)
            .bind(workflow.definition_hash.as_str())
            .bind(new.now)
            .execute(&mut *tx)
            .await?;
        tx.commit().await.map_err(StoreError::at_commit)?;
        Ok(workflow)
    }

    pub(in crate::store) async fn workflow(
        &self,
        organization: &OrganizationId,
        id: &str,
    ) -> Result<Option<Workflow>, StoreError> {
        let row: Option<WorkflowRow> = sqlx::query_as(WORKFLOW)
            .bind(organization.as_str())
            .bind(id)
            .fetch_optional(&self.pool)
            .await?;
        row.map(Workflow::try_from).transpose()
    }

    pub(in crate::store) async fn workflows(
        &self,
        organization: &OrganizationId,
        limit: u32,
        offset: u64,
    ) -> Result<Vec<Workflow>, StoreError> {
        let rows: Vec<WorkflowRow> = sqlx::query_as(WORKFLOWS)
            .bind(organization.as_str())
            .bind(i64::from(limit))
            .bind(i64::try_from(offset).unwrap_or(i64::MAX))
            .fetch_all(&self.pool)
            .await?;
        read_all(rows)
    }

    pub(in crate::store) async fn workflow_version(
        &self,
        organization: &OrganizationId,
        id: &str,
        version: i64,
    ) -> Result<Option<DefinitionHash>, StoreError> {
        let hash: Option<String> = sqlx::query_scalar(VERSION)
            .bind(organization.as_str())
            .bind(id)
            .bind(version)
            .fetch_optional(&self.pool)
            .await?;
        Ok(hash.and_then(|hash| hash.parse().ok()))
    }

    pub(in crate::store) async fn workflow_variables(
        &self,
        organization: &OrganizationId,
        id: &str,
    ) -> Result<Vec<WorkflowVariable>, StoreError> {
        let rows: Vec<WorkflowVariableRow> = sqlx::query_as(VARIABLES)
            .bind(organization.as_str())
            .bind(id)
            .fetch_all(&self.pool)
            .await?;
        read_all(rows)
    }

    pub(in crate::store) async fn set_workflow_variable(
        &self,
        organization: &OrganizationId,
        id: &str,
        name: &str,
        value: &JsonText,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let done = sqlx::query(SET_VARIABLE)
            .bind(organization.as_str())
            .bind(id)
            .bind(name)
            .bind(value.as_str())
            .bind(None::<&str>)
            .bind(now)
            .execute(&self.pool)
            .await?;
        Ok(done.rows_affected() == 1)
    }

    pub(in crate::store) async fn unset_workflow_variable(
        &self,
        organization: &OrganizationId,
        id: &str,
        name: &str,
    ) -> Result<bool, StoreError> {
        let done = sqlx::query(UNSET_VARIABLE)
            .bind(organization.as_str())
            .bind(id)
            .bind(name)
            .execute(&self.pool)
            .await?;
        Ok(done.rows_affected() == 1)
    }
}
