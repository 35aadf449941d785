//! The snippets of the contract's page, word for word: each retries a failed run.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use tokio::process::Command;

use crate::support::{app::TestApp, ledger::Ledger, on_both_engines, target::Target};

on_both_engines![
    curl_retries_a_run,
    fetch_retries_a_run,
    requests_retries_a_run,
];

/// The members of `data` on the page, and what they may be beside null.
const PAGE: [(&str, &str); 19] = [
    ("executionState", "object"),
    ("finishedAt", "string"),
    ("id", "string"),
    ("isDustTest", "boolean"),
    ("isSimulation", "boolean"),
    ("organizationId", "string"),
    ("propValues", "object"),
    ("simulationForks", "array"),
    ("simulationMode", "string"),
    ("sourceRunId", "string"),
    ("startedAt", "string"),
    ("status", "string"),
    ("summary", "string"),
    ("totalCu", "number"),
    ("triggerNodeId", "string"),
    ("triggerSource", "string"),
    ("triggeredBy", "string"),
    ("workflowDefinition", "object"),
    ("workflowId", "string"),
];

/// Those of the page's members that hold other things than a text.
const VERSIONED: [&str; 2] = ["workflowOwnerUserId", "workflowVersion"];

/// What `console.log` prints is JavaScript; deep members are `[Object]`.
const FROM_JAVASCRIPT: &str =
    "process.stdout.write(JSON.stringify(eval('(' + require('fs').readFileSync(0, 'utf8') + ')')))";

/// What `print` prints is Python.
const FROM_PYTHON: &str = "import ast, json, sys\n\
                           print(json.dumps(ast.literal_eval(sys.stdin.read())))";

async fn curl_retries_a_run(ledger: Ledger) {
    retries_a_run(ledger, "retry.sh", async |script| {
        let printed = run("bash", &[script.to_str().unwrap()], "").await;
        serde_json::from_str(&printed).unwrap()
    })
    .await;
}

async fn fetch_retries_a_run(ledger: Ledger) {
    retries_a_run(ledger, "retry.mjs", async |script| {
        let printed = run("node", &[script.to_str().unwrap()], "").await;
        let json = run("node", &["-e", FROM_JAVASCRIPT], &printed).await;
        serde_json::from_str(&json).unwrap()
    })
    .await;
}

async fn requests_retries_a_run(ledger: Ledger) {
    retries_a_run(ledger, "retry.py", async |script| {
        let python = python_with_requests(script.parent().unwrap()).await;
        let printed = run(&python, &[script.to_str().unwrap()], "").await;
        let json = run(&python, &["-c", FROM_PYTHON], &printed).await;
        serde_json::from_str(&json).unwrap()
    })
    .await;
}

/// A failed run, retried by a snippet in which only base URL, id and token are replaced.
async fn retries_a_run(ledger: Ledger, name: &str, snippet: impl AsyncFn(&Path) -> Value) {
    let (target, app) = (Target::start().await, TestApp::start(ledger).await);
    target.answer_with("/pay", [503]);
    let definition = json!({ "nodes": {
        "root": { "type": "manual", "payload": {}, "children": ["pay"] },
        "pay": {
            "type": "http-request",
            "payload": { "url": target.url("/pay"), "method": "POST", "body": "{{root.amount}}" }
        }
    }});
    let source = app.start_run(&definition, &json!({ "amount": 7 })).await;
    assert_eq!(app.ended(&source).await["status"], "failure");

    let folder = tempfile::tempdir().unwrap();
    let script = folder.path().join(name);
    let text = fixture(name)
        .replacen("https://api.example.com", app.base(), 1)
        .replacen("/runs/string/", &format!("/runs/{source}/"), 1)
        .replacen("YOUR_API_TOKEN", app.token(), 1);
    std::fs::write(&script, text).unwrap();
    let answer = snippet(&script).await;

    assert_envelope(&answer);
    let data = &answer["data"];
    assert_eq!(data["sourceRunId"], source.as_str());
    assert_eq!(data["triggerSource"], "retry");
    assert_eq!(data["organizationId"], "org_test");
    let retried = app.ended(data["runId"].as_str().unwrap()).await;
    assert_eq!(retried["status"], "success", "{retried}");
    assert_eq!(target.calls_of("/pay").len(), 2);
    app.stop().await;
}

fn assert_envelope(answer: &Value) {
    assert_eq!(answer["code"], 200, "{answer}");
    assert_eq!(answer["message"], "success");
    assert!(answer["requestId"].is_string(), "{answer}");
    let data = answer["data"].as_object().unwrap();
    assert_eq!(data["id"], data["runId"]);
    for (name, kind) in PAGE {
        let value = data.get(name).unwrap_or_else(|| panic!("no {name}"));
        let given = kind_of(value);
        assert!(given == kind || given == "null", "{name} is {value}");
    }
    for name in VERSIONED {
        assert!(data.contains_key(name), "no {name}");
    }
    let statuses = [
        "running",
        "waiting",
        "success",
        "partial",
        "failure",
        "cancelled",
    ];
    assert!(statuses.contains(&data["status"].as_str().unwrap()));
    assert!(!data["workflowDefinition"]["nodes"].is_null(), "{answer}");
}

fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

/// A snippet; each of its three placeholders stands there once.
fn fixture(name: &str) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/contract");
    let text = std::fs::read_to_string(folder.join(name)).unwrap();
    for placeholder in [
        "https://api.example.com",
        "/v1/runs/string/retry",
        "YOUR_API_TOKEN",
    ] {
        assert_eq!(
            text.matches(placeholder).count(),
            1,
            "{name}: {placeholder}"
        );
    }
    text
}

/// A Python that has `requests`: the machine's, or one in a folder of its own.
async fn python_with_requests(folder: &Path) -> String {
    let probe = Command::new("python3")
        .args(["-c", "import requests"])
        .output()
        .await;
    let probe = probe.unwrap_or_else(|e| panic!("this test needs python3: {e}"));
    if probe.status.success() {
        return "python3".to_owned();
    }
    let home: PathBuf = folder.join("python");
    run("python3", &["-m", "venv", home.to_str().unwrap()], "").await;
    let python = home.join("bin/python").to_str().unwrap().to_owned();
    let install = ["-m", "pip", "install", "--quiet", "requests>=2.32,<3"];
    run(&python, &install, "").await;
    python
}

/// Runs a program that has to be there and to succeed; gives what it printed.
async fn run(program: &str, arguments: &[&str], input: &str) -> String {
    let folder = tempfile::tempdir().unwrap();
    let given = folder.path().join("input");
    std::fs::write(&given, input).unwrap();
    let output = Command::new(program)
        .args(arguments)
        .env("NO_PROXY", "127.0.0.1")
        .env("no_proxy", "127.0.0.1")
        .stdin(std::fs::File::open(&given).unwrap())
        .kill_on_drop(true)
        .output();
    let output = tokio::time::timeout(std::time::Duration::from_mins(2), output).await;
    let output = output.unwrap_or_else(|_| panic!("{program} did not end"));
    let output = output.unwrap_or_else(|e| panic!("this test needs {program}: {e}"));
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "{program} {arguments:?} failed: {errors}"
    );
    String::from_utf8(output.stdout).unwrap()
}
