//! Limits that nobody sets: nesting, and the length of ids.

use serde_json::{Value, json};

use super::{limited, log, with_node};
use crate::support::{ledger::Ledger, on_both_engines};

on_both_engines![
    user_json_nests_sixty_four_levels,
    ids_have_up_to_128_characters,
];

/// An object that nests so many levels.
fn nested(levels: usize) -> Value {
    let inner = (1..levels).fold(json!(1), |inner, _| json!([inner]));
    json!({ "x": inner })
}

async fn user_json_nests_sixty_four_levels(ledger: Ledger) {
    let app = limited(ledger, |_| {}).await;
    let start =
        |levels| json!({ "definition": with_node(&log("{{root.x}}")), "payload": nested(levels) });
    // A level less, as the message of the node stands in an object.
    let started = app.post("/v1/runs", &start(64)).await;
    let ended = app.ended(started["runId"].as_str().unwrap()).await;
    assert_eq!(ended["status"], "success", "{ended:#}");
    let result = &ended["executionState"]["n"]["result"]["message"];
    assert_eq!(result, &nested(64)["x"]);
    let (status, answer) = app
        .call("POST", "/v1/runs", Some(&start(65).to_string()))
        .await;
    assert_eq!(status, 400, "{answer}");
    let message = answer["message"].as_str().unwrap();
    assert!(message.contains("65 levels, more than 64"), "{message}");
    app.stop().await;
}

async fn ids_have_up_to_128_characters(ledger: Ledger) {
    let app = limited(ledger, |_| {}).await;
    let id = |characters: usize| "é".repeat(characters);
    let node = |id: &str| json!({ "nodes": { "root": { "type": "manual", "children": [id] }, id: log("x") } });
    let starts = [
        ("run", id(128), "n".to_owned(), 200),
        ("node", "run_1".to_owned(), id(128), 200),
        ("run", id(129), "n".to_owned(), 400),
        ("node", "run_2".to_owned(), id(129), 400),
    ];
    for (what, run, of_node, expected) in starts {
        let body = json!({ "runId": run, "definition": node(&of_node), "payload": {} });
        let (status, answer) = app.call("POST", "/v1/runs", Some(&body.to_string())).await;
        assert_eq!(status, expected, "{what}: {answer}");
        if status == 400 {
            let message = answer["message"].as_str().unwrap();
            assert!(message.contains("1 to 128 visible characters"), "{message}");
        }
    }
    for (characters, expected) in [(128, 200), (129, 400)] {
        let path = format!("/v1/workflows/{}", "w".repeat(characters));
        let body = json!({ "name": "w", "definition": node("n") }).to_string();
        let (status, answer) = app.call("PUT", &path, Some(&body)).await;
        assert_eq!(status, expected, "{answer}");
    }
    app.stop().await;
}
