//! Gives a retry's run its state: what is reused, what the request gives, and what goes over from
//! nodes that run again.

use serde_json::{Map, Value, json};

use crate::{
    domain::{
        CHILD_RUN_ID, EffectState, JsonText, NodePath, NodeRecord, NodeStatus, Refusal, Retry,
        RunId, Timestamp, format_timestamp,
    },
    engine::MOST_LOST_LEASES,
    intake::{Planned, Request},
    plan::{PlanNode, Reason, Verdict, stored_array},
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
    let carry = Carry { planned, run };
    for (line, record) in planned.lines() {
        let Some(path) = line.path.node() else {
            continue;
        };
        match line.verdict {
            Verdict::Reuse if line.reason == Reason::Pinned => {
                creation
                    .records
                    .extend(pinned(&planned.request, line, path, now));
            }
            Verdict::Reuse => creation
                .reuse
                .extend(record.map(|record| record.path.clone())),
            Verdict::Execute | Verdict::InDoubt => {
                creation.records.extend(carry.over(line, path, record));
            }
            // It may run in a later retry: what is known of its effect must not be forgotten.
            Verdict::Skip => {
                let known = record.filter(|record| record.effect.is_some());
                creation
                    .records
                    .extend(known.map(|known| pending(line, &known.path, Some(known))));
            }
        }
    }
    creation
}

/// The record of a node whose result the request gives.
fn pinned(
    request: &Request,
    line: &PlanNode,
    path: &NodePath,
    now: Timestamp,
) -> Option<NodeRecord> {
    let result = request.result_of(path)?;
    let at = format_timestamp(now);
    Some(NodeRecord {
        result: Some(JsonText::of(result)),
        branch: Request::branch_of(result),
        started_at: Some(at.clone()),
        finished_at: Some(at),
        extra: Some(JsonText::of(&json!({ "pinned": true }))),
        ..NodeRecord::new(path.clone(), line.kind.clone(), NodeStatus::Success)
    })
}

/// A record of a node that has yet to run, with what is known of its effect, the input last sent
/// under it, and which members of its input are secret.
fn pending(line: &PlanNode, path: &NodePath, source: Option<&NodeRecord>) -> NodeRecord {
    let mut record = NodeRecord::new(path.clone(), line.kind.clone(), NodeStatus::Pending);
    let Some(source) = source else { return record };
    if let Some(effect) = &source.effect {
        // The attempts stay behind, so what they left in doubt has to be said.
        record.effect = Some(EffectState {
            doubted: effect.is_in_doubt(),
            ..effect.clone()
        });
        record.input.clone_from(&source.input);
    }
    let mut extra = Map::new();
    let secret_keys = source.secret_keys();
    if !secret_keys.is_empty() {
        extra.insert("secretKeys".to_owned(), secret_keys.into());
    }
    if line.reason == Reason::Child
        && let Some(child) = source.child_run_id()
    {
        extra.insert(CHILD_RUN_ID.to_owned(), child.as_str().into());
        // What the child was started with: the node goes on with that one.
        record.input.clone_from(&source.input);
    }
    if !extra.is_empty() {
        record.extra = Some(JsonText::of(&Value::Object(extra)));
    }
    record
}

struct Carry<'a> {
    planned: &'a Planned,
    run: &'a RunId,
}

impl Carry<'_> {
    /// What goes over from a node that runs again; none if nothing does.
    fn over(
        &self,
        line: &PlanNode,
        path: &NodePath,
        source: Option<&NodeRecord>,
    ) -> Option<NodeRecord> {
        let mut record = pending(line, path, source);
        if self.is_loop(path) {
            self.carry_loop(&mut record, line, source);
        } else {
            self.carry_effect(&mut record, line, source);
        }
        let says_something =
            record.effect.is_some() || record.input.is_some() || record.extra.is_some();
        says_something.then_some(record)
    }

    fn is_loop(&self, path: &NodePath) -> bool {
        let definition = &self.planned.definition;
        let node = definition.find(path.node().as_str());
        node.is_some_and(|node| definition.node(node).loop_body.is_some())
    }

    /// A loop keeps its array, unless it is named: then the array is resolved again, and every
    /// effect below it is another one than any before.
    fn carry_loop(&self, record: &mut NodeRecord, line: &PlanNode, source: Option<&NodeRecord>) {
        let array = source.filter(|source| stored_array(source).is_some());
        if line.reason != Reason::Named {
            record.input = array.and_then(|array| array.input.clone());
            return;
        }
        record.input = None;
        if array.is_some() {
            let below = self.planned.below(&record.path);
            let effects = below.filter_map(|record| record.effect.clone());
            let newest = effects.max_by_key(|effect| effect.generation);
            record.effect = Some(newest.unwrap_or_default().raised(self.run));
        }
    }

    fn carry_effect(&self, record: &mut NodeRecord, line: &PlanNode, source: Option<&NodeRecord>) {
        let request = &self.planned.request;
        let is_repeated = source.is_some_and(|source| source.status == NodeStatus::Success);
        if request.forces_new_key(&record.path) || (is_repeated && record.effect.is_some()) {
            let known = record.effect.take();
            let base = known.unwrap_or_else(|| self.mark_around(&record.path));
            record.effect = Some(base.raised(self.run));
            record.input = None;
            return;
        }
        let Some(effect) = &mut record.effect else {
            return;
        };
        if line.verdict == Verdict::InDoubt {
            let is_latest =
                Some(&self.planned.definition_hash) != self.planned.source.definition_hash.as_ref();
            effect.resolve_again = line.is_below_named || request.changes_values() || is_latest;
        } else if effect.is_in_doubt() {
            // What has no effects (any more) is in no doubt, whatever an imported record says.
            record.effect = None;
            record.input = None;
        }
    }

    /// What the effects of a node that never started begin with: see the engine's own rule.
    fn mark_around(&self, path: &NodePath) -> EffectState {
        let around = |record: &&NodeRecord| {
            let (outer, inner) = (record.path.segments(), path.segments());
            let last = outer.len() - 1;
            outer.len() < inner.len()
                && outer
                    .iter()
                    .zip(inner)
                    .enumerate()
                    .all(|(place, (one, other))| {
                        one.node == other.node
                            && (place == last || one.iteration == other.iteration)
                    })
        };
        let marks = self.planned.records.iter().filter(around);
        let marks = marks
            .filter_map(|record| Some((record.path.segments().len(), record.effect.as_ref()?)));
        let innermost = marks.max_by_key(|(depth, _)| *depth);
        innermost.map(|(_, mark)| mark.clone()).unwrap_or_default()
    }
}
