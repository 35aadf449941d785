//! Random definitions and random states of their runs, the same ones for the same seed.

use std::collections::VecDeque;

use serde_json::{Map, Value, json};

use super::oracle::{World, run};

/// Small, and good enough for choices: splitmix64.
pub(super) struct Dice(u64);

impl Dice {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15))
    }

    /// A number below `end`.
    pub(super) fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        usize::try_from((mixed ^ (mixed >> 31)) % end as u64).unwrap()
    }

    pub(super) fn percent(&mut self, chance: usize) -> bool {
        self.below(100) < chance
    }

    pub(super) fn pick<T: Clone>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())].clone()
    }

    fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.below(last + 1));
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Trigger,
    /// Its condition holds, or not, or can't be resolved.
    If(Option<bool>),
    /// Whether its message can be resolved.
    Log(bool),
    Delay,
    Set,
    Http(&'static str, &'static str),
}

#[derive(Debug, Clone)]
pub(super) struct Spec {
    pub(super) id: String,
    pub(super) kind: Kind,
    pub(super) children: Vec<usize>,
    pub(super) parents: Vec<usize>,
    pub(super) branch: Option<&'static str>,
    pub(super) tolerated: bool,
}

/// What a run's state holds of a node.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Stored {
    pub(super) status: &'static str,
    pub(super) branch: Option<&'static str>,
    /// It sent something, and nobody knows what became of it.
    pub(super) doubt: bool,
    /// The body that it sent.
    pub(super) body: Option<String>,
}

#[derive(Debug, Clone)]
pub(super) struct Case {
    pub(super) seed: u64,
    pub(super) nodes: Vec<Spec>,
    /// The order of the definition's text.
    pub(super) written: Vec<usize>,
    /// Delays take time: siblings overtake them, so the order of the calls is open.
    pub(super) slow: bool,
    pub(super) start: World,
}

const STATUSES: [&str; 8] = [
    "success",
    "failure",
    "pending",
    "skipped",
    "running",
    "cancelled",
    "waiting",
    "scheduled",
];

impl Case {
    pub(super) fn new(seed: u64) -> Self {
        let dice = &mut Dice::new(seed);
        let slow = dice.percent(25);
        let nodes = nodes(dice, slow);
        let mut written: Vec<_> = (0..nodes.len()).collect();
        dice.shuffle(&mut written);
        let mut case = Self {
            seed,
            written,
            slow,
            start: World::empty(nodes.len()),
            nodes,
        };
        if dice.percent(50) {
            case.stop_somewhere(dice);
        } else {
            case.anything_goes(dice);
        }
        case.start.log = case
            .written
            .iter()
            .copied()
            .filter(|&ix| case.nodes[ix].kind == Kind::Set)
            .filter(|&ix| case.start.state[ix].status == "success")
            .collect();
        case.start.answers = case
            .nodes
            .iter()
            .map(|node| case_answers(dice, !slow || node.tolerated))
            .collect();
        case
    }

    /// A state that a run can really stop in.
    fn stop_somewhere(&mut self, dice: &mut Dice) {
        self.start.answers = self
            .nodes
            .iter()
            .map(|_| case_answers(dice, true))
            .collect();
        let steps = dice.below(self.nodes.len() + 1);
        let prediction = run(self, &mut self.start.clone(), Some(steps));
        self.start.state = prediction.state;
        if let Some(ix) = prediction.stopped_at {
            let status = dice.pick(&["running", "cancelled", "failure", "waiting", "scheduled"]);
            self.start.state[ix] = self.stored(dice, ix, status);
        }
    }

    fn anything_goes(&mut self, dice: &mut Dice) {
        for ix in 1..self.nodes.len() {
            let status = dice.pick(&STATUSES);
            self.start.state[ix] = self.stored(dice, ix, status);
        }
    }

    fn stored(&self, dice: &mut Dice, ix: usize, status: &'static str) -> Stored {
        let is_http = matches!(self.nodes[ix].kind, Kind::Http(..));
        let is_if = matches!(self.nodes[ix].kind, Kind::If(_));
        let chance = if status == "success" { 0 } else { 25 };
        let doubt = is_http && (status == "running" || dice.percent(chance));
        let body = json!({ "stored": self.nodes[ix].id }).to_string();
        Stored {
            status,
            branch: (is_if && status == "success").then(|| dice.pick(&["then", "else"])),
            doubt,
            body: (doubt && dice.percent(80)).then_some(body),
        }
    }

    pub(super) fn run_id(&self) -> String {
        format!("run_mixture_{}", self.seed)
    }

    pub(super) fn path(&self, ix: usize) -> String {
        format!("/c{}/{}", self.seed, self.nodes[ix].id)
    }

    /// The run as another platform would show it.
    pub(super) fn import(&self, base: &str) -> Value {
        let entry = |ix: &usize| (self.nodes[*ix].id.clone(), self.definition_of(*ix, base));
        let nodes: Map<_, _> = self.written.iter().map(entry).collect();
        let mut state = Map::new();
        for &ix in &self.written {
            let record = self.record(ix, base);
            if !record.is_null() {
                state.insert(self.nodes[ix].id.clone(), record);
            }
        }
        let triggers = self.nodes.iter().filter(|node| node.kind == Kind::Trigger);
        let triggers: Vec<_> = triggers.map(|node| &node.id).collect();
        json!({
            "id": self.run_id(),
            "status": if self.seed.is_multiple_of(3) { "cancelled" } else { "failure" },
            "triggerNodeId": "n0",
            "workflowDefinition": {
                "triggerNodeIds": triggers,
                "variableDefs": [{ "name": "v", "type": "text", "default": "start", "lifetime": "reset" }],
                "nodes": nodes
            },
            "executionState": state
        })
    }

    fn definition_of(&self, ix: usize, base: &str) -> Value {
        let node = &self.nodes[ix];
        let (kind, payload) = match node.kind {
            Kind::Trigger => ("manual", json!({})),
            Kind::If(holds) => {
                let name = if holds.is_some() { "yes" } else { "missing" };
                let left = format!("{{{{root.{name}}}}}");
                let right = holds.unwrap_or(true);
                (
                    "if",
                    json!({ "condition": { "$and": [{ left: { "$eq": right } }] } }),
                )
            }
            Kind::Log(true) => ("log", json!({ "message": "{{root.yes}}" })),
            Kind::Log(false) => ("log", json!({ "message": "{{root.missing}}" })),
            Kind::Delay => ("delay", json!({ "delayMs": u8::from(self.slow) })),
            Kind::Set => ("set-variable", json!({ "name": "v", "value": node.id })),
            Kind::Http(method, _) => {
                let of =
                    |&parent: &usize| format!("{{{{$nodes.{}.status}}}}", self.nodes[parent].id);
                let of: Vec<_> = node.parents.iter().map(of).collect();
                let body = json!({ "n": node.id, "of": of, "v": "{{$vars.v}}" });
                let url = format!("{base}{}", self.path(ix));
                (
                    "http-request",
                    json!({ "url": url, "method": method, "body": body }),
                )
            }
        };
        let children = node.children.iter().map(|&child| &self.nodes[child].id);
        let mut value = json!({
            "type": kind, "payload": payload, "children": children.collect::<Vec<_>>()
        });
        if let Some(branch) = node.branch {
            value["branch"] = branch.into();
        }
        if node.tolerated {
            value["onError"] = "continue".into();
        }
        if let Kind::Http(_, "unsafe") = node.kind {
            value["sideEffects"] = "unsafe".into();
        }
        value
    }

    fn record(&self, ix: usize, base: &str) -> Value {
        let (node, stored) = (&self.nodes[ix], &self.start.state[ix]);
        let kind = self.definition_of(ix, base)["type"].take();
        if stored.status == "pending" && !stored.doubt && self.seed.is_multiple_of(2) {
            return Value::Null;
        }
        let mut value = json!({ "type": kind, "status": stored.status, "context": { "of": ix } });
        match (stored.status, node.kind) {
            ("success", Kind::Trigger) => value["result"] = json!({ "yes": true }),
            ("success", Kind::If(_)) => value["result"] = json!({ "branch": stored.branch }),
            ("success", Kind::Set) => {
                value["result"] = json!({ "name": "v", "oldValue": null, "newValue": node.id });
            }
            ("success", _) => {
                value["input"] = json!({ "was": node.id });
                value["result"] = json!({ "status": 200, "was": node.id });
            }
            ("failure", _) => {
                value["error"] = json!({ "class": "transient", "code": "x", "message": "m" });
            }
            _ => {}
        }
        if let Some(body) = &stored.body {
            let Kind::Http(method, _) = node.kind else {
                panic!("only http nodes send")
            };
            let body: Value = serde_json::from_str(body).unwrap();
            let url = format!("{base}{}", self.path(ix));
            value["input"] = json!({ "url": url, "method": method, "body": body });
        }
        if stored.doubt {
            match stored.status {
                "running" => {}
                "failure" | "cancelled" => value["error"] = json!({ "class": "in_doubt" }),
                _ => {
                    value["effect"] =
                        json!({ "generation": 1, "last": "in_flight", "doubted": true });
                }
            }
        }
        value
    }
}

fn case_answers(dice: &mut Dice, may_fail: bool) -> VecDeque<u16> {
    if !may_fail || dice.percent(75) {
        return VecDeque::new();
    }
    (0..=dice.below(2))
        .map(|_| dice.pick(&[503, 500, 400]))
        .collect()
}

fn nodes(dice: &mut Dice, slow: bool) -> Vec<Spec> {
    let triggers = if dice.percent(25) { 2 } else { 1 };
    let count = triggers + 2 + dice.below(10);
    let mut nodes: Vec<Spec> = Vec::new();
    for ix in 0..count {
        let mut parents = Vec::new();
        if ix >= triggers {
            for _ in 0..=dice.below(3) {
                let parent = dice.below(ix);
                if !parents.contains(&parent) {
                    parents.push(parent);
                }
            }
        }
        let below_if = parents
            .iter()
            .any(|&parent| matches!(nodes[parent].kind, Kind::If(_)));
        let branches = [Some("then"), Some("else"), None];
        let tolerated = ix >= triggers && dice.percent(20);
        for &parent in &parents {
            nodes[parent].children.push(ix);
        }
        nodes.push(Spec {
            id: format!("n{ix}"),
            kind: if ix < triggers {
                Kind::Trigger
            } else {
                kind(dice, slow, tolerated)
            },
            children: Vec::new(),
            branch: if below_if { dice.pick(&branches) } else { None },
            parents,
            tolerated,
        });
    }
    for node in &mut nodes {
        dice.shuffle(&mut node.children);
    }
    nodes
}

fn kind(dice: &mut Dice, slow: bool, tolerated: bool) -> Kind {
    // What fails stops the run, and what then ran before depends on who overtook whom.
    let works = dice.percent(90) || (slow && !tolerated);
    match dice.below(100) {
        0..25 => Kind::If(works.then(|| dice.percent(50))),
        25..35 => Kind::Log(works),
        35..45 => Kind::Delay,
        45..55 if !slow => Kind::Set,
        55..60 => Kind::Http("POST", "unsafe"),
        60..75 => Kind::Http("PUT", "idempotent"),
        _ => Kind::Http("POST", "assumed"),
    }
}
