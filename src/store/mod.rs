//! The ledger: runs, nodes, retries, the outbox, tokens. Everything durable is here.
//!
//! [`Store`] is one of two engines behind the same methods. **Every method is one whole
//! transaction**: when it returns `Ok`, all of it is durable; when it returns an error, none of it
//! is, with one exception that the error names ([`StoreError::InDoubt`], a COMMIT without answer).
//! "Not found" and "refused" are data, not errors.
//!
//! What has to be decided is decided once, in `flow/`, under the lock of a run. SQL is written out
//! once per engine, in `postgres/` and `sqlite/`, files of the same names, as `const` texts that a
//! test finds and prepares by itself. User JSON is bound as text only.
//!
//! To add a method: its types in `types.rs`, a line in the `ledger!` list below (`ask`: one engine
//! method; `decide`: a flow, with new statements in `statements.rs`), the SQL in both engines, a
//! case in the contract suite that runs against both.

mod definitions;
mod error;
mod flow;
mod idempotency;
mod postgres;
mod rows;
mod schema;
mod sqlite;
mod statements;
mod types;

pub use error::StoreError;
pub use idempotency::{Earlier, IdempotencyKey, KEY_LIFE};
pub use postgres::PostgresStore;
pub use sqlite::{ServingLock, SqliteStore};
pub use types::{
    AcceptedIntent, AcceptedStart, Backlog, CancelOutcome, Checkpoint, Claim, Claimed, Creation,
    DeadLetter, DueRow, Fence, Finish, Finished, ImportOutcome, NewChild, NewImport, NewRetry,
    NewStart, NewToken, NewWorkflow, Parking, Renewed, Rescued, Resumed, RetryFilter, RetryTerms,
    RunFilter, Signal, SignalKind, StoredDefinition, Swept, TimedOut, Token, Window, WorkKind,
    WorkerReport, Written,
};

use std::{path::PathBuf, time::Duration};

use chrono::TimeDelta;

use crate::{
    config::DatabaseConfig,
    domain::{
        DeadLetterId, DefinitionHash, JsonText, NodePath, NodeRecord, OrganizationId, PerLane,
        Refusal, Retry, RetryId, Run, RunId, Timestamp, TokenId, VariableWrite, Workflow,
        WorkflowVariable,
    },
};

/// The ledger on one of its two engines. Cheap to clone.
#[derive(Debug, Clone)]
pub enum Store {
    /// Production: any number of processes.
    Postgres(PostgresStore),
    /// Embedded: one process, one file.
    Sqlite(SqliteStore),
}

impl Store {
    /// Connects to the engine that the URL names (`sqlite:` or `postgres:`), without touching the
    /// schema.
    ///
    /// # Errors
    /// The URL is of another scheme, or the engine can't be reached.
    pub async fn connect(config: &DatabaseConfig) -> Result<Self, StoreError> {
        let url = config.url.expose();
        if url.starts_with("sqlite:") {
            return SqliteStore::connect(config).await.map(Self::Sqlite);
        }
        if url.starts_with("postgres:") || url.starts_with("postgresql:") {
            return PostgresStore::connect(config).await.map(Self::Postgres);
        }
        Err(StoreError::UnknownScheme)
    }

    /// The file that the URL names, there or not; none if it names a server.
    ///
    /// # Errors
    /// The URL names no file.
    pub fn file(config: &DatabaseConfig) -> Result<Option<PathBuf>, StoreError> {
        if !config.url.expose().starts_with("sqlite:") {
            return Ok(None);
        }
        SqliteStore::file(config).map(Some)
    }

    /// How many migrations this version has; both engines have the same ones.
    #[must_use]
    pub fn migrations() -> usize {
        sqlite::migrations()
    }
}

/// A time from now on; the same one if that is beyond what can be told.
fn later(from: Timestamp, by: Duration) -> Timestamp {
    TimeDelta::from_std(by)
        .ok()
        .and_then(|by| from.checked_add_signed(by))
        .unwrap_or(from)
}

/// How often a transaction runs that another one keeps getting in the way of.
const TRIES: u32 = 3;

macro_rules! call {
    (decide, $engine:ident, $name:ident, $($arg:ident),*) => { flow::$name($engine $(, $arg)*) };
    (ask, $engine:ident, $name:ident, $($arg:ident),*) => { $engine.$name($($arg),*) };
}

macro_rules! ledger {
    ($(
        $(#[$doc:meta])*
        $how:ident fn $name:ident(&self $(, $arg:ident: $type:ty)*) -> $output:ty;
    )*) => {
        impl Store {
            $(
                $(#[$doc])*
                ///
                /// # Errors
                /// See [`StoreError`].
                pub async fn $name(&self $(, $arg: $type)*) -> Result<$output, StoreError> {
                    let mut tries = 1;
                    loop {
                        let done = match self {
                            Self::Postgres(engine) => call!($how, engine, $name, $($arg),*).await,
                            Self::Sqlite(engine) => call!($how, engine, $name, $($arg),*).await,
                        };
                        match done {
                            Err(error) if tries < TRIES && error.is_conflict() => tries += 1,
                            done => return done,
                        }
                    }
                }
            )*
        }
    };
}

ledger! {
    /// Brings the schema up to this version. Any number of processes may call it at once.
    ask fn migrate(&self) -> ();

    /// How many migrations of this version the database lacks; all of them when it is empty. Fails
    /// when this program is too old for it.
    ask fn missing_migrations(&self) -> usize;

    /// Asks the database for a sign of life.
    ask fn ping(&self) -> ();

    /// The request that was accepted under a key, if one was. Whether one is under way is known only
    /// to what accepts it.
    ask fn earlier(&self, key: &IdempotencyKey) -> Option<Earlier>;

    /// Forgets up to `most` keys whose time is over; how many that were.
    ask fn forget_keys(&self, most: u32) -> u64;

    /// Stores a new run with its definition, its trigger's record and its outbox row, unless a
    /// request came before under the same key. `live_limit` is how many runs of the organisation may
    /// be under way.
    decide fn accept_start(
        &self,
        start: &NewStart,
        key: Option<&IdempotencyKey>,
        live_limit: Option<u32>
    ) -> Result<AcceptedStart, Earlier>;

    /// Stores an ended run as it comes from elsewhere. If `source_run_id` names a run of the same
    /// organisation, the import counts as a retry of it and joins its chain; else it is its own
    /// root (whatever `root_run_id` says).
    decide fn import(
        &self,
        import: &NewImport,
        key: Option<&IdempotencyKey>
    ) -> Result<ImportOutcome, Earlier>;

    /// Reserves the new run of a retry: header, retry row and outbox row, if the source has ended
    /// in a state that `retry` may follow, its chain has no live retry, and it has none that
    /// counts. The database decides: of any number of simultaneous calls one is accepted. The
    /// header's `root_run_id`, the retry's too, and its `ordinal` are decided here; what is
    /// returned has them.
    decide fn accept_retry(
        &self,
        retry: &NewRetry,
        key: Option<&IdempotencyKey>
    ) -> Result<Result<(Run, Retry), Refusal>, Earlier>;

    /// The same for an intent that somebody published: `intent` is the message in its own form.
    /// Ids are the publisher's, so one that is there already is data: it came twice, or its run's
    /// id is taken.
    decide fn accept_intent(&self, retry: &NewRetry, intent: &JsonText) -> AcceptedIntent;

    /// Records a published intent that is refused, as a retry without a run; false if there is a
    /// retry with its id.
    ask fn refuse_intent(&self, retry: &Retry, intent: &JsonText) -> bool;

    /// Whether there is a retry with this id, and the intent that it came as, if it was one.
    ask fn intent(&self, organization: &OrganizationId, id: &RetryId) -> Option<Option<JsonText>>;

    /// Why a retry of this run would be refused now; nothing is written.
    decide fn retry_refusal(
        &self,
        organization: &OrganizationId,
        source: &RunId,
        terms: &RetryTerms
    ) -> Option<Refusal>;

    /// A run of an organisation.
    ask fn run(&self, organization: &OrganizationId, id: &RunId) -> Option<Run>;

    /// Runs of an organisation, newest first.
    ask fn runs(&self, organization: &OrganizationId, filter: &RunFilter) -> Vec<Run>;

    /// The text of a definition.
    ask fn definition(&self, hash: &DefinitionHash) -> Option<JsonText>;

    /// The records of a run's nodes, in the order in which they were first written; with `paths`
    /// only those.
    ask fn nodes(&self, run: &RunId, paths: Option<&[NodePath]>) -> Vec<NodeRecord>;

    /// The logged variable writes of these runs, run by run in the order given.
    ask fn variable_writes(&self, runs: &[RunId]) -> Vec<(RunId, VariableWrite)>;

    /// The logged variable writes of a run's line, from the root of its chain to the run itself, by
    /// their sources.
    ask fn line_writes(&self, run: &RunId) -> Vec<(RunId, VariableWrite)>;

    /// An accepted retry of an organisation.
    ask fn retry(&self, organization: &OrganizationId, id: &RetryId) -> Option<Retry>;

    /// The accepted retry that this run is the outcome of.
    ask fn retry_of_run(&self, run: &RunId) -> Option<Retry>;

    /// Accepted retries of an organisation, newest first.
    ask fn retries(&self, organization: &OrganizationId, filter: &RetryFilter) -> Vec<Retry>;

    /// Asks for the cancellation of a run. If no worker holds it (no lease, or an expired one), it
    /// is cancelled at once: status, `finished_at`, `summary`; nodes that are running, waiting or
    /// scheduled become cancelled (a running one with an effect gets error class `in_doubt`, the
    /// others `cancelled`); its outbox row goes; its lease epoch rises; its retry ends (`cancelled`
    /// and uncounted when its run was never created). Else the request is recorded for the holder.
    decide fn request_cancel(
        &self,
        organization: &OrganizationId,
        run: &RunId,
        now: Timestamp
    ) -> CancelOutcome;

    /// Registers a workflow or updates it; another definition is another version.
    ask fn put_workflow(&self, new: &NewWorkflow) -> Workflow;

    /// A workflow of an organisation.
    ask fn workflow(&self, organization: &OrganizationId, id: &str) -> Option<Workflow>;

    /// Workflows of an organisation, newest first.
    ask fn workflows(
        &self,
        organization: &OrganizationId,
        limit: u32,
        offset: u64
    ) -> Vec<Workflow>;

    /// The definition of a version of a workflow.
    ask fn workflow_version(
        &self,
        organization: &OrganizationId,
        id: &str,
        version: i64
    ) -> Option<DefinitionHash>;

    /// The values that live on a workflow, by name.
    ask fn workflow_variables(
        &self,
        organization: &OrganizationId,
        id: &str
    ) -> Vec<WorkflowVariable>;

    /// Sets a value that lives on a workflow; false if there is no such workflow.
    ask fn set_workflow_variable(
        &self,
        organization: &OrganizationId,
        id: &str,
        name: &str,
        value: &JsonText,
        now: Timestamp
    ) -> bool;

    /// Forgets a value that lives on a workflow; false if it has none.
    ask fn unset_workflow_variable(
        &self,
        organization: &OrganizationId,
        id: &str,
        name: &str
    ) -> bool;

    /// Ends the wait of a node, a `wait` that is `waiting`, with what came for it, and makes its run
    /// due if nobody holds it. The first signal of a node counts.
    decide fn resume(
        &self,
        organization: &OrganizationId,
        run: &RunId,
        path: &NodePath,
        body: &JsonText,
        now: Timestamp
    ) -> Resumed;

    /// Ends the wait of a node whose time is over, unless a resume came first.
    decide fn time_out(&self, fence: &Fence, path: &NodePath, now: Timestamp) -> TimedOut;

    /// The newest counted run below this one; none if no retry of it counts.
    ask fn head(&self, run: &RunId) -> Option<RunId>;

    /// How many runs started each other above this one; none for a run that nobody's node started.
    ask fn child_depth(&self, run: &RunId) -> i64;

    /// The signals of a run that no record has yet, in the order in which they came.
    ask fn signals(&self, run: &RunId) -> Vec<Signal>;

    /// Leases unsent outbox rows that have been due for `age` to one caller for `lease`: of each
    /// lane up to `room`, organisations taking turns, the oldest of each first.
    ask fn lease_due(&self, room: &PerLane<u32>, age: Duration, lease: Duration) -> Vec<DueRow>;

    /// Ends the lease of rows that were not sent: they are due at once.
    ask fn give_back(&self, runs: &[RunId]) -> ();

    /// How much is with the broker, and how much the workers that were seen within 15 s take.
    ask fn window(&self) -> Window;

    /// Notes that a worker lives.
    ask fn worker_seen(&self, report: &WorkerReport) -> ();

    /// Forgets a worker that stops, and those that were not seen for an hour.
    ask fn worker_gone(&self, name: &str) -> ();

    /// Those of these runs whose cancellation was asked for.
    ask fn cancel_requested(&self, runs: &[RunId]) -> Vec<RunId>;

    /// Those of these runs that have signals which no record has yet.
    ask fn signalled(&self, runs: &[RunId]) -> Vec<RunId>;

    /// Records that these rows, leased before, are with the broker. A row that was replaced
    /// meanwhile (its run was claimed and is due again) stays due.
    ask fn mark_sent(&self, runs: &[RunId]) -> ();

    /// Makes a sent row due again: the delivery found no slot.
    ask fn unmark_sent(&self, run: &RunId) -> ();

    /// Takes the lease of a run for `owner`, if it is due and nobody holds it: the epoch rises,
    /// the outbox row goes, a queued retry becomes `claimed`, a created run becomes `running`
    /// (`started_at` is set at the first claim). A lease that had expired counts as lost.
    decide fn claim(&self, run: &RunId, owner: &str, ttl: Duration) -> Claimed;

    /// The same for a retry's run that was never claimed before, where the engine can see at once that
    /// there is no more to it: none otherwise.
    decide fn claim_first(&self, run: &RunId, owner: &str, ttl: Duration) -> Option<Claim>;

    /// The claim of `owner`, a name used for one claim only, when its commit got no answer: none if
    /// it was not made, or did not last.
    decide fn own_claim(&self, run: &RunId, owner: &str) -> Option<Claim>;

    /// How many leases a run has lost since its last node outcome, one that has expired and that
    /// nobody took over yet included; none if there is no such run.
    ask fn lost_leases(&self, run: &RunId) -> i64;

    /// Gives the claimed retry's run its state: copies the records in `reuse` from the source
    /// (their `origin_run_id` becomes the run that executed them; attempts are not copied), adds
    /// `records`, and makes the run `running` and the retry `created`.
    decide fn create(&self, fence: &Fence, creation: &Creation) -> Written;

    /// Ends a claimed retry without a run of its own: the retry `refused` and uncounted, its run
    /// `failure` with the refusal as its summary.
    decide fn refuse(&self, fence: &Fence, refusal: &Refusal, now: Timestamp) -> Written;

    /// Writes what happened to some nodes. Its cost does not grow with the run's state.
    decide fn checkpoint(&self, fence: &Fence, checkpoint: &Checkpoint) -> Written;

    /// Writes a checkpoint, gives the lease back and leaves the run `waiting` until it is due: at
    /// once if a cancellation or a signal came meanwhile, or a child that it waits for has ended.
    decide fn park(&self, fence: &Fence, parking: &Parking) -> Written;

    /// Writes the last checkpoint and ends the run, unless a cancellation was asked for or a signal
    /// came that the end does not know of.
    decide fn finish(&self, fence: &Fence, finish: &Finish) -> Finished;

    /// Gives a lease back, as the worker stops: the run is due at once, and no lease was lost.
    decide fn release(&self, fence: &Fence) -> Written;

    /// Extends the leases that are still held under these fences, on a connection of its own and
    /// without waiting for a run that is locked. What is missing in the answer is lost; an expired
    /// lease is, even if nobody has taken over.
    ask fn renew(&self, fences: &[Fence], ttl: Duration) -> Vec<Renewed>;

    /// Makes due again what was lost: runs whose lease has expired, and rows that were sent and not
    /// claimed (after 30 s, doubling with every time they were sent up to 10 min).
    ask fn rescue(&self) -> Rescued;

    /// Makes due again what was forgotten: runs that wait in the queue without an outbox row. Looks
    /// at no more than `most` of those that wait, after this one in the order of their ids, so that
    /// a long backlog costs no more at a time than a short one.
    ask fn sweep(&self, after: Option<&RunId>, most: u32) -> Swept;

    /// Makes every lease expire now, and every sent row due: the only process has just started.
    ask fn expire_leases(&self) -> u64;

    /// How much work waits, for the metrics.
    ask fn backlog(&self) -> Backlog;

    /// The database's clock.
    ask fn clock(&self) -> Timestamp;

    /// Stores a message that could not be used; one with its id is left as it is.
    ask fn insert_dead_letter(&self, letter: &DeadLetter) -> ();

    /// Messages that could not be used, newest first: at most `limit`, leaving out `offset`.
    ask fn dead_letters(&self, limit: u32, offset: u64) -> Vec<DeadLetter>;

    /// A message that could not be used.
    ask fn dead_letter(&self, id: &DeadLetterId) -> Option<DeadLetter>;

    /// Drops a message that could not be used, and gives it one last time; none if there is none.
    ask fn drop_dead_letter(&self, id: &DeadLetterId) -> Option<DeadLetter>;

    /// Stores a token.
    ask fn insert_token(&self, token: &NewToken) -> ();

    /// A token that is not revoked.
    ask fn token(&self, id: &TokenId) -> Option<Token>;

    /// All tokens, newest first, revoked ones too.
    ask fn tokens(&self) -> Vec<Token>;

    /// Revokes a token; false if there is none that isn't revoked.
    ask fn revoke_token(&self, id: &TokenId, now: Timestamp) -> bool;
}
