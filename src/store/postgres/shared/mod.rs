//! Transactions that flows share.
//!
//! Under load the database is busy with statements and round trips, not with rows. So flows that
//! come while others are under way wait for their turn, and the next turn takes all of them: one
//! BEGIN, one COMMIT, and one statement of each kind for as many flows as ask for it at once. A flow
//! knows nothing of it. When nothing else is under way, its turn is its own and comes at once.
//!
//! What keeps flows from each other:
//!
//! - A run belongs to the first flow of a round that locks it; and no round ever waits for a lock.
//!   Whoever would have to is sent away ([`StoreError::Contended`]) and comes again alone, in a
//!   transaction of its own that waits.
//! - An error, or a flow that leaves after it has written, undoes the round; then everybody comes
//!   again alone. So nobody fails by the fault of another.
//! - A flow hears that it is durable when the round is.

mod ask;
mod batch;
mod member;
mod round;
mod rows;

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use sqlx::PgPool;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

pub(in crate::store) use member::Member;
use round::Round;

use super::super::StoreError;

/// Rounds under way at a time: while one is answered, the next one fills.
const ROUNDS: usize = 1;

/// The most flows of a round.
const MOST_MEMBERS: usize = 64;

/// Who waits for a round.
type Joining = oneshot::Sender<Result<Member, StoreError>>;

/// The rounds of a pool. Cheap to clone; all clones are one.
#[derive(Debug, Clone)]
pub(super) struct Shared(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    pool: PgPool,
    lanes: Arc<Semaphore>,
    joining: Mutex<VecDeque<Joining>>,
}

/// The right to one of the rounds under way. When it is given back, those who wait get it.
#[derive(Debug)]
struct Lane {
    shared: Shared,
    permit: Option<OwnedSemaphorePermit>,
}

impl Drop for Lane {
    fn drop(&mut self) {
        drop(self.permit.take());
        self.shared.next();
    }
}

impl Shared {
    pub(super) fn new(pool: PgPool) -> Self {
        Self(Arc::new(Inner {
            pool,
            lanes: Arc::new(Semaphore::new(ROUNDS)),
            joining: Mutex::default(),
        }))
    }

    /// Joins a round: a new one if there is room for it, else the next one.
    pub(super) async fn join(&self) -> Result<Member, StoreError> {
        if self.joining().is_empty()
            && let Some(permit) = self.permit()
        {
            let round = Round::begin(&self.0.pool, self.lane(permit), 1).await?;
            return Ok(Member::new(round, 0));
        }
        let (joining, joined) = oneshot::channel();
        self.joining().push_back(joining);
        // A round may have ended since the look at the lanes.
        self.next();
        joined.await.unwrap_or(Err(StoreError::Contended))
    }

    fn joining(&self) -> MutexGuard<'_, VecDeque<Joining>> {
        self.0
            .joining
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn permit(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.0.lanes).try_acquire_owned().ok()
    }

    fn lane(&self, permit: OwnedSemaphorePermit) -> Lane {
        Lane {
            shared: self.clone(),
            permit: Some(permit),
        }
    }

    /// Begins a round for those who wait, if there is room for it.
    fn next(&self) {
        while !self.joining().is_empty() {
            let Some(permit) = self.permit() else { return };
            let members = self.take();
            if members.is_empty() {
                // Somebody else took them; who came since is seen by the next look.
                continue;
            }
            let Ok(runtime) = tokio::runtime::Handle::try_current() else {
                return;
            };
            let (pool, lane) = (self.0.pool.clone(), self.lane(permit));
            runtime.spawn(async move { open(&pool, lane, members).await });
        }
    }

    fn take(&self) -> Vec<Joining> {
        let mut joining = self.joining();
        let count = joining.len().min(MOST_MEMBERS);
        joining.drain(..count).collect()
    }
}

/// Begins a round and lets its members in.
async fn open(pool: &PgPool, lane: Lane, members: Vec<Joining>) {
    match Round::begin(pool, lane, members.len()).await {
        Ok(round) => {
            for (place, joining) in members.into_iter().enumerate() {
                // Who has gone meanwhile leaves with the member.
                let _ = joining.send(Ok(Member::new(Arc::clone(&round), place)));
            }
        }
        Err(error) => {
            for joining in members {
                let _ = joining.send(Err(copy(&error)));
            }
        }
    }
}

/// The same error for another member.
fn copy(error: &StoreError) -> StoreError {
    let cause =
        std::error::Error::source(error).map_or_else(|| error.to_string(), ToString::to_string);
    let cause = sqlx::Error::Protocol(cause);
    if matches!(error, StoreError::InDoubt(_)) {
        return StoreError::InDoubt(cause);
    }
    if error.is_unavailable() {
        return StoreError::Unavailable(cause);
    }
    StoreError::Contended
}
