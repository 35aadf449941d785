//! The messages that are published.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use redrive::domain::Lane;
use serde_json::{Value, json};

/// Other content under a used id.
pub(super) const CHANGED: usize = 60;
/// What no intent is.
pub(super) const GARBAGE: usize = 280;
/// Dispatches for runs that are not there.
pub(super) const FORGED: usize = 10;
/// Dispatches for a run that has ended.
const STALE: usize = 10;
/// Sources that nobody has.
pub(super) const UNKNOWN: usize = 100;
/// Sources of another organization.
pub(super) const FOREIGN: usize = 30;
/// A source that has succeeded.
pub(super) const SUCCEEDED: usize = 20;
/// New runs whose id is taken.
pub(super) const TAKEN: usize = 20;
/// Sources that have been retried.
pub(super) const AGAIN: usize = 50;
/// Of an organization that has nothing.
pub(super) const NOBODY: usize = 20;
/// What is recorded as refused for the organization of the sources.
pub(super) const REFUSED: usize = UNKNOWN + FOREIGN + SUCCEEDED + TAKEN + AGAIN;

/// One message.
#[derive(Debug, Clone)]
pub(super) struct Message {
    key: Lane,
    body: Vec<u8>,
    headers: Value,
    is_transient: bool,
}

impl Message {
    fn new(number: usize, body: impl Into<Vec<u8>>) -> Self {
        let headers = match number % 4 {
            0 => {
                json!({ "traceparent": "00-0123456789abcdef0123456789abcdef-0123456789abcdef-01" })
            }
            1 => json!({ "traceparent": "nonsense", "x-death": [{ "count": 99 }] }),
            2 => json!({ "traceparent": { "a": ["table", 1, true, null] } }),
            _ => Value::Null,
        };
        Self {
            key: Lane::ALL[number % 3],
            body: body.into(),
            headers,
            is_transient: number.is_multiple_of(5),
        }
    }

    /// The line that the publisher reads.
    pub(super) fn line(&self) -> String {
        let line = json!({
            "key": self.key.as_str(),
            "body": STANDARD.encode(&self.body),
            "headers": self.headers,
            "transient": self.is_transient,
        });
        format!("{line}\n")
    }
}

fn intent(id: &str, source: &str, organization: &str) -> Value {
    json!({
        "schema": "redrive.intent.v1",
        "retryId": id,
        "sourceRunId": source,
        "organizationId": organization,
        "triggeredBy": "ann",
        "reason": "the target is back",
    })
}

fn valid(number: usize) -> Value {
    let mut intent = intent(
        &format!("valid_{number}"),
        &format!("source_{number}"),
        "org_test",
    );
    if number.is_multiple_of(2) {
        intent["runId"] = json!(format!("new_{number}"));
    }
    if number.is_multiple_of(7) {
        intent["request"] = json!({ "reason": "less important" });
    }
    intent
}

/// The same content, written backwards and with other spaces.
fn respelled(intent: &Value) -> String {
    let members = intent.as_object().unwrap().iter().rev();
    let members: Vec<_> = members
        .map(|(name, value)| format!("{name:?} :\t{value}"))
        .collect();
    format!("\n{{ {} }}\n", members.join(" , "))
}

/// Valid intents, each twice, most of them three times, in between each other.
pub(super) fn valid_and_repeated(count: usize) -> Vec<Message> {
    let mut messages = Vec::new();
    for number in 0..count {
        let intent = valid(number);
        messages.push(Message::new(number, intent.to_string()));
        let earlier = valid(number / 2);
        messages.push(Message::new(number / 2, earlier.to_string()));
        if number < 100 {
            messages.push(Message::new(number, respelled(&intent)));
        }
    }
    messages
}

/// What is refused, dead or of no consequence, once the valid ones have ended.
pub(super) fn everything_else(valid_count: usize) -> Vec<Message> {
    let mut bodies: Vec<String> = Vec::new();
    for number in 0..CHANGED {
        let mut changed = valid(number);
        changed["reason"] = json!("something else");
        bodies.push(changed.to_string());
    }
    let refused = |prefix: &str, number: usize, source: &str| {
        intent(&format!("{prefix}_{number}"), source, "org_test").to_string()
    };
    bodies.extend((0..UNKNOWN).map(|n| refused("unknown", n, &format!("nowhere_{n}"))));
    bodies.extend((0..FOREIGN).map(|n| refused("foreign", n, "foreign")));
    bodies.extend((0..SUCCEEDED).map(|n| refused("succeeded", n, "succeeded")));
    bodies.extend((0..AGAIN).map(|n| refused("again", n, &format!("source_{n}"))));
    for number in 0..TAKEN {
        let source = format!("source_{}", valid_count + number);
        let mut taken = intent(&format!("taken_{number}"), &source, "org_test");
        taken["runId"] = json!("foreign");
        bodies.push(taken.to_string());
    }
    bodies.extend(
        (0..NOBODY).map(|n| intent(&format!("n{n}"), "source_0", "org_nobody").to_string()),
    );
    bodies.extend((0..FORGED).map(|n| dispatch(&format!("nowhere_{n}"))));
    bodies.extend((0..STALE).map(|n| dispatch(&format!("new_{}", n * 2))));
    let bodies = bodies.into_iter().map(String::into_bytes);
    let mut all: Vec<_> = bodies.chain((0..GARBAGE).map(garbage)).collect();
    // Neighbours far apart: 7 shares no factor with the count.
    let count = all.len();
    let order = (0..count).map(|n| n * 7 % count);
    order
        .map(|n| Message::new(n, std::mem::take(&mut all[n])))
        .collect()
}

fn dispatch(run: &str) -> String {
    json!({
        "schema": "redrive.dispatch.v1", "kind": "run", "runId": run, "organizationId": "org_test"
    })
    .to_string()
}

fn garbage(number: usize) -> Vec<u8> {
    let mut wrong = valid(number);
    match number % 14 {
        0 => Vec::new(),
        1 => vec![0xff, 0xfe, 0x00, 0x01],
        2 => b"null".to_vec(),
        3 => b"{\"schema\":\"redrive.intent.v1\"".to_vec(),
        4 => format!("{}{}", "[".repeat(10_000), "]".repeat(10_000)).into_bytes(),
        5 => {
            wrong["schema"] = json!("redrive.intent.v2");
            wrong.to_string().into_bytes()
        }
        6 => {
            wrong["surprise"] = json!(true);
            wrong.to_string().into_bytes()
        }
        7 => {
            wrong["retryId"] = json!(number);
            wrong.to_string().into_bytes()
        }
        8 => {
            wrong["lane"] = json!("fast");
            wrong.to_string().into_bytes()
        }
        9 => {
            wrong["request"] = json!({ "dryRun": true });
            wrong["retryId"] = json!(format!("dry_{number}"));
            wrong.to_string().into_bytes()
        }
        10 => {
            wrong["reason"] = json!("x".repeat(1_001));
            wrong["retryId"] = json!(format!("long_{number}"));
            wrong.to_string().into_bytes()
        }
        11 => wrong
            .to_string()
            .replace("\"ann\"", "\"ann\",\"retryId\":\"two\"")
            .into_bytes(),
        12 if number == 12 => vec![b'x'; 2 << 20],
        12 => wrong.to_string().into_bytes().into_iter().rev().collect(),
        _ => {
            wrong["sourceRunId"] = json!("with space");
            wrong.to_string().into_bytes()
        }
    }
}
