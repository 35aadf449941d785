//! The transactions that decide something, once for both engines.
//!
//! Each reads what it needs under the run's lock, decides in Rust, writes, commits. A flow that
//! returns before its commit has written nothing.

mod accept;
mod cancel;
mod lease;
mod progress;
mod signal;

pub(super) use accept::{accept_intent, accept_retry, accept_start, import, retry_refusal};
pub(super) use cancel::request_cancel;
pub(super) use lease::{claim, claim_first, create, own_claim, refuse, release};
pub(super) use progress::{checkpoint, finish, park};
pub(super) use signal::{resume, time_out};

use crate::{
    domain::{Retry, RetryEvent, RunId, RunStatus, Timestamp, WaitingFor},
    faults,
};

use super::{
    Fence, StoreError,
    rows::LockedRun,
    statements::{Answer, Engine, Statements},
};

/// Locks the run that a fence is on. None: it is another worker's, or it has ended.
fn fenced<T: Statements + Send>(tx: &mut T, fence: &Fence) -> impl Answer<Option<LockedRun>> {
    async move {
        let locked = tx.lock_run(&fence.run_id).await?;
        Ok(locked.filter(|l| {
            // Without an owner the lease was given back: the epoch alone is nobody's.
            let is_ours = l.epoch == fence.epoch || faults::planted("no_epoch_check");
            is_ours && l.owner.is_some() && !l.run.status.is_ended()
        }))
    }
}

/// What remains of a run when it ends, whatever its end.
fn end(locked: &mut LockedRun, status: RunStatus, summary: String, finished_at: String) {
    locked.run.status = status;
    locked.run.waiting_for = None;
    locked.run.summary = Some(summary);
    locked.run.finished_at = Some(finished_at);
    locked.clear_lease();
}

/// A run that waits for the chain of an ended one is due: it has to see what became of it.
async fn wake_parents<T: Statements + Send>(tx: &mut T, ended: &RunId) -> Result<(), StoreError> {
    for parent in tx.waiting_parents(ended).await? {
        tx.put_outbox(&parent, None).await?;
    }
    Ok(())
}

/// Leaves a run without a worker.
fn wait(locked: &mut LockedRun, waiting_for: WaitingFor) {
    locked.run.status = RunStatus::Waiting;
    locked.run.waiting_for = Some(waiting_for);
    locked.clear_lease();
}

/// Moves a retry on, if its state machine lets it. One that ends without a run does not count.
fn advance(retry: &mut Retry, event: RetryEvent, now: Timestamp) -> Result<(), StoreError> {
    retry.state = retry
        .state
        .next(event)
        .map_err(|illegal| StoreError::Inconsistent {
            table: "retries",
            column: "state",
            row: retry.id.to_string(),
            why: illegal.to_string(),
        })?;
    if matches!(
        event,
        RetryEvent::Refuse | RetryEvent::Supersede | RetryEvent::Cancel
    ) {
        retry.ordinal = None;
    }
    retry.updated_at = now;
    Ok(())
}

/// A row that must be there is not.
fn missing(table: &'static str, row: &impl ToString) -> StoreError {
    StoreError::Inconsistent {
        table,
        column: "id",
        row: row.to_string(),
        why: "there is no such row".into(),
    }
}
