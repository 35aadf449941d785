//! Definitions that can't be run.

use serde_json::{Value, json};

use super::{
    Expected, INVALID_DEFINITION, INVALID_REQUEST, NOT_MANUAL, World, definition, failed, post,
    start, with,
};
use crate::support::{ledger::Ledger, on_both_engines};

on_both_engines![
    broken_graphs_are_refused,
    members_of_loops_and_policies_are_refused_by_name,
    members_of_the_wrong_type_are_refused,
    faults_of_expressions_are_refused_at_a_start,
    only_a_manual_trigger_is_started,
    too_many_nodes_are_refused,
];

fn log(children: &Value) -> Value {
    json!({ "type": "log", "payload": { "message": "x" }, "children": children })
}

fn nodes(nodes: &Value) -> Value {
    json!({ "nodes": nodes })
}

/// A start and an import with the definition are both refused.
async fn refuses_both(world: &World, definition: &Value, words: &str) {
    let body = with(start(), "/definition", definition.clone());
    world
        .refuses(post("/v1/runs", &body), INVALID_DEFINITION, words)
        .await;
    let body = with(failed("run_new"), "/workflowDefinition", definition.clone());
    let request = post("/v1/runs/import", &body);
    world.refuses(request, INVALID_DEFINITION, words).await;
}

async fn refuses_start(world: &World, definition: &Value, expected: Expected, words: &str) {
    let body = with(start(), "/definition", definition.clone());
    world
        .refuses(post("/v1/runs", &body), expected, words)
        .await;
}

async fn broken_graphs_are_refused(ledger: Ledger) {
    let world = World::new(ledger).await;
    let manual = |children: Value| json!({ "type": "manual", "payload": {}, "children": children });
    let cases = [
        (json!({}), "nodes"),
        (nodes(&json!({})), "nodes"),
        (nodes(&Value::Null), "nodes"),
        (nodes(&json!([])), "nodes"),
        (
            nodes(&json!({ "root": manual(json!(["a"])), "a": log(&json!(["a"])) })),
            "cycle",
        ),
        (nodes(&json!({ "root": manual(json!(["root"])) })), "cycle"),
        (
            nodes(&json!({
                "root": manual(json!(["a"])), "a": log(&json!(["b"])), "b": log(&json!(["c"])),
                "c": log(&json!(["a"]))
            })),
            "cycle",
        ),
        (nodes(&json!({ "root": manual(json!(["gone"])) })), "gone"),
        (
            nodes(&json!({ "root": manual(json!(["a", "a"])), "a": log(&json!([])) })),
            "twice",
        ),
        (
            nodes(&json!({ "root": manual(json!([])), "a b": log(&json!([])) })),
            "visible",
        ),
        (nodes(&json!({ "": manual(json!([])) })), "visible"),
        (nodes(&json!({ "x".repeat(129): manual(json!([])) })), "129"),
        (
            with(definition(), "/triggerNodeIds", json!(["gone"])),
            "gone",
        ),
        (
            with(definition(), "/triggerNodeIds", json!(["root", "a"])),
            "trigger",
        ),
    ];
    for (definition, words) in cases {
        refuses_both(&world, &definition, words).await;
    }
    // A ring of thousands is named in a message that can be read.
    let count = 5_000;
    let mut ring = serde_json::Map::new();
    for at in 0..count {
        ring.insert(
            format!("n{at}"),
            log(&json!([format!("n{}", (at + 1) % count)])),
        );
    }
    refuses_both(&world, &nodes(&Value::Object(ring)), "cycle").await;
    world.still_works().await;
}

async fn members_of_loops_and_policies_are_refused_by_name(ledger: Ledger) {
    let world = World::new(ledger).await;
    for (name, value) in [
        ("loopBody", json!(["a"])),
        ("retry", json!({ "attempts": 3 })),
        ("timeoutMs", json!(0)),
        ("blockContext", json!({ "inputMapping": 1 })),
    ] {
        let definition = with(definition(), &format!("/nodes/a/{name}"), value);
        refuses_both(&world, &definition, name).await;
    }
    world.still_works().await;
}

async fn members_of_the_wrong_type_are_refused(ledger: Ledger) {
    let world = World::new(ledger).await;
    let types = [
        json!(7),
        json!(true),
        json!("text"),
        json!([[]]),
        json!({ "a": 1 }),
    ];
    for (name, good) in [
        ("type", "string"),
        ("payload", "object"),
        ("children", "array"),
        ("branch", "string"),
        ("onError", "none"),
        ("sideEffects", "none"),
    ] {
        for value in &types {
            let is_good = match good {
                "string" => value.is_string(),
                "object" => value.is_object(),
                _ => false,
            };
            if !is_good {
                let definition = with(definition(), &format!("/nodes/a/{name}"), value.clone());
                refuses_both(&world, &definition, "`a`").await;
            }
        }
    }
    for value in &types {
        if !value.is_object() {
            let whole = with(definition(), "/nodes/a", value.clone());
            refuses_both(&world, &whole, "`a`").await;
        }
        for name in ["triggerNodeIds", "variableDefs"] {
            let definition = with(definition(), &format!("/{name}"), value.clone());
            refuses_both(&world, &definition, name).await;
        }
    }
    world.still_works().await;
}

async fn faults_of_expressions_are_refused_at_a_start(ledger: Ledger) {
    let world = World::new(ledger).await;
    for text in [
        "{{",
        "{{}}",
        "{{ gone.result }}",
        "{{ $nodes.gone.result }}",
        "{{ a.result }}",
        "{{ $vars.undeclared }}",
        "{{ $item }}",
        "{{ root.x || }}",
        "{{ root..x }}",
        "{{ root[ }}",
        "{{ $nowhere.x }}",
    ] {
        let definition = with(definition(), "/nodes/a/payload/message", json!(text));
        refuses_start(&world, &definition, INVALID_DEFINITION, "`a`").await;
    }
    let long = format!("{{{{ root.{} }}}}", "x".repeat(5_000));
    let many = "{{root.x}}".repeat(65);
    for text in [long, many] {
        let definition = with(definition(), "/nodes/a/payload/message", json!(text));
        refuses_start(&world, &definition, INVALID_DEFINITION, "`a`").await;
    }
    world.still_works().await;
}

async fn only_a_manual_trigger_is_started(ledger: Ledger) {
    let world = World::new(ledger).await;
    for kind in ["webhook", "schedule", "Manual", "log", "price-trigger"] {
        let definition = with(definition(), "/nodes/root/type", json!(kind));
        refuses_start(&world, &definition, NOT_MANUAL, kind).await;
    }
    let two = with(
        definition(),
        "/nodes/two",
        json!({ "type": "manual", "payload": {} }),
    );
    let two = with(two, "/triggerNodeIds", json!(["root", "two"]));
    refuses_start(&world, &two, INVALID_DEFINITION, "both manual").await;
    world.still_works().await;
}

async fn too_many_nodes_are_refused(ledger: Ledger) {
    let world = World::new(ledger).await;
    let mut many = serde_json::Map::new();
    many.insert("root".into(), json!({ "type": "manual", "payload": {} }));
    for at in 0..10_000 {
        many.insert(format!("n{at}"), log(&json!([])));
    }
    refuses_both(&world, &nodes(&Value::Object(many)), "10000").await;
    let unknown = with(start(), "/nodes", json!({}));
    world
        .refuses(post("/v1/runs", &unknown), INVALID_REQUEST, "nodes")
        .await;
    world.still_works().await;
}
