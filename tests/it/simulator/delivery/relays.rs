//! Relays: the product's own in one step, and one that stops between its steps.

use std::time::Duration;

use redrive::{
    broker::{Broker, Dispatch, Hints, InProcess},
    domain::{Lane, PerLane},
    outbox::Relay,
    store::{DueRow, Store},
};

use super::{broker::Letter, world::World};
use crate::support::dice::Dice;

/// The most of each lane that a relay takes.
const ROOM: u32 = 3;

const LEASE: Duration = Duration::from_secs(30);

/// The relays of a world.
#[derive(Debug)]
pub(super) struct Relays {
    relay: Relay,
    /// Where the product's own publishes to; what is in it is with the broker.
    outlet: Broker,
    /// Whether there are others.
    has_others: bool,
    others: [Option<Batch>; 2],
}

/// What a relay has under way.
#[derive(Debug, Clone)]
struct Batch {
    rows: Vec<DueRow>,
    /// Whether these are the ones that the broker confirmed.
    is_published: bool,
}

impl Relays {
    pub(super) fn new(store: &Store, hints: &Hints) -> Self {
        let outlet = Broker::InProcess(InProcess::new(64));
        Self {
            relay: Relay::new(store.clone(), outlet.clone(), hints.clone()),
            outlet,
            has_others: false,
            others: [None, None],
        }
    }

    pub(super) fn begin(&mut self, dice: &mut Dice) {
        drop(self.outlet.drain());
        self.has_others = !dice.one_in(4);
        self.die();
    }

    /// What they had under way is leased until its time is over.
    pub(super) fn die(&mut self) {
        self.others = [None, None];
    }
}

fn dispatch(row: &DueRow) -> Dispatch {
    let traceparent = row.traceparent.clone();
    let (run, retry) = (row.run_id.clone(), row.retry_id.clone());
    Dispatch::new(run, retry, row.organization_id.clone(), traceparent)
}

impl World {
    /// A relay does a step.
    pub(super) async fn relay(&mut self) {
        if !self.relays.has_others || self.dice.one_in(4) {
            return self.relay_all().await;
        }
        let which = self.dice.below(2);
        let (store, looks) = (self.ledger.store.clone(), self.looks(3));
        let told = match self.relays.others[which].take() {
            None => {
                let room = PerLane::from_fn(|_| ROOM);
                let leased = store.lease_due(&room, Duration::ZERO, LEASE);
                let rows = self.clock.until_death(looks, leased).await;
                let rows = rows.map(Result::unwrap).filter(|rows| !rows.is_empty());
                let told = format!("leases {}", rows.as_ref().map_or(0, Vec::len));
                self.relays.others[which] = rows.map(|rows| Batch {
                    rows,
                    is_published: false,
                });
                told
            }
            Some(batch) if looks.is_some() => format!("dies with {}", batch.rows.len()),
            Some(batch) if !batch.is_published => self.publish(which, batch).await,
            Some(batch) => {
                let runs: Vec<_> = batch.rows.into_iter().map(|row| row.run_id).collect();
                store.mark_sent(&runs).await.unwrap();
                format!("marks {}", runs.len())
            }
        };
        self.note(format!("relay {which} {told}"));
    }

    /// The broker confirms some, and others not.
    async fn publish(&mut self, which: usize, mut batch: Batch) -> String {
        let refused = if self.dice.one_in(5) {
            batch.rows.split_off(self.dice.below(batch.rows.len()))
        } else {
            Vec::new()
        };
        for row in &batch.rows {
            self.mail.publish(Letter::of(&dispatch(row), row.lane));
        }
        let told = format!("publishes {} of {}", batch.rows.len(), refused.len());
        if !refused.is_empty() {
            let runs: Vec<_> = refused.into_iter().map(|row| row.run_id).collect();
            self.ledger.store.give_back(&runs).await.unwrap();
        }
        batch.is_published = true;
        self.relays.others[which] = Some(batch);
        told
    }

    /// The product's own relay brings everything that is due.
    pub(super) async fn relay_all(&mut self) {
        let looks = self.looks(4);
        let relay = self.relays.relay.clone();
        let sent = self.clock.until_death(looks, relay.run_once()).await;
        let sent = sent.map(Result::unwrap);
        // What it published before it died is with the broker.
        let dispatches = self.relays.outlet.drain();
        self.note(format!("the relay sends {}: {sent:?}", dispatches.len()));
        for dispatch in dispatches {
            self.mail.publish(Letter::of(&dispatch, Lane::Interactive));
        }
    }
}
