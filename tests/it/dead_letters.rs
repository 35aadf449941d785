//! What could not be used, over HTTP and by the command line: only operators see it.

use std::{
    process::Output,
    time::{Duration, Instant},
};

use redrive::{config::Secret, domain::Timestamp, store::DeadLetter};
use serde_json::{Value, json};

use crate::{
    cli::{output, redrive},
    support::{
        app::TestApp,
        ledger::Ledger,
        on_both_engines,
        raw::{Answer, Request},
        rows::{id, json as text},
        services::amqp_url,
        topology::{prefix, publish, remove_topology},
    },
};

on_both_engines![
    operators_read_dead_letters,
    nobody_else_sees_dead_letters,
    bodies_are_evidence,
    a_dropped_letter_is_shown_once_more,
    the_command_line_lists_shows_and_drops,
];

fn letter(name: &str, seconds: i64) -> DeadLetter {
    let at = Timestamp::from_timestamp(1_700_000_000 + seconds, 0);
    DeadLetter {
        id: id(name),
        reason: "invalid_message".into(),
        message: "it names no schema".into(),
        queue: Some("redrive.bulk.v1".into()),
        body: b"{\"key\": \"hunter2\"}".to_vec(),
        body_bytes: 18,
        headers: text(r#"{"z":1.50,"a":"x"}"#),
        received_at: at.unwrap(),
    }
}

struct World {
    app: TestApp,
    operator: String,
}

impl World {
    /// An application that keeps `dl_1`, `dl_2` and `dl_3`, the newest last.
    async fn new(ledger: Ledger) -> Self {
        for n in 1..=3 {
            let letter = letter(&format!("dl_{n}"), n);
            ledger.store.insert_dead_letter(&letter).await.unwrap();
        }
        let app = TestApp::start(ledger).await;
        let operator = app.token_of("org_ops", "operator").await;
        Self { app, operator }
    }

    async fn call(&self, method: &str, path: &str) -> Answer {
        let request = Request::new(method, path).bearer(&self.operator);
        request.send(&self.app).await
    }

    async fn get(&self, path: &str) -> Value {
        let mut answer = self.call("GET", path).await;
        answer.assert_success(path);
        answer.body["data"].take()
    }

    async fn not_found(&self, method: &str, path: &str) {
        let answer = self.call(method, path).await;
        answer.assert_refusal(path);
        assert_eq!(answer.status, 404, "{path}");
        assert_eq!(answer.body["code"], 404_000, "{path}");
        assert_eq!(answer.body["error"]["reason"], "dead_letter_not_found");
    }

    /// A command of the client, with the operator's token.
    async fn run(&self, arguments: &[&str]) -> (Output, String) {
        let folder = tempfile::tempdir().unwrap();
        let mut command = redrive(folder.path());
        command
            .env("REDRIVE_URL", self.app.base())
            .env("REDRIVE_TOKEN", &self.operator)
            .arg("dead-letters");
        output(command.args(arguments)).await
    }
}

fn ids(list: &Value) -> Vec<&str> {
    let items = list["items"].as_array().unwrap();
    items
        .iter()
        .map(|item| item["id"].as_str().unwrap())
        .collect()
}

async fn operators_read_dead_letters(ledger: Ledger) {
    let world = World::new(ledger).await;
    let all = world.get("/v1/dead-letters").await;
    assert_eq!(ids(&all), ["dl_3", "dl_2", "dl_1"], "newest first");
    assert_eq!(
        (&all["limit"], &all["hasMore"]),
        (&json!(20), &json!(false))
    );
    let page = world.get("/v1/dead-letters?limit=1&offset=1").await;
    assert_eq!(ids(&page), ["dl_2"]);
    assert_eq!(
        (&page["offset"], &page["hasMore"]),
        (&json!(1), &json!(true))
    );
    let one = world.get("/v1/dead-letters/dl_2").await;
    assert_eq!(one, page["items"][0]);
    assert_eq!(
        one.to_string(),
        r#"{"id":"dl_2","reason":"invalid_message","message":"it names no schema","#.to_owned()
            + r#""queue":"redrive.bulk.v1","receivedAt":"2023-11-14T22:13:22.000Z","bodyBytes":18,"#
            + r#""bodyTruncated":false,"body":"{\"key\": \"hunter2\"}","headers":{"z":1.50,"a":"x"}}"#
    );
    let long = "x".repeat(129);
    for id in ["dl_none", "%00", "a%20b", "%ff", &long] {
        let path = format!("/v1/dead-letters/{id}");
        world.not_found("GET", &path).await;
        world.not_found("DELETE", &path).await;
    }
    for query in ["limit=0", "limit=101", "offset=-1"] {
        let answer = world
            .call("GET", &format!("/v1/dead-letters?{query}"))
            .await;
        assert_eq!(answer.status, 400, "{query}");
    }
    world.app.stop().await;
}

async fn nobody_else_sees_dead_letters(ledger: Ledger) {
    let world = World::new(ledger).await;
    for (method, path) in [
        ("GET", "/v1/dead-letters"),
        ("GET", "/v1/dead-letters/dl_1"),
        ("GET", "/v1/dead-letters/dl_none"),
        ("DELETE", "/v1/dead-letters/dl_1"),
        ("DELETE", "/v1/dead-letters/dl_none"),
    ] {
        // Whether there is one is told to nobody else either.
        let answer = Request::new(method, path).send_authorized(&world.app).await;
        answer.assert_refusal(path);
        assert_eq!(answer.status, 403, "{method} {path}");
        assert!(!answer.body.to_string().contains("hunter2"));
        let answer = Request::new(method, path).send(&world.app).await;
        assert_eq!(answer.status, 401, "{method} {path}");
    }
    // An operator's token reads nothing of an organisation's.
    assert_eq!(world.call("GET", "/v1/runs").await.status, 403);
    assert_eq!(ids(&world.get("/v1/dead-letters").await).len(), 3);
    world.app.stop().await;
}

async fn bodies_are_evidence(ledger: Ledger) {
    let binary = DeadLetter {
        body: vec![0xff, 0, 0x80],
        body_bytes: 3,
        queue: None,
        ..letter("dl_binary", 4)
    };
    ledger.store.insert_dead_letter(&binary).await.unwrap();
    let cut = DeadLetter {
        body: "é".repeat(40_000).as_bytes()[..65_535].to_vec(),
        body_bytes: 80_000,
        ..letter("dl_cut", 5)
    };
    ledger.store.insert_dead_letter(&cut).await.unwrap();
    let world = World::new(ledger).await;
    let binary = world.get("/v1/dead-letters/dl_binary").await;
    assert_eq!(binary["bodyBase64"], "/wCA");
    assert_eq!((binary.get("body"), &binary["queue"]), (None, &Value::Null));
    let cut = world.get("/v1/dead-letters/dl_cut").await;
    assert_eq!(cut["body"], "é".repeat(32_767));
    assert_eq!(cut["bodyTruncated"], true);
    assert_eq!(cut["bodyBytes"], 80_000);
    world.app.stop().await;
}

async fn a_dropped_letter_is_shown_once_more(ledger: Ledger) {
    let world = World::new(ledger).await;
    let kept = world.get("/v1/dead-letters/dl_2").await;
    let dropped = world.call("DELETE", "/v1/dead-letters/dl_2").await;
    dropped.assert_success("DELETE");
    assert_eq!(dropped.body["data"], kept);
    world.not_found("DELETE", "/v1/dead-letters/dl_2").await;
    world.not_found("GET", "/v1/dead-letters/dl_2").await;
    assert_eq!(ids(&world.get("/v1/dead-letters").await), ["dl_3", "dl_1"]);
    world.app.stop().await;
}

async fn the_command_line_lists_shows_and_drops(ledger: Ledger) {
    let world = World::new(ledger).await;
    let (ended, text) = world.run(&["list", "--limit", "2", "-o", "id"]).await;
    assert!(ended.status.success(), "{ended:?}");
    assert_eq!(text, "dl_3\ndl_2\n");
    let (_, text) = world.run(&["list"]).await;
    assert!(
        text.starts_with("ID") && text.contains("invalid_message"),
        "{text}"
    );
    assert!(!text.contains("hunter2"), "a list shows no bodies: {text}");
    let (_, text) = world.run(&["get", "dl_1"]).await;
    assert!(text.contains("hunter2"), "{text}");
    let (_, text) = world.run(&["get", "dl_1", "--json"]).await;
    assert!(text.contains("1.50"), "{text}");
    let (ended, _) = world.run(&["get", "dl_none"]).await;
    assert_eq!(ended.status.code(), Some(3));
    // One that is not there keeps no other.
    let arguments = ["drop", "dl_1", "dl_none", "dl_3", "-o", "id"];
    let (ended, text) = world.run(&arguments).await;
    assert_eq!(ended.status.code(), Some(3));
    assert_eq!(text, "dl_1\ndl_3\n");
    assert!(String::from_utf8_lossy(&ended.stderr).contains("dl_none"));
    assert_eq!(ids(&world.get("/v1/dead-letters").await), ["dl_2"]);
    let token = world.app.token().to_owned();
    let (ended, text) = world.run(&["drop", "dl_2", "--token", &token]).await;
    assert_eq!((ended.status.code(), text.as_str()), (Some(5), ""));
    let (ended, _) = world.run(&["drop", "dl_2", "-o", "jsonl"]).await;
    assert!(ended.status.success());
    world.app.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_nobody_can_use_is_drained_from_the_broker() {
    let prefix = prefix();
    let app = TestApp::start_with(Ledger::postgres().await, |config| {
        config.broker.url = Some(Secret::new(amqp_url()));
        config.broker.prefix.clone_from(&prefix);
    })
    .await;
    let operator = app.token_of("org_ops", "operator").await;
    // Consuming, it has declared everything.
    app.all_ready().await;
    publish(&prefix, "bulk", b"\xffno message").await;
    let until = Instant::now() + Duration::from_mins(1);
    let letter = loop {
        let path = "/v1/dead-letters";
        let (_, answer) = app.call_as(&operator, "GET", path, None).await;
        if let Some(letter) = answer["data"]["items"].get(0) {
            break letter.clone();
        }
        assert!(Instant::now() < until, "{answer}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    assert_eq!(letter["reason"], "invalid_message");
    assert_eq!(letter["queue"], format!("{prefix}.bulk.v1"));
    assert_eq!(letter["bodyBase64"], "/25vIG1lc3NhZ2U=");
    assert_eq!(letter["bodyBytes"], 11);
    assert_eq!(letter["headers"]["x-first-death-reason"], "rejected");
    app.stop().await.remove().await;
    remove_topology(&prefix).await;
}
