//! A worker dies, another takes its run over: what is repeated, with which key and input.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use redrive::{
    broker::Hints,
    config::{HttpConfig, LimitsConfig},
    domain::{
        JsonText, NodeError, NodeRecord, NodeStatus, Run, RunStatus, SideEffects, SystemClock,
    },
    engine::{Engine, HandlerFuture, NodeCall, NodeHandler, NodeOutput, Signals, Stopped, nodes},
    intake::Intake,
    store::{Claim, NewStart, StoredDefinition},
    worker::AcceptsChildren,
};
use serde_json::{Value, json};

use crate::support::{
    installation::caller,
    ledger::Ledger,
    on_both_engines,
    rows::{DONE, checkpoint, claim, header, id, new_start, node, run},
    target::{Call, Target},
};

on_both_engines![
    a_call_under_way_is_repeated_with_its_key_and_its_input,
    a_node_without_effects_runs_again_from_the_state,
    an_unsafe_call_under_way_fails_in_doubt,
    an_unsafe_failure_that_is_tolerated_lets_the_run_go_on,
    a_kind_that_is_unsafe_is_not_repeated_either,
    five_lost_leases_end_the_run,
    a_loop_given_up_goes_on_in_a_retry,
    a_lost_call_is_no_attempt_of_its_nodes_policy,
    an_outcome_between_them_forgives_lost_leases,
];

const RUN: &str = "run_taken";

/// A kind that must not be repeated.
struct Vault(Target);

impl NodeHandler for Vault {
    fn side_effects(&self, _payload: &Value) -> SideEffects {
        SideEffects::Unsafe
    }

    fn run<'a>(&'a self, _call: NodeCall<'a>) -> HandlerFuture<'a> {
        Box::pin(async {
            let url = self.0.url("/pay");
            crate::support::app::client()
                .post(url)
                .send()
                .await
                .unwrap();
            Ok(NodeOutput::default())
        })
    }
}

struct Scene {
    ledger: Ledger,
    target: Target,
    engine: Engine,
    intake: Intake,
}

impl Scene {
    /// root -> pay -> tell, of which `pay` is as given.
    async fn new(ledger: Ledger, pay: impl FnOnce(&mut Value)) -> Self {
        Self::with(ledger, |nodes| pay(&mut nodes["pay"])).await
    }

    /// root -> pay -> tell, and what is changed.
    async fn with(ledger: Ledger, change: impl FnOnce(&mut Value)) -> Self {
        let target = Target::start().await;
        let call = |path: &str, body: Value| json!({ "url": target.url(path), "method": "POST", "body": body });
        let mut definition = json!({ "nodes": {
            "root": { "type": "manual", "payload": {}, "children": ["pay"] },
            "pay": {
                "type": "http-request", "children": ["tell"],
                "payload": call("/pay", json!({ "x": "{{root.x}}" }))
            },
            "tell": { "type": "http-request", "payload": call("/tell", json!("{{$nodes.pay.status}}")) }
        }});
        change(&mut definition["nodes"]);
        let mut trigger = node("root", NodeStatus::Success);
        trigger.result = Some(JsonText::of(&json!({ "x": "resolved anew" })));
        let start = NewStart {
            run: Run {
                definition_hash: Some(id("taken")),
                trigger_node_id: Some(id("root")),
                ..header(RUN)
            },
            definition: StoredDefinition {
                hash: id("taken"),
                text: JsonText::of(&definition),
            },
            trigger,
            ..new_start(RUN)
        };
        ledger
            .store
            .accept_start(&start, None, None)
            .await
            .unwrap()
            .unwrap();
        let http = HttpConfig {
            allow_networks: vec!["127.0.0.0/8".parse().unwrap()],
        };
        crate::support::app::client();
        let handlers = nodes::built_in(&http, &BTreeMap::new()).unwrap();
        let intake = Intake::new(
            ledger.store.clone(),
            Arc::new(SystemClock),
            LimitsConfig::default(),
            Hints::default(),
        );
        let engine = Engine::new(
            ledger.store.clone(),
            handlers.with("vault", Arc::new(Vault(target.clone()))),
            Arc::new(SystemClock),
            LimitsConfig::default(),
            BTreeMap::new(),
            Duration::from_secs(1),
            Arc::new(AcceptsChildren::new(intake.clone())),
        );
        Self {
            ledger,
            target,
            engine,
            intake,
        }
    }

    async fn claim(&self) -> Claim {
        claim(&self.ledger.store, RUN).await.unwrap()
    }

    async fn lose_the_lease(&self) {
        assert_eq!(self.ledger.store.expire_leases().await.unwrap(), 1);
    }

    /// A worker writes its start mark and dies.
    async fn die_in(&self, kind: &str, has_effect: bool) {
        let claim = self.claim().await;
        let mut record = NodeRecord::new(id("pay"), kind, NodeStatus::Running);
        let body = json!({ "x": "as sent" });
        let input = json!({ "url": self.target.url("/pay"), "method": "POST", "body": body });
        record.input = Some(JsonText::of(&input));
        let effect = json!({ "generation": 1, "last": "in_flight", "doubted": false });
        if has_effect {
            record.effect = Some(serde_json::from_value(effect).unwrap());
        }
        let attempt = json!({ "number": 1, "startedAt": "2026-01-01T00:00:00Z" });
        record.attempts = vec![serde_json::from_value(attempt).unwrap()];
        let written = self
            .ledger
            .store
            .checkpoint(&claim.fence, &checkpoint(vec![record]))
            .await;
        assert_eq!(written.unwrap(), DONE);
        self.lose_the_lease().await;
    }

    /// Another worker goes on.
    async fn take_over(&self) -> RunStatus {
        let claim = self.claim().await;
        let signals = Signals::default();
        match self.engine.execute(&claim, &signals).await.unwrap() {
            Stopped::Ended(status) => {
                assert_eq!(run(&self.ledger.store, RUN).await.status, status);
                status
            }
            stopped @ (Stopped::Parked | Stopped::Released | Stopped::LeaseLost) => {
                panic!("{stopped:?}")
            }
        }
    }

    async fn pay(&self) -> NodeRecord {
        let records = self.ledger.store.nodes(&id(RUN), None).await.unwrap();
        let pay = records.into_iter().find(|record| record.path == id("pay"));
        pay.unwrap()
    }

    async fn failure(&self) -> NodeError {
        let pay = self.pay().await;
        assert_eq!(pay.status, NodeStatus::Failure);
        serde_json::from_str(pay.error.unwrap().as_str()).unwrap()
    }

    fn paid(&self) -> Vec<Call> {
        self.target.calls_of("/pay")
    }
}

async fn a_call_under_way_is_repeated_with_its_key_and_its_input(ledger: Ledger) {
    let scene = Scene::new(ledger, |_| {}).await;
    scene.die_in("http-request", true).await;
    assert_eq!(scene.take_over().await, RunStatus::Success);
    let [call] = &scene.paid()[..] else {
        panic!("not one call")
    };
    assert_eq!(call.key.as_deref(), Some("run_taken/pay/1"));
    assert_eq!(call.body, r#"{"x":"as sent"}"#);
    let attempts = scene.pay().await.attempts;
    let numbers: Vec<_> = attempts
        .iter()
        .map(|attempt| (attempt.number, attempt.finished_at.is_some()))
        .collect();
    assert_eq!(numbers, [(1, false), (2, true)]);
    assert_eq!(scene.target.calls_of("/tell").len(), 1);
    // The lost attempt was one, too.
    assert_eq!(run(&scene.ledger.store, RUN).await.total_cu.as_str(), "3");
    scene.ledger.remove().await;
}

async fn a_node_without_effects_runs_again_from_the_state(ledger: Ledger) {
    let log =
        json!({ "type": "log", "payload": { "message": "{{root.x}}" }, "children": ["tell"] });
    let scene = Scene::new(ledger, |pay| *pay = log).await;
    scene.die_in("log", false).await;
    assert_eq!(scene.take_over().await, RunStatus::Success);
    let input = scene.pay().await.input.unwrap();
    assert_eq!(input.as_str(), r#"{"message":"resolved anew"}"#);
    scene.ledger.remove().await;
}

async fn an_unsafe_call_under_way_fails_in_doubt(ledger: Ledger) {
    let scene = Scene::new(ledger, |pay| pay["sideEffects"] = json!("unsafe")).await;
    scene.die_in("http-request", true).await;
    assert_eq!(scene.take_over().await, RunStatus::Failure);
    assert_eq!(json!(scene.failure().await.class), "in_doubt");
    assert!(scene.pay().await.effect.unwrap().is_in_doubt());
    assert!(scene.target.calls().is_empty());
    scene.ledger.remove().await;
}

async fn an_unsafe_failure_that_is_tolerated_lets_the_run_go_on(ledger: Ledger) {
    let scene = Scene::new(ledger, |pay| {
        pay["sideEffects"] = json!("unsafe");
        pay["onError"] = json!("continue");
    })
    .await;
    scene.die_in("http-request", true).await;
    assert_eq!(scene.take_over().await, RunStatus::Success);
    assert_eq!(json!(scene.failure().await.class), "in_doubt");
    assert!(scene.paid().is_empty());
    assert_eq!(scene.target.calls_of("/tell")[0].body, "failure");
    scene.ledger.remove().await;
}

async fn a_kind_that_is_unsafe_is_not_repeated_either(ledger: Ledger) {
    let scene = Scene::new(ledger, |pay| pay["type"] = json!("vault")).await;
    scene.die_in("vault", true).await;
    assert_eq!(scene.take_over().await, RunStatus::Failure);
    assert_eq!(json!(scene.failure().await.class), "in_doubt");
    assert!(scene.target.calls().is_empty());
    scene.ledger.remove().await;
}

async fn five_lost_leases_end_the_run(ledger: Ledger) {
    let scene = Scene::new(ledger, |_| {}).await;
    scene.die_in("http-request", true).await;
    for lost in 1..5 {
        assert_eq!(scene.claim().await.lost_leases, lost);
        scene.lose_the_lease().await;
    }
    assert_eq!(scene.take_over().await, RunStatus::Failure);
    assert_eq!(json!(scene.failure().await.class), "in_doubt");
    assert!(scene.target.calls().is_empty());
    scene.ledger.remove().await;
}

/// Loops around the call that the workers die of: `pay`, and `inner` inside it.
fn nested(nodes: &mut Value) {
    let call = nodes["pay"].take();
    let tolerant = |array: Value, body: &str| json!({ "type": "for-each", "payload": { "array": array }, "onError": "continue", "loopBody": [body] });
    nodes["pay"] = tolerant(json!([0, 1]), "inner");
    nodes["pay"]["children"] = call["children"].clone();
    nodes["inner"] = tolerant(json!([0, 1]), "a");
    nodes["a"] = call;
    nodes["a"]["children"] = json!([]);
}

async fn a_loop_given_up_goes_on_in_a_retry(ledger: Ledger) {
    let scene = Scene::with(ledger, nested).await;
    let claim = scene.claim().await;
    let signals = Signals::default();
    let _never = scene.target.hold("/pay");
    tokio::select! {
        _ = scene.engine.execute(&claim, &signals) => panic!("nobody answers"),
        () = scene.target.until_called("/pay", 1) => {}
    }
    scene.lose_the_lease().await;
    for lost in 1..5 {
        assert_eq!(scene.claim().await.lost_leases, lost);
        scene.lose_the_lease().await;
    }
    assert_eq!(scene.take_over().await, RunStatus::Failure);
    let ended = run(&scene.ledger.store, RUN).await;
    let summary = ended.summary.unwrap();
    assert!(summary.contains("workers were lost"), "{summary}");
    let inspected = scene.intake.plan(&caller(), &id(RUN), None).await.unwrap();
    let planned = inspected.planned.unwrap();
    let verdicts: Vec<_> = planned
        .lines()
        .map(|(line, _)| (line.path.to_string(), json!(line.verdict)))
        .filter(|(path, _)| path.starts_with("pay"))
        .collect();
    let expected = [
        ("pay", "execute"),
        ("pay[0].inner", "execute"),
        ("pay[0].inner[0].a", "in_doubt"),
        ("pay[0].inner[1].a", "execute"),
        ("pay[1].inner", "execute"),
        ("pay[1].inner[*].a", "execute"),
    ];
    let expected = expected.map(|(path, verdict)| (path.to_owned(), json!(verdict)));
    assert_eq!(verdicts, expected);
    scene.ledger.remove().await;
}

async fn a_lost_call_is_no_attempt_of_its_nodes_policy(ledger: Ledger) {
    let scene = Scene::new(ledger, |pay| {
        pay["retry"] = json!({ "maxAttempts": 2, "initialDelayMs": 1 });
    })
    .await;
    scene.die_in("http-request", true).await;
    scene.target.answer_with("/pay", [503]);
    assert_eq!(scene.take_over().await, RunStatus::Success);
    assert_eq!(scene.paid().len(), 2);
    assert_eq!(scene.pay().await.attempts.len(), 3);
    scene.ledger.remove().await;
}

async fn an_outcome_between_them_forgives_lost_leases(ledger: Ledger) {
    let scene = Scene::new(ledger, |_| {}).await;
    scene.die_in("http-request", true).await;
    for lost in 1..4 {
        assert_eq!(scene.claim().await.lost_leases, lost);
        scene.lose_the_lease().await;
    }
    // The fourth that takes over records what `pay` gave, and is lost in `tell`.
    let gate = scene.target.hold("/tell");
    let claim = scene.claim().await;
    assert_eq!(claim.lost_leases, 4);
    let signals = Signals::default();
    let dying = scene.engine.execute(&claim, &signals);
    let death = async {
        scene.target.until_called("/tell", 1).await;
        scene.lose_the_lease().await;
        signals.lost.cancel();
    };
    let (stopped, ()) = tokio::join!(dying, death);
    assert_eq!(stopped.unwrap(), Stopped::LeaseLost);
    let claim = scene.claim().await;
    assert_eq!(claim.lost_leases, 1);
    let signals = Signals::default();
    let answering = async {
        scene.target.until_called("/tell", 2).await;
        // The call of the dead may still stand in line.
        loop {
            gate.notify_one();
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    let stopped = tokio::select! {
        stopped = scene.engine.execute(&claim, &signals) => stopped,
        () = answering => unreachable!("it answers until the run has ended"),
    };
    assert_eq!(stopped.unwrap(), Stopped::Ended(RunStatus::Success));
    assert_eq!(scene.paid().len(), 1, "its success was recorded");
    let told = scene.target.calls_of("/tell");
    assert_eq!((told.len(), &told[0]), (2, &told[1]));
    scene.ledger.remove().await;
}
