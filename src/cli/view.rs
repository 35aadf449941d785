//! Runs, nodes and retries as the API shows them, laid out for people.

use chrono::{DateTime, FixedOffset};
use serde_json::{Map, Value};

use super::table::{cut, record, table};

/// A member as text: strings as they are, anything else as JSON; none for null.
pub(super) fn text(value: &Value, member: &str) -> Option<String> {
    match value.get(member)? {
        Value::Null => None,
        Value::String(text) => Some(text.clone()),
        other @ (Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_)) => {
            Some(other.to_string())
        }
    }
}

/// A table of runs.
pub(super) fn runs(items: &[Value]) -> String {
    let row = |run: &Value| {
        let cell = |name| text(run, name).unwrap_or_default();
        [
            cell("id"),
            cell("status"),
            cell("startedAt"),
            cell("sourceRunId"),
        ]
    };
    let rows: Vec<_> = items.iter().map(row).collect();
    table(["ID", "STATUS", "STARTED", "RETRY OF"], &rows)
}

/// One run: its header, then its nodes.
pub(super) fn run(run: &Value) -> String {
    let names = [
        ("id", "id"),
        ("status", "status"),
        ("waitingFor", "waits for"),
        ("summary", "summary"),
        ("sourceRunId", "retry of"),
        ("triggerSource", "source"),
        ("triggeredBy", "by"),
        ("startedAt", "started"),
        ("finishedAt", "finished"),
        ("cancelRequestedAt", "cancel asked"),
        ("totalCu", "cost (cu)"),
    ];
    let header = record(&names.map(|(member, name)| (name, text(run, member))));
    match run.get("executionState").and_then(Value::as_object) {
        Some(state) if !state.is_empty() => format!("{header}\n\n{}", nodes(state)),
        _ => header,
    }
}

fn nodes(state: &Map<String, Value>) -> String {
    let row = |(id, node): (&String, &Value)| {
        let error = node.get("error").and_then(|error| text(error, "message"));
        [
            id.clone(),
            text(node, "type").unwrap_or_default(),
            text(node, "status").unwrap_or_default(),
            millis(node).map(|ms| ms.to_string()).unwrap_or_default(),
            text(node, "originRunId").unwrap_or_default(),
            cut(&error.unwrap_or_default(), 80),
        ]
    };
    let rows: Vec<_> = state.iter().map(row).collect();
    table(
        ["NODE", "TYPE", "STATUS", "MS", "REUSED FROM", "ERROR"],
        &rows,
    )
}

/// How long a node or a run took.
pub(super) fn millis(value: &Value) -> Option<i64> {
    let at = |member| -> Option<DateTime<FixedOffset>> { text(value, member)?.parse().ok() };
    Some((at("finishedAt")? - at("startedAt")?).num_milliseconds())
}

/// A table of retries.
pub(super) fn retries(items: &[Value]) -> String {
    let row = |retry: &Value| {
        let cell = |name| text(retry, name).unwrap_or_default();
        [
            cell("id"),
            cell("state"),
            cell("sourceRunId"),
            cell("runId"),
            cell("createdAt"),
        ]
    };
    let rows: Vec<_> = items.iter().map(row).collect();
    table(["ID", "STATE", "RETRY OF", "NEW RUN", "ACCEPTED"], &rows)
}

/// One retry.
pub(super) fn retry(retry: &Value) -> String {
    let refusal = retry
        .get("refusal")
        .and_then(|refusal| text(refusal, "message"));
    let member = |name| text(retry, name);
    record(&[
        ("id", member("id")),
        ("state", member("state")),
        ("retry of", member("sourceRunId")),
        ("new run", member("runId")),
        ("lane", member("lane")),
        ("by", member("triggeredBy")),
        ("reason", member("reason")),
        ("refusal", refusal),
        ("accepted", member("createdAt")),
        ("changed", member("updatedAt")),
    ])
}

/// A table of messages that could not be used.
pub(super) fn dead_letters(items: &[Value]) -> String {
    let row = |letter: &Value| {
        let cell = |name| text(letter, name).unwrap_or_default();
        [
            cell("id"),
            cell("reason"),
            cell("receivedAt"),
            cell("queue"),
            cell("bodyBytes"),
            cut(&cell("message"), 80),
        ]
    };
    let rows: Vec<_> = items.iter().map(row).collect();
    table(
        ["ID", "REASON", "RECEIVED", "QUEUE", "BYTES", "MESSAGE"],
        &rows,
    )
}

/// One message that could not be used; `-o json` has all of a long one.
pub(super) fn dead_letter(letter: &Value) -> String {
    let member = |name| text(letter, name);
    let short = |name| member(name).map(|text| cut(&text, 1_000));
    record(&[
        ("id", member("id")),
        ("reason", member("reason")),
        ("message", member("message")),
        ("queue", member("queue")),
        ("received", member("receivedAt")),
        ("bytes", member("bodyBytes")),
        ("headers", short("headers")),
        ("body", short("body")),
        ("body (base64)", short("bodyBase64")),
    ])
}

/// The answer to a retry: the new run.
pub(super) fn accepted(run: &Value) -> String {
    let part = |name| run.get("retry").and_then(|retry| text(retry, name));
    record(&[
        ("id", text(run, "id")),
        ("status", text(run, "status")),
        ("retry of", text(run, "sourceRunId")),
        ("retry", part("id")),
        ("state", part("state")),
    ])
}

/// The answer to a start.
pub(super) fn started(run: &Value) -> String {
    text(run, "runId").unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_run_is_a_header_and_its_nodes() {
        let value = json!({
            "id": "run_2", "status": "failure", "sourceRunId": null, "totalCu": 3,
            "executionState": {
                "pay": {
                    "type": "http-request", "status": "failure",
                    "error": { "class": "transient", "code": "http_503", "message": "no\nway" },
                    "startedAt": "2026-01-01T00:00:00.000Z",
                    "finishedAt": "2026-01-01T00:00:00.120Z",
                },
            },
        });
        let text = run(&value);
        assert!(
            text.starts_with("id            run_2\nstatus        failure\n"),
            "{text}"
        );
        assert!(!text.contains("retry of"), "{text}");
        let last = text.lines().last().unwrap();
        assert!(
            last.starts_with("pay   http-request  failure  120"),
            "{last}"
        );
        assert!(last.ends_with("no way"), "{last}");
    }

    #[test]
    fn lists_and_retries_need_no_member_to_be_there() {
        assert!(runs(&[json!({})]).starts_with("ID"));
        assert!(retries(&[json!({ "id": "rty_1" })]).contains("rty_1"));
        let refused = json!({ "id": "rty_1", "refusal": { "message": "no trigger" } });
        assert!(retry(&refused).contains("no trigger"));
        let new = json!({ "id": "run_2", "retry": { "id": "rty_1", "state": "queued" } });
        assert!(accepted(&new).contains("queued"));
        assert_eq!(started(&json!({ "runId": "run_9" })), "run_9");
        assert!(dead_letters(&[json!({ "id": "dl_1" })]).contains("dl_1"));
        let letter = dead_letter(&json!({ "id": "dl_1", "body": "a\u{1b}\n".repeat(2_000) }));
        assert!(letter.contains("a  a") && letter.len() < 1_100, "{letter}");
        assert_eq!(millis(&json!({ "startedAt": "soon" })), None);
    }
}
