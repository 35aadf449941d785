//! Keeps the leases of the runs held.

use std::{collections::HashMap, time::Duration};

use tokio::{sync::broadcast::error::RecvError, time::Instant};
use tokio_util::sync::CancellationToken;

use super::held::Held;
use crate::{broker::Hints, domain::RunId, store::Store};

/// How often to look at the clock between renewals.
const TICK: Duration = Duration::from_secs(1);

/// Renews every lease at a third of its length, again at every look as long as that fails, and drops
/// runs at two thirds without renewal.
pub(super) async fn keep(store: Store, held: Held, ttl: Duration, stop: CancellationToken) {
    let tick = TICK.min(ttl / 12);
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(tick) => {}
        }
        held.drop_stale(ttl * 2 / 3);
        renew(&store, &held, ttl).await;
    }
}

async fn renew(store: &Store, held: &Held, ttl: Duration) {
    let fences = held.fences(ttl / 3);
    if fences.is_empty() {
        return;
    }
    let asked = Instant::now();
    // Bounded, so that a ledger that hangs does not keep stale runs from being dropped.
    match tokio::time::timeout(ttl / 6, store.renew(&fences, ttl)).await {
        Ok(Ok(renewed)) => {
            let kept: HashMap<_, _> = renewed
                .into_iter()
                .map(|lease| (lease.run_id.clone(), lease))
                .collect();
            let lost = held.renewed(&fences, &kept, asked, ttl * 2 / 3);
            metrics::counter!("redrive_leases_lost_total").increment(lost);
        }
        Ok(Err(error)) => tracing::warn!(error = %error, "leases could not be renewed"),
        Err(_) => tracing::warn!("leases could not be renewed: the ledger does not answer"),
    }
}

/// Passes cancellations and resumes that come to this process on to the runs held. A hint is no
/// proof: what it says is looked up.
pub(super) async fn listen(store: Store, hints: Hints, held: Held, stop: CancellationToken) {
    let (mut cancellations, mut resumes) = (hints.cancellations(), hints.resumes());
    loop {
        // Who missed some learns it from the ledger.
        tokio::select! {
            () = stop.cancelled() => return,
            run = cancellations.recv() => match run {
                Ok(run) => if held.holds(&run) { look(&store, &held, vec![run]).await },
                Err(RecvError::Lagged(_)) => {}
                Err(RecvError::Closed) => return,
            },
            run = resumes.recv() => match run {
                // Whoever executes it looks for itself.
                Ok(run) => held.resume(&run),
                Err(RecvError::Lagged(_)) => {}
                Err(RecvError::Closed) => return,
            },
        }
    }
}

/// Cancels those of the runs that somebody asked to cancel.
async fn look(store: &Store, held: &Held, runs: Vec<RunId>) {
    // Bounded like a renewal.
    let asked = tokio::time::timeout(ASK, store.cancel_requested(&runs)).await;
    for run in asked.ok().and_then(Result::ok).unwrap_or_default() {
        held.cancel(&run);
    }
}

/// How often the ledger is asked whether a run held here is to be cancelled, or has a signal: they
/// may have come to another process.
const ASK: Duration = Duration::from_secs(1);

/// Passes cancellations and resumes that came to other processes on to the runs held.
pub(super) async fn ask(store: Store, held: Held, stop: CancellationToken) {
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(ASK) => {}
        }
        let runs = held.runs();
        if runs.is_empty() {
            continue;
        }
        look(&store, &held, runs.clone()).await;
        let asked = tokio::time::timeout(ASK, store.signalled(&runs)).await;
        for run in asked.ok().and_then(Result::ok).unwrap_or_default() {
            held.resume(&run);
        }
    }
}
