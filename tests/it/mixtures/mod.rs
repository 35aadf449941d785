//! Runs that stopped in every mixture of node states, retried on both engines: the same happens on
//! both, and it is what an independent reading of the semantics says.

mod case;
mod oracle;

use futures_util::StreamExt;
use serde_json::{Value, json};

use crate::support::{
    app::TestApp,
    ledger::Ledger,
    target::{Call, Target},
};
use case::Case;
use oracle::{Prediction, run};

const CASES: u64 = 150;
/// Another start, other cases.
const FIRST_SEED: u64 = 0;
/// Retries of one chain.
const CHAIN: usize = 3;

struct Stage {
    name: &'static str,
    app: TestApp,
    target: Target,
}

impl Stage {
    async fn new(name: &'static str, ledger: Ledger) -> Self {
        let (app, target) = (TestApp::start(ledger).await, Target::start().await);
        Self { name, app, target }
    }

    fn calls(&self, case: &Case) -> Vec<Call> {
        let prefix = format!("/c{}/", case.seed);
        let mut calls = self.target.calls();
        calls.retain(|call| call.path.starts_with(&prefix));
        calls
    }

    /// Imports and retries, and gives everything that was seen, without ids and times.
    async fn play(&self, case: &Case) -> Vec<Value> {
        let base = self.target.url("");
        for (ix, answers) in case.start.answers.iter().enumerate() {
            self.target
                .answer_with(&case.path(ix), answers.iter().copied());
        }
        self.app.post("/v1/runs/import", &case.import(&base)).await;
        let mut ids = vec![case.run_id()];
        let mut world = case.start.clone();
        let mut source = self.app.get(&format!("/v1/runs/{}", ids[0])).await;
        let mut seen = Vec::new();
        for _ in 0..CHAIN {
            let what = format!("seed {}, {}, source {source}", case.seed, self.name);
            let before = self.calls(case).len();
            let expected = run(case, &mut world, None);
            let path = format!("/v1/runs/{}/retry", ids[ids.len() - 1]);
            let (status, answer) = self.app.call("POST", &path, None).await;
            if !expected.unconfirmed.is_empty() {
                let reason = &answer["error"]["reason"];
                assert_eq!(
                    (status, reason),
                    (409, &json!("confirmation_required")),
                    "{what}"
                );
                seen.push(answer["error"].clone());
                break;
            }
            assert_eq!(status, 200, "{answer}, {what}");
            let id = answer["data"]["id"].as_str().unwrap().to_owned();
            let ended = self.app.ended(&id).await;
            let calls = self.calls(case).split_off(before);
            check_run(case, &expected, (&source, &ended), &what);
            check_calls(case, &expected, &calls, &what);
            let again = self
                .app
                .get(&format!("/v1/runs/{}", ids[ids.len() - 1]))
                .await;
            assert_eq!(again, source, "the source changed: {what}");
            ids.push(id);
            let calls = told(&calls, case.slow);
            seen.push(plain(&json!({ "run": ended, "calls": calls }), &ids, &base));
            if ended["status"] == "success" {
                break;
            }
            source = ended;
        }
        seen
    }
}

fn told(calls: &[Call], is_order_open: bool) -> Vec<Value> {
    let one = |call: &Call| json!([call.path, call.key, call.body]);
    let mut told: Vec<_> = calls.iter().map(one).collect();
    if is_order_open {
        told.sort_by_key(Value::to_string);
    }
    told
}

fn check_calls(case: &Case, expected: &Prediction, calls: &[Call], what: &str) {
    let one = |(ix, body): &(usize, String)| (case.path(*ix), body.clone());
    let mut expected: Vec<_> = expected.calls.iter().map(one).collect();
    let one = |call: &Call| (call.path.clone(), call.body.clone());
    let mut made: Vec<_> = calls.iter().map(one).collect();
    if case.slow {
        expected.sort();
        made.sort();
    }
    assert_eq!(made, expected, "calls of {what}");
    for call in calls {
        let key = call.key.as_deref().unwrap();
        assert!(key.starts_with(&case.run_id()), "{key} of {what}");
    }
}

fn check_run(case: &Case, expected: &Prediction, (source, run): (&Value, &Value), what: &str) {
    assert_eq!(run["status"], expected.status, "{run} of {what}");
    assert_eq!(run["totalCu"], expected.attempts, "{run} of {what}");
    for (ix, node) in case.nodes.iter().enumerate() {
        let (was, is) = (
            &source["executionState"][&node.id],
            &run["executionState"][&node.id],
        );
        let what = format!("{} in {run} of {what}", node.id);
        assert_eq!(is["status"], expected.state[ix].status, "{what}");
        if !expected.reused[ix] {
            assert!(is.get("originRunId").is_none(), "{what}");
            assert!(
                !expected.executed.contains(&ix) || expected.may_run[ix],
                "{what}"
            );
            assert_ne!(was["status"], "success", "{what}");
            continue;
        }
        let origin = was.get("originRunId").unwrap_or(&source["id"]);
        assert_eq!(&is["originRunId"], origin, "{what}");
        assert_eq!(without_history(is), without_history(was), "{what}");
    }
}

/// A record without what a copy may have differently.
fn without_history(record: &Value) -> Value {
    let mut record = record.clone();
    let members = record.as_object_mut().unwrap();
    members.shift_remove("originRunId");
    members.shift_remove("attempts");
    record
}

/// A value without ids, times and the target's address.
fn plain(value: &Value, ids: &[String], base: &str) -> Value {
    match value {
        Value::String(text) => {
            let mut text = text.replace(base, "<target>");
            for (number, id) in ids.iter().enumerate().rev() {
                text = text.replace(id, &format!("<run {number}>"));
            }
            text.into()
        }
        Value::Array(items) => items.iter().map(|item| plain(item, ids, base)).collect(),
        Value::Object(members) => members
            .iter()
            .map(|(name, value)| {
                let is_time = (name.ends_with("At") || name == "date") && value.is_string();
                let is_id = name == "id" && value.as_str().is_some_and(|id| id.starts_with("rty_"));
                let value = if is_time || is_id {
                    json!("<open>")
                } else {
                    plain(value, ids, base)
                };
                (name.clone(), value)
            })
            .collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) => value.clone(),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn promise_3_a_node_whose_success_was_recorded_never_runs_again() {
    let sqlite = &Stage::new("sqlite", Ledger::sqlite().await).await;
    let postgres = &Stage::new("postgres", Ledger::postgres().await).await;
    let seeds = FIRST_SEED..FIRST_SEED + CASES;
    let cases = futures_util::stream::iter(seeds).map(|seed| async move {
        let case = Case::new(seed);
        let (one, other) = tokio::join!(sqlite.play(&case), postgres.play(&case));
        let text = |seen: &[Value]| seen.iter().map(Value::to_string).collect::<Vec<_>>();
        assert_eq!(text(&one), text(&other), "seed {seed}");
        one.len()
    });
    let retries: usize = cases
        .buffer_unordered(8)
        .collect::<Vec<_>>()
        .await
        .iter()
        .sum();
    eprintln!("{CASES} cases, {retries} retries on each engine");
}
