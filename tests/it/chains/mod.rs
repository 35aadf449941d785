//! Chains of retries until nothing is left to do: over all of them together, every call that an
//! uninterrupted run makes succeeds exactly once, and what was planned is what was done.

pub(crate) mod case;

use std::collections::{BTreeMap, HashMap};

use futures_util::StreamExt;
use serde_json::{Value, json};

use crate::support::{
    app::TestApp,
    dice::{Dice, scale},
    ledger::Ledger,
    target::{Call, Target},
};
use case::{Case, Place};

/// Cases on each engine, unless `REDRIVE_CHAIN_CASES` says how many.
const CASES: u64 = 40;
/// The longest chain that a case can need: every run gets further.
const LONGEST: usize = 60;

struct Stage {
    app: TestApp,
    target: Target,
}

impl Stage {
    async fn new(ledger: Ledger) -> Self {
        let (app, target) = (TestApp::start(ledger).await, Target::start().await);
        Self { app, target }
    }

    /// Retries a run until it succeeds; gives what each call was answered in the end.
    async fn play(&self, seed: u64) {
        let case = Case::new(seed);
        let mut dice = Dice(seed ^ 0xC0FF_EE00);
        let places = case.places();
        let mut failures: BTreeMap<&str, Vec<u16>> = BTreeMap::new();
        for place in &places {
            let count = [0, 0, 0, 1, 1, 2][dice.below(6)];
            let answers: Vec<_> = (0..count).map(|_| [503, 500, 400][dice.below(3)]).collect();
            self.target
                .answer_with(&place.path, answers.iter().copied());
            failures.insert(&place.path, answers);
        }
        let definition = case.definition(&self.target.url(""));
        let mut id = self
            .app
            .start_run(&definition, &json!({ "yes": true }))
            .await;
        for _ in 0..LONGEST {
            if dice.below(4) == 0 {
                let path = format!("/v1/runs/{id}/cancel");
                self.app.call("POST", &path, Some("{}")).await;
            }
            let source = self.app.ended(&id).await;
            if source["status"] == "success" {
                check_calls(&case, &places, &failures, &self.calls(seed));
                return;
            }
            id = self.retry(seed, &source).await;
        }
        panic!("seed {seed}: no end after {LONGEST} retries");
    }

    fn calls(&self, seed: u64) -> Vec<Call> {
        let prefix = format!("/s{seed}/");
        let mut calls = self.target.calls();
        calls.retain(|call| call.path.starts_with(&prefix));
        calls
    }

    /// Plans a retry, makes it, and holds what it did to the plan.
    async fn retry(&self, seed: u64, source: &Value) -> String {
        let of = source["id"].as_str().unwrap();
        let body = json!({ "includePartial": true });
        let plan = self
            .app
            .post(&format!("/v1/runs/{of}/retry-plan"), &body)
            .await;
        assert_eq!(plan["refusal"], Value::Null, "seed {seed}: {plan}");
        let body = json!({ "includePartial": true, "planHash": plan["planHash"] });
        let accepted = self.app.post(&format!("/v1/runs/{of}/retry"), &body).await;
        let id = accepted["id"].as_str().unwrap().to_owned();
        let ended = self.app.ended(&id).await;
        let mut records = HashMap::new();
        flatten(&ended["executionState"], "", &mut records);
        for line in plan["plan"]["nodes"].as_array().unwrap() {
            let path = line["path"].as_str().unwrap();
            let what = format!("seed {seed}: {path} of {line} in {ended}");
            let Some(record) = records.get(path) else {
                assert_ne!(line["verdict"], "reuse", "{what}");
                assert!(ended["status"] != "success" || is_open(line), "{what}");
                continue;
            };
            let is_reused = record.get("originRunId").is_some();
            assert_eq!(is_reused, line["verdict"] == "reuse", "{what}");
        }
        id
    }
}

/// A line that need not be executed even if the run succeeds.
fn is_open(line: &Value) -> bool {
    line["conditional"] == true || line["verdict"] == "skip"
}

/// The records by their path.
fn flatten<'a>(state: &'a Value, prefix: &str, records: &mut HashMap<String, &'a Value>) {
    for (id, record) in state.as_object().unwrap() {
        let path = format!("{prefix}{id}");
        let iterations = record["iterations"].as_array().into_iter().flatten();
        for (number, iteration) in iterations.enumerate() {
            flatten(iteration, &format!("{path}[{number}]."), records);
        }
        records.insert(path, record);
    }
}

fn check_calls(case: &Case, places: &[Place], failures: &BTreeMap<&str, Vec<u16>>, calls: &[Call]) {
    let seed = case.seed;
    let mut made: BTreeMap<&str, Vec<&Call>> = BTreeMap::new();
    for call in calls {
        made.entry(&call.path).or_default().push(call);
    }
    let expected: Vec<_> = places.iter().map(|place| place.path.as_str()).collect();
    let found: Vec<_> = made.keys().copied().collect();
    assert_eq!(found, expected, "seed {seed}: {case:?}");
    for place in places {
        let (calls, failures) = (&made[place.path.as_str()], &failures[place.path.as_str()]);
        // A tolerated failure is reused, so it is called once, whatever it answered.
        let count = if place.is_tolerated {
            1
        } else {
            failures.len() + 1
        };
        assert_eq!(calls.len(), count, "seed {seed}: {place:?}");
        for (pair, status) in calls.windows(2).zip(failures) {
            // A rejection had no effect: what comes after it is another one.
            let is_same = pair[0].key == pair[1].key;
            assert_eq!(is_same, *status != 400, "seed {seed}: {pair:?}");
        }
    }
}

async fn play_all(ledger: Ledger) {
    let stage = &Stage::new(ledger).await;
    let count = scale("REDRIVE_CHAIN_CASES", CASES);
    let cases = futures_util::stream::iter(0..count).map(|seed| stage.play(seed));
    cases.buffer_unordered(8).collect::<Vec<_>>().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn promise_3_every_call_succeeds_once_over_the_chain_on_sqlite() {
    play_all(Ledger::sqlite().await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn promise_3_every_call_succeeds_once_over_the_chain_on_postgres() {
    play_all(Ledger::postgres().await).await;
}
