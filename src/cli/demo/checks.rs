//! Whether everything that the demo says is true.

use super::{
    seen::Seen,
    shop::Call,
    story::{EFFECTS, FAILING, Fate, NODES, ORDER, PARCEL, RESERVATION},
};

/// What the demo saw.
#[derive(Debug, Clone)]
pub(super) struct Evidence {
    /// The run that failed, before its retry.
    pub(super) source: Seen,
    /// The same run, after its retry.
    pub(super) source_after: Seen,
    /// The retry's run.
    pub(super) retry: Seen,
    /// The calls that the service saw.
    pub(super) calls: Vec<Call>,
}

/// What is not as it should be; nothing, if all is well.
pub(super) fn problems(evidence: &Evidence) -> Vec<String> {
    let mut problems = Problems::default();
    check_source(evidence, &mut problems);
    check_retry(evidence, &mut problems);
    check_calls(evidence, &mut problems);
    problems.0
}

#[derive(Default)]
struct Problems(Vec<String>);

impl Problems {
    fn equal(&mut self, what: &str, expected: &str, seen: &str) {
        if expected != seen {
            self.0
                .push(format!("{what} should be {expected:?} and is {seen:?}"));
        }
    }

    fn holds(&mut self, what: &str, truth: bool) {
        if !truth {
            self.0.push(format!("not true: {what}"));
        }
    }
}

fn check_source(evidence: &Evidence, problems: &mut Problems) {
    let source = &evidence.source;
    problems.equal("the first run's status", "failure", &source.text("status"));
    for (id, fate) in NODES {
        let expected = match fate {
            Fate::Reused => "success",
            Fate::Skipped => "skipped",
            Fate::Executed if id == FAILING => "failure",
            Fate::Executed => "pending",
        };
        problems.equal(
            &format!("{id} in the first run"),
            expected,
            &source.status(id),
        );
    }
    problems.holds(
        "the first run is unchanged by its retry",
        source == &evidence.source_after,
    );
}

fn check_retry(evidence: &Evidence, problems: &mut Problems) {
    let (source, retry) = (&evidence.source, &evidence.retry);
    let id = source.text("id");
    problems.equal("the retry's status", "success", &retry.text("status"));
    problems.equal("the retry's sourceRunId", &id, &retry.text("sourceRunId"));
    problems.holds("the retry is a new run", retry.text("id") != id);
    for (node, fate) in NODES {
        let status = if fate == Fate::Skipped {
            "skipped"
        } else {
            "success"
        };
        problems.equal(&format!("{node} in the retry"), status, &retry.status(node));
        let origin = retry.origin(node).unwrap_or_default();
        let what = format!("originRunId of {node}");
        match fate {
            Fate::Reused => {
                problems.equal(&what, &id, &origin);
                let same = retry.node(node)["result"] == source.node(node)["result"];
                problems.holds(&format!("{node} keeps its result"), same);
            }
            Fate::Executed => problems.equal(&what, "", &origin),
            Fate::Skipped => {}
        }
    }
    for id in retry.ids() {
        let known = NODES.iter().any(|(node, _)| *node == id);
        problems.holds(&format!("{id} is a node of the definition"), known);
    }
    let receipt = retry.node("format_receipt")["result"]["formatted"].as_str();
    let receipt = receipt.unwrap_or_default();
    problems.holds(
        "the receipt names the order and the parcel",
        receipt.contains(ORDER) && receipt.contains(PARCEL),
    );
}

fn check_calls(evidence: &Evidence, problems: &mut Problems) {
    let mut accounted = 0;
    for (node, answers) in EFFECTS {
        let calls = calls_of(&evidence.calls, node);
        accounted += calls.len();
        let statuses: Vec<u16> = calls.iter().map(|call| call.status).collect();
        let what = format!("the answers to {node}");
        problems.equal(&what, &format!("{answers:?}"), &format!("{statuses:?}"));
        let one_key = calls.windows(2).all(|pair| pair[0].key == pair[1].key);
        problems.holds(&format!("every call of {node} has the same key"), one_key);
    }
    problems.holds("no other call was made", accounted == evidence.calls.len());
    let shipping = calls_of(&evidence.calls, FAILING);
    let resolved = shipping
        .iter()
        .all(|call| call.body["reservation"] == RESERVATION);
    problems.holds(
        "$vars.reservation reached the shipping desk, both times",
        resolved,
    );
}

/// The calls whose key names this node: `<root run>/<path>/<generation>`.
pub(super) fn calls_of<'a>(calls: &'a [Call], node: &str) -> Vec<&'a Call> {
    let names = |call: &&Call| call.key.split('/').nth(1) == Some(node);
    calls.iter().filter(names).collect()
}

#[cfg(test)]
pub(super) mod tests {
    use serde_json::{Map, Value, json};

    use super::*;

    fn run(id: &str, source: Option<&str>) -> Seen {
        let mut state = Map::new();
        for (node, fate) in NODES {
            let status = match (fate, source) {
                (Fate::Skipped, _) => "skipped",
                (Fate::Executed, None) if node == FAILING => "failure",
                (Fate::Executed, None) => continue,
                (Fate::Reused, _) | (Fate::Executed, Some(_)) => "success",
            };
            let mut record = json!({
                "type": "http-request", "status": status, "result": { "of": node },
                "startedAt": "2026-01-01T00:00:00.000Z", "finishedAt": "2026-01-01T00:00:00.031Z",
            });
            if let (Fate::Reused, Some(source)) = (fate, source) {
                record["originRunId"] = source.into();
            }
            state.insert(node.to_owned(), record);
        }
        if source.is_some() {
            let formatted = format!("order {ORDER}, parcel {PARCEL}");
            state["format_receipt"]["result"] = json!({ "formatted": formatted });
        } else {
            state[FAILING]["error"] = json!({ "class": "transient", "message": "no ".repeat(99) });
        }
        let status = if source.is_some() {
            "success"
        } else {
            "failure"
        };
        Seen::new(json!({
            "id": id, "status": status, "sourceRunId": source, "executionState": state,
        }))
    }

    fn call(node: &str, status: u16) -> Call {
        Call {
            key: format!("run_0198f3b2c1d47e6fa0b1c2d3e4f5a6b7/{node}/1"),
            status,
            body: json!({ "reservation": RESERVATION }),
        }
    }

    /// Everything as it should be.
    pub(in crate::cli::demo) fn evidence() -> Evidence {
        let source = run("run_0198f3b2c1d47e6fa0b1c2d3e4f5a6b7", None);
        let calls = EFFECTS
            .iter()
            .flat_map(|(node, answers)| answers.iter().map(|status| call(node, *status)));
        Evidence {
            source_after: source.clone(),
            retry: run(
                "run_0198f3b2c1d47e6fa0b1c2d3e4f5a6b8",
                Some(&source.text("id")),
            ),
            source,
            calls: calls.collect(),
        }
    }

    /// The evidence with one thing wrong is found out.
    fn finds(change: impl FnOnce(&mut Evidence)) -> bool {
        let mut evidence = evidence();
        change(&mut evidence);
        !problems(&evidence).is_empty()
    }

    fn edited(run: &Seen, pointer: &str, value: Value) -> Seen {
        let mut data = run.data().clone();
        *data.pointer_mut(pointer).unwrap() = value;
        Seen::new(data)
    }

    #[test]
    fn a_story_that_went_as_told_has_no_problems() {
        assert_eq!(problems(&evidence()), Vec::<String>::new());
    }

    #[test]
    fn wrong_runs_are_found_out() {
        for (pointer, value) in [
            ("/status", json!("failure")),
            ("/sourceRunId", json!("run_other")),
            ("/executionState/charge_card/originRunId", json!(null)),
            ("/executionState/charge_card/result", json!("another")),
            ("/executionState/ask_for_review/status", json!("success")),
            ("/executionState/format_receipt/result", json!({})),
            ("/executionState/log_receipt", json!(null)),
        ] {
            assert!(
                finds(|e| e.retry = edited(&e.retry, pointer, value)),
                "{pointer}"
            );
        }
        assert!(finds(
            |e| e.source = edited(&e.source, "/status", json!("success"))
        ));
        assert!(finds(|e| e.source_after = e.retry.clone()));
    }

    #[test]
    fn wrong_calls_are_found_out() {
        assert!(finds(|e| e.calls.push(call("charge_card", 200))));
        assert!(finds(|e| e.calls.push(call("ask_for_review", 404))));
        assert!(finds(|e| e.calls.truncate(3)));
        assert!(finds(|e| e.calls[3].key = "run_1/notify_shipping/2".into()));
        assert!(finds(|e| e.calls[0].key = String::new()));
        assert!(finds(|e| e.calls[3].body = json!({ "reservation": "" })));
    }
}
