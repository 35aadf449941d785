//! Workflows and the variables that live on them.

use crate::domain::{JsonText, Timestamp, Workflow, WorkflowVariable};

use super::{super::StoreError, Place};

/// A workflow.
#[derive(sqlx::FromRow)]
pub(in crate::store) struct WorkflowRow {
    organization_id: String,
    id: String,
    name: Option<String>,
    version: i64,
    definition_hash: String,
    owner_user_id: Option<String>,
    created_at: Timestamp,
    updated_at: Timestamp,
}

impl TryFrom<WorkflowRow> for Workflow {
    type Error = StoreError;

    fn try_from(row: WorkflowRow) -> Result<Self, StoreError> {
        let place = Place {
            table: "workflows",
            row: &row.id,
        };
        Ok(Self {
            organization_id: place.id("organization_id", &row.organization_id)?,
            definition_hash: place.id("definition_hash", &row.definition_hash)?,
            name: row.name,
            version: row.version,
            owner_user_id: row.owner_user_id,
            created_at: row.created_at,
            updated_at: row.updated_at,
            id: row.id,
        })
    }
}

/// A variable of a workflow.
#[derive(sqlx::FromRow)]
pub(in crate::store) struct WorkflowVariableRow {
    name: String,
    value: String,
    run_id: Option<String>,
    updated_at: Timestamp,
}

impl TryFrom<WorkflowVariableRow> for WorkflowVariable {
    type Error = StoreError;

    fn try_from(row: WorkflowVariableRow) -> Result<Self, StoreError> {
        let place = Place {
            table: "workflow_variables",
            row: &row.name,
        };
        Ok(Self {
            run_id: place.optional_id("run_id", row.run_id.as_deref())?,
            value: JsonText::trusted(row.value),
            updated_at: row.updated_at,
            name: row.name,
        })
    }
}
