//! What a retry must do, once more and as plainly as can be.

use std::collections::VecDeque;

use serde_json::json;

use super::case::{Case, Kind, Stored};

/// What stays between the retries of a chain.
#[derive(Debug, Clone)]
pub(super) struct World {
    pub(super) state: Vec<Stored>,
    /// The nodes that set the variable, in order of time.
    pub(super) log: Vec<usize>,
    /// What the target will answer.
    pub(super) answers: Vec<VecDeque<u16>>,
}

impl World {
    /// The trigger has fired, and nothing else happened.
    pub(super) fn empty(count: usize) -> Self {
        let pending = Stored {
            status: "pending",
            ..Stored::default()
        };
        let mut state = vec![pending; count];
        state[0].status = "success";
        Self {
            state,
            log: Vec::new(),
            answers: vec![VecDeque::new(); count],
        }
    }
}

#[derive(Debug)]
pub(super) struct Prediction {
    /// In doubt and unsafe: with any of them there is no retry.
    pub(super) unconfirmed: Vec<usize>,
    /// What a plan may call executed.
    pub(super) may_run: Vec<bool>,
    pub(super) reused: Vec<bool>,
    pub(super) executed: Vec<usize>,
    /// Node and body.
    pub(super) calls: Vec<(usize, String)>,
    pub(super) state: Vec<Stored>,
    pub(super) status: &'static str,
    /// Executions that came as far as an attempt.
    pub(super) attempts: usize,
    /// Where the run was told to stop.
    pub(super) stopped_at: Option<usize>,
}

/// Depth first, children in order, a node after the last of its parents.
fn order(case: &Case, reachable: &[bool]) -> Vec<usize> {
    fn walk(case: &Case, reachable: &[bool], ix: usize, order: &mut Vec<usize>) {
        order.push(ix);
        for &child in &case.nodes[ix].children {
            let is_done = |parent: &usize| !reachable[*parent] || order.contains(parent);
            if !order.contains(&child) && case.nodes[child].parents.iter().all(is_done) {
                walk(case, reachable, child, order);
            }
        }
    }
    let mut found = Vec::new();
    walk(case, reachable, 0, &mut found);
    found
}

fn carries(case: &Case, parent: usize, stored: &Stored, child: usize) -> bool {
    let is_if = matches!(case.nodes[parent].kind, Kind::If(_));
    match (stored.status, case.nodes[child].branch) {
        ("skipped", _) => false,
        (status, Some(branch)) if is_if => status == "success" && stored.branch == Some(branch),
        _ => true,
    }
}

/// Which nodes may run, and which are reused.
fn judge(case: &Case, world: &World, reachable: &[bool]) -> (Vec<bool>, Vec<bool>) {
    let count = case.nodes.len();
    let (mut may_run, mut reused) = (vec![false; count], vec![false; count]);
    reused[0] = true;
    // Parents have lower numbers than their children.
    for ix in 1..count {
        let (node, stored) = (&case.nodes[ix], &world.state[ix]);
        let anew = node.parents.iter().any(|&parent| may_run[parent]);
        reused[ix] = match stored.status {
            "success" => true,
            "failure" => node.tolerated,
            "skipped" => !anew,
            _ => false,
        };
        let live = |&parent: &usize| {
            reachable[parent] && reused[parent] && carries(case, parent, &world.state[parent], ix)
        };
        may_run[ix] = !reused[ix] && reachable[ix] && (anew || node.parents.iter().any(live));
    }
    (may_run, reused)
}

/// Runs what is left of `world`, at most `steps` nodes of it, and leaves there what is known then.
pub(super) fn run(case: &Case, world: &mut World, steps: Option<usize>) -> Prediction {
    let count = case.nodes.len();
    let mut reachable = vec![false; count];
    reachable[0] = true;
    for ix in 1..count {
        reachable[ix] = case.nodes[ix]
            .parents
            .iter()
            .any(|&parent| reachable[parent]);
    }
    let (may_run, reused) = judge(case, world, &reachable);
    let unconfirmed = (0..count).filter(|&ix| {
        may_run[ix] && world.state[ix].doubt && case.nodes[ix].kind == Kind::Http("POST", "unsafe")
    });
    let mut found = Prediction {
        unconfirmed: unconfirmed.collect(),
        may_run,
        executed: Vec::new(),
        calls: Vec::new(),
        state: world.state.clone(),
        status: "success",
        attempts: 0,
        stopped_at: None,
        reused,
    };
    for ix in (0..count).filter(|&ix| !found.reused[ix]) {
        let status = if reachable[ix] { "pending" } else { "skipped" };
        found.state[ix].status = status;
        found.state[ix].branch = None;
    }
    for ix in order(case, &reachable) {
        if found.reused[ix] {
            continue;
        }
        let mut parents = case.nodes[ix].parents.iter();
        if !parents.any(|&p| reachable[p] && carries(case, p, &found.state[p], ix)) {
            found.state[ix] = Stored {
                status: "skipped",
                ..Stored::default()
            };
            continue;
        }
        if steps == Some(found.executed.len()) {
            found.stopped_at = Some(ix);
            break;
        }
        execute(case, world, &mut found, ix);
        if found.state[ix].status == "failure" && !case.nodes[ix].tolerated {
            found.status = "failure";
            break;
        }
    }
    world.state.clone_from(&found.state);
    found
}

fn execute(case: &Case, world: &mut World, found: &mut Prediction, ix: usize) {
    let works = match case.nodes[ix].kind {
        Kind::If(holds) => {
            found.state[ix].branch = holds.map(|holds| if holds { "then" } else { "else" });
            holds.is_some()
        }
        Kind::Log(works) => works,
        Kind::Trigger | Kind::Delay => true,
        Kind::Set => {
            world.log.push(ix);
            true
        }
        Kind::Http(..) => {
            let stored = found.state[ix].clone();
            let sent = stored.body.filter(|_| stored.doubt);
            let body = sent.unwrap_or_else(|| body(case, world, found, ix));
            found.state[ix].body = Some(body.clone());
            found.calls.push((ix, body));
            world.answers[ix].pop_front().is_none()
        }
    };
    let is_http = matches!(case.nodes[ix].kind, Kind::Http(..));
    found.attempts += usize::from(works || is_http);
    found.executed.push(ix);
    found.state[ix].status = if works { "success" } else { "failure" };
}

fn body(case: &Case, world: &World, found: &Prediction, ix: usize) -> String {
    let parents = case.nodes[ix].parents.iter();
    let of: Vec<_> = parents.map(|&parent| found.state[parent].status).collect();
    // Every logged node has succeeded, here or in a run before: it is reused or just ran.
    let last = world.log.last().map(|&ix| case.nodes[ix].id.as_str());
    json!({ "n": case.nodes[ix].id, "of": of, "v": last.unwrap_or("start") }).to_string()
}
