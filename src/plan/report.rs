//! Whether the latest definition goes with what a run has done.

use super::{Plan, PlanNode, Reason, State, Verdict};
use crate::{
    domain::{NodePath, same_value},
    workflow::{Definition, Node},
};

/// What differs between the run's own definition and the latest one, as far as it matters.
#[derive(Debug, Clone, PartialEq, Eq, Default, serde::Serialize)]
pub struct Report {
    /// What makes a retry impossible.
    pub blocking: Vec<String>,
    /// What a retry puts up with.
    pub warnings: Vec<String>,
}

/// Compares the definition that a run was executed by with the one that its retry is to execute,
/// each with the plan by it. `state` is where the run stopped, under its own definition; `fired` the
/// trigger that fired.
#[must_use]
pub fn compatibility(
    (own, own_plan): (&Definition, &Plan),
    state: &State<'_>,
    (latest, latest_plan): (&Definition, &Plan),
    fired: &str,
) -> Report {
    let mut report = Report::default();
    let trigger = |definition: &Definition| {
        let node = definition.find(fired).map(|at| definition.node(at));
        node.filter(|node| node.is_trigger)
            .map(|node| node.kind.clone())
    };
    if trigger(own) != trigger(latest) {
        let message = format!("the trigger that fired, `{fired}`, is gone or has another type");
        report.blocking.push(message);
    }
    for line in reused(own_plan) {
        let Some(path) = line.path.node() else {
            continue;
        };
        let node = |definition: &Definition| {
            let at = definition.find(path.node().as_str())?;
            Some(definition.node(at).clone())
        };
        let (Some(before), Some(now)) = (node(own), node(latest)) else {
            report
                .blocking
                .push(format!("the reused node `{path}` is gone"));
            continue;
        };
        let at = state.find(own, path);
        let taken = at.and_then(|at| state.get(own, at)?.branch.as_deref());
        compare(&mut report, path, taken, (own, &before), (latest, &now));
    }
    for line in &latest_plan.nodes {
        let is_new = own.find(node_of(line)).is_none() && line.verdict.runs();
        let above = is_new
            .then(|| above_reused(latest, latest_plan, line))
            .flatten();
        if let Some(below) = above {
            report.warnings.push(format!(
                "the new node `{}` runs although `{below}` below it is reused",
                line.path
            ));
        }
    }
    report
}

fn reused(plan: &Plan) -> impl Iterator<Item = &PlanNode> {
    let lines = plan.nodes.iter();
    lines.filter(|line| line.verdict == Verdict::Reuse && line.reason != Reason::StaysSkipped)
}

fn compare(
    report: &mut Report,
    path: &NodePath,
    taken: Option<&str>,
    (own, before): (&Definition, &Node),
    (latest, now): (&Definition, &Node),
) {
    if before.kind != now.kind {
        report.blocking.push(format!(
            "the reused node `{path}` is of type {} and was of type {}",
            now.kind, before.kind
        ));
    }
    if loops_around(own, before) != loops_around(latest, now) {
        let message = format!("the reused node `{path}` is in another loop");
        report.blocking.push(message);
    }
    let leads_on = |definition: &Definition, node: &Node, branch: &str| {
        let mut children = node.children.iter().map(|child| definition.node(*child));
        children.any(|child| child.branch.as_deref() == Some(branch))
    };
    if let Some(taken) = taken
        && leads_on(own, before, taken)
        && !leads_on(latest, now, taken)
    {
        report.blocking.push(format!(
            "the reused node `{path}` has lost the branch that it took, {taken}"
        ));
    }
    let inputs = |node: &Node| node.input_mapping.clone().unwrap_or_default();
    let is_same =
        same_value(&before.payload, &now.payload) && same_value(&inputs(before), &inputs(now));
    if !is_same {
        let message = format!("the payload of the reused node `{path}` has changed; it is kept");
        report.warnings.push(message);
    }
}

/// The loops around a node, the innermost first.
fn loops_around<'a>(definition: &'a Definition, node: &Node) -> Vec<&'a str> {
    let mut loops = Vec::new();
    let mut body = node.body;
    while let Some(around) = definition.body(body).of {
        let around = definition.node(around);
        loops.push(around.id.as_str());
        body = around.body;
    }
    loops
}

fn node_of(line: &PlanNode) -> &str {
    line.path.node().map_or("", |path| path.node().as_str())
}

/// A reused node below the new one, if there is any.
fn above_reused(definition: &Definition, plan: &Plan, new: &PlanNode) -> Option<String> {
    let above = definition.find(node_of(new))?;
    let is_below = |line: &&PlanNode| {
        let at = definition.find(node_of(line));
        line.reason == Reason::Succeeded && at.is_some_and(|at| definition.is_ancestor(above, at))
    };
    let below = plan.nodes.iter().find(is_below)?;
    Some(below.path.to_string())
}
