//! Workers whose clocks are wrong: leases are kept by the database's clock alone.

use std::time::Duration;

use chrono::TimeDelta;
use redrive::{
    app::App,
    config::Config,
    domain::{Clock, SystemClock, Timestamp},
};
use serde_json::{Value, json};

use crate::support::{
    app::{TestApp, configured},
    ledger::Ledger,
    rows::{claim_as, start},
    target::Target,
};

/// How often tests look for what they wait for.
const LOOK: Duration = Duration::from_millis(5);

/// Short, so that several of them go by in a test.
const LEASE_MS: u64 = 1_000;

#[derive(Debug)]
struct Skewed(TimeDelta);

impl Clock for Skewed {
    fn now(&self) -> Timestamp {
        SystemClock.now() + self.0
    }
}

fn call(target: &Target) -> Value {
    json!({ "nodes": {
        "root": { "type": "manual", "children": ["call"] },
        "call": { "type": "http-request", "payload": { "url": target.url("/held") } }
    } })
}

/// The end of a run's lease by the database's clock, in milliseconds.
fn lease_until(run: &str) -> String {
    format!("select (extract(epoch from lease_until) * 1000)::bigint from runs where id = '{run}'")
}

/// Waits until the holder has moved the end of its lease by so many leases.
async fn until_renewed(app: &TestApp, run: &str, leases: u64) {
    let ends = lease_until(run);
    let far = app.ledger.count(&ends).await + i64::try_from(leases * LEASE_MS).unwrap();
    while app.ledger.count(&ends).await < far {
        tokio::time::sleep(LOOK).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_an_hour_off_loses_no_lease_and_takes_none() {
    for hours in [1, -1] {
        let (target, ledger) = (Target::start().await, Ledger::postgres().await);
        let off = |hours| Skewed(TimeDelta::hours(hours));
        let short = |config: &mut Config| config.worker.lease_ms = LEASE_MS;
        let idle = App::new(configured(&ledger.url, short)).clock(off(-hours));
        let app = TestApp::start_app(ledger, short, |app| app.clock(off(hours))).await;

        let gate = target.hold("/held");
        let run = app.start_run(&call(&target), &json!({})).await;
        target.until_called("/held", 1).await;
        let idle = idle.start().await.unwrap();
        until_renewed(&app, &run, 3).await;
        gate.notify_one();
        assert_eq!(app.ended(&run).await["status"], "success");

        assert_eq!(target.calls_of("/held").len(), 1);
        let claims = "select lease_epoch from runs";
        assert_eq!(app.ledger.count(claims).await, 1, "it was claimed once");
        idle.stop().await;
        app.stop().await.remove().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_an_hour_ahead_waits_for_the_end_of_a_lease() {
    let ledger = Ledger::postgres().await;
    start(&ledger.store, "run_held").await;
    let ttl = Duration::from_millis(2 * LEASE_MS);
    let claimed = claim_as(&ledger.store, "run_held", "dead", ttl).await;
    assert!(claimed.is_some());
    let until = ledger.count(&lease_until("run_held")).await;

    let ahead = Skewed(TimeDelta::hours(1));
    let app = TestApp::start_app(ledger, |_| {}, |app| app.clock(ahead)).await;
    let epoch = "select lease_epoch from runs where id = 'run_held'";
    while app.ledger.count(epoch).await == 1 {
        tokio::time::sleep(LOOK).await;
    }
    let now = "select (extract(epoch from clock_timestamp()) * 1000)::bigint";
    assert!(app.ledger.count(now).await >= until);
    app.stop().await.remove().await;
}
