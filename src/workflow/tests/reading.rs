//! Reading definitions.

use serde_json::{Value, json};

use super::{ids, parse};
use crate::{
    domain::SideEffects,
    workflow::{Definition, DefinitionLimits, ExpressionLimits, Lifetime, OnError},
};

fn refused(value: &Value) -> String {
    parse(value).unwrap_err().to_string()
}

/// A definition with a trigger `root` and one node `a` below it.
fn with_node(node: &Value) -> Value {
    json!({"nodes": {"root": {"type": "manual", "payload": {}, "children": ["a"]}, "a": node}})
}

#[test]
fn documented_definitions_are_read() {
    let texts = [
        include_str!("../../../tests/fixtures/examples/def-01-api-quickstart-logger.json"),
        include_str!("../../../tests/fixtures/examples/def-02-workflow-json-required-shape.json"),
    ];
    for text in texts {
        let definition = parse(&serde_json::from_str(text).unwrap()).unwrap();
        assert_eq!(definition.nodes().len(), 2);
        assert_eq!(ids(&definition, definition.triggers()), ["root"]);
        assert_eq!(definition.order(0), [0, 1]);
        definition
            .validate_for_start(&ExpressionLimits::default())
            .unwrap();
    }
}

#[test]
fn documented_nodes_are_read() {
    let read = [
        include_str!("../../../tests/fixtures/examples/node-delay.json"),
        include_str!("../../../tests/fixtures/examples/node-filter.json"),
        include_str!("../../../tests/fixtures/examples/node-for-each.json"),
        include_str!("../../../tests/fixtures/examples/node-format.json"),
        include_str!("../../../tests/fixtures/examples/node-if.json"),
        include_str!("../../../tests/fixtures/examples/node-send-webhook.json"),
        include_str!("../../../tests/fixtures/examples/node-trigger-workflow.json"),
        include_str!("../../../tests/fixtures/examples/node-wait.json"),
    ];
    for text in read {
        let definition = with_node(&serde_json::from_str(text).unwrap());
        let definition = parse(&definition).unwrap();
        definition
            .validate_for_start(&ExpressionLimits::default())
            .unwrap();
    }
    // This one reads a node `format` that the example does not have.
    let text = include_str!("../../../tests/fixtures/examples/node-telegram-with-connector.json");
    let definition = parse(&with_node(&serde_json::from_str(text).unwrap())).unwrap();
    let connector = definition.node(1).connector.as_ref().unwrap();
    assert_eq!(connector["id"], "conn_telegram_bot");
}

#[test]
fn the_older_shape_is_normalised() {
    let text =
        include_str!("../../../tests/fixtures/examples/def-04-legacy-trigger-object-btc.json");
    let definition = parse(&serde_json::from_str(text).unwrap()).unwrap();
    let all: Vec<_> = definition.nodes().iter().map(|n| n.id.as_str()).collect();
    assert_eq!(all, ["trigger", "action-1", "action-2"]);
    assert_eq!(definition.triggers(), [0]);
    assert_eq!(definition.order(0), [0, 1, 2]);
    assert_eq!(definition.find("trigger-1"), Some(0));
    assert_eq!(definition.firing_trigger(Some("trigger-1")), Ok(0));
    assert_eq!(definition.node(1).payload, json!({"coinId": "bitcoin"}));
    assert_eq!(definition.node(0).kind, "cronjob");
    definition
        .validate_for_start(&ExpressionLimits::default())
        .unwrap();
}

#[test]
fn the_older_shapes_trigger_may_be_listed_by_any_of_its_names() {
    let read = |ids: Value| {
        parse(&json!({
            "trigger": {"id": "trigger-1", "type": "manual", "children": ["a"]},
            "nodes": {"a": {"type": "log"}, "loose": {"type": "log"}},
            "triggerNodeIds": ids
        }))
    };
    for ids in [
        json!(["root"]),
        json!(["trigger"]),
        json!(["trigger-1"]),
        json!(["root", "trigger-1"]),
    ] {
        let definition = read(ids.clone()).unwrap();
        assert_eq!(definition.triggers(), [0], "{ids}");
        assert_eq!(definition.nodes()[0].id.as_str(), "trigger", "{ids}");
        assert_eq!(definition.firing_trigger(Some("root")), Ok(0));
    }
    for ids in [json!(["nobody"]), json!(["root", "nobody"]), json!([1])] {
        assert!(read(ids.clone()).is_err(), "{ids}");
    }
    let present = read(json!(["loose"])).unwrap();
    assert_eq!(present.node(present.triggers()[0]).id.as_str(), "loose");
}

#[test]
fn the_older_shapes_trigger_has_an_id_of_its_own_when_a_node_took_its_key() {
    let mut value = json!({
        "trigger": {"id": "t", "type": "manual", "children": ["trigger"]},
        "nodes": {"trigger": {"type": "log"}}
    });
    let definition = parse(&value).unwrap();
    assert_eq!(ids(&definition, &definition.order(0)), ["t", "trigger"]);
    value["trigger"]["id"] = "trigger".into();
    assert!(refused(&value).starts_with("`trigger.id`: `trigger` is also the id of a node"));
    // Beside a list of triggers, a member `trigger` is nothing we know.
    let present = json!({
        "trigger": {"id": "t", "type": "manual"},
        "triggerNodeIds": ["root"],
        "nodes": {"root": {"type": "manual"}}
    });
    assert_eq!(parse(&present).unwrap().nodes().len(), 1);
}

#[test]
fn members_of_a_node_are_read() {
    let value = json!({
        "nodes": {
            "root": {"type": "manual", "children": ["a"]},
            "a": {
                "type": "http-request", "payload": {"n": 1}, "children": null, "branch": "",
                "connector": {"id": "c"}, "onError": "continue", "sideEffects": "unsafe",
                "retry": null, "loopBody": [], "blockContext": {"blockId": "b", "inputMapping": {}},
                "titleOverride": "mine", "whatever": [1]
            }
        },
        "blockExpansions": {},
        "variableDefs": [
            {"name": "n", "type": "number", "default": 12_345_678_901_234_567_890_u64},
            {"name": "p", "lifetime": "persist", "default": [1]}
        ]
    });
    let definition = parse(&value).unwrap();
    let node = definition.node(1);
    assert_eq!(node.parents, [0]);
    assert_eq!(node.branch, None);
    assert_eq!(node.on_error, OnError::Continue);
    assert_eq!(node.side_effects, Some(SideEffects::Unsafe));
    assert!(!node.is_trigger && definition.node(0).is_trigger);
    assert_eq!(definition.node(0).payload, json!({}));
    assert_eq!(definition.variables().len(), 2);
    let number = definition.variable("n").unwrap();
    assert_eq!(number.lifetime, Lifetime::Reset);
    assert_eq!(number.kind.as_deref(), Some("number"));
    assert_eq!(number.default.to_string(), "12345678901234567890");
    assert_eq!(
        definition.variable("p").unwrap().lifetime,
        Lifetime::Persist
    );
    assert_eq!(definition.variable("q"), None);
}

#[test]
fn triggers_are_listed_or_found() {
    let node = || json!({"type": "manual"});
    let several = json!({"nodes": {"x": node(), "y": node()}, "triggerNodeIds": ["y", "x"]});
    let definition = parse(&several).unwrap();
    assert_eq!(definition.triggers(), [1, 0]);
    assert_eq!(definition.firing_trigger(Some("x")), Ok(0));
    for named in [None, Some("root"), Some("z")] {
        let message = definition.firing_trigger(named).unwrap_err().to_string();
        assert!(message.contains("name one of `y`, `x`"), "{message}");
    }
    let found = |value: Value| {
        let definition = parse(&value).unwrap();
        definition.triggers().to_vec()
    };
    assert_eq!(found(json!({"nodes": {"x": node(), "root": node()}})), [1]);
    assert_eq!(found(json!({"nodes": {"x": node(), "y": node()}})), [0, 1]);
    assert_eq!(
        found(json!({"nodes": {"x": node()}, "triggerNodeIds": []})),
        [0]
    );
    let one = parse(&json!({"nodes": {"x": node()}})).unwrap();
    assert_eq!(one.firing_trigger(None), Ok(0));
    assert_eq!(one.firing_trigger(Some("root")), Ok(0));
}

/// Faulty nodes `a` below a trigger `root`.
const FAULTY_NODES: &[(&str, &str)] = &[
    ("1", "node `a`: must be an object"),
    ("{}", "node `a`: has no `type`"),
    (r#"{"type": 1}"#, "node `a`: `type`: must be a text"),
    (
        r#"{"type": "log", "payload": []}"#,
        "node `a`: `payload`: must be an object",
    ),
    (
        r#"{"type": "log", "children": "b"}"#,
        "node `a`: `children`: must be an array",
    ),
    (
        r#"{"type": "log", "children": ["b"]}"#,
        "node `a`: `children.0`: there is no node `b`",
    ),
    (
        r#"{"type": "log", "children": [7]}"#,
        "node `a`: `children.0`: must be a node id",
    ),
    (
        r#"{"type": "log", "children": ["a"]}"#,
        "node `a`: `children`: the nodes `a` form a cycle",
    ),
    (
        r#"{"type": "log", "children": ["root"]}"#,
        "the nodes `root` -> `a` form a cycle",
    ),
    (
        r#"{"type": "log", "branch": 1}"#,
        "node `a`: `branch`: must be a text",
    ),
    (
        r#"{"type": "log", "onError": "retry"}"#,
        "node `a`: `onError`: must be",
    ),
    (
        r#"{"type": "log", "sideEffects": "some"}"#,
        "node `a`: `sideEffects`: must be",
    ),
    (
        r#"{"type": "log", "retry": {"max": 1}}"#,
        "node `a`: `retry`: has no member `max`",
    ),
    (
        r#"{"type": "log", "timeoutMs": 0}"#,
        "`timeoutMs`: must be a whole number from 1 to 86400000",
    ),
    (
        r#"{"type": "log", "loopBody": ["x"]}"#,
        "`loopBody`: only a node of type `for-each` has a body",
    ),
    (
        r#"{"type": "log", "blockContext": {"inputMapping": [1]}}"#,
        "`blockContext.inputMapping`: must be an object",
    ),
];

/// Faulty definitions.
const FAULTY: &[(&str, &str)] = &[
    ("[]", "a definition must be an object"),
    ("{}", "`nodes`: is missing"),
    (r#"{"nodes": []}"#, "`nodes`: must be an object"),
    (r#"{"nodes": {}}"#, "`nodes`: is empty"),
    (
        r#"{"nodes": {"a b": {"type": "log"}}}"#,
        "node `a b`: a node id must be 1 to 128",
    ),
    (
        r#"{"nodes": {"a": {"type": "log"}}, "triggerNodeIds": ["b"]}"#,
        "`triggerNodeIds.0`: there is no node `b`",
    ),
    (
        r#"{"nodes": {"a": {"type": "log"}}, "triggerNodeIds": "a"}"#,
        "`triggerNodeIds`: must be an array",
    ),
    (
        r#"{"nodes": {"r": {"type": "x", "children": ["a"]}, "a": {"type": "x"}}, "triggerNodeIds": ["r", "a"]}"#,
        "node `r`: `children`: `a` is a trigger",
    ),
    (
        r#"{"nodes": {"a": {"type": "log"}}, "variableDefs": {}}"#,
        "`variableDefs`: must be an array",
    ),
    (
        r#"{"nodes": {"a": {"type": "log"}}, "variableDefs": [{}]}"#,
        "`variableDefs.0`: a variable needs a `name`",
    ),
    (
        r#"{"nodes": {"a": {"type": "log"}}, "variableDefs": [{"name": "v"}, {"name": "v"}]}"#,
        "`variableDefs.1`: the variable `v` is declared twice",
    ),
    (
        r#"{"nodes": {"a": {"type": "log"}}, "variableDefs": [{"name": "v", "lifetime": "ever"}]}"#,
        "`lifetime` of `v` must be",
    ),
    (
        r#"{"trigger": {"id": 1}, "nodes": {"a": {"type": "log"}}}"#,
        "`trigger.id`: must be a text",
    ),
    (
        r#"{"trigger": {}, "nodes": {"a": {"type": "log"}}}"#,
        "node `trigger`: has no `type`",
    ),
];

#[test]
fn a_faulty_definition_is_refused_by_node_and_member() {
    let nodes = FAULTY_NODES.iter().map(|(node, expected)| {
        let node = serde_json::from_str(node).unwrap();
        (with_node(&node), *expected)
    });
    let definitions = FAULTY
        .iter()
        .map(|(text, expected)| (serde_json::from_str(text).unwrap(), *expected));
    for (value, expected) in nodes.chain(definitions) {
        let message = refused(&value);
        assert!(message.contains(expected), "{message:?} lacks {expected:?}");
    }
}

#[test]
fn a_child_listed_twice_and_a_longer_cycle_are_refused() {
    let twice =
        json!({"nodes": {"r": {"type": "manual", "children": ["a", "a"]}, "a": {"type": "log"}}});
    assert_eq!(
        refused(&twice),
        "node `r`: `children.1`: `a` is listed twice"
    );
    let cycle = json!({"nodes": {
        "r": {"type": "manual", "children": ["a"]},
        "a": {"type": "log", "children": ["b"]},
        "b": {"type": "log", "children": ["c", "d"]},
        "c": {"type": "log", "children": ["a"]},
        "d": {"type": "log"}
    }});
    let message = refused(&cycle);
    assert!(
        message.contains("the nodes `a` -> `b` -> `c` form a cycle"),
        "{message}"
    );
}

#[test]
fn branches_below_an_if_are_then_or_else() {
    let below = |branch: &str| {
        json!({"nodes": {
            "r": {"type": "manual", "children": ["if"]},
            "if": {"type": "if", "children": ["a"]},
            "a": {"type": "log", "branch": branch}
        }})
    };
    for branch in ["then", "else"] {
        parse(&below(branch)).unwrap();
    }
    let message = refused(&below("Then"));
    assert!(
        message
            .contains(r#"node `a`: `branch`: its parents have only the branches "else", "then""#),
        "{message}"
    );
    // Below anything else a branch says nothing.
    parse(&with_node(&json!({"type": "log", "branch": "x"}))).unwrap();
}

#[test]
fn limits_hold_at_their_edge() {
    let limits = DefinitionLimits {
        nodes: 2,
        nesting: 5,
        payload_bytes: 20,
        ..DefinitionLimits::default()
    };
    let parse = |value: &Value| Definition::parse(value, &limits).map(drop);
    parse(&with_node(&json!({"type": "log"}))).unwrap();
    let three = json!({"nodes": {"a": {"type": "x"}, "b": {"type": "x"}, "c": {"type": "x"}}});
    assert!(
        parse(&three)
            .unwrap_err()
            .message
            .contains("has 3 nodes, at most 2")
    );
    let nested = |value: Value| with_node(&json!({"type": "log", "payload": {"k": value}}));
    parse(&nested(json!([1]))).unwrap();
    assert!(
        parse(&nested(json!([[1]])))
            .unwrap_err()
            .message
            .contains("at most 5 levels")
    );
    // {"k":"..."} has 8 bytes around the text.
    parse(&nested(json!("x".repeat(12)))).unwrap();
    let error = parse(&nested(json!("x".repeat(13)))).unwrap_err();
    assert_eq!(
        error.to_string(),
        "node `a`: `payload`: has more than 20 bytes (limits.payload_bytes)"
    );
}

#[test]
fn errors_stay_readable() {
    let id = "é".repeat(100_000);
    let value = with_node(&json!({"type": "log", "children": [id]}));
    assert!(refused(&value).len() < 5_000);
    let value = json!({"nodes": {id: {"type": "log"}}});
    assert!(refused(&value).len() < 5_000);
}
