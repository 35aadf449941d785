//! One transaction and those who share it.

use std::{
    collections::HashMap,
    mem,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use sqlx::PgPool;
use tokio::sync::oneshot;

use super::{
    Lane,
    ask::{Ask, Asks},
    copy,
};
use crate::{
    domain::{OrganizationId, RunId},
    store::{
        StoreError,
        postgres::{begin, transaction::PostgresTransaction},
    },
};

/// Where an answer goes.
pub(super) type Answer<T> = oneshot::Sender<Result<T, StoreError>>;

/// A transaction that some flows share. Whoever is the last to ask executes what all of them ask.
#[derive(Debug)]
pub(super) struct Round(Mutex<State>);

struct State {
    /// Away while statements are executed, and at the end.
    transaction: Option<PostgresTransaction>,
    members: Vec<Standing>,
    asks: Asks,
    commits: Vec<Answer<()>>,
    known: Known,
    is_over: bool,
    lane: Option<Lane>,
}

impl std::fmt::Debug for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("State")
            .field("members", &self.members)
            .field("is_over", &self.is_over)
            .finish_non_exhaustive()
    }
}

/// How it stands with a member.
#[derive(Debug, Clone, Copy)]
struct Standing {
    /// Between two statements: the round waits for it.
    is_busy: bool,
    has_written: bool,
}

/// What members keep from each other.
#[derive(Debug, Default)]
pub(super) struct Known {
    /// Which member has a run.
    locked: HashMap<RunId, usize>,
    /// Which member has an idempotency key.
    keys: HashMap<(OrganizationId, String), usize>,
    /// Live runs of organisations, with those that members of this round are about to add.
    pub(super) live: HashMap<OrganizationId, i64>,
}

impl Known {
    /// Whether this is the first member that wants a run, or has it already.
    pub(super) fn locks(&mut self, run: &RunId, place: usize) -> bool {
        *self.locked.entry(run.clone()).or_insert(place) == place
    }

    /// The same for an idempotency key: the session has its lock, whoever of the round asked.
    pub(super) fn has_key(&mut self, key: &crate::store::IdempotencyKey, place: usize) -> bool {
        let key = (key.organization_id.clone(), key.key.clone());
        *self.keys.entry(key).or_insert(place) == place
    }
}

/// What is to be done next.
enum Next {
    Statements(PostgresTransaction, Box<Asks>, Known),
    Commit(PostgresTransaction, Vec<Answer<()>>, Option<Lane>),
    /// Somebody is between two statements, or it is over.
    Nothing,
}

impl Round {
    /// Begins a round of so many members.
    pub(super) async fn begin(
        pool: &PgPool,
        lane: Lane,
        members: usize,
    ) -> Result<Arc<Self>, StoreError> {
        let transaction = PostgresTransaction(begin(pool).await?);
        let standing = Standing {
            is_busy: true,
            has_written: false,
        };
        Ok(Arc::new(Self(Mutex::new(State {
            transaction: Some(transaction),
            members: vec![standing; members],
            asks: Asks::default(),
            commits: Vec::new(),
            known: Known::default(),
            is_over: false,
            lane: Some(lane),
        }))))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks for a statement and waits for its answer.
    pub(super) async fn ask<T>(
        &self,
        place: usize,
        ask: impl FnOnce(Answer<T>) -> Ask,
    ) -> Result<T, StoreError> {
        let (answer, answered) = oneshot::channel();
        let ask = ask(answer);
        {
            let mut state = self.state();
            if state.is_over {
                return Err(StoreError::Contended);
            }
            let standing = &mut state.members[place];
            standing.is_busy = false;
            standing.has_written |= ask.writes();
            state.asks.add(place, ask);
        }
        self.advance().await;
        answered.await.unwrap_or(Err(StoreError::Contended))
    }

    /// Waits until everything of the round is durable.
    pub(super) async fn commit(&self, place: usize) -> Result<(), StoreError> {
        let (answer, answered) = oneshot::channel();
        {
            let mut state = self.state();
            if state.is_over {
                return Err(StoreError::Contended);
            }
            state.members[place].is_busy = false;
            // From here on, leaving undoes nothing.
            state.members[place].has_written = false;
            state.commits.push(answer);
        }
        self.advance().await;
        // Only a process that stops gives no answer.
        answered
            .await
            .unwrap_or(Err(StoreError::InDoubt(sqlx::Error::WorkerCrashed)))
    }

    /// A member is gone. What it wrote must not be committed.
    pub(super) fn leave(self: &Arc<Self>, place: usize) {
        let is_last = {
            let mut state = self.state();
            let standing = &mut state.members[place];
            let was_busy = mem::take(&mut standing.is_busy);
            if standing.has_written {
                state.give_up();
                return;
            }
            was_busy && state.waits_for_nobody()
        };
        if !is_last {
            return;
        }
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            let round = Arc::clone(self);
            runtime.spawn(async move { round.advance().await });
        }
    }

    /// Executes what is asked, as soon as nobody is between two statements.
    async fn advance(&self) {
        loop {
            let next = self.state().next();
            match next {
                Next::Nothing => return,
                Next::Statements(transaction, asks, known) => {
                    self.execute(transaction, asks, known).await;
                }
                Next::Commit(transaction, commits, lane) => {
                    // Whoever of them is dropped: the others wait for it too.
                    let committing = tokio::spawn(commit(transaction, commits, lane));
                    let _ = committing.await;
                }
            }
        }
    }

    async fn execute(
        &self,
        mut transaction: PostgresTransaction,
        asks: Box<Asks>,
        mut known: Known,
    ) {
        // Dropped half way, the transaction is rolled back, and nobody gets an answer.
        let guard = Undone(self);
        let done = asks.execute(&mut transaction, &mut known).await;
        mem::forget(guard);
        let mut state = self.state();
        match done {
            Ok(answers) if !state.is_over => {
                state.transaction = Some(transaction);
                state.known = known;
                for (place, answer) in answers {
                    // Somebody who is gone is no longer waited for.
                    state.members[place].is_busy = answer();
                }
            }
            Ok(_) => {}
            Err(error) => {
                tracing::debug!(%error, "a round is undone");
                state.give_up();
            }
        }
    }
}

/// Gives a round up that is dropped while it executes.
struct Undone<'a>(&'a Round);

impl Drop for Undone<'_> {
    fn drop(&mut self) {
        self.0.state().give_up();
    }
}

impl State {
    fn waits_for_nobody(&self) -> bool {
        self.members.iter().all(|member| !member.is_busy)
    }

    fn next(&mut self) -> Next {
        if self.is_over || !self.waits_for_nobody() {
            return Next::Nothing;
        }
        let Some(transaction) = self.transaction.take() else {
            return Next::Nothing;
        };
        if !self.asks.is_empty() {
            let asks = Box::new(mem::take(&mut self.asks));
            return Next::Statements(transaction, asks, mem::take(&mut self.known));
        }
        self.is_over = true;
        let commits = mem::take(&mut self.commits);
        Next::Commit(transaction, commits, self.lane.take())
    }

    /// Rolls back; whoever waits comes again alone.
    fn give_up(&mut self) {
        self.is_over = true;
        self.transaction = None;
        self.asks = Asks::default();
        for answer in self.commits.drain(..) {
            let _ = answer.send(Err(StoreError::Contended));
        }
        self.lane = None;
    }
}

async fn commit(transaction: PostgresTransaction, commits: Vec<Answer<()>>, lane: Option<Lane>) {
    if commits.is_empty() {
        // Nobody has written, or it would have been given up.
        drop(transaction);
        return;
    }
    let done = transaction.0.commit().await.map_err(StoreError::at_commit);
    drop(lane);
    for answer in commits {
        // The flow may have been dropped; what it did is durable all the same.
        let _ = answer.send(match &done {
            Ok(()) => Ok(()),
            Err(error) => Err(copy(error)),
        });
    }
}
