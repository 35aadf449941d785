//! Who may write a run: taking a lease, what its first holder does, giving it back.

use std::time::Duration;

use crate::domain::{
    Refusal, Retry, RetryEvent, RetryState, RunId, RunStatus, Timestamp, WaitingFor,
    format_timestamp,
};

use super::{
    super::{Claim, Claimed, Creation, Fence, Written, later},
    Engine, LockedRun, Statements, StoreError, advance, end, fenced, missing, wait, wake_parents,
};

/// Takes the lease of a run that is due and that nobody holds.
pub(in crate::store) async fn claim<E: Engine>(
    engine: &E,
    run: &RunId,
    owner: &str,
    ttl: Duration,
) -> Result<Claimed, StoreError> {
    let mut tx = engine.begin().await?;
    let Some(mut locked) = tx.lock_run(run).await? else {
        return Ok(Claimed::NoSuchRun);
    };
    if locked.run.status.is_ended() || locked.is_held() {
        return Ok(Claimed::Refused);
    }
    let lost = locked.has_lost_its_worker();
    if lost {
        tx.delete_outbox(run).await?;
    } else if !tx.take_due(run).await? {
        return Ok(Claimed::Refused);
    }
    let mut retry = tx.retry_of_run(run).await?;
    if let Some(retry) = retry.as_mut().filter(|_| !locked.run.created) {
        if retry.state == RetryState::Scheduled {
            advance(retry, RetryEvent::Queue, locked.now)?;
        }
        advance(retry, RetryEvent::Claim, locked.now)?;
        tx.update_retry(retry, true).await?;
    }
    locked.owner = Some(owner.to_owned());
    locked.epoch += 1;
    locked.until = Some(later(locked.now, ttl));
    locked.lost_leases += i64::from(lost);
    if locked.run.created {
        start(&mut locked);
    }
    tx.update_run(&locked).await?;
    tx.commit().await?;
    Ok(Claimed::Claimed(Box::new(claim_of(locked, retry))))
}

/// The same for a retry's run that nobody ever claimed; none where there may be more to it.
pub(in crate::store) async fn claim_first<E: Engine>(
    engine: &E,
    run: &RunId,
    owner: &str,
    ttl: Duration,
) -> Result<Option<Claim>, StoreError> {
    engine.claim_plain(run, owner, ttl).await
}

/// What `owner` took without hearing of it, if it did and the lease is good.
pub(in crate::store) async fn own_claim<E: Engine>(
    engine: &E,
    run: &RunId,
    owner: &str,
) -> Result<Option<Claim>, StoreError> {
    let mut tx = engine.begin().await?;
    let Some(locked) = tx.lock_run(run).await? else {
        return Ok(None);
    };
    if !locked.is_held() || locked.owner.as_deref() != Some(owner) {
        return Ok(None);
    }
    let retry = tx.retry_of_run(run).await?;
    Ok(Some(claim_of(locked, retry)))
}

fn claim_of(locked: LockedRun, retry: Option<Retry>) -> Claim {
    Claim {
        fence: Fence {
            run_id: locked.run.id.clone(),
            epoch: locked.epoch,
        },
        retry,
        lost_leases: locked.lost_leases,
        run: locked.run,
    }
}

/// Makes a held run `running`; the first time is when it started.
fn start(locked: &mut LockedRun) {
    locked.run.status = RunStatus::Running;
    locked.run.waiting_for = None;
    let now = locked.now;
    locked
        .run
        .started_at
        .get_or_insert_with(|| format_timestamp(now));
}

/// Gives a retry's run its state. A repeat by the same holder changes nothing more.
pub(in crate::store) async fn create<E: Engine>(
    engine: &E,
    fence: &Fence,
    creation: &Creation,
) -> Result<Written, StoreError> {
    if let Some(written) = engine.create_plain(fence, creation).await? {
        return Ok(written);
    }
    let mut tx = engine.begin().await?;
    let Some(mut locked) = fenced(&mut tx, fence).await? else {
        return Ok(Written::LeaseLost);
    };
    let written = done(&locked);
    if locked.run.created {
        return Ok(written);
    }
    let run = &fence.run_id;
    let mut retry = tx
        .retry_of_run(run)
        .await?
        .ok_or_else(|| missing("retries", run))?;
    advance(&mut retry, RetryEvent::Create, creation.now)?;
    tx.update_retry(&retry, true).await?;
    let source = &retry.source_run_id;
    copy(&mut tx, source, run, creation).await?;
    tx.put_nodes(run, &creation.records).await?;
    locked.plan = Some(creation.plan.clone());
    locked.run.created = true;
    locked.now = creation.now;
    start(&mut locked);
    tx.update_run(&locked).await?;
    tx.commit().await?;
    Ok(written)
}

/// Copies the reused records; one that the source does not have is a fault of the plan.
async fn copy<T: Statements + Send>(
    tx: &mut T,
    source: &RunId,
    run: &RunId,
    creation: &Creation,
) -> Result<(), StoreError> {
    let copied = tx.copy_nodes(source, run, &creation.reuse).await?;
    let planned = creation.reuse.len();
    if usize::try_from(copied).ok() == Some(planned) {
        return Ok(());
    }
    Err(StoreError::Inconsistent {
        table: "nodes",
        column: "path",
        row: source.to_string(),
        why: format!("{planned} records are to be reused and {copied} are there"),
    })
}

/// Ends a claimed retry without a run.
pub(in crate::store) async fn refuse<E: Engine>(
    engine: &E,
    fence: &Fence,
    refusal: &Refusal,
    now: Timestamp,
) -> Result<Written, StoreError> {
    let mut tx = engine.begin().await?;
    let Some(mut locked) = fenced(&mut tx, fence).await? else {
        return Ok(Written::LeaseLost);
    };
    let run = &fence.run_id;
    let mut retry = tx
        .retry_of_run(run)
        .await?
        .ok_or_else(|| missing("retries", run))?;
    advance(&mut retry, RetryEvent::Refuse, now)?;
    retry.refusal = Some(refusal.clone());
    tx.update_retry(&retry, false).await?;
    let written = done(&locked);
    let summary = refusal.message.clone();
    end(
        &mut locked,
        RunStatus::Failure,
        summary,
        format_timestamp(now),
    );
    tx.update_run(&locked).await?;
    tx.delete_outbox(run).await?;
    wake_parents(&mut tx, run).await?;
    tx.commit().await?;
    Ok(written)
}

/// Gives a lease back: the run is due at once.
pub(in crate::store) async fn release<E: Engine>(
    engine: &E,
    fence: &Fence,
) -> Result<Written, StoreError> {
    let mut tx = engine.begin().await?;
    let Some(mut locked) = fenced(&mut tx, fence).await? else {
        return Ok(Written::LeaseLost);
    };
    let written = done(&locked);
    wait(&mut locked, WaitingFor::Queue);
    tx.update_run(&locked).await?;
    tx.put_outbox(&fence.run_id, None).await?;
    tx.commit().await?;
    Ok(written)
}

fn done(locked: &LockedRun) -> Written {
    Written::Done {
        cancel_requested: locked.run.cancel_requested_at.is_some(),
    }
}
