//! What repeating a node means, and what is known of its effect so far.

use std::fmt::Write;

use serde::{Deserialize, Deserializer, Serialize};

use super::{JsonText, NodePath, RunId};

/// What a node does outside this system, and so what repeating it means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SideEffects {
    /// Nothing leaves the process.
    None,
    /// Repeating it changes nothing more: GET, HEAD, PUT, DELETE, or declared.
    Idempotent,
    /// Repeating it may do it twice, unless the target honours the effect key.
    Assumed,
    /// Declared: must not be repeated without somebody's word.
    Unsafe,
}

/// How the last attempt with the current effect key ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LastAttempt {
    /// Nothing was sent with this key.
    Unsent,
    /// Sent, and no outcome is recorded: under way, or lost with its worker.
    InFlight,
    /// Sent, and the outcome is known to be unknown: a time-out or a reset after sending.
    InDoubt,
    /// The target answered with a failure that may still have had an effect (5xx and the like).
    Failed,
    /// The target said no: nothing happened under this key.
    Rejected,
    /// The target did it.
    Succeeded,
}

/// The effect key of a node and what became of it. It goes over from run to run.
///
/// The generation rises only where the old key is of no use: after a rejection, or when another
/// input is sent. A raised generation names the run that raised it, so branches of a chain never
/// share a key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EffectState {
    /// Counts from 1.
    pub generation: u32,
    /// The run that raised the generation; none for the first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub raised_by: Option<RunId>,
    /// How the last attempt of this generation ended.
    pub last: LastAttempt,
    /// Whether any attempt of this generation has an unknown outcome. It stays: a later answer
    /// to a repeat says nothing about the first call.
    #[serde(default)]
    pub doubted: bool,
    /// Whether the node, or its kind, says that the effect must not be repeated unasked.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_unsafe: bool,
    /// Its input is resolved again although it is in doubt: the request changed what it reads.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub resolve_again: bool,
    /// The input last sent under this key, where the record shows one that was never sent; `null`
    /// if it is not known.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "as_written"
    )]
    pub sent_input: Option<JsonText>,
}

impl Default for EffectState {
    fn default() -> Self {
        Self {
            generation: 1,
            raised_by: None,
            last: LastAttempt::Unsent,
            doubted: false,
            is_unsafe: false,
            resolve_again: false,
            sent_input: None,
        }
    }
}

impl EffectState {
    /// Whether an attempt of this generation started and its outcome is unknown.
    #[must_use]
    pub fn is_in_doubt(&self) -> bool {
        self.doubted || self.last == LastAttempt::InFlight
    }

    /// The state when the next attempt starts in `run`, with an input that `differs` from the
    /// last one sent or not.
    ///
    /// A call in doubt repeats its key: the target may have done it already.
    #[must_use]
    pub fn next_attempt(self, run: &RunId, differs: bool) -> Self {
        let doubted = self.is_in_doubt();
        let rejected = self.last == LastAttempt::Rejected && !doubted;
        if rejected || (differs && self.last != LastAttempt::Unsent) {
            return Self {
                generation: self.generation.saturating_add(1),
                raised_by: Some(run.clone()),
                last: LastAttempt::InFlight,
                doubted: false,
                resolve_again: false,
                sent_input: None,
                ..self
            };
        }
        Self {
            last: LastAttempt::InFlight,
            doubted,
            resolve_again: false,
            sent_input: None,
            ..self
        }
    }

    /// A new generation on somebody's word: the next attempt is another effect.
    #[must_use]
    pub fn raised(self, run: &RunId) -> Self {
        Self {
            generation: self.generation.saturating_add(1),
            raised_by: Some(run.clone()),
            last: LastAttempt::Unsent,
            doubted: false,
            resolve_again: false,
            sent_input: None,
            ..self
        }
    }

    /// Where the effects begin of what comes after this one and has sent nothing yet.
    #[must_use]
    pub fn mark(&self) -> Self {
        Self {
            generation: self.generation,
            raised_by: self.raised_by.clone(),
            ..Self::default()
        }
    }

    /// The state once the attempt under way has an outcome.
    #[must_use]
    pub fn settled(self, last: LastAttempt) -> Self {
        let doubted = self.doubted || last == LastAttempt::InDoubt;
        Self {
            last,
            doubted,
            ..self
        }
    }

    /// The state after an attempt that sent nothing, as this one was before it; `sent` is the input
    /// that was last sent.
    #[must_use]
    pub fn unsent(self, sent: Option<JsonText>) -> Self {
        let doubted = self.is_in_doubt();
        let last = if self.last == LastAttempt::InFlight {
            LastAttempt::InDoubt
        } else {
            self.last
        };
        let sent_input = sent.filter(|_| last != LastAttempt::Unsent);
        Self {
            last,
            doubted,
            sent_input,
            ..self
        }
    }

    /// What a key that [`Self::key`] gave the node at `path` says, under whatever root: the
    /// generation, and who raised it. None for any other text.
    #[must_use]
    pub fn of_key(key: &str, path: &NodePath) -> Option<Self> {
        let (place, generation) = key.rsplit_once('/')?;
        let (root, place) = place.split_once('/')?;
        let (generation, raised_by) = match generation.split_once('@') {
            Some((generation, run)) => (generation, Some(decode(run)?.parse().ok()?)),
            None => (generation, None),
        };
        let generation = generation.parse().ok().filter(|number| *number > 0)?;
        let is_its_own = !root.is_empty() && place == encode(&path.to_string());
        is_its_own.then_some(Self {
            generation,
            raised_by,
            ..Self::default()
        })
    }

    /// The key sent as `Idempotency-Key`: `<root run>/<path>/<generation>[@<run that raised it>]`.
    /// In ids and path, `/`, `@`, `%` and everything but visible ASCII are percent-encoded, so that
    /// the key is a header's value and no two effects share one.
    #[must_use]
    pub fn key(&self, root: &RunId, path: &NodePath) -> String {
        let raised = self.raised_by.as_ref();
        let raised = raised
            .map(|run| format!("@{}", encode(run.as_str())))
            .unwrap_or_default();
        let (root, path) = (encode(root.as_str()), encode(&path.to_string()));
        format!("{root}/{path}/{}{raised}", self.generation)
    }
}

/// A `null` that is written is no missing member.
fn as_written<'de, D: Deserializer<'de>>(input: D) -> Result<Option<JsonText>, D::Error> {
    JsonText::deserialize(input).map(Some)
}

fn encode(text: &str) -> String {
    text.bytes()
        .fold(String::with_capacity(text.len()), |mut out, byte| {
            if byte.is_ascii_graphic() && !b"/@%".contains(&byte) {
                out.push(char::from(byte));
            } else {
                // Writing to a text can't fail.
                let _ = write!(out, "%{byte:02X}");
            }
            out
        })
}

/// The text that [`encode`] was given.
fn decode(text: &str) -> Option<String> {
    let mut parts = text.split('%');
    let mut bytes = parts.next()?.as_bytes().to_vec();
    for part in parts {
        let (code, rest) = part.split_at_checked(2)?;
        bytes.push(u8::from_str_radix(code, 16).ok()?);
        bytes.extend(rest.as_bytes());
    }
    String::from_utf8(bytes).ok()
}

/// Whether an HTTP status says that the target understood and did nothing.
#[must_use]
pub const fn is_rejection(status: u16) -> bool {
    matches!(status, 400..=499) && !matches!(status, 408 | 409 | 422 | 425 | 429)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(id: &str) -> RunId {
        id.parse().unwrap()
    }

    fn key(state: &EffectState) -> String {
        state.key(&run("run_root"), &"pay".parse().unwrap())
    }

    #[test]
    fn a_key_is_kept_until_the_target_rejects_it() {
        let first = EffectState::default().next_attempt(&run("run_root"), false);
        assert_eq!(key(&first), "run_root/pay/1");
        for last in [
            LastAttempt::Failed,
            LastAttempt::InDoubt,
            LastAttempt::InFlight,
        ] {
            let again = first
                .clone()
                .settled(last)
                .next_attempt(&run("run_b"), false);
            assert_eq!(key(&again), "run_root/pay/1", "{last:?}");
        }
        let raised = first
            .settled(LastAttempt::Rejected)
            .next_attempt(&run("run_b"), false);
        assert_eq!(key(&raised), "run_root/pay/2@run_b");
    }

    #[test]
    fn a_rejection_after_a_call_in_doubt_keeps_the_key() {
        let doubted = EffectState::default()
            .next_attempt(&run("run_root"), false)
            .settled(LastAttempt::InDoubt)
            .next_attempt(&run("run_b"), false)
            .settled(LastAttempt::Rejected);
        assert!(doubted.is_in_doubt());
        assert_eq!(
            key(&doubted.next_attempt(&run("run_c"), false)),
            "run_root/pay/1"
        );
    }

    #[test]
    fn another_input_is_another_effect() {
        let unsent = EffectState::default().next_attempt(&run("run_b"), true);
        assert_eq!(key(&unsent), "run_root/pay/1");
        let other = unsent
            .settled(LastAttempt::Failed)
            .next_attempt(&run("run_b"), true);
        assert_eq!(key(&other), "run_root/pay/2@run_b");
    }

    #[test]
    fn an_attempt_that_sent_nothing_changes_nothing() {
        let sent = Some(JsonText::trusted("1"));
        let never = EffectState::default();
        assert_eq!(never.clone().unsent(sent.clone()), never);
        for (last, doubted) in [(LastAttempt::Failed, false), (LastAttempt::InFlight, true)] {
            let before = EffectState::default().settled(last);
            let after = before.unsent(sent.clone());
            assert_eq!((after.is_in_doubt(), &after.sent_input), (doubted, &sent));
            let other = after.next_attempt(&run("run_b"), true);
            assert_eq!(
                (key(&other).as_str(), other.sent_input),
                ("run_root/pay/2@run_b", None)
            );
        }
    }

    #[test]
    fn an_input_that_is_not_known_is_kept_as_such() {
        let state = EffectState {
            sent_input: Some(JsonText::trusted("null")),
            ..EffectState::default()
        };
        let text = serde_json::to_string(&state).unwrap();
        assert_eq!(serde_json::from_str::<EffectState>(&text).unwrap(), state);
    }

    #[test]
    fn a_key_says_its_generation_and_who_raised_it() {
        let path = "pay".parse().unwrap();
        for raised_by in [None, Some(run("r/é%@1"))] {
            let state = EffectState {
                generation: 3,
                raised_by,
                ..EffectState::default()
            };
            assert_eq!(EffectState::of_key(&key(&state), &path), Some(state));
        }
        for other in [
            "",
            "x",
            "a/1",
            "a/pay/0",
            "a/pay/c",
            "a/pay/1@",
            "a/pay/1@%4",
            "/pay/1",
            "a//1",
            "a/another/1",
            "a/b/1",
        ] {
            assert_eq!(EffectState::of_key(other, &path), None, "{other}");
        }
    }

    #[test]
    fn keys_are_visible_ascii() {
        let state = EffectState::default();
        let key = state.key(&run("r%é"), &r#"["a.b"]"#.parse().unwrap());
        assert_eq!(key, "r%25%C3%A9/[\"a.b\"]/1");
    }

    #[test]
    fn no_two_effects_share_a_key() {
        let state = EffectState::default();
        let key = |root: &str, node: &str| state.key(&run(root), &node.parse().unwrap());
        assert_ne!(key("a", "b/c"), key("a/b", "c"));
        let raised = EffectState {
            raised_by: Some(run("b/1")),
            ..EffectState::default()
        };
        assert_ne!(
            raised.key(&run("a"), &"n".parse().unwrap()),
            key("a", "n/1@b")
        );
    }
}
