//! Gives a retry's run its state: what is reused, and what goes over from nodes that run again.

use crate::{
    domain::{EffectState, JsonText, NodeRecord, NodeStatus, Timestamp},
    intake::Planned,
    plan::{Verdict, stored_array},
    store::Creation,
};

/// The state that the retry's run begins with.
pub(super) fn creation(planned: &Planned, now: Timestamp) -> Creation {
    let mut creation = Creation {
        reuse: Vec::new(),
        records: Vec::new(),
        plan: planned.plan.to_text(),
        now,
    };
    for (line, record) in planned.lines() {
        let Some(record) = record else { continue };
        match line.verdict {
            Verdict::Reuse => creation.reuse.push(record.path.clone()),
            Verdict::Execute | Verdict::InDoubt => {
                creation.records.extend(carry_over(record, line.verdict));
            }
            Verdict::Skip => {}
        }
    }
    creation
}

/// What goes over from a node that runs again: its effect key with what was last sent under it,
/// and which members of its input are secret.
fn carry_over(source: &NodeRecord, verdict: Verdict) -> Option<NodeRecord> {
    let secret_keys = source.secret_keys();
    // What has no effects (any more) is in no doubt, whatever an imported record says.
    let is_of_use = |effect: &&EffectState| verdict == Verdict::InDoubt || !effect.is_in_doubt();
    let effect = source.effect.as_ref().filter(is_of_use);
    let is_loop = stored_array(source).is_some() && source.kind == "for-each";
    if effect.is_none() && secret_keys.is_empty() && !is_loop {
        return None;
    }
    let mut record = NodeRecord::new(
        source.path.clone(),
        source.kind.clone(),
        NodeStatus::Pending,
    );
    if let Some(effect) = effect {
        // The attempts stay behind, so what they left in doubt has to be said.
        record.effect = Some(EffectState {
            doubted: effect.is_in_doubt(),
            ..effect.clone()
        });
        record.input.clone_from(&source.input);
    }
    if is_loop {
        record.input.clone_from(&source.input);
    }
    if !secret_keys.is_empty() {
        record.extra = Some(JsonText::of(
            &serde_json::json!({ "secretKeys": secret_keys }),
        ));
    }
    Some(record)
}
