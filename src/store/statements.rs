//! What the flows ask of an engine: to begin a transaction, and the statements within it.
//!
//! The flows in `flow/` decide, once for both engines; an engine only writes the statements out
//! in its own SQL.

use std::{
    future::{Future, ready},
    time::Duration,
};

use crate::domain::{
    JsonText, Lane, NodePath, NodeRecord, OrganizationId, Retry, RetryId, Run, RunId, Timestamp,
    VariableWrite,
};

use super::{
    Checkpoint, Claim, Creation, Earlier, Fence, Finish, Finished, IdempotencyKey, NewRetry,
    Signal, SignalKind, StoreError, StoredDefinition, Written, rows::LockedRun,
};

/// The answer to a statement, some time.
pub(super) trait Answer<T>: Future<Output = Result<T, StoreError>> + Send {}

impl<T, F: Future<Output = Result<T, StoreError>> + Send> Answer<T> for F {}

/// An engine that begins transactions.
pub(super) trait Engine: Plain {
    /// Its transactions; one that is dropped is rolled back.
    type Transaction: Statements + Send;

    /// Begins a transaction that may write.
    fn begin(&self) -> impl Answer<Self::Transaction>;
}

/// The plain case of a flow, where an engine does it in one statement. None: it is not plain, or the
/// engine has no such statement, and the flow decides. An error is [in doubt](StoreError::InDoubt)
/// unless it is sure that nothing was written.
pub(super) trait Plain: Sync {
    /// The first retry that counts of an ended run.
    fn accept_plain(
        &self,
        _new: &NewRetry,
        _key: Option<&IdempotencyKey>,
    ) -> impl Answer<Option<(Run, Retry)>> {
        ready(Ok(None))
    }

    /// The first claim of a retry's run.
    fn claim_plain(
        &self,
        _run: &RunId,
        _owner: &str,
        _ttl: Duration,
    ) -> impl Answer<Option<Claim>> {
        ready(Ok(None))
    }

    /// The creation of a claimed retry's run.
    fn create_plain(&self, _fence: &Fence, _creation: &Creation) -> impl Answer<Option<Written>> {
        ready(Ok(None))
    }

    /// A checkpoint of records.
    fn checkpoint_plain(
        &self,
        _fence: &Fence,
        _checkpoint: &Checkpoint,
    ) -> impl Answer<Option<Written>> {
        ready(Ok(None))
    }

    /// The end of a run that nothing came for.
    fn finish_plain(&self, _fence: &Fence, _finish: &Finish) -> impl Answer<Option<Finished>> {
        ready(Ok(None))
    }
}

/// What is written into the nodes that a cancellation ends.
#[derive(Debug, Clone)]
pub(super) struct Cancellation {
    /// When, as shown.
    pub(super) finished_at: String,
    /// The error of a node that has an effect and was running or in doubt.
    pub(super) in_doubt: JsonText,
    /// The error of every other one.
    pub(super) cancelled: JsonText,
}

/// The statements of one transaction.
pub(super) trait Statements {
    /// Makes everything durable.
    fn commit(self) -> impl Answer<()>;

    /// A run of an organisation, without a lock.
    fn run(&mut self, organization: &OrganizationId, id: &RunId) -> impl Answer<Option<Run>>;

    /// Locks a run until the end of the transaction and reads it, and the clock.
    fn lock_run(&mut self, id: &RunId) -> impl Answer<Option<LockedRun>>;

    /// Writes back what may change of a locked run.
    fn update_run(&mut self, locked: &LockedRun) -> impl Answer<()>;

    /// Adds a run; false if there is one with its id.
    fn insert_run(&mut self, run: &Run, lane: Lane, traceparent: Option<&str>)
    -> impl Answer<bool>;

    /// Adds a definition, unless it is there.
    fn put_definition(&mut self, definition: &StoredDefinition) -> impl Answer<()>;

    /// Adds or replaces records; new ones come after those that are there.
    fn put_nodes(&mut self, run: &RunId, records: &[NodeRecord]) -> impl Answer<()>;

    /// Copies records from run to run without their attempts; how many there were.
    fn copy_nodes(&mut self, from: &RunId, to: &RunId, paths: &[NodePath]) -> impl Answer<u64>;

    /// Ends the nodes that are running, waiting or scheduled.
    fn cancel_nodes(&mut self, run: &RunId, how: &Cancellation) -> impl Answer<()>;

    /// The record of a node.
    fn node(&mut self, run: &RunId, path: &NodePath) -> impl Answer<Option<NodeRecord>>;

    /// Notes which node started a run.
    fn insert_child(
        &mut self,
        run: &RunId,
        parent: &RunId,
        path: &NodePath,
        depth: i64,
    ) -> impl Answer<()>;

    /// Whether a node of a run waits for the run that it started.
    fn waits_for_child(&mut self, run: &RunId) -> impl Answer<bool>;

    /// Runs without a worker that wait for the chain of this one.
    fn waiting_parents(&mut self, child: &RunId) -> impl Answer<Vec<RunId>>;

    /// Adds a signal, unless the node has one; whether it was added.
    fn insert_signal(
        &mut self,
        run: &RunId,
        path: &NodePath,
        kind: SignalKind,
        body: &JsonText,
        at: Timestamp,
    ) -> impl Answer<bool>;

    /// The signal of a node.
    fn signal(&mut self, run: &RunId, path: &NodePath) -> impl Answer<Option<Signal>>;

    /// Whether a run has signals that no record has yet.
    fn has_signals(&mut self, run: &RunId) -> impl Answer<bool>;

    /// Notes that the records of these nodes have their signals.
    fn apply_signals(&mut self, run: &RunId, paths: &[NodePath]) -> impl Answer<()>;

    /// Adds writes of variables to the log.
    fn log_variable_writes(&mut self, run: &RunId, writes: &[VariableWrite]) -> impl Answer<()>;

    /// Keeps the values that a run writes to its workflow, if that is registered.
    fn persist_variables(&mut self, run: &Run, writes: &[VariableWrite]) -> impl Answer<()>;

    /// Makes a run due at a time, or now; whatever was known of sending it is forgotten.
    fn put_outbox(&mut self, run: &RunId, due_at: Option<Timestamp>) -> impl Answer<()>;

    /// Takes the outbox row of a run, if it is due; whether it was.
    fn take_due(&mut self, run: &RunId) -> impl Answer<bool>;

    /// Takes the outbox row of a run, if there is one.
    fn delete_outbox(&mut self, run: &RunId) -> impl Answer<()>;

    /// Adds a retry, and the intent that it came as, if it was published.
    fn insert_retry(
        &mut self,
        retry: &Retry,
        live: bool,
        intent: Option<&JsonText>,
    ) -> impl Answer<()>;

    /// Whether there is a retry with this id, and the intent that it came as.
    fn intent(
        &mut self,
        organization: &OrganizationId,
        id: &RetryId,
    ) -> impl Answer<Option<Option<JsonText>>>;

    /// The retry that a run is the outcome of. The run's lock guards it.
    fn retry_of_run(&mut self, run: &RunId) -> impl Answer<Option<Retry>>;

    /// Writes back what may change of a retry.
    fn update_retry(&mut self, retry: &Retry, live: bool) -> impl Answer<()>;

    /// The live retry of a chain, and its run.
    fn live_retry(&mut self, root: &RunId) -> impl Answer<Option<(RetryId, RunId)>>;

    /// The newest counted run below a run, if there is one.
    fn head(&mut self, run: &RunId) -> impl Answer<Option<RunId>>;

    /// The request that came before under the same key, or is under way; no other one is decided
    /// under it before the end of the transaction.
    fn earlier(&mut self, key: &IdempotencyKey) -> impl Answer<Option<Earlier>>;

    /// Keeps the key of the request that made a run.
    fn keep_key(&mut self, key: &IdempotencyKey, run: &RunId) -> impl Answer<()>;

    /// How many runs of an organisation have not ended, counted no further than `most`. Nobody else
    /// counts them before the end of the transaction.
    fn live_runs(&mut self, organization: &OrganizationId, most: u32) -> impl Answer<i64>;

    /// The ordinal of the next retry of a run.
    fn next_ordinal(&mut self, source: &RunId) -> impl Answer<i64>;

    /// How many runs lead from the root of a chain to a run, both counted.
    fn chain_length(&mut self, run: &RunId) -> impl Answer<i64>;
}
