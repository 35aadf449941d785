//! Limits of a definition, which a start is held to.

use serde_json::{Value, json};

use super::{count, fails, limited, log, names, refuses, succeeds, with_node};
use crate::support::{app::TestApp, elsewhere::each, ledger::Ledger};

/// A trigger and so many more nodes below it.
fn wide(below: usize) -> Value {
    let ids: Vec<_> = (0..below).map(|n| format!("n{n}")).collect();
    let mut nodes = json!({ "root": { "type": "manual", "children": ids } });
    for id in ids {
        nodes[id] = log("x");
    }
    json!({ "nodes": nodes })
}

pub(super) async fn nodes(ledger: Ledger) {
    let app = limited(ledger, |limits| limits.nodes = 4).await;
    succeeds(&app, &wide(3), &json!({})).await;
    refuses(&app, &wide(4), 4, "nodes").await;
    let register = json!({ "name": "w", "definition": wide(4) }).to_string();
    let (status, answer) = app.call("PUT", "/v1/workflows/w", Some(&register)).await;
    assert_eq!(status, 400, "{answer}");
    names(&answer["message"], 4, "nodes");
    // A run without a definition has as many records.
    for (records, expected) in [(4, 200), (5, 400)] {
        let state: serde_json::Map<_, _> = (0..records)
            .map(|n| {
                (
                    format!("n{n}"),
                    json!({ "type": "log", "status": "failure" }),
                )
            })
            .collect();
        let run =
            json!({ "id": format!("run_{records}"), "status": "failure", "executionState": state });
        let (status, answer) = app
            .call("POST", "/v1/runs/import", Some(&run.to_string()))
            .await;
        assert_eq!(status, expected, "{answer}");
        if expected == 400 {
            names(&answer["message"], 4, "nodes");
        }
    }
    assert_eq!(count(&app).await, 2);
    app.stop().await;
}

/// Loops inside each other.
fn deep(loops: usize) -> Value {
    let mut definition = with_node(&log("x"));
    definition["nodes"]["root"]["children"] = json!(["l0"]);
    for depth in 0..loops {
        let inner = match depth + 1 {
            last if last == loops => "n".to_owned(),
            next => format!("l{next}"),
        };
        definition["nodes"][format!("l{depth}")] = each(&json!([1]), &[&inner], &[]);
    }
    definition
}

pub(super) async fn loop_depth(ledger: Ledger) {
    let app = limited(ledger, |limits| limits.loop_depth = 3).await;
    succeeds(&app, &deep(3), &json!({})).await;
    refuses(&app, &deep(4), 3, "loop_depth").await;
    app.stop().await;
}

/// A node whose payload has so many bytes.
fn long_payload(bytes: usize) -> Value {
    with_node(&log(&"x".repeat(bytes - r#"{"message":""}"#.len())))
}

pub(super) async fn payload_bytes(ledger: Ledger) {
    let app = limited(ledger, |limits| limits.payload_bytes = 100).await;
    succeeds(&app, &long_payload(100), &json!({})).await;
    refuses(&app, &long_payload(101), 100, "payload_bytes").await;
    // And again once it is resolved.
    let definition = with_node(&log("{{root.x}}"));
    let given = |bytes: usize| json!({ "x": "x".repeat(bytes - r#"{"message":""}"#.len()) });
    succeeds(&app, &definition, &given(100)).await;
    let message = fails(&app, &definition, &given(101), "payload_too_large").await;
    names(&message, 100, "payload_bytes");
    app.stop().await;
}

/// What a definition whose expressions are over a limit does: a start of it is refused, a run of
/// elsewhere fails in its node.
async fn refuses_expressions(app: &TestApp, definition: &Value, limit: usize, key: &str) {
    refuses(app, definition, limit, key).await;
    let state = json!({ "n": { "type": "log", "status": "failure" } });
    let nodes = definition["nodes"].clone();
    let source = crate::support::elsewhere::imported(app, nodes, state, json!({})).await;
    let retried = app.ended(&app.retry(&source).await).await;
    let error = &retried["executionState"]["n"]["error"];
    assert_eq!(error["code"], "expression_limit", "{retried:#}");
    names(&error["message"], limit, key);
}

pub(super) async fn expression_bytes(ledger: Ledger) {
    let app = limited(ledger, |limits| limits.expression_bytes = 20).await;
    let padded = |bytes: usize| with_node(&log(&format!("{{{{{:bytes$}}}}}", "root.x")));
    succeeds(&app, &padded(20), &json!({ "x": 1 })).await;
    refuses_expressions(&app, &padded(21), 20, "expression_bytes").await;
    app.stop().await;
}

pub(super) async fn expressions_per_string(ledger: Ledger) {
    let app = limited(ledger, |limits| limits.expressions_per_string = 3).await;
    let several = |count: usize| with_node(&log(&"{{root.x}}".repeat(count)));
    succeeds(&app, &several(3), &json!({ "x": 1 })).await;
    refuses_expressions(&app, &several(4), 3, "expressions_per_string").await;
    app.stop().await;
}
