//! What a node of a run may read.

use std::collections::HashMap;

use serde_json::{Map, Value, json};

use crate::{
    domain::{JsonText, NodeId, NodeRecord, NodeStatus},
    workflow::{
        Definition, DefinitionLimits, ExpressionLimits, RecordView, RunScope, resolve_payload,
    },
};

struct Run {
    definition: Definition,
    records: HashMap<NodeId, RecordView>,
}

impl Run {
    fn new(definition: &Value, records: &[(&str, NodeStatus, Value)]) -> Self {
        let definition = Definition::parse(definition, &DefinitionLimits::default()).unwrap();
        let records = records.iter().map(|(id, status, members)| {
            let id: NodeId = id.parse().unwrap();
            let mut record = NodeRecord::new(id.clone().into(), "kind", *status);
            let text = |name: &str| members.get(name).map(JsonText::of);
            record.input = text("input");
            record.result = text("result");
            record.error = text("error");
            record.extra = text("extra");
            record.started_at = Some("then".into());
            (id, RecordView::from(&record))
        });
        let records = records.collect();
        Self {
            definition,
            records,
        }
    }

    /// The value of a text as a payload of `node` would have it; none when it is missing.
    fn value(&self, node: &str, text: &str) -> Option<Value> {
        let members = |value: Value| value.as_object().cloned().unwrap();
        let (variables, props) = (
            members(json!({"v": {"x": 1}, "0": "zero"})),
            members(json!({"p": 2})),
        );
        let scope = RunScope {
            definition: &self.definition,
            trigger: self.definition.triggers()[0],
            node: self.definition.find(node).unwrap(),
            records: &|id| self.records.get(id),
            iterations: &|_| None,
            loops: &[],
            variables: &variables,
            props: &props,
            inputs: &Map::new(),
            workflow_id: None,
            run_id: "run_1",
        };
        let resolved = resolve_payload("log", &json!([text]), &scope, &ExpressionLimits::default());
        match resolved {
            Ok(value) => Some(value[0].clone()),
            Err(error) => {
                assert_eq!(error.code, "missing_value", "{text}: {error}");
                assert_eq!(error.details.unwrap()["node"], node);
                None
            }
        }
    }
}

/// `start -> a -> b -> c` and `start -> side`, with a second trigger that did not fire.
fn run(result: &Value) -> Run {
    let definition = json!({
        "nodes": {
            "start": {"type": "manual", "children": ["a", "side"]},
            "other": {"type": "webhook", "children": ["b"]},
            "a": {"type": "pay", "onError": "continue", "children": ["b"]},
            "b": {"type": "log", "children": ["c.d"]},
            "c.d": {"type": "log"},
            "side": {"type": "log"}
        },
        "triggerNodeIds": ["start", "other"]
    });
    let trigger = json!({"input": {"given": true}, "result": result});
    let failed = json!({"error": {"class": "permanent", "code": "no"}, "extra": {"context": {"k": 7}, "status": "x"}});
    let done = json!({"input": {"in": 1}, "result": {"list": [{"id": "first"}], "7": "seven"}});
    Run::new(
        &definition,
        &[
            ("start", NodeStatus::Success, trigger),
            ("a", NodeStatus::Failure, failed),
            ("b", NodeStatus::Success, done),
            ("side", NodeStatus::Success, json!({"result": 1})),
        ],
    )
}

#[test]
fn heads_find_their_values() {
    let run = run(
        &json!({"body": {"message": "hi"}, "status": "paid", "input": 0, "triggeredAt": "now"}),
    );
    let table = [
        ("{{b.result.list[0].id}}", json!("first")),
        ("{{b.result.list.0.id}}", json!("first")),
        ("{{b.result.7}}", json!("seven")),
        ("{{b.result[7]}}", json!("seven")),
        ("{{b.input.in}}", json!(1)),
        ("{{$nodes.b.status}}", json!("success")),
        ("{{b.type}} {{b.startedAt}}", json!("kind then")),
        (
            "{{$nodes.a.error}}",
            json!({"class": "permanent", "code": "no"}),
        ),
        ("{{a.error.code}}", json!("no")),
        ("{{a.context.k}}", json!(7)),
        ("{{a.status}}", json!("failure")),
        ("{{start.result.body.message}}", json!("hi")),
        ("{{root.result.body.message}}", json!("hi")),
        ("{{root.body.message}}", json!("hi")),
        ("{{root.payload.given}}", json!(true)),
        ("{{root.input.given}}", json!(true)),
        ("{{root.status}}", json!("paid")),
        ("{{root.startedAt}}", json!("then")),
        ("{{start.status}}", json!("success")),
        ("{{$trigger.body.message}}", json!("hi")),
        ("{{$trigger.triggeredAt}}", json!("now")),
        ("{{$vars.v.x}}", json!(1)),
        ("{{$vars[0]}}", json!("zero")),
        ("{{$vars}}", json!({"v": {"x": 1}, "0": "zero"})),
        ("{{$props.p}}", json!(2)),
        ("{{$run.id}}", json!("run_1")),
        ("<< b.result.list[0].id >>", json!("first")),
    ];
    for (text, expected) in table {
        assert_eq!(run.value("c.d", text), Some(expected), "{text}");
    }
    let whole = run.value("c.d", "{{a}}").unwrap();
    assert_eq!(whole["error"]["code"], "no");
    assert_eq!(whole["status"], "failure");
}

#[test]
fn all_else_is_missing() {
    let run = run(&json!({"x": "text"}));
    for text in [
        "{{side.result}}",
        "{{c.d.result}}",
        "{{$nodes[\"c.d\"].status}}",
        "{{other.result}}",
        "{{nobody.x}}",
        "{{a.result}}",
        "{{b.result.list[1]}}",
        "{{b.result.list.id}}",
        "{{b.nope}}",
        "{{root.nope}}",
        "{{$trigger.x.y}}",
        "{{$vars.w}}",
        "{{$inputs.i}}",
        "{{$workflowId}}",
        "{{$run.id.x}}",
        "{{$item}}",
        "{{$index}}",
        "{{$parent_item}}",
        "{{$parent_index}}",
        "{{$for.b.item}}",
        "{{root.x.0}}",
        "{{b.result[\"list\"][\"0\"]}}",
    ] {
        assert_eq!(run.value("c.d", text), None, "{text}");
    }
    // A record of a node further down says nothing to the one above.
    assert_eq!(run.value("a", "{{b.result}}"), None);
    assert_eq!(run.value("b", "{{b.result}}"), None);
}

#[test]
fn a_trigger_without_body_is_its_body() {
    let run = run(&json!({"message": "hi", "result": "inner"}));
    for (text, expected) in [
        ("{{$trigger.body.message}}", "hi"),
        ("{{$trigger.message}}", "hi"),
        ("{{root.message}}", "hi"),
        ("{{$trigger.result}}", "inner"),
    ] {
        assert_eq!(run.value("b", text), Some(json!(expected)), "{text}");
    }
    assert_eq!(run.value("b", "{{root.result.message}}"), Some(json!("hi")));
}

#[test]
fn the_older_shape_reads_its_trigger_like_root() {
    let text =
        include_str!("../../../../tests/fixtures/examples/def-04-legacy-trigger-object-btc.json");
    let definition = serde_json::from_str(text).unwrap();
    let coin = json!({"result": {"market_data": {"current_price": {"usd": 97_000.5}}}});
    let run = Run::new(
        &definition,
        &[
            (
                "trigger",
                NodeStatus::Success,
                json!({"result": {"schedule": "daily"}}),
            ),
            ("action-1", NodeStatus::Success, coin),
        ],
    );
    let payload = definition["nodes"]["action-2"]["props"]["message"]
        .as_str()
        .unwrap();
    assert_eq!(
        run.value("action-2", payload),
        Some(json!("BTC price: 97000.5"))
    );
    for text in [
        "{{trigger.schedule}}",
        "{{trigger.result.schedule}}",
        "{{trigger-1.schedule}}",
        "{{root.schedule}}",
        "{{$trigger.schedule}}",
        "{{root.payload.schedule}}",
    ] {
        assert_eq!(run.value("action-1", text), Some(json!("daily")), "{text}");
    }
}
