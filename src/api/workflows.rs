//! Workflows: register, list, get, run; their runs and their variables.

mod get;
mod list;
mod put;
mod run;
mod variables;

pub(super) use get::get;
pub(super) use list::{list, runs};
pub(super) use put::put;
pub(super) use run::run;
pub(super) use variables::{get as variable, list as variables, set, unset};

use serde_json::{Value, json};

use super::{Api, error::ApiError};
use crate::{
    domain::{JsonText, OrganizationId, Workflow, format_timestamp},
    workflow::{Definition, DefinitionLimits},
};

/// The workflow that a path names.
async fn found(
    api: &Api,
    organization: &OrganizationId,
    id: Option<&str>,
) -> Result<Workflow, ApiError> {
    let workflow = match id {
        Some(id) => api.store.workflow(organization, id).await?,
        None => None,
    };
    workflow.ok_or_else(ApiError::workflow_not_found)
}

/// The text of a workflow's newest definition.
async fn definition(api: &Api, workflow: &Workflow) -> Result<JsonText, ApiError> {
    let text = api.store.definition(&workflow.definition_hash).await?;
    text.ok_or_else(ApiError::workflow_not_found)
}

/// The definition itself.
async fn parsed(api: &Api, workflow: &Workflow) -> Result<Definition, ApiError> {
    let text = definition(api, workflow).await?;
    let value = text.value().map_err(|_| ApiError::workflow_not_found())?;
    Definition::parse(&value, &DefinitionLimits::STORED).map_err(|_| ApiError::workflow_not_found())
}

fn summary(workflow: &Workflow) -> Value {
    json!({
        "id": workflow.id,
        "name": workflow.name,
        "version": workflow.version,
        "ownerUserId": workflow.owner_user_id,
        "createdAt": format_timestamp(workflow.created_at),
        "updatedAt": format_timestamp(workflow.updated_at),
    })
}

/// A workflow with its newest definition.
async fn shown(api: &Api, workflow: &Workflow) -> Result<Value, ApiError> {
    let definition = definition(api, workflow).await?;
    let value = definition
        .value()
        .map_err(|_| ApiError::workflow_not_found())?;
    let mut shown = summary(workflow);
    shown["variableDefs"] = value
        .get("variableDefs")
        .cloned()
        .unwrap_or_else(|| json!([]));
    shown["definition"] = value;
    Ok(shown)
}
