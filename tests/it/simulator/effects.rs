//! What the calls of a case are answered, what was called, and whether that is right.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Mutex,
};

use redrive::{
    domain::{ErrorClass, NodeError},
    engine::{HandlerFuture, NodeCall, NodeHandler, NodeOutput},
};
use serde_json::json;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::{chains::case::Case, support::dice::Dice};

/// What a call is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Answer {
    Done,
    /// Done, and the run is cancelled meanwhile.
    Cancelled,
    /// It may have had its effect: a 503.
    Transient,
    /// It had none: a 400.
    Rejected,
    /// Nobody answered in time.
    InDoubt,
    /// The worker is killed while it waits for the answer.
    Killed,
}

impl Answer {
    fn throw(dice: &mut Dice) -> Self {
        match dice.below(12) {
            0..3 => Self::Transient,
            3..6 => Self::Rejected,
            6..8 => Self::InDoubt,
            8..10 => Self::Killed,
            _ => Self::Cancelled,
        }
    }

    fn is_success(self) -> bool {
        matches!(self, Self::Done | Self::Cancelled)
    }

    fn leaves_doubt(self) -> bool {
        matches!(self, Self::InDoubt | Self::Killed)
    }
}

#[derive(Debug)]
struct Call {
    key: String,
    answer: Answer,
}

/// The service that all nodes of a case call.
#[derive(Debug, Default)]
pub(super) struct Effects {
    script: Mutex<BTreeMap<String, VecDeque<Answer>>>,
    calls: Mutex<BTreeMap<String, Vec<Call>>>,
    /// How often a path had been called when its success was found on record.
    recorded: Mutex<BTreeMap<String, usize>>,
    cancelled: Mutex<CancellationToken>,
    /// Somebody has to kill the worker.
    pub(super) killed: Notify,
}

impl Effects {
    /// Begins a case.
    pub(super) fn script(&self, case: &Case, dice: &mut Dice) {
        let mut script = BTreeMap::new();
        for place in case.places() {
            let count = [0, 0, 0, 1, 1, 2, 3][dice.below(7)];
            let answers = (0..count).map(|_| Answer::throw(dice)).collect();
            script.insert(place.path, answers);
        }
        *self.script.lock().unwrap() = script;
        self.calls.lock().unwrap().clear();
        self.recorded.lock().unwrap().clear();
    }

    /// A run begins to be executed.
    pub(super) fn on_cancel(&self, token: &CancellationToken) {
        *self.cancelled.lock().unwrap() = token.clone();
    }

    /// The success of a call is on record: it must not be made again.
    pub(super) fn is_recorded(&self, path: &str) {
        let count = self.calls.lock().unwrap().get(path).map_or(0, Vec::len);
        let mut recorded = self.recorded.lock().unwrap();
        recorded.entry(path.to_owned()).or_insert(count);
    }

    /// Holds what was called over a whole chain to what one run would have called.
    pub(super) fn check(&self, case: &Case, kills: usize) {
        let calls = self.calls.lock().unwrap();
        let recorded = self.recorded.lock().unwrap();
        let places = case.places();
        let expected: BTreeSet<_> = places.iter().map(|place| place.path.as_str()).collect();
        let found: BTreeSet<_> = calls.keys().map(String::as_str).collect();
        assert_eq!(found, expected, "{case:?}");
        for place in &places {
            let made = &calls[&place.path];
            let what = format!("{}: {made:?} of {case:?}", place.path);
            let last = made.last().unwrap().answer;
            if place.is_tolerated {
                assert_ne!(last, Answer::Killed, "{what}");
            } else {
                assert!(last.is_success(), "{what}");
                assert_eq!(recorded.get(&place.path), Some(&made.len()), "{what}");
            }
            check_successes(made, kills, &what);
            check_keys(made, kills, &what);
        }
    }

    fn answer(&self, path: &str, key: &str) -> Answer {
        let mut script = self.script.lock().unwrap();
        let next = script.get_mut(path).and_then(VecDeque::pop_front);
        let answer = next.unwrap_or(Answer::Done);
        let mut calls = self.calls.lock().unwrap();
        calls.entry(path.to_owned()).or_default().push(Call {
            key: key.to_owned(),
            answer,
        });
        answer
    }
}

/// A call that was answered is repeated only if the worker died before it could say so, and then it
/// is the same effect.
fn check_successes(made: &[Call], kills: usize, what: &str) {
    let done: Vec<_> = made
        .iter()
        .filter(|call| call.answer.is_success())
        .collect();
    assert!(done.len() <= 1 + kills, "{what}");
    assert!(
        done.windows(2).all(|pair| pair[0].key == pair[1].key),
        "{what}"
    );
}

/// A rejection that nothing of its generation is in doubt beside makes another effect, nothing else
/// does.
fn check_keys(made: &[Call], kills: usize, what: &str) {
    for (place, pair) in made.windows(2).enumerate() {
        let of_generation = made[..=place].iter().filter(|call| call.key == pair[0].key);
        let in_doubt = of_generation.clone().any(|call| call.answer.leaves_doubt());
        let rejected = pair[0].answer == Answer::Rejected && !in_doubt;
        let is_raised = pair[0].key != pair[1].key;
        assert!(
            rejected || !is_raised,
            "another key after no rejection: {what}"
        );
        // A worker that was killed may not have said that it was rejected.
        assert!(
            is_raised || !rejected || kills > 0,
            "the same key after a rejection: {what}"
        );
    }
}

/// The kind of the nodes that call.
pub(super) struct Calls(pub(super) std::sync::Arc<Effects>);

impl NodeHandler for Calls {
    fn run<'a>(&'a self, call: NodeCall<'a>) -> HandlerFuture<'a> {
        Box::pin(async move {
            let path = call.input["url"].as_str().unwrap();
            let fail = |class, code: &str| NodeError::new(class, code, "as the script says");
            match self.0.answer(path, call.effect_key.unwrap()) {
                Answer::Done => {}
                Answer::Cancelled => self.0.cancelled.lock().unwrap().cancel(),
                Answer::Transient => return Err(fail(ErrorClass::Transient, "http_503")),
                Answer::Rejected => {
                    return Err(fail(ErrorClass::Permanent, "http_400").with_rejected(true));
                }
                Answer::InDoubt => return Err(fail(ErrorClass::InDoubt, "timeout")),
                Answer::Killed => {
                    self.0.killed.notify_one();
                    std::future::pending::<()>().await;
                }
            }
            Ok(NodeOutput::result(json!({ "called": path })))
        })
    }
}
