//! What goes into the ledger and what comes out, beyond the domain's own types.

use crate::domain::{
    DeadLetterId, DefinitionHash, JsonText, Lane, NodePath, NodeRecord, OrganizationId, PerLane,
    Refusal, Retry, RetryId, RetryState, Run, RunId, RunStatus, Timestamp, TokenId, VariableWrite,
    WaitingFor,
};

/// A definition's text and its name by content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredDefinition {
    /// SHA-256 of `text`, hexadecimal.
    pub hash: DefinitionHash,
    /// The definition as it came.
    pub text: JsonText,
}

/// A run to start.
#[derive(Debug, Clone)]
pub struct NewStart {
    /// Its header: status `waiting`, for `queue`, `created`.
    pub run: Run,
    /// Its definition.
    pub definition: StoredDefinition,
    /// The record of the trigger that fired, a success.
    pub trigger: NodeRecord,
    /// Its lane.
    pub lane: Lane,
    /// The W3C trace context of the request.
    pub traceparent: Option<String>,
}

/// A workflow to register, or to update.
#[derive(Debug, Clone)]
pub struct NewWorkflow {
    /// Whose workflow it is.
    pub organization_id: OrganizationId,
    /// The workflow.
    pub id: String,
    /// A name for people; none keeps the one it has.
    pub name: Option<String>,
    /// Its definition; another one is another version.
    pub definition: StoredDefinition,
    /// Its owner; none keeps the one it has.
    pub owner_user_id: Option<String>,
    /// When.
    pub now: Timestamp,
}

/// What became of a start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AcceptedStart {
    /// It will run.
    Accepted,
    /// A run with this id exists (in any organisation).
    RunExists,
    /// As many runs of the organisation are under way as may be.
    TooManyLive,
}

/// An ended run from elsewhere.
#[derive(Debug, Clone)]
pub struct NewImport {
    /// Its header, ended, `created`.
    pub run: Run,
    /// Its definition, if it has one.
    pub definition: Option<StoredDefinition>,
    /// The records of its nodes, in their order.
    pub nodes: Vec<NodeRecord>,
    /// The variable writes that its state shows.
    pub variable_writes: Vec<VariableWrite>,
    /// The id of the retry that it counts as, should its source be here.
    pub retry_id: RetryId,
}

/// What became of an import.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ImportOutcome {
    /// It is stored; the header as stored.
    Imported(Box<Run>),
    /// A run with this id exists (in any organisation).
    RunExists,
}

/// A retry to accept.
#[derive(Debug, Clone)]
pub struct NewRetry {
    /// The retry, state `queued` or `scheduled`.
    pub retry: Retry,
    /// The header of its run: status `waiting`, for `queue` or `schedule`, not `created`.
    pub run: Run,
    /// What it may follow.
    pub terms: RetryTerms,
    /// When it is due, if not at once; the retry is `scheduled` then.
    pub due_at: Option<Timestamp>,
    /// The W3C trace context of the request.
    pub traceparent: Option<String>,
}

/// What a retry may follow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetryTerms {
    /// The longest chain allowed, in runs.
    pub chain_limit: u32,
    /// Whether the source may have ended `partial`.
    pub include_partial: bool,
    /// How many runs of the organisation may be under way; none if that does not matter.
    pub live_limit: Option<u32>,
    /// Whether the source may have been retried before: the retry is another branch.
    pub allow_again: bool,
}

/// What became of a published intent.
#[derive(Debug, Clone)]
pub enum AcceptedIntent {
    /// It is a retry, as if it had been requested.
    Accepted(Box<(Run, Retry)>),
    /// It can't be: to be recorded with [`refuse_intent`](super::Store::refuse_intent).
    Refused(Refusal),
    /// There is a retry with its id: the intent that it came as, if it was one.
    Exists(Option<JsonText>),
}

/// Which runs to list.
#[derive(Debug, Clone, Default)]
pub struct RunFilter {
    /// Only these with this status.
    pub status: Option<RunStatus>,
    /// Only those of the chain with this root.
    pub root_run_id: Option<RunId>,
    /// Only those of this workflow.
    pub workflow_id: Option<String>,
    /// At most so many.
    pub limit: u32,
    /// Leave out so many.
    pub offset: u64,
}

/// Which retries to list.
#[derive(Debug, Clone, Default)]
pub struct RetryFilter {
    /// Only those in this state.
    pub state: Option<RetryState>,
    /// Only those of this source.
    pub source_run_id: Option<RunId>,
    /// Only those of the chain with this root.
    pub root_run_id: Option<RunId>,
    /// At most so many.
    pub limit: u32,
    /// Leave out so many.
    pub offset: u64,
}

/// What became of a request to cancel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CancelOutcome {
    /// No such run in this organisation.
    NotFound,
    /// It had ended before.
    AlreadyEnded(Box<Run>),
    /// Nobody held it: it is cancelled.
    Cancelled(Box<Run>),
    /// Its holder will cancel it.
    Requested(Box<Run>),
}

/// What a due row asks a worker to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WorkKind {
    /// Create the run of a retry and execute it.
    Retry,
    /// Execute a run that exists.
    Run,
}

impl WorkKind {
    /// The word in the message and in the ledger.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Retry => "retry",
            Self::Run => "run",
        }
    }

    /// The kind with this word.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        match word {
            "retry" => Some(Self::Retry),
            "run" => Some(Self::Run),
            _ => None,
        }
    }
}

/// A row of the outbox that is due. A run has at most one, and has one exactly while it needs a
/// worker and has none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DueRow {
    /// The run that needs a worker.
    pub run_id: RunId,
    /// What is to be done.
    pub kind: WorkKind,
    /// The retry, if its run is to be created.
    pub retry_id: Option<RetryId>,
    /// Whose run it is.
    pub organization_id: OrganizationId,
    /// Its lane.
    pub lane: Lane,
    /// The W3C trace context of the request behind it.
    pub traceparent: Option<String>,
}

/// How full the window of a lane may get, and how full it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Window {
    /// Slots of all workers that live.
    pub slots: u32,
    /// Rows that were sent and not claimed.
    pub sent: PerLane<u32>,
}

/// What a worker says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkerReport {
    /// The owner in the leases it holds.
    pub name: String,
    /// Runs that it executes at once.
    pub slots: u32,
    /// How many of them are taken.
    pub busy: u32,
}

/// A message that could not be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadLetter {
    /// Its id.
    pub id: DeadLetterId,
    /// The word for why.
    pub reason: String,
    /// The sentence for it.
    pub message: String,
    /// The queue it came from, if the broker says so.
    pub queue: Option<String>,
    /// The beginning of its bytes.
    pub body: Vec<u8>,
    /// How many bytes it had.
    pub body_bytes: i64,
    /// Its headers, a JSON object.
    pub headers: JsonText,
    /// When it was taken from the dead-letter queue.
    pub received_at: Timestamp,
}

/// What became of a claim.
#[derive(Debug, Clone)]
pub enum Claimed {
    /// The run is this worker's.
    Claimed(Box<Claim>),
    /// It is held, has ended or is not due: there is nothing to do.
    Refused,
    /// There is no such run.
    NoSuchRun,
}

/// The right to write a run: every write compares the epoch, and writes nothing once another
/// worker has taken over or the run has ended.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Fence {
    /// The run.
    pub run_id: RunId,
    /// The lease's epoch.
    pub epoch: i64,
}

/// A lease, and what it is on.
#[derive(Debug, Clone)]
pub struct Claim {
    /// The run as it stands.
    pub run: Run,
    /// The right to write it.
    pub fence: Fence,
    /// The retry that it is the outcome of.
    pub retry: Option<Retry>,
    /// How many leases were lost since the last node outcome.
    pub lost_leases: i64,
}

/// The state that a retry's run begins with.
#[derive(Debug, Clone)]
pub struct Creation {
    /// Paths whose records are copied from the source.
    pub reuse: Vec<NodePath>,
    /// Records of its own: skipped nodes, and pending ones that carry an effect key over.
    pub records: Vec<NodeRecord>,
    /// The plan, as JSON.
    pub plan: JsonText,
    /// When.
    pub now: Timestamp,
}

/// What happened to some nodes of a run.
#[derive(Debug, Clone)]
pub struct Checkpoint {
    /// The records in full; each replaces what was stored under its path.
    pub records: Vec<NodeRecord>,
    /// The variable writes that belong to them.
    pub variable_writes: Vec<VariableWrite>,
    /// The run's cost so far, a JSON number.
    pub total_cu: JsonText,
    /// Whether a node's outcome is among the records: lost leases are forgotten.
    pub has_outcome: bool,
    /// The nodes whose signals the records have.
    pub applied: Vec<NodePath>,
    /// The runs that the nodes start.
    pub children: Vec<NewChild>,
}

/// A run that a node starts.
#[derive(Debug, Clone)]
pub struct NewChild {
    /// The run.
    pub start: NewStart,
    /// The node.
    pub parent_path: NodePath,
    /// How many runs started each other above it.
    pub depth: i64,
}

/// What ends the wait of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SignalKind {
    /// Somebody resumed it.
    Resumed,
    /// Its time was over.
    TimedOut,
}

impl SignalKind {
    /// The word in the ledger and the branch that a `wait` takes.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Resumed => "resumed",
            Self::TimedOut => "timed_out",
        }
    }

    /// The kind with this word.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        match word {
            "resumed" => Some(Self::Resumed),
            "timed_out" => Some(Self::TimedOut),
            _ => None,
        }
    }
}

/// What came from outside to a node that waits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signal {
    /// The node.
    pub path: NodePath,
    /// What it was.
    pub kind: SignalKind,
    /// What came with it, as JSON.
    pub body: JsonText,
}

/// What became of a resume.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Resumed {
    /// The wait is over; the run goes on.
    Resumed,
    /// Nothing was changed, for this reason.
    Skipped(String),
    /// No such run in this organisation.
    NotFound,
}

/// What became of a time-out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TimedOut {
    /// What ended the wait: the time-out, or a resume that came before it.
    Ended(Signal),
    /// The lease is another worker's, or the run has ended: nothing was written.
    LeaseLost,
}

/// A run that lets its worker go.
#[derive(Debug, Clone)]
pub struct Parking {
    /// The last writes.
    pub checkpoint: Checkpoint,
    /// What it waits for.
    pub waiting_for: WaitingFor,
    /// When it is due; none if only a signal wakes it.
    pub due_at: Option<Timestamp>,
    /// The runs that it waits for, each the first of a chain.
    pub children: Vec<RunId>,
}

/// A run's end.
#[derive(Debug, Clone)]
pub struct Finish {
    /// The last writes.
    pub checkpoint: Checkpoint,
    /// How it ended.
    pub status: RunStatus,
    /// One sentence about it.
    pub summary: String,
    /// When.
    pub now: Timestamp,
    /// Whether the run may have signals, which its end has to know of.
    pub may_have_signals: bool,
}

/// What became of a fenced write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Written {
    /// It is durable.
    Done {
        /// Somebody asked for the run's cancellation.
        cancel_requested: bool,
    },
    /// The lease is another worker's, or the run has ended: nothing was written.
    LeaseLost,
}

/// What became of an end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Finished {
    /// The run has ended as asked.
    Ended,
    /// Nothing was written: a cancellation was asked for, and the end was to be another one.
    CancelRequested,
    /// Nothing was written: a node that waits has a signal that the end does not know of.
    SignalsPending,
    /// The lease is another worker's, or the run has ended: nothing was written.
    LeaseLost,
}

/// A lease that is still held.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Renewed {
    /// Its run.
    pub run_id: RunId,
    /// Somebody asked for the run's cancellation.
    pub cancel_requested: bool,
    /// Whether it goes on for longer now; not while another transaction, most often of its own
    /// holder, has the run locked.
    pub extended: bool,
}

/// What the rescuer found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Rescued {
    /// Runs whose lease had expired, or that were forgotten.
    pub abandoned: u64,
    /// Messages that were sent and not claimed.
    pub unclaimed: u64,
}

/// What a look at some of the runs that wait in the queue found.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Swept {
    /// Runs that had no outbox row.
    pub forgotten: u64,
    /// Where to go on; none at the end.
    pub next: Option<RunId>,
}

/// How much work waits.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Backlog {
    /// Due rows that no worker has claimed.
    pub due: i64,
    /// The age of the oldest of them, in seconds.
    pub oldest_seconds: f64,
    /// The age of the oldest of them that is not on its way to a worker, in seconds.
    pub oldest_unsent_seconds: f64,
    /// Runs that a worker holds.
    pub leased: i64,
    /// Workers that live.
    pub workers: i64,
    /// Slots of all of them.
    pub slots: i64,
    /// Messages that could not be used and are kept.
    pub dead_letters: i64,
}

/// An API token to store. The secret itself is never stored.
#[derive(Debug, Clone)]
pub struct NewToken {
    /// Its id, which is part of what the user presents.
    pub id: TokenId,
    /// The organisation it speaks for.
    pub organization_id: OrganizationId,
    /// A name for people.
    pub name: Option<String>,
    /// SHA-256 of the secret, hexadecimal.
    pub secret_hash: String,
    /// What it may do: `read`, `retry`, `write`, `operator`; separated by spaces.
    pub scopes: String,
    /// When it was made.
    pub created_at: Timestamp,
}

/// A stored API token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    /// Its id.
    pub id: TokenId,
    /// The organisation it speaks for.
    pub organization_id: OrganizationId,
    /// A name for people.
    pub name: Option<String>,
    /// SHA-256 of the secret, hexadecimal.
    pub secret_hash: String,
    /// What it may do, separated by spaces.
    pub scopes: String,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was revoked.
    pub revoked_at: Option<Timestamp>,
}
