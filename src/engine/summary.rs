//! One sentence about how a run ended.

use super::state::RunState;
use crate::domain::{NodeRecord, NodeStatus, RunStatus};

/// The longest part of an error's message that goes into the sentence, in characters.
const MOST_MESSAGE: usize = 200;

/// The sentence for a run that ends `status`; `why` is a cause that is no node's failure.
pub(super) fn summary(status: RunStatus, why: Option<&str>, state: &RunState) -> String {
    let counts = Counts::of(state);
    match status {
        RunStatus::Failure => match why {
            Some(why) => format!("Failed, as {why}: {counts}."),
            None => format!("Failed{}: {counts}.", first_failure(state)),
        },
        RunStatus::Cancelled => format!("Cancelled: {counts}."),
        RunStatus::Partial => format!("Partly succeeded: {counts}."),
        RunStatus::Success | RunStatus::Running | RunStatus::Waiting => {
            format!("Succeeded: {counts}.")
        }
    }
}

fn first_failure(state: &RunState) -> String {
    let failure = state
        .records()
        .find(|(at, record)| record.status == NodeStatus::Failure && !state.tolerates(*at));
    failure
        .map(|(_, record)| format!(" at {}{}", record.path, message(record)))
        .unwrap_or_default()
}

fn message(record: &NodeRecord) -> String {
    let error = record.error.as_ref().and_then(|error| error.value().ok());
    let message = error
        .as_ref()
        .and_then(|error| error.get("message")?.as_str());
    // No database keeps a NUL, and the sentence is one line.
    let kept = |c: &char| !c.is_control();
    let cut = |text: &str| {
        text.chars()
            .filter(kept)
            .take(MOST_MESSAGE)
            .collect::<String>()
    };
    message
        .map(|text| format!(" ({})", cut(text)))
        .unwrap_or_default()
}

struct Counts {
    executed: usize,
    reused: usize,
    skipped: usize,
    open: usize,
}

impl Counts {
    fn of(state: &RunState) -> Self {
        let mut counts = Self {
            executed: 0,
            reused: 0,
            skipped: 0,
            open: 0,
        };
        for record in state.declared() {
            let place = match record.map_or(NodeStatus::Pending, |record| record.status) {
                NodeStatus::Skipped => &mut counts.skipped,
                NodeStatus::Pending
                | NodeStatus::Running
                | NodeStatus::Waiting
                | NodeStatus::Scheduled => &mut counts.open,
                _ if record.is_some_and(|record| record.origin_run_id.is_some()) => {
                    &mut counts.reused
                }
                NodeStatus::Success
                | NodeStatus::Partial
                | NodeStatus::Failure
                | NodeStatus::Cancelled => &mut counts.executed,
            };
            *place += 1;
        }
        counts
    }
}

impl std::fmt::Display for Counts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let nodes = if self.executed == 1 { "node" } else { "nodes" };
        write!(f, "{} {nodes} executed", self.executed)?;
        for (count, what) in [
            (self.reused, "reused"),
            (self.skipped, "skipped"),
            (self.open, "not finished"),
        ] {
            if count > 0 {
                write!(f, ", {count} {what}")?;
            }
        }
        Ok(())
    }
}
