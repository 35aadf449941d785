//! A node's record: what is known of one node in one run.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{EffectState, JsonText, NodePath, RunId, Timestamp, format_timestamp};

/// Where a node stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NodeStatus {
    /// Not started.
    Pending,
    /// Started, and no outcome recorded.
    Running,
    /// Ended well.
    Success,
    /// A loop with mixed iterations.
    Partial,
    /// Ended badly.
    Failure,
    /// Not to run: cannot be reached, or its branch was not taken.
    Skipped,
    /// Waits for somebody or something outside.
    Waiting,
    /// Waits for a time.
    Scheduled,
    /// Ended by the cancellation of its run.
    Cancelled,
}

impl NodeStatus {
    /// The word in the API and in the ledger.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Running => "running",
            Self::Success => "success",
            Self::Partial => "partial",
            Self::Failure => "failure",
            Self::Skipped => "skipped",
            Self::Waiting => "waiting",
            Self::Scheduled => "scheduled",
            Self::Cancelled => "cancelled",
        }
    }

    /// The status with this word; `auto_swapping`, which imports may hold, is a running node.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        Some(match word {
            "pending" => Self::Pending,
            "running" | "auto_swapping" => Self::Running,
            "success" => Self::Success,
            "partial" => Self::Partial,
            "failure" => Self::Failure,
            "skipped" => Self::Skipped,
            "waiting" => Self::Waiting,
            "scheduled" => Self::Scheduled,
            "cancelled" => Self::Cancelled,
            _ => return None,
        })
    }

    /// Whether a node in `self` may become `next` within one run.
    ///
    /// A running node may become running again: another worker took over and repeats it.
    #[must_use]
    pub const fn may_become(self, next: Self) -> bool {
        use NodeStatus as S;
        match self {
            S::Pending => !matches!(next, S::Pending | S::Partial),
            S::Running => !matches!(next, S::Pending | S::Skipped),
            S::Waiting | S::Scheduled => !matches!(next, S::Pending | S::Skipped | S::Partial),
            S::Success | S::Partial | S::Failure | S::Skipped | S::Cancelled => false,
        }
    }
}

/// What kind of failure it was, and so what may be done about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ErrorClass {
    /// Likely to go away: no connection, 408, 425, 5xx.
    Transient,
    /// Will happen again: the target understood and refused.
    Permanent,
    /// Time ran out before anything was sent.
    Timeout,
    /// Sent, and nobody knows whether it took effect.
    InDoubt,
    /// 429: too many calls.
    RateLimited,
    /// An expression has no value, or exceeds a limit.
    Expression,
    /// The definition asks for what can't be done.
    Definition,
    /// The run was cancelled.
    Cancelled,
    /// A fault in redrive or in a node kind.
    Internal,
}

impl ErrorClass {
    /// The word in the API and in the ledger.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Transient => "transient",
            Self::Permanent => "permanent",
            Self::Timeout => "timeout",
            Self::InDoubt => "in_doubt",
            Self::RateLimited => "rate_limited",
            Self::Expression => "expression",
            Self::Definition => "definition",
            Self::Cancelled => "cancelled",
            Self::Internal => "internal",
        }
    }
}

/// Why a node failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "camelCase")]
#[error("{message}")]
pub struct NodeError {
    /// What may be done about it.
    pub class: ErrorClass,
    /// A stable word for programs: `http_503`, `missing_value`.
    pub code: String,
    /// A sentence for people.
    pub message: String,
    /// How long the target asked to wait, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after_ms: Option<u64>,
    /// Whatever else helps: status, body, the expression that failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub details: Option<Value>,
    /// The target said that nothing happened: the next attempt is a new effect.
    #[serde(skip)]
    pub rejected: bool,
    /// Nothing was sent: what is known of earlier attempts still holds.
    #[serde(skip)]
    pub unsent: bool,
}

impl NodeError {
    /// An error of `class` with a stable `code` and a sentence.
    #[must_use]
    pub fn new(class: ErrorClass, code: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            class,
            code: code.into(),
            message: message.into(),
            retry_after_ms: None,
            details: None,
            rejected: false,
            unsent: matches!(class, ErrorClass::Timeout),
        }
    }

    /// Adds details for people and programs.
    #[must_use]
    pub fn with_details(mut self, details: Value) -> Self {
        self.details = Some(details);
        self
    }

    /// Adds the time that the target asked to wait.
    #[must_use]
    pub fn with_retry_after_ms(mut self, millis: Option<u64>) -> Self {
        self.retry_after_ms = millis;
        self
    }

    /// Says whether the target is known to have done nothing.
    #[must_use]
    pub fn with_rejected(mut self, rejected: bool) -> Self {
        self.rejected = rejected;
        self
    }

    /// Says that nothing was sent; class `timeout` says so by itself.
    #[must_use]
    pub fn with_nothing_sent(mut self) -> Self {
        self.unsent = true;
        self
    }
}

/// The member of a loop's record that holds its iterations. In [`NodeRecord::extra`] it is how many
/// an imported record had: their records stand under paths of their own.
pub const ITERATIONS: &str = "iterations";

/// The member of [`NodeRecord::extra`] that names the run a node waits for.
pub const CHILD_RUN_ID: &str = "childRunId";

/// The member of [`NodeRecord::extra`] that names the members of the input that are secret.
pub const SECRET_KEYS: &str = "secretKeys";

/// The member of a loop's [`NodeRecord::extra`] that has the secret members of the nodes inside it,
/// by their id: iterations that are yet to come are masked like those before them.
pub const ITERATION_SECRET_KEYS: &str = "iterationSecretKeys";

/// The member of [`NodeRecord::extra`] that says that the node has that run retried, should it end
/// badly. It is the engine's own: nobody is shown it.
pub const RETRIES_CHILD: &str = "retriesChild";

/// One execution of a node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Attempt {
    /// Counts from 1 within the run.
    pub number: u32,
    /// The effect key sent; none for nodes without effects.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub effect_key: Option<String>,
    /// When it started; empty where an import does not say.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub started_at: String,
    /// When its outcome was known; missing while it is not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finished_at: Option<String>,
    /// Why it failed; missing for a success or an unknown outcome.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<NodeError>,
}

/// What is known of one node in one run. Nodes that never started have no record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeRecord {
    /// Where the node stands.
    pub path: NodePath,
    /// The node's type.
    pub kind: String,
    /// Where it stands in its life.
    pub status: NodeStatus,
    /// The resolved payload. On a pending node: the input that was last sent under `effect`, or that
    /// its child was started with.
    pub input: Option<JsonText>,
    /// What it gave.
    pub result: Option<JsonText>,
    /// Why it failed: a [`NodeError`], or whatever an imported run had.
    pub error: Option<JsonText>,
    /// When it started, as text: imported times come back as they went in.
    pub started_at: Option<String>,
    /// When it ended.
    pub finished_at: Option<String>,
    /// When a scheduled node is due, RFC 3339.
    pub due_at: Option<String>,
    /// The branch that an `if` or `wait` took.
    pub branch: Option<String>,
    /// Its executions in this run.
    pub attempts: Vec<Attempt>,
    /// The effect key and what became of it; none for nodes without effects.
    pub effect: Option<EffectState>,
    /// The run that executed it, when it is reused.
    pub origin_run_id: Option<RunId>,
    /// Other members of an imported record (`context`, `connector`, `secretKeys`, ...), one object.
    pub extra: Option<JsonText>,
}

impl NodeRecord {
    /// A record without a history.
    #[must_use]
    pub fn new(path: NodePath, kind: impl Into<String>, status: NodeStatus) -> Self {
        Self {
            path,
            kind: kind.into(),
            status,
            input: None,
            result: None,
            error: None,
            started_at: None,
            finished_at: None,
            due_at: None,
            branch: None,
            attempts: Vec::new(),
            effect: None,
            origin_run_id: None,
            extra: None,
        }
    }

    /// The record of a trigger that has fired with this payload: its result is the payload with
    /// `triggeredAt` merged in.
    #[must_use]
    pub fn fired(
        path: NodePath,
        kind: impl Into<String>,
        payload: Map<String, Value>,
        now: Timestamp,
    ) -> Self {
        let at = format_timestamp(now);
        let input = JsonText::of(&Value::Object(payload.clone()));
        let mut result = payload;
        result.insert("triggeredAt".to_owned(), at.clone().into());
        Self {
            input: Some(input),
            result: Some(JsonText::of(&Value::Object(result))),
            started_at: Some(at.clone()),
            finished_at: Some(at),
            ..Self::new(path, kind, NodeStatus::Success)
        }
    }

    /// The run that a waiting `trigger-workflow` started, the first of its chain.
    #[must_use]
    pub fn child_run_id(&self) -> Option<RunId> {
        let extra = self.extra.as_ref()?.value().ok()?;
        extra.get(CHILD_RUN_ID)?.as_str()?.parse().ok()
    }

    /// How many iterations a loop had that was imported, those without a record too.
    #[must_use]
    pub fn imported_iterations(&self) -> Option<u32> {
        let extra = self.extra.as_ref()?.value().ok()?;
        u32::try_from(extra.get(ITERATIONS)?.as_u64()?).ok()
    }

    /// Adds or replaces a member of `extra`.
    pub(crate) fn set_extra(&mut self, name: &str, value: Value) {
        let mut members = self.extra_members();
        members.insert(name.to_owned(), value);
        self.extra = Some(JsonText::of(&Value::Object(members)));
    }

    /// Takes a member out of `extra`, if it is there.
    pub(crate) fn remove_extra(&mut self, name: &str) {
        let mut members = self.extra_members();
        if members.shift_remove(name).is_some() {
            let rest = JsonText::of(&Value::Object(members));
            self.extra = Some(rest).filter(|rest| rest.as_str() != "{}");
        }
    }

    fn extra_members(&self) -> Map<String, Value> {
        match self.extra.as_ref().map(JsonText::value) {
            Some(Ok(Value::Object(members))) => members,
            _ => Map::new(),
        }
    }

    /// The names of the input's members that are masked where the record is shown.
    #[must_use]
    pub fn secret_keys(&self) -> Vec<String> {
        let extra = self.extra.as_ref().and_then(|extra| extra.value().ok());
        let keys = extra.as_ref().and_then(|extra| extra.get(SECRET_KEYS));
        keys.map(texts).unwrap_or_default()
    }

    /// The same for the nodes inside a loop, by their id.
    #[must_use]
    pub fn iteration_secret_keys(&self) -> Vec<(String, Vec<String>)> {
        let extra = self.extra.as_ref().and_then(|extra| extra.value().ok());
        let by_node = extra
            .as_ref()
            .and_then(|extra| extra.get(ITERATION_SECRET_KEYS));
        let by_node = by_node.and_then(Value::as_object).into_iter().flatten();
        by_node
            .map(|(id, keys)| (id.clone(), texts(keys)))
            .collect()
    }

    /// The input last sent under the record's effect, which may be another one than it shows.
    #[must_use]
    pub fn sent_input(&self) -> Option<&JsonText> {
        let effect = self.effect.as_ref();
        let sent = effect.and_then(|effect| effect.sent_input.as_ref());
        sent.or(self.input.as_ref())
    }
}

/// The texts of a list.
fn texts(list: &Value) -> Vec<String> {
    let texts = list.as_array().into_iter().flatten();
    let texts = texts.filter_map(Value::as_str);
    texts.map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ended_nodes_stay_as_they_are() {
        use NodeStatus as S;
        let all = [
            S::Pending,
            S::Running,
            S::Success,
            S::Partial,
            S::Failure,
            S::Skipped,
            S::Waiting,
            S::Scheduled,
            S::Cancelled,
        ];
        for status in all {
            assert_eq!(NodeStatus::parse(status.as_str()), Some(status));
            for ended in [S::Success, S::Partial, S::Failure, S::Skipped, S::Cancelled] {
                assert!(!ended.may_become(status), "{ended:?} -> {status:?}");
            }
        }
        assert!(S::Running.may_become(S::Running));
        assert!(!S::Running.may_become(S::Pending));
    }
}
