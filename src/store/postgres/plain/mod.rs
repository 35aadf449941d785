//! The plain case of what every retry goes through, in one statement for many of them at once.
//!
//! Each of these statements checks by itself that nothing has to be decided: the run is as it is in
//! the ordinary case, and nobody else has it locked. Where that is not so it leaves the run as it
//! is, and the flow of the same name decides, alone and under the run's lock. A statement reads as
//! of its beginning, so it relies only on what can't change meanwhile, on rows that it locks (they
//! are looked at again once they are locked) and on unique indexes. Runs that are locked are left
//! out, so that none of many waits for the lock of another.

mod accept;
mod claim;
mod create;
mod finish;
mod write;
mod written;

use std::time::Duration;

use sqlx::PgPool;

use super::{
    super::{
        Checkpoint, Claim, Creation, Fence, Finish, Finished, IdempotencyKey, NewRetry, StoreError,
        Written, statements::Plain,
    },
    PostgresStore,
    together::Counter,
};
use crate::{
    domain::{Retry, Run, RunId, RunStatus},
    faults,
};

/// Where each of them is asked for. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Counters {
    accept: Counter<accept::Acceptance>,
    claim: Counter<claim::Claiming>,
    create: Counter<create::Creating>,
    write: Counter<write::Writing>,
    finish: Counter<finish::Finishing>,
}

impl Counters {
    pub(super) fn new(pool: &PgPool) -> Self {
        Self {
            accept: Counter::new(pool.clone()),
            claim: Counter::new(pool.clone()),
            create: Counter::new(pool.clone()),
            write: Counter::new(pool.clone()),
            finish: Counter::new(pool.clone()),
        }
    }
}

impl Plain for PostgresStore {
    async fn accept_plain(
        &self,
        new: &NewRetry,
        key: Option<&IdempotencyKey>,
    ) -> Result<Option<(Run, Retry)>, StoreError> {
        let terms = &new.terms;
        if terms.live_limit.is_some() || terms.allow_again || faults::planted("no_unique_index") {
            return Ok(None);
        }
        let Some(acceptance) = accept::Acceptance::of(new, key) else {
            return Ok(None);
        };
        self.plain.accept.ask(acceptance).await
    }

    async fn claim_plain(
        &self,
        run: &RunId,
        owner: &str,
        ttl: Duration,
    ) -> Result<Option<Claim>, StoreError> {
        let claiming = claim::Claiming::of(run, owner, ttl);
        self.plain.claim.ask(claiming).await
    }

    async fn create_plain(
        &self,
        fence: &Fence,
        creation: &Creation,
    ) -> Result<Option<Written>, StoreError> {
        if faults::planted("no_epoch_check") {
            return Ok(None);
        }
        let creating = create::Creating::of(fence, creation);
        self.plain.create.ask(creating).await
    }

    async fn checkpoint_plain(
        &self,
        fence: &Fence,
        checkpoint: &Checkpoint,
    ) -> Result<Option<Written>, StoreError> {
        if !is_plain(checkpoint) || faults::planted("no_epoch_check") {
            return Ok(None);
        }
        let writing = write::Writing::of(fence, checkpoint);
        self.plain.write.ask(writing).await
    }

    async fn finish_plain(
        &self,
        fence: &Fence,
        finish: &Finish,
    ) -> Result<Option<Finished>, StoreError> {
        let is_plain = is_plain(&finish.checkpoint)
            && !finish.may_have_signals
            && finish.status != RunStatus::Cancelled;
        if !is_plain || faults::planted("no_epoch_check") {
            return Ok(None);
        }
        let finishing = finish::Finishing::of(fence, finish);
        self.plain.finish.ask(finishing).await
    }
}

/// Whether a checkpoint is of records alone.
fn is_plain(checkpoint: &Checkpoint) -> bool {
    checkpoint.variable_writes.is_empty()
        && checkpoint.children.is_empty()
        && checkpoint.applied.is_empty()
}
