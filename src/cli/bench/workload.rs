//! What is retried: runs of a chain of nodes that failed somewhere in the middle.

use std::collections::HashMap;

use clap::ValueEnum;
use serde::Deserialize;
use serde_json::{Map, Value, json};

/// A shape of run, and what its nodes do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Workload {
    /// 10 nodes without effects, failed at the 6th
    W1,
    /// The same, and the five that are executed are effects: calls of a connector
    W1e,
    /// 100 nodes without effects, failed at the 51st
    W2,
    /// 10 nodes, failed at the 6th, which is one HTTP GET; the rest has no effects
    W3,
    /// W1 with a backlog of 100,000 retries in the lane `bulk`
    W4,
    /// W1 with 1 MB of state in the nodes that are reused
    W5,
}

/// The type of the effects: nobody's, so the connector gateway executes it.
const EFFECT: &str = "bench-effect";

/// What a node without effects left behind, but for W5.
const VALUE: &str = "abcdefghijklmnopqrstuvwxyz0123456789abcdefghijklmnopqrstuvwxyz0123456789";

impl Workload {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::W1 => "W1",
            Self::W1e => "W1e",
            Self::W2 => "W2",
            Self::W3 => "W3",
            Self::W4 => "W4",
            Self::W5 => "W5",
        }
    }

    /// How many nodes there are below the trigger.
    fn nodes(self) -> usize {
        if self == Self::W2 { 100 } else { 10 }
    }

    /// The number of the node that failed, from 1.
    fn failed_at(self) -> usize {
        self.nodes() / 2 + 1
    }

    /// Retries that wait in the lane `bulk` while others are measured, if nothing else is said.
    pub(super) fn backlog(self) -> usize {
        if self == Self::W4 { 100_000 } else { 0 }
    }

    /// Calls of the service that one retry makes.
    pub(super) fn calls(self) -> usize {
        match self {
            Self::W1e => self.nodes() + 1 - self.failed_at(),
            Self::W3 => 1,
            Self::W1 | Self::W2 | Self::W4 | Self::W5 => 0,
        }
    }

    /// A run that has failed, for an import. `service` is what its HTTP node calls.
    pub(super) fn failed_run(self, id: &str, service: &str) -> Value {
        let mut state = Map::new();
        state.insert("root".into(), success("manual", &json!({ "order": 1 })));
        for number in 1..self.failed_at() {
            let record = success("log", &self.result_of(number));
            state.insert(name(number), record);
        }
        let failed = json!({
            "type": self.kind_of(self.failed_at()),
            "status": "failure",
            "error": { "message": "the service answered 503", "class": "transient" },
        });
        state.insert(name(self.failed_at()), failed);
        json!({
            "id": id,
            "status": "failure",
            "triggerNodeId": "root",
            "workflowDefinition": self.definition(service),
            "executionState": state,
        })
    }

    fn definition(self, service: &str) -> Value {
        let mut nodes = Map::new();
        let root = json!({ "type": "manual", "payload": {}, "children": [name(1)] });
        nodes.insert("root".into(), root);
        for number in 1..=self.nodes() {
            let children: Vec<_> = (number < self.nodes())
                .then(|| name(number + 1))
                .into_iter()
                .collect();
            let node = json!({
                "type": self.kind_of(number),
                "payload": self.payload_of(number, service),
                "children": children,
            });
            nodes.insert(name(number), node);
        }
        json!({ "nodes": nodes })
    }

    fn kind_of(self, number: usize) -> &'static str {
        match self {
            Self::W1e if number >= self.failed_at() => EFFECT,
            Self::W3 if number == self.failed_at() => "http-request",
            Self::W1 | Self::W1e | Self::W2 | Self::W3 | Self::W4 | Self::W5 => "log",
        }
    }

    fn payload_of(self, number: usize, service: &str) -> Value {
        match self.kind_of(number) {
            "log" => {
                json!({ "message": format!("step {number} of order {{{{root.order}}}}: {VALUE}") })
            }
            "http-request" => json!({ "url": service, "method": "GET" }),
            _ => json!({ "step": number, "order": "{{root.order}}" }),
        }
    }

    fn result_of(self, number: usize) -> Value {
        let value = if self == Self::W5 {
            "x".repeat(1_000_000 / (self.failed_at() - 1))
        } else {
            VALUE.to_owned()
        };
        json!({ "node": number, "value": value })
    }

    /// What is wrong with the run of a retry, if anything.
    pub(super) fn problem(self, run: &Answered) -> Option<String> {
        if run.status != "success" {
            return Some(format!("it ended {}", run.status));
        }
        (1..=self.nodes()).find_map(|number| {
            let Some(node) = run.execution_state.get(&name(number)) else {
                return Some(format!("{} is missing", name(number)));
            };
            let is_reused = node.origin_run_id.is_some();
            let should_be = number < self.failed_at();
            let problem = if node.status != "success" {
                node.status.as_str()
            } else if is_reused == should_be {
                return None;
            } else if is_reused {
                "reused"
            } else {
                "executed again"
            };
            Some(format!("{} is {problem}", name(number)))
        })
    }
}

fn name(number: usize) -> String {
    format!("n{number}")
}

fn success(kind: &str, result: &Value) -> Value {
    json!({ "type": kind, "status": "success", "result": result })
}

/// What of an answered run is looked at.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Answered {
    pub(super) id: String,
    pub(super) status: String,
    execution_state: HashMap<String, AnsweredNode>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct AnsweredNode {
    status: String,
    origin_run_id: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answered(workload: Workload, reused: usize) -> Answered {
        let node = |number: usize| AnsweredNode {
            status: "success".to_owned(),
            origin_run_id: (number <= reused).then(|| "run_1".to_owned()),
        };
        Answered {
            id: "run_2".to_owned(),
            status: "success".to_owned(),
            execution_state: (1..=workload.nodes()).map(|n| (name(n), node(n))).collect(),
        }
    }

    #[test]
    fn a_run_that_executed_too_much_or_too_little_is_noticed() {
        assert_eq!(Workload::W1.problem(&answered(Workload::W1, 5)), None);
        assert_eq!(Workload::W2.problem(&answered(Workload::W2, 50)), None);
        let again = Workload::W1.problem(&answered(Workload::W1, 4));
        assert_eq!(again.unwrap(), "n5 is executed again");
        let skipped = Workload::W1.problem(&answered(Workload::W1, 6));
        assert_eq!(skipped.unwrap(), "n6 is reused");
        let mut short = answered(Workload::W1, 5);
        short.execution_state.remove("n10");
        assert_eq!(Workload::W1.problem(&short).unwrap(), "n10 is missing");
        short.status = "failure".to_owned();
        assert_eq!(Workload::W1.problem(&short).unwrap(), "it ended failure");
    }

    #[test]
    fn the_runs_are_what_their_names_say() {
        let run = Workload::W5.failed_run("run_1", "");
        let state = run["executionState"].as_object().unwrap();
        assert_eq!(state.len(), 7);
        let size = serde_json::to_string(state).unwrap().len();
        assert!((1_000_000..1_010_000).contains(&size), "{size}");
        let run = Workload::W1e.failed_run("run_1", "");
        let nodes = run["workflowDefinition"]["nodes"].as_object().unwrap();
        let effects = nodes.values().filter(|node| node["type"] == EFFECT);
        assert_eq!(effects.count(), Workload::W1e.calls());
    }
}
