//! Random definitions with loops inside loops, branches, joins and tolerated failures, and what a
//! run of one must call in all, however often it is interrupted.

use serde_json::{Map, Value, json};

use crate::support::dice::Dice;

/// What a node does.
#[derive(Debug)]
pub(super) enum Kind {
    /// Takes the branch.
    If(bool),
    /// Calls the target; whether its failure is tolerated.
    Call(bool),
    /// Repeats its body so often.
    Loop(usize, Body),
}

#[derive(Debug)]
pub(super) struct Node {
    pub(super) id: String,
    pub(super) kind: Kind,
    /// Places in the same body.
    parents: Vec<usize>,
    branch: Option<bool>,
}

/// Nodes that run together; parents stand before their children.
#[derive(Debug, Default)]
pub(super) struct Body(Vec<Node>);

#[derive(Debug)]
pub(super) struct Case {
    pub(super) seed: u64,
    body: Body,
}

/// A call that has to be made: its path on the target, and whether its failure is tolerated.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    pub(super) path: String,
    pub(super) is_tolerated: bool,
}

impl Case {
    pub(super) fn new(seed: u64) -> Self {
        let mut dice = Dice(seed);
        let mut count = 0;
        let body = body(&mut dice, &mut count, 0);
        Self { seed, body }
    }

    pub(super) fn definition(&self, base: &str) -> Value {
        let mut nodes = Map::new();
        let roots = self.body.0.iter().filter(|node| node.parents.is_empty());
        let roots: Vec<_> = roots.map(|node| node.id.clone()).collect();
        nodes.insert(
            "root".to_owned(),
            json!({ "type": "manual", "children": roots }),
        );
        let prefix = format!("{base}/s{}", self.seed);
        write(&self.body, &mut nodes, &prefix, "");
        json!({ "triggerNodeIds": ["root"], "nodes": nodes })
    }

    /// Every call of a run that nothing interrupts.
    pub(super) fn places(&self) -> Vec<Place> {
        let mut places = Vec::new();
        visit(&self.body, &format!("/s{}", self.seed), "", &mut places);
        places.sort();
        places
    }
}

fn body(dice: &mut Dice, count: &mut usize, depth: usize) -> Body {
    let mut nodes: Vec<Node> = Vec::new();
    for place in 0..=dice.below(5) {
        let mut parents = Vec::new();
        for _ in 0..dice.below(3) {
            if place > 0 {
                let parent = dice.below(place);
                if !parents.contains(&parent) {
                    parents.push(parent);
                }
            }
        }
        let is_below_if = parents
            .iter()
            .any(|parent| matches!(nodes[*parent].kind, Kind::If(_)));
        let branch = (is_below_if && dice.below(3) > 0).then(|| dice.below(2) == 0);
        *count += 1;
        let id = format!("n{count}");
        let kind = match dice.below(10) {
            0..2 => Kind::If(dice.below(2) == 0),
            2..5 if depth < 3 => Kind::Loop(dice.below(4), body(dice, count, depth + 1)),
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
            value["branch"] = if branch { "then" } else { "else" }.into();
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
                Kind::Call(_) | Kind::Loop(..) => true,
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
            Kind::If(_) | Kind::Call(_) | Kind::Loop(..) => {}
        }
    }
}
