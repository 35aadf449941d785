//! Somebody wants a run to end.

use crate::domain::{
    ErrorClass, JsonText, NodeError, OrganizationId, RetryEvent, RunId, RunStatus, Timestamp,
    WaitingFor, format_timestamp,
};

use super::{
    super::{CancelOutcome, statements::Cancellation},
    Engine, LockedRun, Statements, StoreError, advance, end, wait, wake_parents,
};

/// Cancels a run that nobody holds; asks its holder otherwise.
pub(in crate::store) async fn request_cancel<E: Engine>(
    engine: &E,
    organization: &OrganizationId,
    run: &RunId,
    now: Timestamp,
) -> Result<CancelOutcome, StoreError> {
    let mut tx = engine.begin().await?;
    if tx.run(organization, run).await?.is_none() {
        return Ok(CancelOutcome::NotFound);
    }
    let Some(mut locked) = tx.lock_run(run).await? else {
        return Ok(CancelOutcome::NotFound);
    };
    if locked.run.status.is_ended() {
        return Ok(CancelOutcome::AlreadyEnded(Box::new(locked.run)));
    }
    locked.run.cancel_requested_at.get_or_insert(now);
    // What ended a wait belongs into the state: a worker applies it, then cancels.
    let has_signals = tx.has_signals(run).await?;
    // So does the end of a child that it waits for.
    let held = locked.is_held() || has_signals || tx.waits_for_child(run).await?;
    if !held {
        cancel(&mut tx, &mut locked, now).await?;
        wake_parents(&mut tx, run).await?;
    } else if !locked.is_held() {
        wait(&mut locked, WaitingFor::Queue);
        tx.put_outbox(run, None).await?;
    }
    tx.update_run(&locked).await?;
    tx.commit().await?;
    let run = Box::new(locked.run);
    Ok(if held {
        CancelOutcome::Requested(run)
    } else {
        CancelOutcome::Cancelled(run)
    })
}

/// Ends a run without a worker. Its epoch rises, so that a worker whose lease has expired can't
/// write any more.
async fn cancel<T: Statements + Send>(
    tx: &mut T,
    locked: &mut LockedRun,
    now: Timestamp,
) -> Result<(), StoreError> {
    let run = locked.run.id.clone();
    let finished_at = format_timestamp(now);
    tx.cancel_nodes(&run, &cancellation(finished_at.clone())?)
        .await?;
    tx.delete_outbox(&run).await?;
    if let Some(mut retry) = tx.retry_of_run(&run).await? {
        if !locked.run.created {
            advance(&mut retry, RetryEvent::Cancel, now)?;
        }
        tx.update_retry(&retry, false).await?;
    }
    let summary = if locked.run.created {
        "Cancelled on request."
    } else {
        "Cancelled on request before a worker created it."
    };
    locked.epoch += 1;
    end(locked, RunStatus::Cancelled, summary.into(), finished_at);
    Ok(())
}

fn cancellation(finished_at: String) -> Result<Cancellation, StoreError> {
    let in_doubt = NodeError::new(
        ErrorClass::InDoubt,
        "cancelled",
        "the run was cancelled after this node had started: whether it took effect is unknown",
    );
    let cancelled = NodeError::new(ErrorClass::Cancelled, "cancelled", "the run was cancelled");
    Ok(Cancellation {
        finished_at,
        in_doubt: text(&in_doubt)?,
        cancelled: text(&cancelled)?,
    })
}

fn text(error: &NodeError) -> Result<JsonText, StoreError> {
    serde_json::to_string(error)
        .map(JsonText::trusted)
        .map_err(|why| StoreError::Inconsistent {
            table: "nodes",
            column: "error",
            row: error.code.clone(),
            why: why.to_string(),
        })
}
