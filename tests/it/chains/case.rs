//! Random definitions with loops inside loops, branches, joins and tolerated failures, and what a
//! run of one must call in all, however often it is interrupted.

use serde_json::{Map, Value, json};

use crate::support::dice::Dice;

/// What a node does.
#[derive(Debug)]
pub(crate) enum Kind {
    /// Takes the branch.
    If(bool),
    /// Calls the target; whether its failure is tolerated.
    Call(bool),
    /// Waits for somebody; whether somebody comes before its time is over.
    Wait(bool),
    /// Waits for a minute.
    Delay,
    /// Repeats its body so often.
    Loop(usize, Body),
}

#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) id: String,
    pub(crate) kind: Kind,
    /// Places in the same body.
    parents: Vec<usize>,
    branch: Option<bool>,
}

/// Nodes that run together; parents stand before their children.
#[derive(Debug, Default)]
pub(crate) struct Body(Vec<Node>);

#[derive(Debug)]
pub(crate) struct Case {
    pub(crate) seed: u64,
    body: Body,
}

/// What is thrown for.
struct Shape {
    waits: bool,
    /// How many loops may be inside each other.
    deepest: usize,
    /// The most nodes of a body.
    widest: usize,
}

/// A call that has to be made: its path on the target, and whether its failure is tolerated.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place {
    pub(crate) path: String,
    pub(crate) is_tolerated: bool,
}

impl Case {
    pub(crate) fn new(seed: u64) -> Self {
        let mut dice = Dice(seed);
        let mut count = 0;
        let shape = Shape {
            waits: false,
            deepest: 3,
            widest: 5,
        };
        let body = body(&mut dice, &mut count, 0, &shape);
        Self { seed, body }
    }

    /// One with nodes that wait, too; mostly a small one.
    pub(crate) fn with_waits(seed: u64) -> Self {
        let mut dice = Dice(seed);
        let shape = Shape {
            waits: true,
            deepest: if dice.one_in(32) {
                3
            } else {
                [0, 0, 0, 1, 1, 1, 1, 2][dice.below(8)]
            },
            widest: 4,
        };
        let body = body(&mut dice, &mut 0, 0, &shape);
        Self { seed, body }
    }

    /// Whether somebody comes for the node before its time is over.
    pub(crate) fn is_resumed(&self, id: &str) -> bool {
        fn find(body: &Body, id: &str) -> Option<bool> {
            body.0.iter().find_map(|node| match &node.kind {
                Kind::Wait(resumed) if node.id == id => Some(*resumed),
                Kind::Loop(_, inner) => find(inner, id),
                Kind::If(_) | Kind::Call(_) | Kind::Wait(_) | Kind::Delay => None,
            })
        }
        find(&self.body, id).unwrap_or(false)
    }

    pub(crate) fn definition(&self, base: &str) -> Value {
        let mut nodes = Map::new();
        let roots = self.body.0.iter().filter(|node| node.parents.is_empty());
        let roots: Vec<_> = roots.map(|node| node.id.clone()).collect();
        nodes.insert(
            "root".to_owned(),
            json!({ "type": "manual", "children": roots }),
        );
        // Another way in, which is not taken here: what only it leads to is skipped, and the joins
        // below both do not wait for it.
        let elsewhere = json!({ "type": "webhook", "children": ["elsewhere"] });
        nodes.insert("hook".to_owned(), elsewhere);
        let prefix = format!("{base}/s{}", self.seed);
        let payload = json!({ "url": format!("{prefix}/elsewhere"), "method": "POST" });
        let elsewhere = json!({ "type": "http-request", "payload": payload, "children": roots });
        nodes.insert("elsewhere".to_owned(), elsewhere);
        write(&self.body, &mut nodes, &prefix, "");
        json!({ "triggerNodeIds": ["root", "hook"], "nodes": nodes })
    }

    /// Every call of a run that nothing interrupts.
    pub(crate) fn places(&self) -> Vec<Place> {
        let mut places = Vec::new();
        visit(&self.body, &format!("/s{}", self.seed), "", &mut places);
        places.sort();
        places
    }
}

fn body(dice: &mut Dice, count: &mut usize, depth: usize, shape: &Shape) -> Body {
    let mut nodes: Vec<Node> = Vec::new();
    for place in 0..=dice.below(shape.widest) {
        let mut parents = Vec::new();
        for _ in 0..dice.below(3) {
            if place > 0 {
                let parent = dice.below(place);
                if !parents.contains(&parent) {
                    parents.push(parent);
                }
            }
        }
        let is_below = |wanted: fn(&Kind) -> bool| {
            let mut kinds = parents.iter().map(|parent| &nodes[*parent].kind);
            kinds.any(wanted)
        };
        let is_below_if = is_below(|kind| matches!(kind, Kind::If(_)));
        let is_below_wait = is_below(|kind| matches!(kind, Kind::Wait(_)));
        // The two name their branches differently.
        let has_branch = is_below_if != is_below_wait && dice.below(3) > 0;
        let branch = has_branch.then(|| dice.below(2) == 0);
        *count += 1;
        let id = format!("n{count}");
        let kind = match dice.below(10) {
            0..2 => Kind::If(dice.below(2) == 0),
            2..5 if depth < shape.deepest => {
                Kind::Loop(dice.below(4), body(dice, count, depth + 1, shape))
            }
            6 if shape.waits => Kind::Wait(dice.below(2) == 0),
            7 if shape.waits => Kind::Delay,
            5 => Kind::Call(true),
            _ => Kind::Call(false),
        };
        nodes.push(Node {
            id,
            kind,
            parents,
            branch,
        });
    }
    Body(nodes)
}

/// `indices` are the expressions of the iterations around the body.
fn write(body: &Body, nodes: &mut Map<String, Value>, prefix: &str, indices: &str) {
    for (place, node) in body.0.iter().enumerate() {
        let children = body.0.iter().filter(|child| child.parents.contains(&place));
        let children: Vec<_> = children.map(|child| child.id.clone()).collect();
        let mut value = match &node.kind {
            Kind::If(holds) => json!({
                "type": "if",
                "payload": { "condition": { "$and": [{ "{{root.yes}}": { "$eq": holds } }] } }
            }),
            Kind::Call(is_tolerated) => {
                let url = format!("{prefix}/{}{indices}", node.id);
                let payload = json!({ "url": url, "method": "POST", "body": { "of": indices } });
                let on_error = if *is_tolerated { "continue" } else { "stop" };
                json!({ "type": "http-request", "payload": payload, "onError": on_error })
            }
            Kind::Wait(_) => json!({ "type": "wait", "payload": { "timeoutMs": 90_000 } }),
            Kind::Delay => json!({ "type": "delay", "payload": { "delayMs": 60_000 } }),
            Kind::Loop(count, inner) => {
                let indices = format!("{indices}/{{{{$for.{}.index}}}}", node.id);
                write(inner, nodes, prefix, &indices);
                let items: Vec<_> = (0..*count).collect();
                let ids: Vec<_> = inner.0.iter().map(|node| node.id.clone()).collect();
                json!({ "type": "for-each", "payload": { "array": items }, "loopBody": ids })
            }
        };
        value["children"] = children.into();
        if let Some(branch) = node.branch {
            let of_wait = node
                .parents
                .iter()
                .any(|parent| matches!(body.0[*parent].kind, Kind::Wait(_)));
            let names = if of_wait {
                ["timed_out", "resumed"]
            } else {
                ["else", "then"]
            };
            value["branch"] = names[usize::from(branch)].into();
        }
        nodes.insert(node.id.clone(), value);
    }
}

fn visit(body: &Body, prefix: &str, indices: &str, places: &mut Vec<Place>) {
    let mut runs: Vec<bool> = Vec::new();
    for node in &body.0 {
        let is_live = |parent: &usize| {
            let taken = match body.0[*parent].kind {
                // The payload says `yes: true`, so the branch is what the condition asks for.
                Kind::If(holds) => node.branch.is_none_or(|branch| branch == holds),
                Kind::Wait(resumed) => node.branch.is_none_or(|branch| branch == resumed),
                Kind::Call(_) | Kind::Delay | Kind::Loop(..) => true,
            };
            runs[*parent] && taken
        };
        let run = node.parents.is_empty() || node.parents.iter().any(is_live);
        runs.push(run);
        match &node.kind {
            Kind::Call(is_tolerated) if run => places.push(Place {
                path: format!("{prefix}/{}{indices}", node.id),
                is_tolerated: *is_tolerated,
            }),
            Kind::Loop(count, inner) if run => {
                for index in 0..*count {
                    visit(inner, prefix, &format!("{indices}/{index}"), places);
                }
            }
            Kind::If(_) | Kind::Wait(_) | Kind::Delay | Kind::Call(_) | Kind::Loop(..) => {}
        }
    }
}
