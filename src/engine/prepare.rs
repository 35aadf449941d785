//! Before a node starts: its handler, its input, and the key of its effect.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};

use serde_json::Value;

use super::{call::panicked, drive::Drive, handler::NodeHandler};
use crate::{
    domain::{
        Attempt, EffectState, ErrorClass, JsonText, NodeError, NodeRecord, NodeStatus, SideEffects,
        Timestamp, format_timestamp, same_value,
    },
    workflow::At,
};

/// A node that is about to start.
pub(super) struct Prepared {
    pub(super) handler: Arc<dyn NodeHandler>,
    pub(super) input: Value,
    /// The record with its start mark.
    pub(super) record: NodeRecord,
    /// What was known of its effect before this attempt.
    before: Option<EffectState>,
    /// The input that was last sent before this attempt.
    sent: Option<JsonText>,
    /// The time that an earlier call asked for.
    pub(super) due: Option<Timestamp>,
}

impl Prepared {
    /// The record of an attempt that sent nothing: what was known before it still holds.
    pub(super) fn take_back(self) -> NodeRecord {
        let mut record = self.record;
        // Not to know what was sent is something else than to have sent what is shown.
        let sent = self.sent.unwrap_or_else(|| JsonText::trusted("null"));
        let sent = (record.input.as_ref() != Some(&sent)).then_some(sent);
        record.effect = self.before.map(|before| before.unsent(sent));
        record
    }
}

impl Drive<'_> {
    /// Everything that can go wrong before a node starts is an error of that node.
    pub(super) fn prepare(&self, at: At, now: Timestamp) -> Result<Prepared, NodeError> {
        let node = self.state.node(at);
        let record = self.state.blank(at);
        let handler = self
            .engine
            .handlers
            .get(&node.kind)
            .ok_or_else(|| no_handler(&node.kind))?;
        // After a failure it is attempted again; without one the time that it asked for has come.
        let due = self.state.due(at).filter(|_| record.error.is_none());
        let input = self.input(at, &record, due.is_some())?;
        let text = self.checked_input(&input)?;
        let effects = match node.side_effects {
            Some(declared) => declared,
            None => catch_unwind(AssertUnwindSafe(|| handler.side_effects(&input)))
                .map_err(|_| panicked(false))?,
        };
        // The kind itself may say so; it has to see the input first.
        if record.status == NodeStatus::Running && effects == SideEffects::Unsafe {
            return Err(unsafe_to_repeat());
        }
        let handler = Arc::clone(handler);
        let before = self.known(at, &record, effects);
        let sent = record.sent_input().cloned();
        let record = self.started(record, before.clone(), &input, text, now)?;
        Ok(Prepared {
            handler,
            input,
            record,
            before,
            sent,
            due,
        })
    }

    /// A call in doubt repeats what it sent; everything else is resolved from the state.
    fn input(&self, at: At, record: &NodeRecord, is_due: bool) -> Result<Value, NodeError> {
        let repeats = |effect: &EffectState| effect.is_in_doubt() && !effect.resolve_again;
        let stored = if is_due {
            stored(record.input.as_ref())?
        } else if record.effect.as_ref().is_some_and(repeats) {
            stored(record.sent_input())?.filter(|sent| !is_masked(record, sent))
        } else {
            None
        };
        match stored {
            Some(stored) => Ok(stored),
            None => self.state.resolve(at).map_err(|error| *error),
        }
    }

    /// The text of a resolved payload, if it is not too long.
    pub(super) fn checked_input(&self, input: &Value) -> Result<JsonText, NodeError> {
        let text = JsonText::of(input);
        let (length, limit) = (text.as_str().len(), self.engine.limits.payload_bytes);
        if length <= limit {
            return Ok(text);
        }
        let message = format!(
            "the resolved payload has {length} bytes, more than the {limit} allowed (limits.payload_bytes)"
        );
        let code = "payload_too_large";
        Err(NodeError::new(ErrorClass::Definition, code, message))
    }

    /// What is known of the effect of a node that never started: where a loop around it was
    /// repeated on somebody's word, its effects are other ones than before.
    fn first_effect(&self, at: At) -> EffectState {
        let mut frame = at.frame;
        while let Some((around, _)) = self.state.frames.around(frame) {
            let mark = self
                .state
                .record(around)
                .and_then(|record| record.effect.as_ref());
            if let Some(mark) = mark {
                return mark.mark();
            }
            frame = around.frame;
        }
        EffectState::default()
    }

    /// What is known of the effect of a node that is about to start; none if it has none.
    fn known(&self, at: At, record: &NodeRecord, effects: SideEffects) -> Option<EffectState> {
        let known = || record.effect.clone();
        (effects != SideEffects::None).then(|| EffectState {
            is_unsafe: effects == SideEffects::Unsafe,
            ..known().unwrap_or_else(|| self.first_effect(at))
        })
    }

    fn started(
        &self,
        mut record: NodeRecord,
        before: Option<EffectState>,
        input: &Value,
        text: JsonText,
        now: Timestamp,
    ) -> Result<NodeRecord, NodeError> {
        record.effect = match before {
            None => None,
            Some(before) => {
                let differs = differs(&record, input)?;
                Some(before.next_attempt(&self.context.run_id, differs))
            }
        };
        let root = &self.context.root_run_id;
        let number = u32::try_from(record.attempts.len())
            .unwrap_or(u32::MAX)
            .saturating_add(1);
        let started_at = format_timestamp(now);
        record.attempts.push(Attempt {
            number,
            effect_key: record
                .effect
                .as_ref()
                .map(|effect| effect.key(root, &record.path)),
            started_at: started_at.clone(),
            finished_at: None,
            error: None,
        });
        record.status = NodeStatus::Running;
        record.input = Some(text);
        record.started_at = record.started_at.or(Some(started_at));
        record.due_at = None;
        record.error = None;
        record.finished_at = None;
        Ok(record)
    }
}

/// A stored input. Other platforms write a missing one as null.
fn stored(input: Option<&JsonText>) -> Result<Option<Value>, NodeError> {
    input
        .filter(|input| input.as_str() != "null")
        .map(|input| input.value().map_err(|error| unreadable(&error)))
        .transpose()
}

/// Whether the input is another one than what was sent last. Masked members can't be compared.
fn differs(record: &NodeRecord, input: &Value) -> Result<bool, NodeError> {
    let Some(sent) = stored(record.sent_input())? else {
        return Ok(false);
    };
    if !is_masked(record, &sent) {
        return Ok(!same_value(&sent, input));
    }
    let secret_keys = record.secret_keys();
    let open = |value: &Value| {
        let mut value = value.clone();
        if let Value::Object(members) = &mut value {
            members.retain(|name, _| !secret_keys.contains(name));
        }
        value
    };
    Ok(!same_value(&open(&sent), &open(input)))
}

/// Whether an imported input hides a secret, wholly or in part.
fn is_masked(record: &NodeRecord, sent: &Value) -> bool {
    record.secret_keys().iter().any(|name| {
        sent.get(name)
            .is_none_or(|value| value.is_null() || hides(value))
    })
}

/// Whether a mask stands anywhere in a value.
fn hides(value: &Value) -> bool {
    match value {
        Value::String(text) => is_mask(text),
        Value::Array(items) => items.iter().any(hides),
        Value::Object(members) => members.values().any(hides),
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}

/// Three mask characters in a row, a text of nothing but them, or a word that says so.
fn is_mask(text: &str) -> bool {
    let is_mark = |c: char| "*•·●".contains(c);
    let word = text.trim_matches(|c: char| !c.is_alphanumeric());
    let is_word = ["redacted", "masked", "hidden", "secret"]
        .iter()
        .any(|known| word.eq_ignore_ascii_case(known));
    let runs = text
        .split(|c| !is_mark(c))
        .any(|run| run.chars().count() >= 3);
    let is_all = |is: &dyn Fn(char) -> bool| !text.is_empty() && text.chars().all(is);
    runs || is_word || is_all(&is_mark) || (text.len() >= 4 && is_all(&|c| c == 'x' || c == 'X'))
}

fn unreadable(error: &crate::domain::JsonError) -> NodeError {
    let message = format!("the stored input can't be read: {error}");
    NodeError::new(ErrorClass::Internal, "unreadable_input", message)
}

fn unsafe_to_repeat() -> NodeError {
    let message = "its worker was lost during the call, which is declared unsafe to repeat";
    NodeError::new(ErrorClass::InDoubt, "interrupted", message)
}

fn no_handler(kind: &str) -> NodeError {
    let message = format!(
        "no handler for nodes of type `{kind}`: configure a connector gateway for it \
         (`connectors.default` or `connectors.\"{kind}\"`) or add the kind to the worker"
    );
    NodeError::new(ErrorClass::Definition, "unknown_type", message)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::{config::HttpConfig, domain::LastAttempt, engine::nodes::built_in};

    #[test]
    fn what_was_not_sent_is_shown_and_what_was_sent_is_remembered() {
        let handlers = built_in(&HttpConfig::default(), &BTreeMap::new()).unwrap();
        let text = |text: &str| Some(JsonText::trusted(text));
        let before = EffectState::default().settled(LastAttempt::Failed);
        let started = before.clone().next_attempt(&"run_a".parse().unwrap(), true);
        for (sent, remembered) in [
            (text("1"), text("1")),
            (text("2"), None),
            (None, text("null")),
        ] {
            let prepared = Prepared {
                handler: Arc::clone(handlers.get("log").unwrap()),
                input: Value::Null,
                record: NodeRecord {
                    input: text("2"),
                    effect: Some(started.clone()),
                    ..NodeRecord::new("pay".parse().unwrap(), "log", NodeStatus::Running)
                },
                before: Some(before.clone()),
                sent: sent.clone(),
                due: None,
            };
            let record = prepared.take_back();
            assert_eq!(record.input, text("2"));
            let sent = sent.or(text("null"));
            assert_eq!(record.sent_input(), sent.as_ref());
            let expected = EffectState {
                sent_input: remembered,
                ..before.clone()
            };
            assert_eq!(record.effect, Some(expected));
        }
    }
}
