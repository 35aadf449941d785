//! The run that is retried under fire: three effects in a row, in a line that was never reached.

use serde_json::{Value, json};

use super::witness::Witness;

/// The nodes of the new run that have effects.
pub(crate) const EFFECTS: [&str; 3] = ["first", "second", "third"];

/// What each node of the new run has to be: status, and whether it is the source's.
const STORY: [(&str, &str, bool); 9] = [
    ("root", "success", true),
    ("before", "success", true),
    ("first", "success", false),
    ("keep", "success", false),
    ("second", "success", false),
    ("check", "success", false),
    ("third", "success", false),
    ("note", "success", false),
    ("never", "skipped", false),
];

/// What a run that takes the detour has besides.
const DETOUR: [(&str, &str, bool); 2] = [("pause", "success", false), ("errand", "success", false)];

/// The workflow that the detour starts a run of.
#[cfg(feature = "faults")]
pub(crate) const CHILD: &str = "wf_errand";

/// Queries that must find nothing once all retries have ended well, on either engine.
pub(crate) const NOTHING: [(&str, &str); 8] = [
    (
        "sources with two retries",
        "select count(*) from (select 1 from retries group by source_run_id having count(*) <> 1) as found",
    ),
    (
        "sources with two runs",
        "select count(*) from (select 1 from runs where source_run_id is not null
                                group by source_run_id having count(*) <> 1) as found",
    ),
    (
        "retries that do not name the run that names their source",
        "select count(*) from retries left join runs on runs.id = retries.run_id
          where runs.source_run_id is distinct from retries.source_run_id",
    ),
    (
        "retries that were not created",
        "select count(*) from retries where state <> 'created' or live or ordinal is distinct from 1",
    ),
    (
        "runs without an end",
        "select count(*) from runs where status in ('waiting', 'running') or lease_owner is not null",
    ),
    ("runs that are still due", "select count(*) from outbox"),
    (
        "nodes without an end",
        "select count(*) from nodes join retries on retries.run_id = nodes.run_id
          where nodes.status not in ('success', 'skipped')",
    ),
    (
        "runs that logged their variable twice, or never",
        "select count(*) from retries
          where 1 <> (select count(*) from variable_writes where run_id = retries.run_id)",
    ),
];

/// The id of a source.
pub(crate) fn source(number: usize) -> String {
    format!("run_source_{number}")
}

/// root -> before -> first -> keep -> second -> check -> (then) third -> note, (else) never.
/// Everything up to `before` has succeeded, `first` has failed.
pub(crate) fn failed_run(number: usize, witness: &Witness) -> Value {
    let call = |name: &str, value: &str, children: &[&str]| {
        let url = format!("{}/{{{{root.result.n}}}}", witness.url(&format!("/{name}")));
        let body = json!({ "run": "{{$run.id}}", "value": value });
        let payload = json!({ "url": url, "method": "POST", "body": body });
        json!({ "type": "http-request", "payload": payload, "children": children })
    };
    let condition = json!({ "$and": [{ "{{root.result.n}}": { "$gt": -1 } }] });
    let mut nodes = json!({
        "root": { "type": "manual", "payload": {}, "children": ["before"] },
        "before": call("before", "never sent", &["first"]),
        "first": call("first", "{{before.result.json.id}}", &["keep"]),
        "keep": {
            "type": "set-variable",
            "payload": { "name": "kept", "value": "{{first.result.json.call}}" },
            "children": ["second"]
        },
        "second": call("second", "{{$vars.kept}}", &["check"]),
        "check": { "type": "if", "payload": { "condition": condition }, "children": ["third", "never"] },
        "third": call("third", "{{second.result.json.call}}", &["note"]),
        "note": { "type": "log", "payload": { "message": "kept {{$vars.kept}}" } },
        "never": call("never", "never sent", &[])
    });
    nodes["third"]["branch"] = json!("then");
    nodes["never"]["branch"] = json!("else");
    let kept = json!({ "name": "kept", "type": "number", "default": 0, "lifetime": "reset" });
    json!({
        "id": source(number),
        "status": "failure",
        "triggerNodeId": "root",
        "workflowDefinition": { "variableDefs": [kept], "nodes": nodes },
        "executionState": {
            "root": { "type": "manual", "status": "success", "result": { "n": number } },
            "before": {
                "type": "http-request", "status": "success",
                "result": { "status": 200, "json": { "id": number } }
            },
            "first": {
                "type": "http-request", "status": "failure",
                "error": { "class": "transient", "message": "503" }
            }
        }
    })
}

/// The same with a detour after `keep`: it waits for somebody, then for a run that it starts.
#[cfg(feature = "faults")]
pub(crate) fn detoured_run(number: usize, witness: &Witness) -> Value {
    let mut run = failed_run(number, witness);
    let nodes = &mut run["workflowDefinition"]["nodes"];
    nodes["keep"]["children"] = json!(["pause"]);
    nodes["pause"] = json!({
        "type": "wait", "payload": { "timeoutMs": 3_600_000 }, "children": ["errand"]
    });
    nodes["errand"] = json!({
        "type": "trigger-workflow", "payload": { "workflowId": CHILD, "wait": true },
        "children": ["second"]
    });
    run
}

/// Holds the retry's run, as it is shown, to what was planned and to what the effects gave.
pub(crate) fn assert_ended_well(run: &Value, source: &str) {
    assert_eq!(run["status"], "success", "{run:#}");
    assert_eq!(run["sourceRunId"], source, "{run:#}");
    let state = &run["executionState"];
    let detour = DETOUR.iter().filter(|_| state.get("pause").is_some());
    let story: Vec<_> = STORY.iter().chain(detour).copied().collect();
    assert_eq!(state.as_object().unwrap().len(), story.len(), "{run:#}");
    for (node, status, reused) in story {
        assert_eq!(state[node]["status"], status, "{node}: {run:#}");
        let origin = state[node]["originRunId"].as_str();
        assert_eq!(origin, reused.then_some(source), "{node}: {run:#}");
    }
    let kept = &state["first"]["result"]["json"]["call"];
    assert_eq!(state["second"]["input"]["body"]["value"], *kept, "{run:#}");
    let message = format!("kept {kept}");
    assert_eq!(state["note"]["input"]["message"], message, "{run:#}");
}
