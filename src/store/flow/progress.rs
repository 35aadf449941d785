//! What the holder of a lease writes: checkpoints, pauses, the end.

use crate::domain::{RetryEvent, RunId, RunStatus, WaitingFor, format_timestamp};

use super::{
    super::{Checkpoint, Fence, Finish, Finished, Parking, Written},
    Engine, LockedRun, Statements, StoreError,
    accept::insert_start,
    advance, end, fenced, missing, wait, wake_parents,
};

/// Writes what happened to some nodes.
pub(in crate::store) async fn checkpoint<E: Engine>(
    engine: &E,
    fence: &Fence,
    checkpoint: &Checkpoint,
) -> Result<Written, StoreError> {
    if let Some(written) = engine.checkpoint_plain(fence, checkpoint).await? {
        return Ok(written);
    }
    let mut tx = engine.begin().await?;
    let Some(mut locked) = fenced(&mut tx, fence).await? else {
        return Ok(Written::LeaseLost);
    };
    write(&mut tx, &mut locked, checkpoint).await?;
    tx.update_run(&locked).await?;
    tx.commit().await?;
    Ok(Written::Done {
        cancel_requested: locked.run.cancel_requested_at.is_some(),
    })
}

/// Writes the records of a checkpoint, and puts the rest of it on the run.
async fn write<T: Statements + Send>(
    tx: &mut T,
    locked: &mut LockedRun,
    checkpoint: &Checkpoint,
) -> Result<(), StoreError> {
    let run = &locked.run.id;
    tx.put_nodes(run, &checkpoint.records).await?;
    tx.log_variable_writes(run, &checkpoint.variable_writes)
        .await?;
    for child in &checkpoint.children {
        // The same checkpoint may come again, when the answer to its commit was lost.
        if insert_start(tx, &child.start).await? {
            let started = &child.start.run.id;
            tx.insert_child(started, run, &child.parent_path, child.depth)
                .await?;
        }
    }
    tx.persist_variables(&locked.run, &checkpoint.variable_writes)
        .await?;
    tx.apply_signals(run, &checkpoint.applied).await?;
    locked.run.total_cu = checkpoint.total_cu.clone();
    if checkpoint.has_outcome {
        locked.lost_leases = 0;
    }
    Ok(())
}

/// Writes a checkpoint and lets the worker go.
pub(in crate::store) async fn park<E: Engine>(
    engine: &E,
    fence: &Fence,
    parking: &Parking,
) -> Result<Written, StoreError> {
    let mut tx = engine.begin().await?;
    let Some(mut locked) = fenced(&mut tx, fence).await? else {
        return Ok(Written::LeaseLost);
    };
    write(&mut tx, &mut locked, &parking.checkpoint).await?;
    // What came meanwhile waits for nothing: the next holder sees to it.
    let cancel_requested = locked.run.cancel_requested_at.is_some();
    let is_due = cancel_requested
        || tx.has_signals(&fence.run_id).await?
        || has_ended_child(&mut tx, &parking.children).await?;
    wait(
        &mut locked,
        if is_due {
            WaitingFor::Queue
        } else {
            parking.waiting_for
        },
    );
    tx.update_run(&locked).await?;
    match parking.due_at {
        Some(due_at) if !is_due => tx.put_outbox(&fence.run_id, Some(due_at)).await?,
        None if !is_due => tx.delete_outbox(&fence.run_id).await?,
        _ => tx.put_outbox(&fence.run_id, None).await?,
    }
    tx.commit().await?;
    Ok(Written::Done { cancel_requested })
}

/// Whether one of these chains has ended. Its head is locked: an end that comes after this finds the
/// parent waiting, and wakes it.
async fn has_ended_child<T: Statements + Send>(
    tx: &mut T,
    children: &[RunId],
) -> Result<bool, StoreError> {
    for first in children {
        let head = tx.head(first).await?;
        let head = tx.lock_run(head.as_ref().unwrap_or(first)).await?;
        if head.is_some_and(|head| head.run.status.is_ended()) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Writes the last checkpoint and ends the run. Ending and cancelling meet under the run's lock:
/// whichever comes second finds what the first one did.
pub(in crate::store) async fn finish<E: Engine>(
    engine: &E,
    fence: &Fence,
    finish: &Finish,
) -> Result<Finished, StoreError> {
    if let Some(finished) = engine.finish_plain(fence, finish).await? {
        return Ok(finished);
    }
    let mut tx = engine.begin().await?;
    let Some(mut locked) = fenced(&mut tx, fence).await? else {
        return Ok(Finished::LeaseLost);
    };
    if locked.run.cancel_requested_at.is_some() && finish.status != RunStatus::Cancelled {
        return Ok(Finished::CancelRequested);
    }
    // What was answered "resumed" is in the state that a run ends with.
    tx.apply_signals(&fence.run_id, &finish.checkpoint.applied)
        .await?;
    if tx.has_signals(&fence.run_id).await? {
        return Ok(Finished::SignalsPending);
    }
    write(&mut tx, &mut locked, &finish.checkpoint).await?;
    end_retry(&mut tx, &locked, finish).await?;
    let finished_at = format_timestamp(finish.now);
    end(
        &mut locked,
        finish.status,
        finish.summary.clone(),
        finished_at,
    );
    tx.update_run(&locked).await?;
    tx.delete_outbox(&fence.run_id).await?;
    wake_parents(&mut tx, &fence.run_id).await?;
    tx.commit().await?;
    Ok(Finished::Ended)
}

/// The retry behind an ended run lives no more; if the run was never created, it was cancelled.
async fn end_retry<T: Statements + Send>(
    tx: &mut T,
    locked: &LockedRun,
    finish: &Finish,
) -> Result<(), StoreError> {
    let run = &locked.run;
    let Some(mut retry) = tx.retry_of_run(&run.id).await? else {
        return if run.created {
            Ok(())
        } else {
            Err(missing("retries", &run.id))
        };
    };
    if !run.created {
        if finish.status != RunStatus::Cancelled {
            return Err(StoreError::Inconsistent {
                table: "runs",
                column: "created",
                row: run.id.to_string(),
                why: format!("it can't end {} without a state", finish.status.as_str()),
            });
        }
        advance(&mut retry, RetryEvent::Cancel, finish.now)?;
    }
    tx.update_retry(&retry, false).await
}
