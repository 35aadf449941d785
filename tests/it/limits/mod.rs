//! Every limit at its edge: exactly the limit passes, one more is refused, and whoever is refused is
//! told the limit and the key that sets it.

mod definitions;
mod fixed;
mod requests;
mod runs;

use redrive::config::{Config, ConfigError, LimitsConfig};
use serde_json::{Value, json};

use crate::support::{app::TestApp, ledger::Ledger};

/// A test per limit and engine, each under the name of its key, and the list of these keys.
macro_rules! at_the_edge {
    ($($room:ident: $($key:ident),+;)+) => {
        mod at_the_edge {
            $(use super::$room::{$($key),+};)+

            crate::support::on_both_engines![$($($key),+),+];
        }

        const CASES: &[&str] = &[$($(stringify!($key)),+),+];
    };
}

at_the_edge! {
    requests: body_bytes, import_bytes, chain_length, live_runs;
    definitions: nodes, loop_depth, payload_bytes, expression_bytes, expressions_per_string;
    runs: loop_iterations, field_bytes, node_bytes, result_bytes, state_bytes, child_depth;
}

/// What a section takes is what is said to one who asks for something else.
fn keys() -> Vec<String> {
    let file = ("redrive.toml", "[limits]\nnone = 1");
    let Err(ConfigError::Invalid { why, .. }) = Config::from_sources(Some(file), []) else {
        panic!("`none` is a limit");
    };
    let (_, keys) = why.split_once("there are ").unwrap();
    keys.split(", ").map(str::to_owned).collect()
}

#[test]
fn every_limit_has_its_test_at_the_edge() {
    let (mut keys, mut cases) = (keys(), CASES.to_vec());
    keys.sort_unstable();
    cases.sort_unstable();
    assert_eq!(keys, cases);
}

#[test]
fn every_limit_is_documented_with_its_default() {
    let readme = include_str!("../../../README.md");
    let defaults = format!("{:?}", LimitsConfig::default());
    for key in keys() {
        let (_, default) = defaults.split_once(&format!("{key}: ")).unwrap();
        let default: String = default.chars().take_while(char::is_ascii_digit).collect();
        let variable = format!("REDRIVE_LIMITS__{}", key.to_uppercase());
        let row = format!("| `limits.{key}` | `{variable}` | {default} ");
        assert!(readme.contains(&row), "README.md has no row `{row}`");
    }
}

/// An application with limits of the test's own.
async fn limited(ledger: Ledger, set: impl FnOnce(&mut LimitsConfig)) -> TestApp {
    TestApp::start_with(ledger, |config| set(&mut config.limits)).await
}

/// A message says the limit and its key.
fn names(message: &Value, limit: usize, key: &str) {
    let message = message.as_str().unwrap();
    let (limit, key) = (limit.to_string(), format!("(limits.{key})"));
    assert!(
        message.contains(&limit) && message.contains(&key),
        "{limit} and {key} not in {message:?}"
    );
}

/// root -> the node `n`.
fn with_node(node: &Value) -> Value {
    json!({ "nodes": { "root": { "type": "manual", "children": ["n"] }, "n": node } })
}

fn log(message: &str) -> Value {
    json!({ "type": "log", "payload": { "message": message } })
}

/// A start that has to be accepted and to succeed.
async fn succeeds(app: &TestApp, definition: &Value, payload: &Value) -> Value {
    let run = app.start_run(definition, payload).await;
    let ended = app.ended(&run).await;
    assert_eq!(ended["status"], "success", "{ended:#}");
    ended
}

/// A start that has to be refused for its definition; nothing is stored of it.
async fn refuses(app: &TestApp, definition: &Value, limit: usize, key: &str) {
    let before = count(app).await;
    let body = json!({ "definition": definition, "payload": {} }).to_string();
    let (status, answer) = app.call("POST", "/v1/runs", Some(&body)).await;
    assert_eq!(
        (status, &answer["error"]["reason"]),
        (400, &json!("invalid_definition")),
        "{answer}"
    );
    names(&answer["message"], limit, key);
    assert_eq!(count(app).await, before);
}

/// A run whose node `n` has to fail for a limit.
async fn fails(app: &TestApp, definition: &Value, payload: &Value, code: &str) -> Value {
    let run = app.start_run(definition, payload).await;
    let ended = app.ended(&run).await;
    assert_eq!(ended["status"], "failure", "{ended:#}");
    let error = ended["executionState"]["n"]["error"].clone();
    assert_eq!(error["code"], code, "{ended:#}");
    error["message"].clone()
}

async fn count(app: &TestApp) -> usize {
    let runs = app.get("/v1/runs?limit=100").await;
    runs["items"].as_array().unwrap().len()
}
