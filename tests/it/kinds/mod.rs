//! Every kind of node, built in or the engine's own, by one harness: on the same input it gives the
//! same, it is retried after a failure, and a worker that is killed at any point while it executes
//! it leaves nothing behind that another worker would do twice or leave out.
//!
//! A new kind needs an example here, and nothing else.

mod examples;

use std::{
    collections::{BTreeMap, BTreeSet},
    future::poll_fn,
    sync::Arc,
    task::Poll,
    time::Duration,
};

use chrono::TimeDelta;
use redrive::{
    broker::Hints,
    config::{HttpConfig, LimitsConfig},
    domain::{Clock, JsonText, NodeRecord, NodeStatus, RunId, RunStatus, Timestamp},
    engine::{Engine, Signals, Stopped, nodes},
    intake::{Caller, Intake},
    store::Claimed,
    worker::{AcceptsChildren, create_run},
};
use serde_json::{Value, json};

use crate::support::{
    app::client,
    ledger::Ledger,
    rows::{MINUTE, acme},
    target::Target,
    virtual_clock::VirtualClock,
};

/// Kinds that the engine itself executes.
const OWN: [&str; 3] = ["for-each", "trigger-workflow", "wait"];
/// No kind has so many points where its worker waits for something.
const MOST_POINTS: usize = 400;

struct Bench {
    ledger: Ledger,
    target: Target,
    clock: Arc<VirtualClock>,
    intake: Intake,
    engine: Engine,
}

impl Bench {
    async fn new() -> Self {
        let (ledger, target) = (Ledger::sqlite_in_memory().await, Target::start().await);
        let clock = Arc::new(VirtualClock::new());
        let limits = LimitsConfig::default();
        let store = ledger.store.clone();
        let intake = Intake::new(
            store.clone(),
            clock.clone(),
            limits.clone(),
            Hints::default(),
        );
        client();
        let http = HttpConfig {
            allow_networks: vec!["127.0.0.0/8".parse().unwrap()],
        };
        let engine = Engine::new(
            store,
            nodes::built_in(&http, &BTreeMap::new()).unwrap(),
            clock.clone(),
            limits,
            BTreeMap::new(),
            Duration::from_secs(1),
            Arc::new(AcceptsChildren::new(intake.clone())),
        );
        let bench = Self {
            ledger,
            target,
            clock,
            intake,
            engine,
        };
        let body = json!({ "name": "other", "definition": examples::other_workflow() });
        bench
            .intake
            .put_workflow(&caller(), "wf_other", body)
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
        self.clock.set(VirtualClock::began());
        let body = json!({ "definition": { "nodes": nodes }, "propValues": props });
        let run = self.intake.start(&caller(), body).await.unwrap().id;
        let (killed, status) = self.drive(&run, kill_at).await;
        (killed, run, status)
    }

    async fn drive(&self, run: &RunId, kill_at: Option<usize>) -> (bool, RunStatus) {
        let store = &self.ledger.store;
        let (mut points, mut killed) = (0, false);
        loop {
            let mut claim = match store.claim(run, "worker", MINUTE).await.unwrap() {
                Claimed::Claimed(claim) => *claim,
                // Killed after its last word had arrived.
                Claimed::Refused => {
                    let run = store.run(&acme(), run).await.unwrap().unwrap();
                    assert!(killed && run.status.is_ended(), "{run:?}");
                    return (killed, run.status);
                }
                Claimed::NoSuchRun => panic!("{run} was accepted"),
            };
            let signals = Signals::default();
            let mut work = Box::pin(async {
                if let Some(retry) = claim.retry.clone().filter(|_| !claim.run.created) {
                    let now = self.clock.now();
                    create_run(store, &claim, &retry, now)
                        .await
                        .unwrap()
                        .unwrap();
                    claim.run.created = true;
                }
                self.engine.execute(&claim, &signals).await.unwrap()
            });
            let stopped = poll_fn(|context| {
                points += 1;
                if !killed && kill_at.is_some_and(|at| points > at) {
                    killed = true;
                    return Poll::Ready(None);
                }
                work.as_mut().poll(context).map(Some)
            });
            let stopped = stopped.await;
            // What a killed worker held is free.
            drop(work);
            match stopped {
                Some(Stopped::Ended(status)) => return (killed, status),
                Some(Stopped::Parked) => self.wake(run).await,
                Some(stopped) => panic!("{stopped:?}"),
                None => {
                    store.expire_leases().await.unwrap();
                }
            }
        }
    }

    /// Somebody comes for what waits; for anything else its time comes.
    async fn wake(&self, run: &RunId) {
        for record in self.ledger.store.nodes(run, None).await.unwrap() {
            if !matches!(record.status, NodeStatus::Waiting | NodeStatus::Scheduled) {
                continue;
            }
            if record.kind == "wait" {
                let (organization, body) = (acme(), JsonText::trusted("{\"by\":\"me\"}"));
                let (path, now) = (&record.path, self.clock.now());
                let resumed = self
                    .ledger
                    .store
                    .resume(&organization, run, path, &body, now);
                resumed.await.unwrap();
            } else {
                let due: Timestamp = record.due_at.as_deref().unwrap().parse().unwrap();
                self.clock.set(due + TimeDelta::milliseconds(1));
            }
        }
    }

    async fn record(&self, run: &RunId) -> NodeRecord {
        let records = self.ledger.store.nodes(run, None).await.unwrap();
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
        self.ledger.count(&sql).await
    }
}

fn caller() -> Caller {
    Caller {
        organization_id: acme(),
        actor: Some("ann".to_owned()),
        traceparent: None,
    }
}

fn kinds(bench: &Bench) -> Vec<String> {
    let handlers = nodes::built_in(&HttpConfig::default(), &BTreeMap::new()).unwrap();
    let built_in = handlers.kinds().map(str::to_owned);
    let mut kinds: Vec<_> = built_in.chain(OWN.map(str::to_owned)).collect();
    kinds.sort();
    assert!(
        kinds
            .iter()
            .all(|kind| examples::of(kind, &bench.target).is_some()),
        "{kinds:?}"
    );
    kinds
}

/// root -> x -> after, with a body for x if it is a loop; and the property that x reads.
fn around(kind: &str, target: &Target) -> (Value, Value) {
    let (payload, given) = examples::of(kind, target).unwrap();
    let mut nodes = json!({
        "root": { "type": "manual", "children": ["x"] },
        "x": { "type": kind, "payload": payload, "children": ["after"] },
        "after": { "type": "log", "payload": { "message": "{{x.status}}" } }
    });
    if kind == "for-each" {
        nodes["x"]["loopBody"] = json!(["inner"]);
        nodes["inner"] = json!({ "type": "log", "payload": { "message": "{{$item}}" } });
    }
    (nodes, json!({ "given": given }))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_kind_gives_the_same_on_the_same_input() {
    let bench = Bench::new().await;
    for kind in kinds(&bench) {
        let (nodes, props) = around(&kind, &bench.target);
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
    for kind in kinds(&bench) {
        let (nodes, props) = around(&kind, &bench.target);
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
        let retry = bench.intake.retry(&caller(), &failed, Some(body)).await;
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
    for kind in kinds(&bench) {
        let (nodes, props) = around(&kind, &bench.target);
        let (_, expected, _) = bench.play((&nodes, &props), None).await;
        let keys = bench.keys(&expected).len();
        let children = bench.children(&expected).await;
        let mut point = 0;
        loop {
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
                break;
            }
            point += 1;
            assert!(point < MOST_POINTS, "{what}");
        }
        assert!(point > 1, "{kind} was never killed");
    }
}
