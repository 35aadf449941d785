//! `redrive doctor` beside what works and what does not.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use redrive::config::Secret;
use serde_json::Value;
use tokio::{net::TcpListener, process::Command};

use crate::{
    cli::{output, redrive},
    support::{
        app::TestApp,
        ledger::Ledger,
        services::amqp_url,
        topology::{prefix, remove_topology},
    },
};

/// What a doctor found, and its exit code.
struct Report {
    code: i32,
    checks: Vec<(String, String, String)>,
    stderr: String,
}

impl Report {
    fn status(&self, name: &str) -> &str {
        let found = self.checks.iter().find(|check| check.0 == name);
        &found.unwrap_or_else(|| panic!("no {name}")).1
    }

    fn message(&self, name: &str) -> &str {
        let found = self.checks.iter().find(|check| check.0 == name);
        &found.unwrap_or_else(|| panic!("no {name}")).2
    }

    /// The names of the checks that failed; the exit code agrees.
    fn failed(&self) -> Vec<&str> {
        let failed = self.checks.iter().filter(|check| check.1 == "failed");
        let failed: Vec<_> = failed.map(|check| check.0.as_str()).collect();
        assert_eq!(
            self.code,
            i32::from(!failed.is_empty()),
            "{:?}",
            self.checks
        );
        failed
    }
}

async fn examine(command: &mut Command) -> Report {
    let (ended, text) = output(command.args(["doctor", "-o", "json"])).await;
    let report: Value = serde_json::from_str(&text).unwrap_or_else(|_| panic!("{ended:?}"));
    let text = |check: &Value, member: &str| check[member].as_str().unwrap().to_owned();
    let checks = report["checks"].as_array().unwrap().iter();
    let code = ended.status.code().unwrap();
    assert_eq!(report["ok"], code == 0);
    Report {
        code,
        checks: checks
            .map(|check| {
                (
                    text(check, "name"),
                    text(check, "status"),
                    text(check, "message"),
                )
            })
            .collect(),
        stderr: String::from_utf8(ended.stderr).unwrap(),
    }
}

/// A doctor that is told of this database.
fn doctor(folder: &Path, database: &str) -> Command {
    let mut command = redrive(folder);
    command.env("DATABASE_URL", database);
    command
}

#[tokio::test]
async fn everything_is_ok_beside_a_healthy_installation() {
    let (folder, prefix) = (tempfile::tempdir().unwrap(), prefix());
    let app = TestApp::start_with(Ledger::postgres().await, |config| {
        config.broker.url = Some(Secret::new(amqp_url()));
        config.broker.prefix.clone_from(&prefix);
    })
    .await;
    app.all_ready().await;
    let mut command = doctor(folder.path(), &app.ledger.url);
    command
        .env("AMQP_URL", amqp_url())
        .env("REDRIVE_BROKER__PREFIX", &prefix)
        .env("REDRIVE_URL", app.base())
        .env("REDRIVE_TOKEN", app.token());
    let report = examine(&mut command).await;
    assert_eq!(report.failed(), [""; 0]);
    assert!(
        report.checks.iter().all(|check| check.1 == "ok"),
        "{:?}",
        report.checks
    );
    assert_eq!(report.checks.len(), 10);
    assert_eq!(report.stderr, "");
    // For people it says the same in columns.
    let mut command = doctor(folder.path(), &app.ledger.url);
    let (ended, text) = output(command.arg("doctor")).await;
    assert!(ended.status.success(), "{text}");
    assert!(
        text.starts_with("CHECK") && text.contains("skipped"),
        "{text}"
    );
    // The metrics know the connections that this process uses.
    let asked = app
        .http()
        .get(format!("{}/metrics", app.base()))
        .send()
        .await;
    let metrics = asked.unwrap().text().await.unwrap();
    for line in [
        r#"redrive_broker_up{link="publish"} 1"#,
        r#"redrive_broker_up{link="consume"} 1"#,
        "redrive_workers_live 1",
        "redrive_dead_letters 0",
    ] {
        assert!(metrics.contains(line), "{line} is not in {metrics}");
    }
    app.stop().await.remove().await;
    remove_topology(&prefix).await;
}

#[tokio::test]
async fn it_works_beside_a_serving_sqlite_process() {
    let folder = tempfile::tempdir().unwrap();
    let app = TestApp::start(Ledger::sqlite().await).await;
    let mut command = doctor(folder.path(), &app.ledger.url);
    command
        .env("REDRIVE_URL", app.base())
        .env("REDRIVE_TOKEN", app.token());
    let report = examine(&mut command).await;
    assert_eq!(report.failed(), [""; 0]);
    for name in ["clock", "workers", "broker", "topology"] {
        assert_eq!(report.status(name), "skipped", "{name}");
    }
    assert_eq!(report.status("token"), "ok");
    app.get("/v1/runs").await;
    app.stop().await;
}

#[tokio::test]
async fn a_broker_that_is_not_there_or_silent_is_found() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = Ledger::postgres().await;
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let silent_url = format!("amqp://guest:hunter2@{}", silent.local_addr().unwrap());
    for url in ["amqp://guest:hunter2@127.0.0.1:9", &silent_url] {
        let started = Instant::now();
        let mut command = doctor(folder.path(), &ledger.url);
        let report = examine(command.env("AMQP_URL", url)).await;
        assert!(started.elapsed() < Duration::from_secs(20));
        // Nobody works on this ledger either.
        assert_eq!(report.failed(), ["workers", "broker"]);
        assert_eq!(report.status("topology"), "skipped");
        assert_eq!(report.status("relay"), "ok");
        assert!(report.message("broker").contains("broker.url"));
        let all = format!("{:?} {}", report.checks, report.stderr);
        assert!(!all.contains("hunter2"), "{all}");
        assert!(
            report.stderr.contains("workers, broker"),
            "{}",
            report.stderr
        );
    }
    ledger.remove().await;
}

#[tokio::test]
async fn what_is_missing_is_named_and_not_made() {
    let (folder, prefix) = (tempfile::tempdir().unwrap(), prefix());
    let ledger = Ledger::postgres().await;
    let newest = "delete from _sqlx_migrations where version = 2";
    ledger.execute(newest).await;
    for _ in 0..2 {
        let mut command = doctor(folder.path(), &ledger.url);
        command
            .env("AMQP_URL", amqp_url())
            .env("REDRIVE_BROKER__PREFIX", &prefix);
        let report = examine(&mut command).await;
        assert_eq!(report.failed(), ["migrations", "topology"]);
        assert!(report.message("migrations").contains("redrive migrate"));
        assert_eq!(report.status("workers"), "skipped");
        let topology = report.message("topology");
        for part in [
            "exchange ",
            "exchange dead",
            "queue interactive",
            "queue dead",
        ] {
            let (kind, name) = part.split_once(' ').unwrap();
            let name = match (kind, name) {
                ("exchange", "") => prefix.clone(),
                ("exchange", name) => format!("{prefix}.{name}"),
                (_, name) => format!("{prefix}.{name}.v1"),
            };
            assert!(topology.contains(&format!("{kind} {name}")), "{topology}");
        }
        assert!(topology.contains("first relay or worker"), "{topology}");
    }
    ledger.remove().await;
    // A file that is not there is not made either.
    let file = folder.path().join("none/redrive.db");
    let url = format!("sqlite:{}", file.display());
    let report = examine(&mut doctor(folder.path(), &url)).await;
    assert_eq!(report.failed(), ["database"]);
    assert_eq!(report.status("relay"), "skipped");
    assert!(!file.parent().unwrap().exists());
}

#[tokio::test]
async fn work_that_nobody_brings_on_is_found() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = Ledger::postgres().await;
    crate::support::rows::start(&ledger.store, "run_a").await;
    let report = examine(&mut doctor(folder.path(), &ledger.url)).await;
    assert_eq!(report.failed(), ["workers"]);
    let earlier = "update outbox set due_at = due_at - interval '2 minutes'";
    ledger.execute(earlier).await;
    let report = examine(&mut doctor(folder.path(), &ledger.url)).await;
    assert_eq!(report.failed(), ["workers", "relay"]);
    assert!(report.message("relay").contains("redrive serve"));
    ledger.remove().await;
}

#[tokio::test]
async fn bad_tokens_urls_and_settings_are_found() {
    let folder = tempfile::tempdir().unwrap();
    let app = TestApp::start(Ledger::sqlite().await).await;
    let retry_only = app.token_of("org_test", "retry").await;
    for token in ["wrong", &retry_only] {
        let mut command = doctor(folder.path(), &app.ledger.url);
        command
            .env("REDRIVE_URL", app.base())
            .env("REDRIVE_TOKEN", token);
        let report = examine(&mut command).await;
        assert_eq!(report.failed(), ["token"]);
        assert_eq!(report.status("api"), "ok");
        assert!(!report.message("token").contains(&retry_only));
    }
    for url in ["http://127.0.0.1:9", "nonsense"] {
        let mut command = doctor(folder.path(), &app.ledger.url);
        let report = examine(command.env("REDRIVE_URL", url)).await;
        assert_eq!(report.failed(), ["api"], "{url}");
        assert_eq!(report.status("token"), "skipped");
    }
    std::fs::write(folder.path().join("redrive.toml"), "[server]\nport = 1\n").unwrap();
    let report = examine(&mut doctor(folder.path(), &app.ledger.url)).await;
    assert_eq!(report.failed(), ["configuration"]);
    assert_eq!(report.status("database"), "skipped");
    app.stop().await;
}
