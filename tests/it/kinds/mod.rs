//! Every kind of node, built in or the engine's own, by one harness: on the same input it gives the
//! same, it is retried after a failure, and a worker that is killed at any point while it executes
//! it leaves nothing behind that another worker would do twice or leave out.
//!
//! A new kind needs an example here, and nothing else.

mod examples;

use std::collections::{BTreeMap, BTreeSet};

use chrono::TimeDelta;
use redrive::{
    config::{HttpConfig, Secret},
    domain::{NodeRecord, NodeStatus, RunId, RunStatus, Timestamp},
    engine::{Handlers, Signals, Stopped, nodes},
    store::Claimed,
};
use serde_json::{Value, json};

use crate::support::{
    app::client,
    installation::{Installation, caller, within_points},
    ledger::Ledger,
    rows::{MINUTE, acme},
    target::Target,
    virtual_clock::VirtualClock,
};
use examples::Example;

/// Kinds that the engine itself executes.
const OWN: [&str; 3] = ["for-each", "trigger-workflow", "wait"];
/// No kind has so many points where its worker waits for something.
const MOST_POINTS: usize = 400;
/// Plays in a row that come to their end before a point until it counts as one that is not there: an
/// answer of the ledger that is quicker than the question leaves no point to be killed at.
const MISSES: usize = 8;

struct Bench {
    inside: Installation,
    target: Target,
}

impl Bench {
    async fn new() -> Self {
        let (ledger, target) = (Ledger::sqlite_in_memory().await, Target::start().await);
        client();
        let bench = Self {
            inside: Installation::new(ledger, handlers(&target)),
            target,
        };
        let (intake, caller) = (&bench.inside.intake, caller());
        let body = json!({ "name": "other", "definition": examples::other_workflow() });
        intake
            .put_workflow(&caller, "wf_other", body)
            .await
            .unwrap();
        bench
    }

    /// Starts a run of root -> x -> after and brings it to its end; the first worker is killed at
    /// a point, if one is given. Whether it came so far, and the run.
    async fn play(
        &self,
        (nodes, props): (&Value, &Value),
        kill_at: Option<usize>,
    ) -> (bool, RunId, RunStatus) {
        self.inside.clock.set(VirtualClock::began());
        let body = json!({ "definition": { "nodes": nodes }, "propValues": props });
        let run = self.inside.intake.start(&caller(), body).await.unwrap().id;
        let (killed, status) = self.drive(&run, kill_at).await;
        (killed, run, status)
    }

    async fn drive(&self, run: &RunId, kill_at: Option<usize>) -> (bool, RunStatus) {
        let store = &self.inside.ledger.store;
        let (mut left, mut killed) = (kill_at, false);
        loop {
            let claim = match store.claim(run, "worker", MINUTE).await.unwrap() {
                Claimed::Claimed(claim) => *claim,
                // Killed after its last word had arrived.
                Claimed::Refused => {
                    let status = self.status(run).await;
                    assert!(killed && status.is_ended(), "{run} is {status:?}");
                    return (killed, status);
                }
                Claimed::NoSuchRun => panic!("{run} was accepted"),
            };
            let signals = Signals::default();
            // The first worker that gets so far is killed there.
            let stopped = within_points(self.inside.work(claim, &signals), &mut left).await;
            match stopped {
                Some(Stopped::Ended(status)) => return (killed, status),
                Some(Stopped::Parked) => self.wake(run).await,
                Some(stopped) => panic!("{stopped:?}"),
                None => {
                    (killed, left) = (true, None);
                    store.expire_leases().await.unwrap();
                }
            }
        }
    }

    async fn status(&self, run: &RunId) -> RunStatus {
        let store = &self.inside.ledger.store;
        store.run(&acme(), run).await.unwrap().unwrap().status
    }

    /// Somebody comes for what waits, and a child is worked on; for anything else its time comes.
    async fn wake(&self, run: &RunId) {
        for record in self.inside.records(run).await {
            if !matches!(record.status, NodeStatus::Waiting | NodeStatus::Scheduled) {
                continue;
            }
            if let Some(child) = record.child_run_id() {
                if !self.status(&child).await.is_ended() {
                    Box::pin(self.drive(&child, None)).await;
                }
            } else if record.kind == "wait" {
                self.inside.resume(run, &record, "{\"by\":\"me\"}").await;
            } else {
                let due: Timestamp = record.due_at.as_deref().unwrap().parse().unwrap();
                self.inside.clock.set(due + TimeDelta::milliseconds(1));
            }
        }
    }

    async fn record(&self, run: &RunId) -> NodeRecord {
        let records = self.inside.records(run).await;
        let mut records = records.into_iter();
        records
            .find(|record| record.path.to_string() == "x")
            .unwrap()
    }

    /// What the node gave, without what is another thing each time.
    async fn result(&self, run: &RunId) -> Value {
        let record = self.record(run).await;
        let mut result = record.result.unwrap().value().unwrap();
        for name in ["runId", "triggeredAt", "loggedAt", "headers", "deliveryId"] {
            if let Some(member) = result.get_mut(name) {
                *member = Value::Null;
            }
        }
        result
    }

    /// The keys that a run's calls were sent with.
    fn keys(&self, run: &RunId) -> BTreeSet<String> {
        let keys = self.target.calls().into_iter().filter_map(|call| call.key);
        keys.filter(|key| key.starts_with(run.as_str())).collect()
    }

    async fn children(&self, run: &RunId) -> i64 {
        let sql = format!("select count(*) from children where parent_run_id = '{run}'");
        self.inside.ledger.count(&sql).await
    }
}

fn handlers(target: &Target) -> Handlers {
    let http = HttpConfig {
        allow_networks: vec!["127.0.0.0/8".parse().unwrap()],
    };
    let gateway = ("slack-*".to_owned(), Secret::new(target.url("/gateway")));
    nodes::built_in(&http, &BTreeMap::from([gateway])).unwrap()
}

/// Examples of all kinds there are: those that have a handler, the engine's own, and one for the
/// types that go to the connector gateway.
fn examples(target: &Target) -> Vec<Example> {
    let handlers = handlers(target);
    let kinds = handlers.kinds().chain(OWN).chain(["slack-post"]);
    let examples = kinds.flat_map(|kind| {
        let examples = examples::of(kind, target);
        assert!(!examples.is_empty(), "{kind} needs an example");
        examples
    });
    examples.collect()
}

/// root -> x -> after, with a body for x if it is a loop; and the property that x reads.
fn around(example: &Example) -> (Value, Value) {
    let kind = example.kind.as_str();
    let mut nodes = json!({
        "root": { "type": "manual", "children": ["x"] },
        "x": { "type": kind, "payload": example.payload, "children": ["after"] },
        "after": { "type": "log", "payload": { "message": "{{x.status}}" } }
    });
    if kind == "for-each" {
        nodes["x"]["loopBody"] = json!(["inner"]);
        nodes["inner"] = json!({ "type": "log", "payload": { "message": "{{$item}}" } });
    }
    (nodes, json!({ "given": example.given }))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_kind_gives_the_same_on_the_same_input() {
    let bench = Bench::new().await;
    for example in examples(&bench.target) {
        let (kind, (nodes, props)) = (&example.name, around(&example));
        let (_, first, status) = bench.play((&nodes, &props), None).await;
        assert_eq!(status, RunStatus::Success, "{kind}");
        let (_, second, status) = bench.play((&nodes, &props), None).await;
        assert_eq!(status, RunStatus::Success, "{kind}");
        assert_eq!(
            bench.result(&first).await,
            bench.result(&second).await,
            "{kind}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_kind_that_failed_is_retried() {
    let bench = Bench::new().await;
    for example in examples(&bench.target) {
        let (kind, (nodes, props)) = (&example.name, around(&example));
        let (_, expected, _) = bench.play((&nodes, &props), None).await;
        // What it reads is not there, so it fails, whatever it is.
        let (_, failed, status) = bench.play((&nodes, &json!({})), None).await;
        assert_eq!(status, RunStatus::Failure, "{kind}");
        assert_eq!(
            bench.record(&failed).await.status,
            NodeStatus::Failure,
            "{kind}"
        );

        let body = json!({ "propValues": props });
        let retry = bench
            .inside
            .intake
            .retry(&caller(), &failed, Some(body))
            .await;
        let run = retry.unwrap().0.id;
        let (_, status) = bench.drive(&run, None).await;
        assert_eq!(status, RunStatus::Success, "{kind}");
        assert_eq!(
            bench.result(&run).await,
            bench.result(&expected).await,
            "{kind}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_kind_survives_a_kill_at_any_point() {
    let bench = Bench::new().await;
    for example in examples(&bench.target) {
        let (kind, (nodes, props)) = (&example.name, around(&example));
        let (_, expected, _) = bench.play((&nodes, &props), None).await;
        let keys = bench.keys(&expected).len();
        let children = bench.children(&expected).await;
        let (mut point, mut missed) = (0, 0);
        while missed < MISSES {
            let (killed, run, status) = bench.play((&nodes, &props), Some(point)).await;
            let what = format!("{kind}, killed at {point}");
            assert_eq!(status, RunStatus::Success, "{what}");
            assert_eq!(
                bench.result(&run).await,
                bench.result(&expected).await,
                "{what}"
            );
            assert_eq!(bench.keys(&run).len(), keys, "{what}: one effect");
            assert_eq!(bench.children(&run).await, children, "{what}: one child");
            if !killed {
                missed += 1;
                continue;
            }
            (point, missed) = (point + 1, 0);
            assert!(point < MOST_POINTS, "{what}");
        }
        assert!(point > 1, "{kind} was never killed");
    }
}
