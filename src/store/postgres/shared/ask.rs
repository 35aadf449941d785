//! What members of a round ask, by kind.

use futures_util::future::BoxFuture;

use super::{
    batch,
    round::{Answer, Known},
};
use crate::{
    domain::{
        JsonText, Lane, NodePath, NodeRecord, OrganizationId, Retry, RetryId, Run, RunId, Timestamp,
    },
    store::{
        IdempotencyKey, StoreError, postgres::transaction::PostgresTransaction, rows::LockedRun,
    },
};

/// A statement that only its own member has.
pub(super) type Job = Box<
    dyn for<'a> FnOnce(&'a mut PostgresTransaction) -> BoxFuture<'a, Result<Answering, StoreError>>
        + Send,
>;

/// One statement of one member, with where its answer goes.
pub(super) enum Ask {
    LockRun(RunId, Answer<Option<LockedRun>>),
    Run(OrganizationId, RunId, Answer<Option<Run>>),
    RetryOfRun(RunId, Answer<Option<Retry>>),
    LiveRetry(RunId, Answer<Option<(RetryId, RunId)>>),
    Head(RunId, Answer<Option<RunId>>),
    NextOrdinal(RunId, Answer<i64>),
    ChainLength(RunId, Answer<i64>),
    LiveRuns(OrganizationId, u32, Answer<i64>),
    HasSignals(RunId, Answer<bool>),
    WaitingParents(RunId, Answer<Vec<RunId>>),
    UpdateRun(Box<LockedRun>, Answer<()>),
    InsertRun(Box<NewRun>, Answer<bool>),
    InsertRetry(Box<NewRetryRow>, Answer<()>),
    UpdateRetry(Box<(Retry, bool)>, Answer<()>),
    PutNodes(RunId, Vec<NodeRecord>, Answer<()>),
    CopyNodes(Copies, Answer<u64>),
    PutOutbox(RunId, Option<Timestamp>, Answer<()>),
    TakeDue(RunId, Answer<bool>),
    DeleteOutbox(RunId, Answer<()>),
    /// Rare ones follow each other; one that reads only undoes nothing when its member leaves.
    Other {
        writes: bool,
        job: Job,
    },
    /// The session has the key's lock, whoever of the round asks for it.
    Key(IdempotencyKey, Job),
}

/// A run to add.
pub(super) struct NewRun {
    pub(super) run: Run,
    pub(super) lane: Lane,
    pub(super) traceparent: Option<String>,
}

/// A retry to add, whether it lives, and the intent that it came as.
pub(super) type NewRetryRow = (Retry, bool, Option<JsonText>);

/// Records to copy from run to run.
pub(super) struct Copies {
    pub(super) from: RunId,
    pub(super) to: RunId,
    pub(super) paths: Vec<NodePath>,
}

impl Ask {
    /// Whether it changes anything.
    pub(super) fn writes(&self) -> bool {
        match self {
            Self::LockRun(..)
            | Self::Run(..)
            | Self::RetryOfRun(..)
            | Self::LiveRetry(..)
            | Self::Head(..)
            | Self::NextOrdinal(..)
            | Self::ChainLength(..)
            | Self::LiveRuns(..)
            | Self::HasSignals(..)
            | Self::WaitingParents(..)
            | Self::Key(..) => false,
            Self::Other { writes, .. } => *writes,
            Self::UpdateRun(..)
            | Self::InsertRun(..)
            | Self::InsertRetry(..)
            | Self::UpdateRetry(..)
            | Self::PutNodes(..)
            | Self::CopyNodes(..)
            | Self::PutOutbox(..)
            | Self::TakeDue(..)
            | Self::DeleteOutbox(..) => true,
        }
    }
}

/// What one member asks, and where its answer goes.
pub(super) struct Asked<Q, A> {
    pub(super) place: usize,
    pub(super) what: Q,
    pub(super) answer: Answer<A>,
}

/// Gives one member its answer; false if it is gone.
pub(super) type Answering = Box<dyn FnOnce() -> bool + Send>;

/// Answers to be given once all of them are there.
pub(super) type Answers = Vec<(usize, Answering)>;

impl<Q, A: Send + 'static> Asked<Q, A> {
    /// Notes its answer.
    pub(super) fn is(self, answer: A, answers: &mut Answers) {
        self.ends(Ok(answer), answers);
    }

    /// Sends its member away, to come again alone.
    pub(super) fn send_away(self, answers: &mut Answers) {
        self.ends(Err(StoreError::Contended), answers);
    }

    fn ends(self, answer: Result<A, StoreError>, answers: &mut Answers) {
        let sender = self.answer;
        answers.push((self.place, Box::new(move || sender.send(answer).is_ok())));
    }
}

/// Statements by kind, in the order of their execution.
#[derive(Default)]
pub(super) struct Asks {
    keys: Vec<(usize, IdempotencyKey, Job)>,
    locks: Vec<Asked<RunId, Option<LockedRun>>>,
    runs: Vec<Asked<(OrganizationId, RunId), Option<Run>>>,
    retries_of_runs: Vec<Asked<RunId, Option<Retry>>>,
    live_retries: Vec<Asked<RunId, Option<(RetryId, RunId)>>>,
    heads: Vec<Asked<RunId, Option<RunId>>>,
    ordinals: Vec<Asked<RunId, i64>>,
    lengths: Vec<Asked<RunId, i64>>,
    live_runs: Vec<Asked<(OrganizationId, u32), i64>>,
    signals: Vec<Asked<RunId, bool>>,
    parents: Vec<Asked<RunId, Vec<RunId>>>,
    new_runs: Vec<Asked<Box<NewRun>, bool>>,
    new_retries: Vec<Asked<Box<NewRetryRow>, ()>>,
    updates: Vec<Asked<Box<LockedRun>, ()>>,
    retry_updates: Vec<Asked<Box<(Retry, bool)>, ()>>,
    nodes: Vec<Asked<(RunId, Vec<NodeRecord>), ()>>,
    copies: Vec<Asked<Copies, u64>>,
    due: Vec<Asked<(RunId, Option<Timestamp>), ()>>,
    taken: Vec<Asked<RunId, bool>>,
    deleted: Vec<Asked<RunId, ()>>,
    others: Vec<(usize, Job)>,
}

impl Asks {
    pub(super) fn add(&mut self, place: usize, ask: Ask) {
        fn put<Q, A>(to: &mut Vec<Asked<Q, A>>, place: usize, what: Q, answer: Answer<A>) {
            to.push(Asked {
                place,
                what,
                answer,
            });
        }
        match ask {
            Ask::LockRun(id, answer) => put(&mut self.locks, place, id, answer),
            Ask::Run(of, id, answer) => put(&mut self.runs, place, (of, id), answer),
            Ask::RetryOfRun(id, answer) => put(&mut self.retries_of_runs, place, id, answer),
            Ask::LiveRetry(id, answer) => put(&mut self.live_retries, place, id, answer),
            Ask::Head(id, answer) => put(&mut self.heads, place, id, answer),
            Ask::NextOrdinal(id, answer) => put(&mut self.ordinals, place, id, answer),
            Ask::ChainLength(id, answer) => put(&mut self.lengths, place, id, answer),
            Ask::LiveRuns(of, most, answer) => put(&mut self.live_runs, place, (of, most), answer),
            Ask::HasSignals(id, answer) => put(&mut self.signals, place, id, answer),
            Ask::WaitingParents(id, answer) => put(&mut self.parents, place, id, answer),
            Ask::UpdateRun(run, answer) => put(&mut self.updates, place, run, answer),
            Ask::InsertRun(run, answer) => put(&mut self.new_runs, place, run, answer),
            Ask::InsertRetry(new, answer) => put(&mut self.new_retries, place, new, answer),
            Ask::UpdateRetry(new, answer) => put(&mut self.retry_updates, place, new, answer),
            Ask::PutNodes(id, nodes, answer) => put(&mut self.nodes, place, (id, nodes), answer),
            Ask::CopyNodes(copies, answer) => put(&mut self.copies, place, copies, answer),
            Ask::PutOutbox(id, at, answer) => put(&mut self.due, place, (id, at), answer),
            Ask::TakeDue(id, answer) => put(&mut self.taken, place, id, answer),
            Ask::DeleteOutbox(id, answer) => put(&mut self.deleted, place, id, answer),
            Ask::Other { job, .. } => self.others.push((place, job)),
            Ask::Key(key, job) => self.keys.push((place, key, job)),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn len(&self) -> usize {
        [
            self.keys.len(),
            self.locks.len(),
            self.runs.len(),
            self.retries_of_runs.len(),
            self.live_retries.len(),
            self.heads.len(),
            self.ordinals.len(),
            self.lengths.len(),
            self.live_runs.len(),
            self.signals.len(),
            self.parents.len(),
            self.new_runs.len(),
            self.new_retries.len(),
            self.updates.len(),
            self.retry_updates.len(),
            self.nodes.len(),
            self.copies.len(),
            self.due.len(),
            self.taken.len(),
            self.deleted.len(),
            self.others.len(),
        ]
        .iter()
        .sum()
    }

    /// Executes all of them, a statement a kind. The answers are given only when all are there: a
    /// member that got one would come again meanwhile.
    pub(super) async fn execute(
        self,
        transaction: &mut PostgresTransaction,
        known: &mut Known,
    ) -> Result<Answers, StoreError> {
        let mut answers = Answers::with_capacity(self.len());
        let out = &mut answers;
        for (place, key, job) in self.keys {
            let answering = if known.has_key(&key, place) {
                job(transaction).await?
            } else {
                // Without an answer it comes again alone.
                Box::new(move || {
                    drop(job);
                    false
                })
            };
            out.push((place, answering));
        }
        let db = transaction.db();
        batch::lock_runs(db, self.locks, known, out).await?;
        batch::runs(db, self.runs, out).await?;
        batch::retries_of_runs(db, self.retries_of_runs, out).await?;
        batch::live_retries(db, self.live_retries, out).await?;
        batch::heads(db, self.heads, out).await?;
        batch::ordinals(db, self.ordinals, out).await?;
        batch::lengths(db, self.lengths, out).await?;
        batch::live_runs(db, self.live_runs, known, out).await?;
        batch::signals(db, self.signals, out).await?;
        batch::parents(db, self.parents, out).await?;
        batch::insert_runs(db, self.new_runs, out).await?;
        batch::insert_retries(db, self.new_retries, out).await?;
        batch::update_runs(db, self.updates, out).await?;
        batch::update_retries(db, self.retry_updates, out).await?;
        batch::put_nodes(db, self.nodes, out).await?;
        batch::copy_nodes(db, self.copies, out).await?;
        batch::put_outbox(db, self.due, out).await?;
        batch::take_due(db, self.taken, out).await?;
        batch::delete_outbox(db, self.deleted, out).await?;
        for (place, job) in self.others {
            out.push((place, job(transaction).await?));
        }
        Ok(answers)
    }
}
