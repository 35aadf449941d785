//! `log`: keeps a message of any type with the time.
//!
//! `{"message": "Hello"}` gives `{"message": "Hello", "loggedAt": "2026-01-01T00:00:00.000Z"}`.
//! The process log says that the node logged, never what: payloads stay out of logs.

use serde_json::json;

use super::payload::Payload;
use crate::{
    domain::{NodeError, format_timestamp},
    engine::{NodeCall, NodeOutput},
};

/// Runs the node.
pub(super) fn run(call: &NodeCall<'_>) -> Result<NodeOutput, NodeError> {
    let payload = Payload::of(call.kind, call.input)?;
    let message = payload.present("message", "any value")?;
    tracing::info!(run = %call.run.run_id, node = %call.path, "a log node kept its message");
    let logged_at = format_timestamp(call.now);
    Ok(NodeOutput::result(
        json!({ "message": message.clone(), "loggedAt": logged_at }),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::nodes::testing;

    #[test]
    fn any_message_is_kept_with_the_time() {
        for message in [json!("Hello"), json!(null), json!({"a": [1.50]}), json!("")] {
            let output = testing::run(run, "log", &json!({ "message": message })).unwrap();
            let expected = json!({"message": message, "loggedAt": "2026-01-02T03:04:05.678Z"});
            assert_eq!(output, NodeOutput::result(expected));
        }
        let error = testing::run(run, "log", &json!({"text": "x"})).unwrap_err();
        assert_eq!(error.message, "log: `message` takes any value, got nothing");
    }
}
