//! `POST /v1/runs/{id}/nodes/{nodeId}/resume`: ends the wait of a node. Scope `write`.

use axum::extract::State;
use serde_json::{Value, json};

use crate::{
    api::{
        Api,
        auth::Scope,
        call::{BodyLimit, Call},
        envelope::Reply,
        error::ApiError,
    },
    domain::{JsonText, NodeId, NodePath},
    store::Resumed,
};

/// Takes `{data?, forEachContext?: {stack: [{parentNodeId, index, total}]}}`, the stack from the
/// outermost loop inwards; `nodeId` may also be a whole path. Answers `{action, reason}`.
pub(in crate::api) async fn resume(State(api): State<Api>, call: Call) -> Result<Reply, ApiError> {
    let caller = call.caller(&api, Scope::Write).await?;
    let run = call.run_id()?;
    let node = call.parameter("nodeId").unwrap_or_default().to_owned();
    let body = call.optional_object(BodyLimit::plain(&api.limits)).await?;
    let body = body.unwrap_or_else(|| json!({}));
    check(&body)?;
    let path = path(&node, &body)?;
    let data = body.get("data").unwrap_or(&Value::Null);
    let outcome = api
        .intake
        .resume(&caller, &run, &path, JsonText::of(data))
        .await?;
    match outcome {
        Resumed::NotFound => Err(ApiError::run_not_found()),
        Resumed::Resumed => Reply::new(&json!({ "action": "resumed", "reason": null })),
        Resumed::Skipped(why) => Reply::new(&json!({ "action": "skipped", "reason": why })),
    }
}

/// The member that says which iteration is meant.
const CONTEXT: &str = "forEachContext";

/// A member that would be dropped is refused.
fn check(body: &Value) -> Result<(), ApiError> {
    let members = body.as_object().into_iter().flatten();
    let mut names = members.map(|(name, _)| name.as_str());
    match names.find(|name| !["data", CONTEXT].contains(name)) {
        None => Ok(()),
        Some(name) => Err(ApiError::invalid_field(
            name,
            "this call takes data and forEachContext",
        )),
    }
}

fn path(node: &str, body: &Value) -> Result<NodePath, ApiError> {
    let wrong = |field: &str, why: &str| ApiError::invalid_field(field, why);
    let own = match node.parse::<NodeId>() {
        // An id may hold what a path sets apart; with brackets of its own it is a path, if it can be.
        Ok(id) if !node.contains(['[', ']', '"']) => NodePath::of(id),
        id => match (node.parse(), id) {
            (Ok(path), _) => path,
            (Err(_), Ok(id)) => NodePath::of(id),
            (Err(_), Err(_)) => return Err(wrong("nodeId", "is no node path")),
        },
    };
    let stack = match body
        .get("forEachContext")
        .filter(|context| !context.is_null())
    {
        None => return Ok(own),
        Some(context) => context.get("stack").and_then(Value::as_array),
    };
    let stack = stack.ok_or_else(|| wrong(CONTEXT, "must hold a stack of loops"))?;
    stack.iter().rev().try_fold(own, |inner, around| {
        let id = around.get("parentNodeId").and_then(Value::as_str);
        let id = id.and_then(|id| id.parse::<NodeId>().ok());
        let index = around.get("index").and_then(Value::as_u64);
        let index = index.and_then(|index| u32::try_from(index).ok());
        match (id, index) {
            (Some(id), Some(index)) => Ok(NodePath::of(id).enter(index, inner)),
            _ => Err(wrong(CONTEXT, "an entry takes parentNodeId and index")),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(node: &str, body: &Value) -> Option<String> {
        Some(path(node, body).ok()?.to_string())
    }

    #[test]
    fn the_place_of_a_node_is_its_id_its_stack_or_its_path() {
        let stack = json!({ "forEachContext": { "stack": [
            { "parentNodeId": "a", "index": 2, "total": 3 }, { "parentNodeId": "b", "index": 0, "total": 1 }
        ] } });
        for (node, body, expected) in [
            ("ask", json!({}), Some("ask")),
            ("a.b", json!({}), Some("[\"a.b\"]")),
            ("loop[3].ask", json!({}), Some("loop[3].ask")),
            ("ask", stack, Some("a[2].b[0].ask")),
            ("ask", json!({ "forEachContext": null }), Some("ask")),
            (
                "ask",
                json!({ "forEachContext": { "stack": [] } }),
                Some("ask"),
            ),
            ("ask", json!({ "forEachContext": {} }), None),
            (
                "ask",
                json!({ "forEachContext": { "stack": [{ "index": 1 }] } }),
                None,
            ),
            ("a[", json!({}), Some("[\"a[\"]")),
            ("w.x[0]", json!({}), Some("[\"w.x[0]\"]")),
            ("", json!({}), None),
        ] {
            assert_eq!(read(node, &body).as_deref(), expected, "{node} {body}");
        }
    }
}
