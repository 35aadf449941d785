//! Users' data: what goes in comes out, digit for digit.

use redrive::domain::{parse_json, same_value};
use serde_json::{Map, Value, json};

use crate::support::{app::TestApp, ledger::Ledger, on_both_engines, target::Target};

mod imported {
    use super::*;
    on_both_engines![promise_7_data_comes_back_as_it_went_in];

    async fn promise_7_data_comes_back_as_it_went_in(ledger: Ledger) {
        through_an_import(ledger).await;
    }
}

mod started {
    use super::*;
    on_both_engines![promise_7_data_comes_back_as_it_went_in];

    async fn promise_7_data_comes_back_as_it_went_in(ledger: Ledger) {
        through_a_run(ledger).await;
    }
}

mod long {
    use super::*;
    on_both_engines![promise_7_data_comes_back_as_it_went_in];

    async fn promise_7_data_comes_back_as_it_went_in(ledger: Ledger) {
        megabytes(ledger).await;
    }
}

/// 2^256 - 1.
const LARGEST_WORD: &str =
    "115792089237316195423570985008687907853269984665640564039457584007913129639935";

/// The bytes of a long text, quoted and escaped.
const LONG: usize = 1_000_000;

/// Values that something along the way could lose, as they are written.
fn texts() -> Vec<String> {
    let mut texts: Vec<_> = [
        LARGEST_WORD,
        "1E5",
        "1e-7",
        "1E+400",
        "-1.5e-400",
        "-0",
        "0",
        "-0.0",
        "0.10",
        "1.0",
        "9007199254740993",
        "-9223372036854775809",
        "18446744073709551616",
        "0.1000000000000000055511151231257827021181583404541015625",
        "null",
        "true",
        "false",
        "{}",
        "[]",
        "[[],{},[{}],null]",
        r#"{"z":1,"a":{"y":null,"b":[null,true,0.50]},"m":2,"10":1,"9":2}"#,
        r#"{"":0,"a.b":1,"a[0]":2,"__proto__":3,"constructor":4,"$vars":5,"é":6,"😀":7}"#,
        r#""""#,
        r#"" \t\r\n\b\f\"\\\/ ""#,
        r#""\ud83d\ude00 \u2028 \u2029 \u00e9 e\u0301 \ufeff \u007f \uffff""#,
        "\"\u{10348} \u{2028} \u{202e} \u{0085} 漢字\"",
        r#""0.10""#,
        r#""null""#,
        r#""{{root.result.secret}}""#,
        r#""<<$vars.x>>""#,
        r#""';drop table runs;--""#,
        r#""2024-01-01T00:00:00.000Z""#,
    ]
    .map(str::to_owned)
    .into();
    texts.push(format!("[{}]", vec!["0.10"; 1_000].join(",")));
    texts
}

fn value(text: &str) -> Value {
    parse_json(text.as_bytes(), 200).unwrap()
}

/// Every value under a name of its own, in an order that no sorting gives.
fn all() -> Value {
    let texts = texts();
    let named = texts.iter().enumerate().rev();
    let members: Map<_, _> = named
        .map(|(index, text)| (format!("v{index}"), value(text)))
        .collect();
    Value::Object(members)
}

/// Arrays and objects in turn, `levels` deep.
fn nested(levels: usize) -> Value {
    (0..levels).fold(json!("core"), |inner, level| {
        if level % 2 == 0 {
            json!([inner])
        } else {
            json!({ "down": inner })
        }
    })
}

/// A long text that holds what takes more than one byte, and what is escaped.
fn long() -> String {
    let piece = "0123456789 \"\\ \u{e9}\u{10348}\u{2028}\n";
    let quoted = json!(piece).to_string().len() - 2;
    let mut text = piece.repeat((LONG - 2) / quoted);
    let left = LONG - json!(text).to_string().len();
    text.extend(std::iter::repeat_n('x', left));
    text
}

#[track_caller]
fn assert_same(given: &Value, expected: &Value, what: &str) {
    if same_value(given, expected) {
        return;
    }
    let short = |value: &Value| value.to_string().chars().take(300).collect::<String>();
    if let (Some(given), Some(expected)) = (given.as_object(), expected.as_object()) {
        for (name, value) in expected {
            let other = given.get(name).unwrap_or(&Value::Null);
            assert!(
                same_value(other, value),
                "{what}.{name}: {} became {}",
                short(value),
                short(other)
            );
        }
    }
    panic!("{what}: {} became {}", short(expected), short(given));
}

/// A failed run of elsewhere that has the data in every place.
fn elsewhere(target: &Target, id: &str, data: &Value, deep: &Value) -> Value {
    let record = json!({
        "type": "http-request", "status": "success", "input": data, "result": data,
        "context": data, "connector": data, "deep": deep
    });
    json!({
        "id": id,
        "status": "failure",
        "triggerNodeId": "root",
        "workflowId": "wf_\u{10348}",
        "workflowVersion": 9_007_199_254_740_993_i64,
        "summary": "\u{2028}\u{10348}",
        "totalCu": value("12345678901234567890.50"),
        "propValues": { "z": data, "a": nested(63) },
        "simulationForks": [data, { "z": 1, "a": data }],
        "executionState": {
            "root": { "type": "manual", "status": "success", "input": deep, "result": data },
            "done": record,
            "again": {
                "type": "http-request", "status": "failure", "input": data,
                "error": { "class": "transient", "code": "c", "message": "m", "details": data }
            }
        },
        "workflowDefinition": {
            "z-unknown": data,
            "nodes": {
                "root": { "type": "manual", "payload": data, "children": ["done"] },
                "done": { "type": "http-request", "payload": data, "children": ["again"], "note": data },
                "again": {
                    "type": "http-request",
                    "payload": {
                        "method": "POST",
                        "url": target.url("/again"),
                        "body": { "z": "{{done.result}}", "a": "{{$props.z}}", "m": "{{root.result}}" }
                    }
                }
            },
            "variableDefs": [{ "name": "v", "type": "object", "default": data, "lifetime": "reset" }]
        }
    })
}

async fn through_an_import(ledger: Ledger) {
    let (target, app) = (Target::start().await, TestApp::start(ledger).await);
    let (data, deep) = (all(), nested(64));
    let run = elsewhere(&target, "run_elsewhere", &data, &deep);
    app.post("/v1/runs/import", &run).await;
    let shown = app.get("/v1/runs/run_elsewhere").await;
    for name in run.as_object().unwrap().keys() {
        assert_same(&shown[name], &run[name], name);
    }

    let retried = app.ended(&app.retry("run_elsewhere").await).await;
    assert_eq!(retried["status"], "success", "{}", retried["summary"]);
    for name in [
        "workflowDefinition",
        "propValues",
        "simulationForks",
        "workflowId",
        "workflowVersion",
    ] {
        assert_same(&retried[name], &run[name], name);
    }
    for node in ["root", "done"] {
        let (given, expected) = (
            &retried["executionState"][node],
            &run["executionState"][node],
        );
        for name in expected.as_object().unwrap().keys() {
            assert_same(&given[name], &expected[name], &format!("{node}.{name}"));
        }
    }
    let sent = value(&target.calls_of("/again")[0].body);
    assert_same(&sent, &json!({ "z": data, "a": data, "m": data }), "sent");
    // The source is as it was, and what we show can be imported again.
    assert_same(&app.get("/v1/runs/run_elsewhere").await, &shown, "source");
    let mut copy = app.get("/v1/runs/run_elsewhere").await;
    copy["id"] = json!("run_copy");
    copy["runId"] = json!("run_copy");
    app.post("/v1/runs/import", &json!({ "code": 200, "data": copy }))
        .await;
    let again = app.get("/v1/runs/run_copy").await;
    assert_same(&again["executionState"], &shown["executionState"], "copy");
    app.stop().await;
}

async fn through_a_run(ledger: Ledger) {
    let (target, app) = (Target::start().await, TestApp::start(ledger).await);
    let (data, deep) = (all(), nested(58));
    let post = |path: &str, body: Value, children: Value| {
        let payload = json!({ "url": target.url(path), "method": "POST", "body": body });
        json!({ "type": "http-request", "payload": payload, "children": children })
    };
    let definition = json!({
        "variableDefs": [{ "name": "v", "type": "object", "default": {}, "lifetime": "reset" }],
        "nodes": {
            "root": { "type": "manual", "payload": {}, "children": ["keep"] },
            "keep": {
                "type": "set-variable",
                "payload": { "name": "v", "value": "{{root.result.data}}" },
                "children": ["send"]
            },
            "send": post("/send", json!({
                "z": "{{root.result.data}}", "a": "{{$vars.v}}", "m": "{{$props.data}}"
            }), json!(["deep"])),
            "deep": post("/deep", json!("{{root.deep}}"), json!(["fail"])),
            "fail": post("/fail", json!("{{send.result.json.got.a}}"), json!([]))
        }
    });
    target.answer_with("/fail", [503]);
    let payload = json!({ "z": 1, "data": data, "deep": deep });
    let body =
        json!({ "definition": definition, "payload": payload, "propValues": { "data": data } });
    let source = app.post("/v1/runs", &body).await;
    let source = source["runId"].as_str().unwrap();
    assert_eq!(app.ended(source).await["status"], "failure");
    let retried = app.ended(&app.retry(source).await).await;
    assert_eq!(retried["status"], "success", "{}", retried["summary"]);

    let expected = json!({ "z": data, "a": data, "m": data });
    assert_same(&value(&target.calls_of("/send")[0].body), &expected, "sent");
    assert_same(&value(&target.calls_of("/deep")[0].body), &deep, "deep");
    for call in target.calls_of("/fail") {
        assert_same(&value(&call.body), &data, "read from a result");
    }
    for run in [app.get(&format!("/v1/runs/{source}")).await, retried] {
        let state = &run["executionState"];
        assert_same(&state["root"]["input"], &payload, "payload");
        assert_same(&state["root"]["result"]["data"], &data, "trigger");
        assert_same(&state["keep"]["result"]["newValue"], &data, "variable");
        assert_same(&state["send"]["input"]["body"], &expected, "input");
        let got = &state["send"]["result"]["json"]["got"];
        assert_same(got, &expected, "result");
        assert_same(&state["deep"]["result"]["json"]["got"], &deep, "deep");
        assert_same(&run["workflowDefinition"], &definition, "definition");
    }
    app.stop().await;
}

async fn megabytes(ledger: Ledger) {
    let (target, app) = (Target::start().await, TestApp::start(ledger).await);
    let long = json!([long()]);
    let text = long.to_string();
    let post = |path: &str, body: &str, children: Value| {
        let payload = json!({ "url": target.url(path), "method": "POST", "body": body });
        json!({ "type": "http-request", "payload": payload, "children": children })
    };
    let definition = json!({ "nodes": {
        "root": { "type": "manual", "payload": {}, "children": ["send"] },
        "send": post("/send", "{{root.long}}", json!(["fail"])),
        "fail": post("/fail", "{{send.result.json.got}}", json!([]))
    }});
    target.answer_with("/fail", [503]);
    let source = app.start_run(&definition, &json!({ "long": long })).await;
    assert_eq!(app.ended(&source).await["status"], "failure");
    let retry = app.retry(&source).await;
    let retried = app.ended(&retry).await;
    assert_eq!(retried["status"], "success", "{}", retried["summary"]);
    for call in target.calls() {
        assert!(call.body == text, "{}", call.path);
    }
    assert_eq!(target.calls_of("/send").len(), 1);
    let state = &retried["executionState"];
    assert!(state["root"]["result"]["long"] == long);
    assert!(state["send"]["result"]["json"]["got"] == long);
    assert!(state["fail"]["result"]["json"]["got"] == long);

    // The same through an import and its retry.
    let mut copy = app.get(&format!("/v1/runs/{source}")).await;
    copy["id"] = json!("run_copy");
    copy["runId"] = json!("run_copy");
    app.post("/v1/runs/import", &copy).await;
    let retried = app.ended(&app.retry("run_copy").await).await;
    assert_eq!(retried["status"], "success", "{}", retried["summary"]);
    let original = app.get(&format!("/v1/runs/{source}")).await;
    for node in ["root", "send"] {
        let (given, expected) = (&retried["executionState"], &original["executionState"]);
        assert_same(&given[node]["result"], &expected[node]["result"], node);
    }
    assert!(target.calls_of("/fail")[2].body == text);
    app.stop().await;
}
