//! `GET /v1/runs/{id}/variable-writes`: what a run wrote to variables, in order. Scope `read`.

use axum::extract::State;
use serde_json::{Value, json};

use crate::{
    api::{Api, auth::Scope, call::Call, envelope::Reply, error::ApiError, query::List},
    domain::{Run, VariableWrite, format_timestamp},
};

/// Takes `limit` and `offset`.
pub(in crate::api) async fn variable_writes(
    State(api): State<Api>,
    call: Call,
) -> Result<Reply, ApiError> {
    let caller = call.caller(&api, Scope::Read).await?;
    let id = call.run_id()?;
    let page = call.query().page()?;
    let run = api.store.run(&caller.organization_id, &id).await?;
    let run = run.ok_or_else(ApiError::run_not_found)?;
    let writes = api.store.variable_writes(std::slice::from_ref(&id)).await?;
    let numbered: Vec<_> = (1..).zip(writes.iter().map(|(_, write)| write)).collect();
    let offset = usize::try_from(page.offset).unwrap_or(usize::MAX);
    let rest = numbered.get(offset..).unwrap_or_default();
    Reply::new(&List::of(rest, page, |(number, write)| {
        shown(&run, *number, write)
    }))
}

fn shown(run: &Run, number: usize, write: &VariableWrite) -> Value {
    json!({
        "id": format!("{}/{number}", run.id),
        "name": write.name,
        "op": "set",
        "scope": if write.lasts { "workflow" } else { "run" },
        "oldValue": write.old_value,
        "newValue": write.new_value,
        "runId": run.id,
        "workflowId": run.workflow_id,
        "writtenAt": format_timestamp(write.written_at),
        "writtenByNode": write.written_by_node,
    })
}
