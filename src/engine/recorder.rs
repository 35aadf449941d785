//! Writes what happened, fenced: buffered while it may be lost, durable when something depends
//! on it.

use std::{
    collections::{BTreeMap, HashMap, hash_map::Entry},
    time::Duration,
};

use serde_json::Number;

use super::{drive::EngineError, signals::Signals};
use crate::{
    domain::{Jitter, JsonText, NodePath, NodeRecord, RetryDelay, Timestamp, VariableWrite},
    faults,
    store::{
        Checkpoint, Fence, Finish, Finished, NewChild, Parking, Signal, Store, StoreError,
        TimedOut, Written,
    },
};

/// Buffered records are written at the latest when they are so many, or so many bytes.
const MOST_RECORDS: usize = 128;
const MOST_BYTES: usize = 1 << 20;

/// The writer of one run.
#[derive(Debug)]
pub(super) struct Recorder<'a> {
    store: &'a Store,
    fence: Fence,
    signals: &'a Signals,
    prices: &'a BTreeMap<String, f64>,
    pending: Checkpoint,
    /// Where in `pending` the record of a node is.
    places: HashMap<NodePath, usize>,
    bytes: usize,
    cost: f64,
}

impl<'a> Recorder<'a> {
    pub(super) fn new(
        store: &'a Store,
        fence: Fence,
        signals: &'a Signals,
        prices: &'a BTreeMap<String, f64>,
    ) -> Self {
        Self {
            store,
            fence,
            signals,
            prices,
            pending: empty(),
            places: HashMap::new(),
            bytes: 0,
            cost: 0.0,
        }
    }

    /// Counts an executed attempt of a node of this type.
    pub(super) fn charge(&mut self, kind: &str, attempts: usize) {
        let price = self.prices.get(kind).copied().unwrap_or(1.0);
        for _ in 0..attempts {
            self.cost += price;
        }
    }

    /// Buffers a record in place of an earlier one of the same node.
    pub(super) fn add(&mut self, record: NodeRecord, is_outcome: bool) {
        let length = |text: &Option<JsonText>| text.as_ref().map_or(0, |t| t.as_str().len());
        self.bytes += length(&record.input) + length(&record.result);
        let end = self.pending.records.len();
        match self.places.entry(record.path.clone()) {
            Entry::Occupied(place) => self.pending.records[*place.get()] = record,
            Entry::Vacant(place) => {
                place.insert(end);
                self.pending.records.push(record);
            }
        }
        self.pending.has_outcome |= is_outcome;
    }

    pub(super) fn add_variable(&mut self, write: VariableWrite) {
        self.pending.variable_writes.push(write);
    }

    /// Notes that the records have the signal of this node.
    pub(super) fn add_applied(&mut self, path: NodePath) {
        self.pending.applied.push(path);
    }

    /// A run that a node starts: it is there once the node's record is.
    pub(super) fn add_child(&mut self, child: NewChild) {
        self.pending.children.push(child);
    }

    /// Notes that all signals are dealt with.
    pub(super) async fn apply_all(&mut self) -> Result<(), EngineError> {
        let signals = self.signals().await?;
        self.pending
            .applied
            .extend(signals.into_iter().map(|signal| signal.path));
        Ok(())
    }

    /// The signals that no record has yet.
    pub(super) async fn signals(&self) -> Result<Vec<Signal>, EngineError> {
        self.insist(|| self.store.signals(&self.fence.run_id)).await
    }

    /// Ends a wait whose time is over, unless somebody resumed it.
    pub(super) async fn time_out(
        &self,
        path: &NodePath,
        now: Timestamp,
    ) -> Result<TimedOut, EngineError> {
        self.insist(|| self.store.time_out(&self.fence, path, now))
            .await
    }

    /// Whether the buffer should be written although nothing depends on it yet.
    pub(super) fn is_full(&self) -> bool {
        self.pending.records.len() >= MOST_RECORDS || self.bytes >= MOST_BYTES
    }

    fn take(&mut self) -> Checkpoint {
        self.bytes = 0;
        self.places.clear();
        Checkpoint {
            total_cu: number(self.cost),
            ..std::mem::replace(&mut self.pending, empty())
        }
    }

    /// Makes everything buffered durable.
    pub(super) async fn flush(&mut self) -> Result<Written, EngineError> {
        let checkpoint = self.take();
        self.insist(|| self.store.checkpoint(&self.fence, &checkpoint))
            .await
    }

    /// Makes everything buffered durable and lets the worker go.
    pub(super) async fn park(
        &mut self,
        parking: impl FnOnce(Checkpoint) -> Parking,
    ) -> Result<Written, EngineError> {
        let parking = parking(self.take());
        faults::point("run.parking");
        let written = self.insist(|| self.store.park(&self.fence, &parking)).await;
        faults::point("run.parked");
        written
    }

    /// Makes everything buffered durable and ends the run. After `CancelRequested` and
    /// `SignalsPending` the buffer is as it was.
    pub(super) async fn finish(
        &mut self,
        finish: impl FnOnce(Checkpoint) -> Finish,
    ) -> Result<Finished, EngineError> {
        let finish = finish(self.take());
        faults::point("run.ending");
        let finished = self
            .insist(|| self.store.finish(&self.fence, &finish))
            .await?;
        faults::point("run.ended");
        if matches!(
            finished,
            Finished::CancelRequested | Finished::SignalsPending
        ) {
            let records = finish.checkpoint.records.iter().enumerate();
            self.places = records
                .map(|(place, record)| (record.path.clone(), place))
                .collect();
            self.pending = finish.checkpoint;
        }
        Ok(finished)
    }

    /// Makes everything buffered durable and gives the lease back.
    pub(super) async fn release(&mut self) -> Result<Written, EngineError> {
        if self.flush().await? == Written::LeaseLost {
            return Ok(Written::LeaseLost);
        }
        self.insist(|| self.store.release(&self.fence)).await
    }

    /// Repeats a write while the ledger is away and the lease is good. Every one of them may be
    /// repeated: records replace each other, a variable's write is logged once, and an end that was
    /// made finds the run ended.
    pub(super) async fn insist<T, F: Future<Output = Result<T, StoreError>>>(
        &self,
        write: impl Fn() -> F,
    ) -> Result<T, EngineError> {
        let mut delay = RetryDelay::new(
            Duration::from_millis(50),
            Duration::from_secs(2),
            Jitter::Half,
        );
        loop {
            match write().await {
                Ok(written) => return Ok(written),
                Err(error @ (StoreError::Unavailable(_) | StoreError::InDoubt(_))) => {
                    tracing::warn!(run_id = %self.fence.run_id, error = %error, "writing again");
                    tokio::select! {
                        () = self.signals.lost.cancelled() => return Err(error.into()),
                        () = tokio::time::sleep(delay.next_delay()) => {}
                    }
                }
                Err(error) => return Err(error.into()),
            }
        }
    }
}

fn empty() -> Checkpoint {
    Checkpoint {
        records: Vec::new(),
        variable_writes: Vec::new(),
        total_cu: JsonText::trusted("0"),
        has_outcome: false,
        applied: Vec::new(),
        children: Vec::new(),
    }
}

/// Whole numbers without a fraction: 3, not 3.0.
fn number(cost: f64) -> JsonText {
    let text = format!("{cost}");
    match text.parse::<Number>() {
        Ok(number) => JsonText::trusted(number.to_string()),
        Err(_) => JsonText::trusted("0"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn costs_are_plain_numbers() {
        for (cost, text) in [(0.0, "0"), (3.0, "3"), (2.5, "2.5"), (f64::NAN, "0")] {
            assert_eq!(number(cost).as_str(), text);
        }
    }
}
