//! `wait`: a node that the engine itself executes, as what ends it comes from outside.
//!
//! It is armed once in a run: of a resume and the time-out the first one counts. The branch that it
//! takes is `resumed` or `timed_out`.

use chrono::TimeDelta;
use serde_json::{Value, json};

use super::{
    drive::{Drive, EngineError, Stopped},
    loops::started,
};
use crate::{
    domain::{ErrorClass, JsonText, NodeError, NodeStatus, format_timestamp, whole_number},
    store::{Signal, SignalKind, TimedOut},
    workflow::At,
};

/// The type of these nodes.
pub(super) const WAIT: &str = "wait";

/// How long a wait may be: from a second to seven days.
const TIMEOUT_MS: std::ops::RangeInclusive<u64> = 1_000..=7 * 24 * 60 * 60 * 1_000;

impl Drive<'_> {
    /// Arms the wait, or ends it when its time is over.
    pub(super) async fn step_wait(&mut self, at: At) -> Result<Option<Stopped>, EngineError> {
        if self.state.status(at) == NodeStatus::Waiting {
            return self.time_out(at).await;
        }
        if let Err(error) = self.arm(at) {
            self.fail_unstarted(at, &error);
            return Ok(None);
        }
        // Whoever resumes it has to find it waiting.
        Ok((!self.flush().await?).then_some(Stopped::LeaseLost))
    }

    fn arm(&mut self, at: At) -> Result<(), NodeError> {
        let input = self.state.resolve(at).map_err(|error| *error)?;
        let millis = timeout(&input)?;
        let text = self.checked_input(&input)?;
        let now = self.engine.clock.now();
        let mut record = started(self.state.blank(at), text, now);
        let due = now.checked_add_signed(TimeDelta::milliseconds(millis));
        record.status = NodeStatus::Waiting;
        record.due_at = Some(format_timestamp(due.unwrap_or(now)));
        self.put(at, record, false);
        Ok(())
    }

    async fn time_out(&mut self, at: At) -> Result<Option<Stopped>, EngineError> {
        let path = self.state.blank(at).path;
        let now = self.engine.clock.now();
        match self.recorder.time_out(&path, now).await? {
            TimedOut::LeaseLost => Ok(Some(Stopped::LeaseLost)),
            TimedOut::Ended(signal) => {
                self.apply(&signal);
                Ok(None)
            }
        }
    }

    /// Ends the waits whose signals have come.
    pub(super) async fn apply_signals(&mut self) -> Result<(), EngineError> {
        for signal in self.recorder.signals().await? {
            self.apply(&signal);
        }
        Ok(())
    }

    fn apply(&mut self, signal: &Signal) {
        // Whatever became of the node, the signal is dealt with.
        self.recorder.add_applied(signal.path.clone());
        let at = self.state.find(&signal.path);
        let Some(at) = at.filter(|at| self.is_armed(*at)) else {
            return;
        };
        let mut record = self.state.blank(at);
        let branch = signal.kind.as_str();
        let data = signal.body.value().unwrap_or_default();
        let input = record.input.as_ref().and_then(|input| input.value().ok());
        let given = input.as_ref().and_then(|input| input.get("timeoutMs"));
        record.result = Some(JsonText::of(&json!({
            "status": branch,
            "triggerResult": data,
            "source": match signal.kind {
                SignalKind::Resumed => "api",
                SignalKind::TimedOut => "timeout",
            },
            "branch": branch,
            "timeoutMs": given,
        })));
        record.branch = Some(branch.to_owned());
        record.due_at = None;
        self.close(&mut record, NodeStatus::Success, None);
        self.write(at, record, true);
        // What is below it may stand before where the run has come to.
        self.state.look_again();
    }

    /// Whether a signal ends the wait of this node. Also of one that a cancellation has just ended:
    /// the signal came before it, or the cancellation would be in the ledger.
    fn is_armed(&self, at: At) -> bool {
        match self.state.status(at) {
            NodeStatus::Waiting => true,
            NodeStatus::Cancelled => self.state.node(at).kind == WAIT,
            NodeStatus::Pending
            | NodeStatus::Running
            | NodeStatus::Success
            | NodeStatus::Partial
            | NodeStatus::Failure
            | NodeStatus::Skipped
            | NodeStatus::Scheduled => false,
        }
    }
}

/// The longest time when none is given.
fn timeout(input: &Value) -> Result<i64, NodeError> {
    let given = input.get("timeoutMs").filter(|given| !given.is_null());
    let millis = match given {
        Some(given) => given.as_number().and_then(whole_number),
        None => Some(*TIMEOUT_MS.end()),
    };
    let millis = millis.filter(|millis| TIMEOUT_MS.contains(millis));
    millis
        .and_then(|millis| i64::try_from(millis).ok())
        .ok_or_else(|| {
            let message = format!(
                "wait: `timeoutMs` takes a whole number from {} to {} (seven days)",
                TIMEOUT_MS.start(),
                TIMEOUT_MS.end()
            );
            NodeError::new(ErrorClass::Definition, "invalid_payload", message)
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timeout_is_a_whole_number_in_any_spelling() {
        for (text, expected) in [
            ("{}", Some(604_800_000)),
            (r#"{"timeoutMs": null}"#, Some(604_800_000)),
            (r#"{"timeoutMs": 1000}"#, Some(1_000)),
            (r#"{"timeoutMs": 1e3}"#, Some(1_000)),
            (r#"{"timeoutMs": 1000.0}"#, Some(1_000)),
            (r#"{"timeoutMs": 999}"#, None),
            (r#"{"timeoutMs": 1000.5}"#, None),
            (r#"{"timeoutMs": "1000"}"#, None),
            (r#"{"timeoutMs": 604800001}"#, None),
        ] {
            let input = serde_json::from_str(text).unwrap();
            assert_eq!(timeout(&input).ok(), expected, "{text}");
        }
    }
}
