//! Valid bodies, changed at random places: whatever comes of it, no fault of the program.

use std::time::Duration;

use serde_json::{Map, Value, json};

use super::{World, post};
use crate::support::{ledger::Ledger, on_both_engines, target::Target};

on_both_engines![mutated_bodies_never_break_anything];

/// How many bodies are sent per engine, each changed in one to three places.
const BODIES: usize = 200;

/// A small generator: the same sequence in every run (Numerical Recipes' LCG).
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % bound
    }

    fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.below(from.len())]
    }
}

fn strange() -> Vec<Value> {
    let long = serde_json::from_str("1e99999").unwrap();
    let wide = serde_json::from_str("123456789012345678901234567890").unwrap();
    vec![
        Value::Null,
        json!(true),
        json!(0),
        json!(-1),
        json!(4_294_967_295_u32),
        json!(1.5),
        long,
        wide,
        json!(""),
        json!("root"),
        json!("gone"),
        json!("success"),
        json!("{{root.result}}"),
        json!("{{"),
        json!("\u{10348}\u{2028}"),
        json!([]),
        json!({}),
        json!([null]),
        json!({ "": {} }),
    ]
}

fn definition(target: &Target) -> Value {
    json!({
        "triggerNodeIds": ["root"],
        "variableDefs": [{ "name": "n", "type": "number", "default": 1, "lifetime": "reset" }],
        "nodes": {
            "root": { "type": "manual", "payload": {}, "children": ["set"] },
            "set": { "type": "set-variable", "payload": { "name": "n", "value": 2 }, "children": ["if"] },
            "if": {
                "type": "if", "children": ["call", "else"],
                "payload": { "condition": { "$and": [{ "{{$vars.n}}": { "$gte": 1 } }] } }
            },
            "call": {
                "type": "http-request", "branch": "then", "children": ["pick"],
                "payload": {
                    "url": target.url("/call"), "method": "POST", "headers": { "x-a": "b" },
                    "body": { "n": "{{$vars.n}}" }, "timeout": 1000, "followRedirects": true
                }
            },
            "else": { "type": "log", "branch": "else", "payload": { "message": "else" } },
            "pick": {
                "type": "filter", "onError": "continue", "children": ["text", "match", "values"],
                "payload": { "array": [{ "a": 1 }, { "a": 2 }], "filter": { "$and": [{ "a": { "$gt": 1 } }] } }
            },
            "text": { "type": "format", "payload": { "data": "{{pick.result.filtered}}", "template": "{{@a}}", "separator": "," } },
            "match": { "type": "regex", "payload": { "text": "abc", "pattern": "(?P<x>b)", "global": true } },
            "values": { "type": "pluck", "payload": { "array": [{ "a": { "b": 1 } }], "field": "a.b" } }
        }
    })
}

fn seeds(target: &Target) -> Vec<(&'static str, Value)> {
    let definition = definition(target);
    let attempt = json!({ "attempt": 1, "startedAt": "2024-01-01T00:00:00Z" });
    let run = json!({
        "id": "run_seed", "status": "failure", "workflowDefinition": definition,
        "triggerNodeId": "root", "propValues": { "a": 1 }, "variables": { "n": 3 },
        "simulationForks": [{ "chainId": 1 }], "isSimulation": true, "totalCu": 1.5,
        "sourceRunId": "run_before", "workflowVersion": 3, "startedAt": "2024-01-01T00:00:00Z",
        "executionState": {
            "root": { "type": "manual", "status": "success", "result": { "a": 1 } },
            "set": { "type": "set-variable", "status": "success",
                     "input": { "name": "n", "value": 2 }, "result": { "name": "n", "newValue": 2 } },
            "if": { "type": "if", "status": "success", "result": { "branch": "then" } },
            "call": {
                "type": "http-request", "status": "failure", "input": { "secret": "x" },
                "secretKeys": ["secret"], "attempts": [attempt], "originRunId": "run_before",
                "effect": { "generation": 1, "last": "in_flight", "doubted": true },
                "error": { "class": "in_doubt", "code": "c", "message": "m" }
            }
        }
    });
    vec![
        (
            "/v1/runs",
            json!({ "definition": definition, "payload": { "a": 1 }, "propValues": {} }),
        ),
        ("/v1/runs/import", run.clone()),
        ("/v1/runs/import", json!({ "code": 200, "data": run })),
        (
            "/v1/runs/run_failed/retry",
            json!({ "reason": "x", "mode": "failed" }),
        ),
        ("/v1/runs/run_failed/cancel", json!({ "reason": "x" })),
    ]
}

/// Every place in a value, as JSON pointers.
fn places(value: &Value, at: &str, found: &mut Vec<String>) {
    found.push(at.to_owned());
    match value {
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                places(item, &format!("{at}/{index}"), found);
            }
        }
        Value::Object(members) => {
            for (name, member) in members {
                let name = name.replace('~', "~0").replace('/', "~1");
                places(member, &format!("{at}/{name}"), found);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// Replaces, deletes, renames, copies or wraps what stands at a random place.
fn mutate(value: &mut Value, random: &mut Random) {
    let mut found = Vec::new();
    places(value, "", &mut found);
    let donor = value
        .pointer(random.pick::<String>(&found))
        .unwrap()
        .clone();
    let strange = strange();
    let place = value.pointer_mut(random.pick::<String>(&found)).unwrap();
    match (random.below(6), &mut *place) {
        (0 | 1, place) => *place = random.pick(&strange).clone(),
        (2, place) => *place = donor,
        (3, Value::Object(members)) if !members.is_empty() => {
            let names: Vec<_> = members.keys().cloned().collect();
            members.shift_remove(random.pick(&names));
        }
        (4, Value::Object(members)) if !members.is_empty() => {
            let names: Vec<_> = members.keys().cloned().collect();
            let name = random.pick(&names);
            let member = members.shift_remove(name).unwrap();
            members.insert(format!("{name}{}", random.below(3)), member);
        }
        (3 | 4, Value::Array(items)) if !items.is_empty() => {
            let at = random.below(items.len());
            let item = items[at].clone();
            items.push(item);
        }
        (5, place) => *place = json!([place.take()]),
        (_, place) => *place = Value::Object(Map::from_iter([("a".into(), place.take())])),
    }
}

async fn mutated_bodies_never_break_anything(ledger: Ledger) {
    let (target, world) = (Target::start().await, World::new(ledger).await);
    let mut random = Random(20_240_501);
    let seeds = seeds(&target);
    let mut accepted = Vec::new();
    for number in 0..BODIES {
        let (path, mut body) = seeds[if number % 2 == 0 { 1 } else { random.below(5) }].clone();
        for id in ["/id", "/data/id"] {
            if let Some(id) = body.pointer_mut(id) {
                *id = json!(format!("run_{number}"));
            }
        }
        for _ in 0..=random.below(3) {
            mutate(&mut body, &mut random);
        }
        let what = format!("{number}: {path} {body}");
        let answer = post(path, &body).send_authorized(&world.app).await;
        if answer.status != 200 {
            answer.assert_refusal(&what);
            continue;
        }
        answer.assert_success(&what);
        let id = answer.body["data"]["id"].as_str().unwrap().to_owned();
        accepted.push((id, what));
    }
    assert!(accepted.len() > 20, "{} accepted", accepted.len());
    // What was accepted can be read, and ends; what failed can be retried or says why not.
    for (id, what) in &accepted {
        let run = ended(&world, id, what).await;
        if run["status"] == "failure" || run["status"] == "cancelled" {
            let retry = post(&format!("/v1/runs/{id}/retry"), &json!({}));
            let answer = retry.send_authorized(&world.app).await;
            if answer.status == 200 {
                answer.assert_success(what);
                let id = answer.body["data"]["id"].as_str().unwrap();
                let run = ended(&world, id, what).await;
                assert_ne!(run["summary"], Value::Null, "{what}");
            } else {
                answer.assert_refusal(what);
            }
        }
    }
    let (status, answer) = world.app.call("GET", "/v1/runs?limit=100", None).await;
    assert_eq!(status, 200, "{answer}");
    let run = world.app.start_run(&definition(&target), &json!({})).await;
    assert_eq!(world.app.ended(&run).await["status"], "success");
    world.app.stop().await;
}

/// A run that has ended, none of whose nodes failed by a fault of the program here.
async fn ended(world: &World, id: &str, what: &str) -> Value {
    let ended = tokio::time::timeout(Duration::from_secs(30), world.app.ended(id)).await;
    let run = ended.unwrap_or_else(|_| panic!("{id} hangs: {what}"));
    for (node, record) in run["executionState"].as_object().unwrap() {
        let here = record.get("originRunId").is_none() && record.get("attempts").is_some();
        let class = &record["error"]["class"];
        assert!(!here || class != "internal", "{node} of {what}: {record}");
    }
    run
}
