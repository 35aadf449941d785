//! `GET /v1/workflows/{id}/variables` and `GET|PUT|DELETE .../{name}`: the values that outlive a run.
//! Scopes `read` and `write`.

use axum::extract::State;
use serde_json::{Value, json};

use super::{found, parsed};
use crate::{
    api::{
        Api,
        auth::Scope,
        call::{BodyLimit, Call},
        envelope::Reply,
        error::ApiError,
    },
    domain::{JsonText, Workflow, WorkflowVariable, format_timestamp},
    workflow::{Lifetime, VariableDef},
};

/// Answers every variable that lives on the workflow, with its default where nothing was written.
pub(in crate::api) async fn list(State(api): State<Api>, call: Call) -> Result<Reply, ApiError> {
    let caller = call.caller(&api, Scope::Read).await?;
    let workflow = found(&api, &caller.organization_id, call.parameter("id")).await?;
    let variables = all(&api, &workflow).await?;
    let items: Vec<_> = variables
        .iter()
        .map(|(def, kept)| shown(def, kept.as_ref()))
        .collect();
    let count = items.len();
    Reply::new(&json!({ "items": items, "limit": count, "offset": 0, "hasMore": false }))
}

/// Answers one variable.
pub(in crate::api) async fn get(State(api): State<Api>, call: Call) -> Result<Reply, ApiError> {
    let caller = call.caller(&api, Scope::Read).await?;
    let workflow = found(&api, &caller.organization_id, call.parameter("id")).await?;
    let (def, kept) = one(&api, &workflow, call.parameter("name")).await?;
    Reply::new(&shown(&def, kept.as_ref()))
}

/// Takes `{value}`; answers the variable.
pub(in crate::api) async fn set(State(api): State<Api>, call: Call) -> Result<Reply, ApiError> {
    let caller = call.caller(&api, Scope::Write).await?;
    let workflow = found(&api, &caller.organization_id, call.parameter("id")).await?;
    let (def, _) = one(&api, &workflow, call.parameter("name")).await?;
    let body = call.object(BodyLimit::plain(&api.limits)).await?;
    let members = body.as_object().into_iter().flatten();
    if let Some((name, _)) = members.clone().find(|(name, _)| *name != "value") {
        return Err(ApiError::invalid_field(name, "this call takes value"));
    }
    let value = body.get("value");
    let value = value.ok_or_else(|| ApiError::invalid_field("value", "is missing"))?;
    let value = JsonText::of(value);
    let (organization, now) = (&workflow.organization_id, api.clock.now());
    let name = &def.name;
    api.store
        .set_workflow_variable(organization, &workflow.id, name, &value, now)
        .await?;
    let kept = WorkflowVariable {
        name: name.clone(),
        value,
        run_id: None,
        updated_at: now,
    };
    Reply::new(&shown(&def, Some(&kept)))
}

/// Forgets what was written: the variable has its default again. Answers the variable.
pub(in crate::api) async fn unset(State(api): State<Api>, call: Call) -> Result<Reply, ApiError> {
    let caller = call.caller(&api, Scope::Write).await?;
    let workflow = found(&api, &caller.organization_id, call.parameter("id")).await?;
    let (def, _) = one(&api, &workflow, call.parameter("name")).await?;
    let organization = &workflow.organization_id;
    api.store
        .unset_workflow_variable(organization, &workflow.id, &def.name)
        .await?;
    Reply::new(&shown(&def, None))
}

type Variable = (VariableDef, Option<WorkflowVariable>);

async fn all(api: &Api, workflow: &Workflow) -> Result<Vec<Variable>, ApiError> {
    let definition = parsed(api, workflow).await?;
    let (organization, id) = (&workflow.organization_id, &workflow.id);
    let kept = api.store.workflow_variables(organization, id).await?;
    let declared = definition.variables().iter();
    let lasting = declared.filter(|def| def.lifetime == Lifetime::Persist);
    let pairs = lasting.map(|def| {
        let kept = kept.iter().find(|kept| kept.name == def.name);
        (def.clone(), kept.cloned())
    });
    Ok(pairs.collect())
}

async fn one(api: &Api, workflow: &Workflow, name: Option<&str>) -> Result<Variable, ApiError> {
    let variables = all(api, workflow).await?;
    let mut variables = variables.into_iter();
    variables
        .find(|(def, _)| Some(def.name.as_str()) == name)
        .ok_or_else(ApiError::variable_not_found)
}

fn shown(def: &VariableDef, kept: Option<&WorkflowVariable>) -> Value {
    let value = kept.and_then(|kept| kept.value.value().ok());
    json!({
        "name": def.name,
        "type": def.kind,
        "value": value.unwrap_or_else(|| def.default.clone()),
        "default": def.default,
        "isDefault": kept.is_none(),
        "updatedAt": kept.map(|kept| format_timestamp(kept.updated_at)),
        "updatedByRunId": kept.and_then(|kept| kept.run_id.as_ref()),
    })
}
