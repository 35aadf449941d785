//! The service that all nodes call, and the doors in front of and behind each call.

use std::{
    collections::BTreeMap,
    future::poll_fn,
    pin::Pin,
    sync::{Arc, Mutex},
    task::Poll,
};

use redrive::{
    domain::{ErrorClass, NodeError},
    engine::{EngineError, HandlerFuture, NodeCall, NodeHandler, NodeOutput, Stopped},
};
use serde_json::json;

use crate::support::dice::Dice;

/// What a call is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Answer {
    Done,
    /// It may have had its effect: a 503.
    Transient,
    /// It had none: a 400.
    Rejected,
    /// Nobody answered in time.
    InDoubt,
}

impl Answer {
    pub(super) fn throw(dice: &mut Dice) -> Self {
        match dice.below(8) {
            0 => Self::Transient,
            1 => Self::Rejected,
            2 => Self::InDoubt,
            _ => Self::Done,
        }
    }
}

/// Where a call is: the node of a chain.
pub(super) type Place = (String, String);

/// A run that stands at a door.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Door {
    /// Its call is about to be made: the start mark is durable.
    Before(Place),
    /// Its call was answered, and nobody knows yet.
    Behind(Place),
}

#[derive(Debug, Default)]
struct State {
    at: Option<Door>,
    may_pass: bool,
    answer: Option<Answer>,
    /// The call that was made since a run went on.
    made: Option<Place>,
    calls: BTreeMap<Place, Vec<(String, Answer)>>,
    /// How often the worker of an answered call was lost before it could say so.
    lost: BTreeMap<Place, usize>,
}

#[derive(Debug, Default)]
pub(super) struct Target(Mutex<State>);

pub(super) type Execution =
    Pin<Box<dyn Future<Output = Result<Stopped, EngineError>> + Send + 'static>>;

/// How far a run got.
#[derive(Debug)]
pub(super) enum Progress {
    At(Door),
    Stopped(Result<Stopped, EngineError>),
}

impl Target {
    /// Goes on with a run to its next door; `answer` is what its next call is answered.
    pub(super) async fn pass(
        &self,
        run: &mut Execution,
        is_at_door: bool,
        answer: Answer,
    ) -> Progress {
        {
            let mut state = self.0.lock().unwrap();
            state.at = None;
            state.made = None;
            state.may_pass = is_at_door;
            state.answer = Some(answer);
        }
        poll_fn(|context| match run.as_mut().poll(context) {
            Poll::Ready(stopped) => Poll::Ready(Progress::Stopped(stopped)),
            Poll::Pending => match self.0.lock().unwrap().at.take() {
                Some(door) => Poll::Ready(Progress::At(door)),
                None => Poll::Pending,
            },
        })
        .await
    }

    async fn stand_at(&self, door: Door) {
        poll_fn(|_| {
            let mut state = self.0.lock().unwrap();
            if std::mem::take(&mut state.may_pass) {
                return Poll::Ready(());
            }
            state.at = Some(door.clone());
            Poll::Pending
        })
        .await;
    }

    fn answer(&self, place: &Place, key: &str) -> Answer {
        let mut state = self.0.lock().unwrap();
        let answer = state.answer.take().unwrap_or(Answer::Done);
        let calls = state.calls.entry(place.clone()).or_default();
        calls.push((key.to_owned(), answer));
        state.made = Some(place.clone());
        answer
    }

    /// The call that was made since a run went on, if one was.
    pub(super) fn made(&self) -> Option<Place> {
        self.0.lock().unwrap().made.take()
    }

    /// The worker of an answered call is gone, or may not write.
    pub(super) fn lose(&self, place: &Place) {
        *self
            .0
            .lock()
            .unwrap()
            .lost
            .entry(place.clone())
            .or_default() += 1;
    }

    /// Holds all calls to what repeats may be, and forgets them.
    pub(super) fn check(&self) {
        let state = std::mem::take(&mut *self.0.lock().unwrap());
        for (place, calls) in &state.calls {
            let what = format!("{place:?}: {calls:?}");
            let lost = state.lost.get(place).copied().unwrap_or_default();
            let done: Vec<_> = calls.iter().filter(|call| call.1 == Answer::Done).collect();
            assert!(done.len() <= 1 + lost, "an effect repeated: {what}");
            let is_one = done.windows(2).all(|pair| pair[0].0 == pair[1].0);
            assert!(is_one, "another key for the same effect: {what}");
            for (number, call) in calls.iter().enumerate() {
                let before = &calls[..number];
                let is_known = number == 0 || before.iter().any(|earlier| earlier.0 == call.0);
                let was_rejected = before.iter().any(|earlier| earlier.1 == Answer::Rejected);
                assert!(is_known || was_rejected, "a new key unasked: {what}");
            }
        }
    }
}

/// The kind of the nodes that call.
pub(super) struct Calls(pub(super) Arc<Target>);

impl NodeHandler for Calls {
    fn run<'a>(&'a self, call: NodeCall<'a>) -> HandlerFuture<'a> {
        Box::pin(async move {
            let place = (call.run.root_run_id.to_string(), call.path.to_string());
            self.0.stand_at(Door::Before(place.clone())).await;
            let answer = self.0.answer(&place, call.effect_key.unwrap());
            self.0.stand_at(Door::Behind(place)).await;
            let fail = |class, code: &str| NodeError::new(class, code, "as the dice say");
            match answer {
                Answer::Done => Ok(NodeOutput::result(json!({ "done": true }))),
                Answer::Transient => Err(fail(ErrorClass::Transient, "http_503")),
                Answer::Rejected => {
                    Err(fail(ErrorClass::Permanent, "http_400").with_rejected(true))
                }
                Answer::InDoubt => Err(fail(ErrorClass::InDoubt, "timeout")),
            }
        })
    }
}
