//! The table in `docs/retry.md` says what the planner says. Written anew by the test's failure.

use serde_json::{Value, json};

use crate::{
    domain::{EffectState, NodeRecord, NodeStatus},
    plan::{Choices, State, Verdict, plan},
    workflow::{Definition, DefinitionLimits},
};

const DOC: &str = include_str!("../../../docs/retry.md");

/// Where a node stands: the column's title, the nodes around it, their records, and its path.
const PLACES: [(&str, &str, &str, &str); 7] = [
    ("reached", r#""root":["n"]"#, "", "n"),
    (
        "branch decided anew",
        r#""root":["if"],"if":["n"]"#,
        "if=failure",
        "n",
    ),
    (
        "branch not taken",
        r#""root":["if"],"if":["n"]"#,
        "if=success/else",
        "n",
    ),
    ("not reachable", r#""root":[],"hook":["n"]"#, "", "n"),
    ("named", r#""root":["n"]"#, "", "n"),
    (
        "in a loop that runs",
        r#""root":["each"]"#,
        "each=partial",
        "each[0].n",
    ),
    (
        "in a loop that is reused",
        r#""root":["each"]"#,
        "each=success",
        "each[0].n",
    ),
];

/// What is known of a node: the row's title, its status, its kind, and the last of its effect.
const STATES: [(&str, &str, &str, &str); 13] = [
    ("no record, or `pending`", "", "pay", ""),
    ("`running`, no effects", "running", "log", ""),
    ("`running`, with effects", "running", "pay", "in_flight"),
    ("`success`", "success", "pay", "succeeded"),
    ("`partial` (a loop)", "partial", "for-each", ""),
    ("`failure`", "failure", "pay", "failed"),
    ("`failure`, tolerated", "failure", "pay!", "failed"),
    ("`failure`, in doubt", "failure", "pay", "in_doubt"),
    ("`skipped`", "skipped", "pay", ""),
    ("`waiting`", "waiting", "wait", ""),
    ("`scheduled`", "scheduled", "delay", ""),
    ("`cancelled`", "cancelled", "pay", "failed"),
    ("`cancelled`, in doubt", "cancelled", "pay", "in_doubt"),
];

fn definition(edges: &str, kind: &str) -> Definition {
    let edges: Value = serde_json::from_str(&format!("{{{edges}}}")).unwrap();
    let children = |id: &str| edges.get(id).cloned().unwrap_or_else(|| json!([]));
    let mut n = json!({ "type": kind.trim_end_matches('!'), "branch": "then", "payload": {} });
    if kind.ends_with('!') {
        n["onError"] = "continue".into();
    }
    let mut nodes = json!({
        "root": { "type": "manual", "children": children("root") },
        "hook": { "type": "webhook", "children": children("hook") },
        "if": { "type": "if", "children": children("if") },
        "each": { "type": "for-each", "loopBody": [] },
        "n": n,
    });
    if edges["root"] == json!(["each"]) {
        nodes["each"]["loopBody"] = json!(["n"]);
    }
    let value = json!({ "triggerNodeIds": ["root", "hook"], "nodes": nodes });
    Definition::parse(&value, &DefinitionLimits::default()).unwrap()
}

fn record(path: &str, kind: &str, status: &str) -> NodeRecord {
    let (status, branch) = status.split_once('/').unwrap_or((status, ""));
    let status = NodeStatus::parse(status).unwrap();
    let mut record = NodeRecord::new(path.parse().unwrap(), kind, status);
    record.branch = Some(branch.to_owned()).filter(|branch| !branch.is_empty());
    if path == "each" {
        record.input = Some(crate::domain::JsonText::trusted(r#"{"array":[1]}"#));
    }
    record
}

fn cell(place: (&str, &str, &str, &str), state: (&str, &str, &str, &str)) -> String {
    let ((title, edges, around, path), (_, status, kind, last)) = (place, state);
    let definition = definition(edges, kind);
    let mut records = vec![record("root", "manual", "success")];
    if let Some((id, status)) = around.split_once('=') {
        records.push(record(id, id, status));
    }
    if !status.is_empty() {
        let mut n = record(path, kind.trim_end_matches('!'), status);
        if !last.is_empty() {
            let effect = json!({ "generation": 1, "last": last, "doubted": last == "in_doubt" });
            n.effect = Some(serde_json::from_value::<EffectState>(effect).unwrap());
        }
        records.push(n);
    }
    let choices = Choices {
        from: (title == "named").then(|| "n".parse().unwrap()),
        ..Choices::default()
    };
    let root = definition.find("root").unwrap();
    let plan = plan(
        &definition,
        root,
        &State::new(&definition, &records),
        &choices,
    );
    let Ok(plan) = plan else {
        return "refused".to_owned();
    };
    let mut lines = plan.nodes.iter();
    let line = lines.find(|line| line.path.to_string() == path);
    let Some(line) = line else {
        return "-".to_owned();
    };
    let word = match line.verdict {
        Verdict::Reuse => "reuse",
        Verdict::InDoubt => "in doubt",
        Verdict::Execute => "execute",
        Verdict::Skip => "skip",
    };
    let mark = if line.conditional { " ?" } else { "" };
    format!("{word}{mark}")
}

#[test]
fn the_documented_table_is_what_the_planner_says() {
    let titles: Vec<_> = PLACES.iter().map(|place| place.0).collect();
    let mut table = format!("| state of the node | {} |\n|---|", titles.join(" | "));
    table.push_str(&"---|".repeat(PLACES.len()));
    table.push('\n');
    for state in STATES {
        let cells: Vec<_> = PLACES.iter().map(|place| cell(*place, state)).collect();
        table += &["| ", state.0, " | ", &cells.join(" | "), " |\n"].concat();
    }
    assert!(
        DOC.contains(&table),
        "docs/retry.md must hold this table:\n{table}"
    );
}
