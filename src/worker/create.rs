//! Gives a retry's run its state: what is reused, what the request gives, and what goes over from
//! nodes that run again.

use super::carry::Carry;
use crate::{
    domain::{Refusal, Retry, RunId, Timestamp},
    engine::MOST_LOST_LEASES,
    intake::{Planned, Request},
    plan::{Reason, Verdict},
    store::{Claim, Creation, Store, StoreError, Written},
};

/// Validates the source of a claimed retry again, then creates its run. None when the retry was
/// refused instead, which ends the run.
///
/// # Errors
/// The ledger did not answer; doing it again changes nothing.
pub async fn create_run(
    store: &Store,
    claim: &Claim,
    retry: &Retry,
    now: Timestamp,
) -> Result<Option<Written>, StoreError> {
    let source = &retry.source_run_id;
    if claim.lost_leases >= MOST_LOST_LEASES {
        let refusal = Refusal::workers_lost(source, claim.lost_leases);
        return refuse(store, claim, retry, &refusal, now).await;
    }
    let request = match Request::stored(&retry.request) {
        Ok(request) => request,
        Err(error) => {
            let refusal = Refusal::invalid_request(error.to_string());
            return refuse(store, claim, retry, &refusal, now).await;
        }
    };
    let organization = &retry.organization_id;
    let planned = Planned::load(store, organization, source, &request, Some(&claim.run)).await?;
    let refusal = match planned {
        Some(Ok(planned)) => {
            let creation = creation(&planned, &claim.run.id, now);
            return store.create(&claim.fence, &creation).await.map(Some);
        }
        Some(Err(refusal)) => refusal,
        None => Refusal::missing_state(source, "record in this ledger"),
    };
    refuse(store, claim, retry, &refusal, now).await
}

/// Ends the retry with its reason on record.
async fn refuse(
    store: &Store,
    claim: &Claim,
    retry: &Retry,
    refusal: &Refusal,
    now: Timestamp,
) -> Result<Option<Written>, StoreError> {
    tracing::warn!(retry_id = %retry.id, reason = refusal.reason.as_str(), "refused a retry");
    let written = store.refuse(&claim.fence, refusal, now).await?;
    if matches!(written, Written::Done { .. }) {
        metrics::counter!("redrive_retries_total", "outcome" => "refused").increment(1);
    }
    Ok(None)
}

/// The state that the retry's run begins with.
fn creation(planned: &Planned, run: &RunId, now: Timestamp) -> Creation {
    let mut creation = Creation {
        reuse: Vec::new(),
        records: Vec::new(),
        plan: planned.plan.to_text(),
        now,
    };
    let carry = Carry::new(planned, run, now);
    for (line, source) in planned.lines() {
        let Some(path) = line.path.node() else {
            continue;
        };
        let record = match line.verdict {
            Verdict::Reuse if line.reason == Reason::Pinned => carry.pinned(line, path, source),
            Verdict::Reuse => {
                let reused = source.map(|source| source.path.clone());
                creation.reuse.extend(reused);
                None
            }
            Verdict::Execute | Verdict::InDoubt => carry.over(line, path, source),
            Verdict::Skip => carry.skipped(line, path, source),
        };
        creation.records.extend(record);
    }
    creation
}
