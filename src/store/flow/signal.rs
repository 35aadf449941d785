//! What ends the wait of a node.

use crate::domain::{JsonText, NodePath, NodeStatus, OrganizationId, RunId, Timestamp, WaitingFor};

use super::{
    super::{Fence, Resumed, Signal, SignalKind, TimedOut},
    Engine, Statements, StoreError, fenced, missing, wait,
};

/// The kind of node that a resume is for.
const WAIT: &str = "wait";

/// Ends the wait of a node on somebody's word.
pub(in crate::store) async fn resume<E: Engine>(
    engine: &E,
    organization: &OrganizationId,
    run: &RunId,
    path: &NodePath,
    body: &JsonText,
    now: Timestamp,
) -> Result<Resumed, StoreError> {
    let mut tx = engine.begin().await?;
    if tx.run(organization, run).await?.is_none() {
        return Ok(Resumed::NotFound);
    }
    let Some(mut locked) = tx.lock_run(run).await? else {
        return Ok(Resumed::NotFound);
    };
    if locked.run.status.is_ended() {
        let status = locked.run.status.as_str();
        return Ok(Resumed::Skipped(format!("the run has ended ({status})")));
    }
    match tx.node(run, path).await? {
        Some(node) if node.kind != WAIT => {
            let why = format!("node {path} is of type {}, not {WAIT}", node.kind);
            return Ok(Resumed::Skipped(why));
        }
        Some(node) if node.status == NodeStatus::Waiting => {}
        Some(node) => {
            let why = format!("node {path} is {}, not waiting", node.status.as_str());
            return Ok(Resumed::Skipped(why));
        }
        None => {
            let why = format!("node {path} is not waiting: it has not started");
            return Ok(Resumed::Skipped(why));
        }
    }
    if !tx
        .insert_signal(run, path, SignalKind::Resumed, body, now)
        .await?
    {
        let earlier = tx.signal(run, path).await?;
        let what = earlier.map_or("resumed", |earlier| earlier.kind.as_str());
        return Ok(Resumed::Skipped(format!(
            "the wait of node {path} has ended: {what}"
        )));
    }
    if !locked.is_held() {
        wait(&mut locked, WaitingFor::Queue);
        tx.update_run(&locked).await?;
        tx.put_outbox(run, None).await?;
    }
    tx.commit().await?;
    Ok(Resumed::Resumed)
}

/// Ends the wait of a node whose time is over.
pub(in crate::store) async fn time_out<E: Engine>(
    engine: &E,
    fence: &Fence,
    path: &NodePath,
    now: Timestamp,
) -> Result<TimedOut, StoreError> {
    let mut tx = engine.begin().await?;
    if fenced(&mut tx, fence).await?.is_none() {
        return Ok(TimedOut::LeaseLost);
    }
    let (run, body) = (&fence.run_id, JsonText::trusted("null"));
    if tx
        .insert_signal(run, path, SignalKind::TimedOut, &body, now)
        .await?
    {
        tx.commit().await?;
        return Ok(TimedOut::Ended(Signal {
            path: path.clone(),
            kind: SignalKind::TimedOut,
            body,
        }));
    }
    let earlier = tx.signal(run, path).await?;
    earlier
        .map(TimedOut::Ended)
        .ok_or_else(|| missing("signals", run))
}
