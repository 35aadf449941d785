//! The disk that the ledger is on is full.

use std::time::Duration;

use serde_json::json;

use super::{exists, import, is_unavailable, start};
use crate::support::{
    app::TestApp,
    disk::Disk,
    ledger::Ledger,
    raw::{Answer, Request},
    server::Server,
    target::Target,
};

/// How often tests look for what they wait for.
const LOOK: Duration = Duration::from_millis(20);

/// What was answered while the disk was full.
#[derive(Default)]
struct Journal {
    accepted: Vec<String>,
    /// Refused without doubt.
    refused: Vec<String>,
}

impl Journal {
    /// Writes down what became of a run; whether it was refused.
    fn note(&mut self, run: &str, answer: &Answer) -> bool {
        if answer.status == 200 {
            answer.assert_success(run);
            self.accepted.push(run.to_owned());
            return false;
        }
        is_unavailable(answer, run);
        let message = answer.body["message"].as_str().unwrap();
        if message.contains("not available") {
            self.refused.push(run.to_owned());
        }
        true
    }

    /// Imports until the disk takes no more, and some more of every kind.
    async fn until_full(&mut self, app: &TestApp) {
        let mut number = 0;
        let mut refusals = 0;
        while refusals < 5 {
            let run = format!("run_full_{number}");
            let answer = import(&run, 200_000).send_authorized(app).await;
            refusals += usize::from(self.note(&run, &answer));
            number += 1;
            assert!(number < 1_000, "the disk is never full");
        }
        for number in 0..5 {
            let run = format!("run_start_{number}");
            let answer = start(&run).send_authorized(app).await;
            self.note(&run, &answer);
        }
        let retry = Request::json("POST", "/v1/runs/run_before/retry", "{}");
        let retry = retry.send_authorized(app).await;
        let run = retry.body["data"]["id"]
            .as_str()
            .unwrap_or("run_retry")
            .to_owned();
        self.note(&run, &retry);
    }

    /// Nothing that was answered with 200 is lost, and nothing that was refused is there.
    async fn holds(&self, app: &TestApp) {
        for run in &self.accepted {
            assert!(exists(app, run).await, "{run} was accepted");
        }
        for run in &self.refused {
            assert!(!exists(app, run).await, "{run} was refused");
        }
    }
}

/// A run whose call is under way, and what lets the call end.
async fn under_way(
    app: &TestApp,
    target: &Target,
) -> (String, std::sync::Arc<tokio::sync::Notify>) {
    let gate = target.hold("/held");
    let payload = json!({ "url": target.url("/held"), "method": "POST", "body": 1 });
    let definition = json!({ "nodes": {
        "root": { "type": "manual", "children": ["call"] },
        "call": { "type": "http-request", "payload": payload, "children": ["after"] },
        "after": { "type": "log", "payload": { "message": "{{call.result.status}}" } }
    } });
    let run = app.start_run(&definition, &json!({})).await;
    target.until_called("/held", 1).await;
    (run, gate)
}

/// Fills the disk under a running application and gives the room back; `revive` starts what did not
/// survive.
async fn scene(ledger: Ledger, disk: &Disk, revive: impl AsyncFn()) {
    let target = Target::start().await;
    let app = TestApp::start(ledger).await;
    let before = import("run_before", 10).send_authorized(&app).await;
    before.assert_success("before");
    let (held, gate) = under_way(&app, &target).await;

    disk.fill();
    let mut journal = Journal::default();
    journal.until_full(&app).await;
    gate.notify_one();

    disk.clear();
    revive().await;
    // It goes on by itself.
    let mut number = 0;
    loop {
        let run = format!("run_again_{number}");
        let answer = import(&run, 200_000).send_authorized(&app).await;
        if !journal.note(&run, &answer) {
            break;
        }
        number += 1;
        assert!(number < 500, "it does not recover: {}", answer.body);
        tokio::time::sleep(LOOK).await;
    }
    let ended = app.ended(&held).await;
    assert_eq!(ended["status"], "success", "{ended:#}");
    assert_eq!(target.calls_of("/held").len(), 1);
    journal.holds(&app).await;

    let app = TestApp::start(app.stop().await).await;
    journal.holds(&app).await;
    for run in journal
        .accepted
        .iter()
        .filter(|run| run.starts_with("run_start"))
    {
        assert_eq!(app.ended(run).await["status"], "success");
    }
    println!(
        "{} accepted, {} refused",
        journal.accepted.len(),
        journal.refused.len()
    );
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn promise_1_a_full_disk_under_sqlite_refuses_and_loses_nothing() {
    let disk = Disk::mount(32);
    let ledger = Ledger::sqlite_in(disk.path()).await;
    scene(ledger, &disk, async || {}).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn promise_1_a_full_disk_under_postgres_refuses_and_loses_nothing() {
    let disk = Disk::mount(256);
    let server = Server::postgres_in(disk.path()).await;
    let ledger = Ledger::postgres_at(server.url.clone()).await;
    // It may have given up when it could not write its log.
    let revive = async || server.revive_postgres().await;
    scene(ledger, &disk, revive).await;
}
