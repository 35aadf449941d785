//! Reading: lists, single runs and retries, health, metrics.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use crate::support::{app::TestApp, ledger::Ledger, on_both_engines, raw::Request, target::Target};

on_both_engines![
    runs_are_listed_page_by_page,
    a_run_is_shown_in_parts,
    retries_are_listed_and_shown,
    an_ended_run_cannot_be_cancelled,
    the_request_id_comes_back,
    health_needs_no_token,
    metrics_are_prometheus_text,
];

fn definition(target: &Target) -> Value {
    json!({ "nodes": {
        "root": { "type": "manual", "payload": {}, "children": ["pay"] },
        "pay": {
            "type": "http-request",
            "payload": { "url": target.url("/pay"), "method": "POST" },
            "children": ["note"]
        },
        "note": { "type": "log", "payload": { "message": "paid" } }
    }})
}

/// An ended run from elsewhere.
async fn import(app: &TestApp, target: &Target, id: &str, status: &str) {
    let done = if status == "success" {
        "success"
    } else {
        "failure"
    };
    let run = json!({
        "id": id, "status": status, "workflowDefinition": definition(target),
        "executionState": {
            "root": { "type": "manual", "status": "success", "result": {} },
            "pay": { "type": "http-request", "status": done, "error": null }
        }
    });
    app.post("/v1/runs/import", &run).await;
}

fn ids(page: &Value) -> Vec<String> {
    let items = page["items"].as_array().unwrap().iter();
    items
        .map(|item| item["id"].as_str().unwrap().to_owned())
        .collect()
}

async fn runs_are_listed_page_by_page(ledger: Ledger) {
    let (target, app) = (Target::start().await, TestApp::start(ledger).await);
    for number in 0..23 {
        let status = ["failure", "success", "cancelled"][number % 3];
        import(&app, &target, &format!("run_{number:02}"), status).await;
    }
    let first = app.get("/v1/runs").await;
    let members: Vec<_> = first.as_object().unwrap().keys().collect();
    assert_eq!(members, ["items", "limit", "offset", "hasMore"]);
    assert_eq!((&first["limit"], &first["offset"]), (&json!(20), &json!(0)));
    assert_eq!(first["hasMore"], true);
    assert_eq!(ids(&first).len(), 20);
    assert_eq!(ids(&first)[0], "run_22", "newest first");
    for item in first["items"].as_array().unwrap() {
        assert_eq!(item["id"], item["runId"]);
        assert!(item.get("executionState").is_none());
        assert!(item.get("workflowDefinition").is_none());
    }
    let mut all = Vec::new();
    for offset in [0, 9, 18] {
        let page = app.get(&format!("/v1/runs?limit=9&offset={offset}")).await;
        assert_eq!(page["hasMore"], offset < 18);
        all.extend(ids(&page));
    }
    let expected: Vec<_> = (0..23).rev().map(|n| format!("run_{n:02}")).collect();
    assert_eq!(all, expected);
    let edge = app.get("/v1/runs?limit=23").await;
    assert_eq!(edge["hasMore"], false);
    let past = app.get("/v1/runs?offset=9223372036854775807").await;
    assert_eq!(past["items"], json!([]));
    for (status, count) in [
        ("failure", 8),
        ("success", 8),
        ("cancelled", 7),
        ("running", 0),
    ] {
        let page = app.get(&format!("/v1/runs?status={status}")).await;
        assert_eq!(ids(&page).len(), count, "{status}");
        let items = page["items"].as_array().unwrap();
        assert!(items.iter().all(|item| item["status"] == status));
    }
    let other = app.token_of("org_other", "read").await;
    let (status, answer) = app.call_as(&other, "GET", "/v1/runs", None).await;
    assert_eq!((status, &answer["data"]["items"]), (200, &json!([])));
    app.stop().await;
}

async fn a_run_is_shown_in_parts(ledger: Ledger) {
    let (target, app) = (Target::start().await, TestApp::start(ledger).await);
    let run = app.start_run(&definition(&target), &json!({})).await;
    let full = app.ended(&run).await;
    let members = |run: &Value, name: &str| -> Vec<String> {
        run[name].as_object().unwrap().keys().cloned().collect()
    };
    assert_eq!(members(&full, "executionState"), ["root", "pay", "note"]);
    let summary = app.get(&format!("/v1/runs/{run}?summary=true")).await;
    let mut expected = full.clone();
    expected
        .as_object_mut()
        .unwrap()
        .retain(|name, _| name != "executionState" && name != "workflowDefinition");
    assert_eq!(summary, expected);
    assert_eq!(
        app.get(&format!("/v1/runs/{run}?summary=false")).await,
        full
    );
    let some = app
        .get(&format!("/v1/runs/{run}?nodeIds=note,root,absent"))
        .await;
    assert_eq!(members(&some, "executionState"), ["root", "note"]);
    assert_eq!(
        some["executionState"]["note"],
        full["executionState"]["note"]
    );
    assert_eq!(some["workflowDefinition"], full["workflowDefinition"]);
    let none = app.get(&format!("/v1/runs/{run}?nodeIds=absent")).await;
    assert_eq!(none["executionState"], json!({}));
    app.stop().await;
}

async fn retries_are_listed_and_shown(ledger: Ledger) {
    let (target, app) = (Target::start().await, TestApp::start(ledger).await);
    let mut runs = Vec::new();
    for source in ["run_a", "run_b", "run_c"] {
        import(&app, &target, source, "failure").await;
        let path = format!("/v1/runs/{source}/retry");
        let answer = app.post(&path, &json!({ "reason": source })).await;
        runs.push(answer["id"].as_str().unwrap().to_owned());
    }
    for run in &runs {
        app.ended(run).await;
    }
    let list = app.get("/v1/retries").await;
    let items = list["items"].as_array().unwrap();
    let sources: Vec<_> = items.iter().map(|item| &item["sourceRunId"]).collect();
    assert_eq!(sources, ["run_c", "run_b", "run_a"]);
    let page = app.get("/v1/retries?limit=1&offset=1").await;
    assert_eq!((ids(&page).len(), &page["hasMore"]), (1, &json!(true)));
    let one = &app.get("/v1/retries?sourceRunId=run_b").await["items"][0];
    assert_eq!(one["runId"], runs[1].as_str());
    assert_eq!(one["reason"], "run_b");
    assert_eq!(one["state"], "created");
    assert_eq!(one["triggeredBy"], "tester");
    assert_eq!(one["request"], json!({ "reason": "run_b" }));
    let path = format!("/v1/retries/{}", one["id"].as_str().unwrap());
    assert_eq!(&app.get(&path).await, one);
    assert_eq!(ids(&app.get("/v1/retries?state=created").await).len(), 3);
    assert_eq!(ids(&app.get("/v1/retries?state=refused").await).len(), 0);
    assert_eq!(ids(&app.get("/v1/retries?sourceRunId=none").await).len(), 0);
    let other = app.token_of("org_other", "read").await;
    let (status, foreign) = app.call_as(&other, "GET", &path, None).await;
    assert_eq!(
        (status, &foreign["error"]["reason"]),
        (404, &json!("retry_not_found"))
    );
    app.stop().await;
}

async fn an_ended_run_cannot_be_cancelled(ledger: Ledger) {
    let (target, app) = (Target::start().await, TestApp::start(ledger).await);
    for status in ["failure", "success", "cancelled"] {
        let run = format!("run_{status}");
        import(&app, &target, &run, status).await;
        let path = format!("/v1/runs/{run}/cancel");
        let answer = Request::new("POST", &path).send_authorized(&app).await;
        answer.assert_refusal(status);
        assert_eq!(answer.status, 409);
        assert_eq!(answer.body["code"], 409_011);
        assert_eq!(answer.body["error"]["reason"], "run_already_ended");
        assert_eq!(app.get(&format!("/v1/runs/{run}")).await["status"], status);
    }
    app.stop().await;
}

async fn the_request_id_comes_back(ledger: Ledger) {
    let app = TestApp::start(ledger).await;
    for path in ["/v1/runs", "/v1/runs/none", "/nowhere"] {
        let request = Request::new("GET", path).header("x-request-id", "req-7~!");
        let answer = request.send_authorized(&app).await;
        assert_eq!(answer.body["requestId"], "req-7~!");
        assert_eq!(answer.headers["x-request-id"], "req-7~!");
    }
    let long = "x".repeat(129);
    for unusable in ["", "a b", long.as_str()] {
        let request = Request::new("GET", "/v1/runs").header("x-request-id", unusable);
        let answer = request.send_authorized(&app).await;
        answer.assert_success("an id of our own");
        assert_ne!(answer.body["requestId"], unusable);
    }
    for path in ["/livez", "/readyz", "/metrics"] {
        let request = Request::new("GET", path).header("x-request-id", "req-8");
        assert_eq!(request.send(&app).await.headers["x-request-id"], "req-8");
    }
    app.stop().await;
}

async fn health_needs_no_token(ledger: Ledger) {
    let app = TestApp::start(ledger).await;
    let get = async |path: &str| {
        let answer = Request::new("GET", path).send(&app).await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.body);
        assert_eq!(answer.headers["content-type"], "application/json");
        answer.body
    };
    assert_eq!(get("/livez").await, json!({ "status": "ok" }));
    assert_eq!(get("/readyz").await, json!({ "status": "ready" }));
    let verbose = get("/readyz?verbose").await;
    let checks = verbose["checks"].as_array().unwrap();
    let names: Vec<_> = checks.iter().map(|check| &check["name"]).collect();
    assert_eq!(names, ["serving", "database", "migrations"]);
    assert!(checks.iter().all(|check| check["ok"] == true));
    app.stop().await;
}

async fn metrics_are_prometheus_text(ledger: Ledger) {
    let (target, app) = (Target::start().await, TestApp::start(ledger).await);
    import(&app, &target, "run_a", "failure").await;
    let retried = app.retry("run_a").await;
    app.ended(&retried).await;
    app.call("POST", "/v1/runs/run_a/retry", None).await;
    // A worker counts what it has written; the metrics are the process's.
    let app = TestApp::start(app.stop().await).await;
    let answer = Request::new("GET", "/metrics").send(&app).await;
    let kind = answer.headers["content-type"].to_str().unwrap();
    assert!(kind.starts_with("text/plain; version=0.0.4"), "{kind}");
    let text = answer.body.as_str().unwrap();
    let families = families(text);
    for (name, kind) in [
        ("http_server_request_duration_seconds", "histogram"),
        ("redrive_retry_requests_total", "counter"),
        ("redrive_retries_total", "counter"),
        ("redrive_runs_total", "counter"),
        ("redrive_run_duration_seconds", "histogram"),
        ("redrive_nodes_total", "counter"),
        ("redrive_node_duration_seconds", "histogram"),
        ("redrive_outbox_pending", "gauge"),
        ("redrive_outbox_oldest_age_seconds", "gauge"),
        ("redrive_runs_leased", "gauge"),
        ("redrive_build_info", "gauge"),
    ] {
        assert_eq!(families.get(name).map(String::as_str), Some(kind), "{name}");
    }
    for line in [
        r#"redrive_retry_requests_total{outcome="accepted"} 1"#,
        r#"redrive_retry_requests_total{outcome="already_retried"} 1"#,
        r#"redrive_retries_total{outcome="success"} 1"#,
        r#"redrive_runs_total{status="success",trigger="retry"} 1"#,
        r#"method="POST",route="/v1/runs/{id}/retry",status="409""#,
    ] {
        assert!(text.contains(line), "{line} is not in\n{text}");
    }
    for secret in ["run_a", "org_test", retried.as_str(), app.token()] {
        assert!(!text.contains(secret), "{secret} is in\n{text}");
    }
    app.stop().await;
}

/// The kinds of the metrics by name. Every line must have its form, every sample its type.
fn families(text: &str) -> BTreeMap<String, String> {
    let sample = regex::Regex::new(concat!(
        r"^([a-zA-Z_:][a-zA-Z0-9_:]*)",
        r#"(\{[a-zA-Z_]\w*="(?:[^"\\\n]|\\.)*"(?:,[a-zA-Z_]\w*="(?:[^"\\\n]|\\.)*")*\})?"#,
        r" (NaN|[+-]Inf|[+-]?[0-9.]+(?:[eE][+-]?[0-9]+)?)$"
    ));
    let sample = sample.unwrap();
    assert!(text.ends_with('\n'));
    let (mut kinds, mut seen) = (BTreeMap::new(), BTreeSet::new());
    for line in text.lines().filter(|line| !line.is_empty()) {
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').unwrap();
            let earlier = kinds.insert(name.to_owned(), kind.to_owned());
            assert_eq!(earlier, None, "{name} has two types");
            continue;
        }
        if line.starts_with("# HELP ") {
            continue;
        }
        let found = sample.captures(line);
        let found = found.unwrap_or_else(|| panic!("not a sample: {line}"));
        let name = &found[1];
        let family = ["_bucket", "_sum", "_count"]
            .iter()
            .filter_map(|suffix| name.strip_suffix(suffix))
            .find(|family| kinds.contains_key(*family))
            .unwrap_or(name);
        assert!(kinds.contains_key(family), "no type for {line}");
        let key = line.rsplit_once(' ').unwrap().0;
        assert!(seen.insert(key.to_owned()), "twice: {key}");
    }
    kinds
}
