//! A broker at its worst: it repeats, reorders, delays and loses, and gives back what nobody settled.

use redrive::{
    broker::{Dead, Dispatch},
    domain::Lane,
};
use serde_json::Map;

use crate::support::dice::Dice;

/// So often a dispatch is delivered before the broker gives it up.
const MOST_DELIVERIES: u32 = 2;

/// A message.
#[derive(Debug, Clone)]
pub(super) struct Letter {
    pub(super) body: Vec<u8>,
    pub(super) lane: Lane,
    /// Somebody else's, who has nothing but the broker's word.
    pub(super) is_intent: bool,
    deliveries: u32,
}

impl Letter {
    pub(super) fn intent(body: Vec<u8>, lane: Lane) -> Self {
        Self {
            body,
            lane,
            is_intent: true,
            deliveries: 0,
        }
    }

    pub(super) fn of(dispatch: &Dispatch, lane: Lane) -> Self {
        Self {
            body: dispatch.to_bytes().unwrap(),
            lane,
            is_intent: false,
            deliveries: 0,
        }
    }

    /// As a dead letter.
    pub(super) fn dead(self, reason: &str) -> Dead {
        Dead {
            body: self.body,
            headers: Map::new(),
            queue: None,
            reason: Some(reason.to_owned()),
        }
    }
}

#[derive(Debug, Default)]
pub(super) struct Mail {
    waiting: Vec<Letter>,
    /// Whatever was delivered once.
    seen: Vec<Letter>,
}

impl Mail {
    pub(super) fn publish(&mut self, letter: Letter) {
        self.waiting.push(letter);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Any of the messages: they come in no order.
    pub(super) fn deliver(&mut self, dice: &mut Dice) -> Option<Letter> {
        if self.waiting.is_empty() {
            return None;
        }
        let letter = self.waiting.swap_remove(dice.below(self.waiting.len()));
        self.seen.push(letter.clone());
        Some(Letter {
            deliveries: letter.deliveries + 1,
            ..letter
        })
    }

    /// Whoever had it went away. What was delivered too often is given up.
    pub(super) fn give_back(&mut self, letter: Letter) -> Option<Letter> {
        if letter.deliveries >= MOST_DELIVERIES && !letter.is_intent {
            return Some(letter);
        }
        self.waiting.push(letter);
        None
    }

    /// The broker is lost, and what others published with its disk is not.
    pub(super) fn lose_all(&mut self) {
        self.waiting.retain(|letter| letter.is_intent);
    }

    /// A message is there once more, or a dispatch is gone: the ledger has what it said.
    pub(super) fn misbehave(&mut self, dice: &mut Dice) -> &'static str {
        let pick =
            |from: &[Letter], dice: &mut Dice| from.get(dice.below(from.len().max(1))).cloned();
        match dice.below(4) {
            0 => {
                let again = pick(&self.waiting, dice);
                self.waiting.extend(again);
                "repeats what waits"
            }
            1 => {
                let again = pick(&self.seen, dice);
                self.waiting.extend(again);
                "repeats what was delivered"
            }
            2 if !self.waiting.is_empty() => {
                let place = dice.below(self.waiting.len());
                if !self.waiting[place].is_intent {
                    self.waiting.swap_remove(place);
                }
                "loses one"
            }
            _ if dice.one_in(4) => {
                self.lose_all();
                "loses all"
            }
            _ => "behaves",
        }
    }
}
