//! Every verdict and every reason, at every place where a node can stand.
//!
//! Graphs are written `node:kind > child child/branch`, with `!` behind the kind of a node whose
//! failure is tolerated and `#unsafe` behind one that is declared so. States are written
//! `node=status`, with `/branch` for what was taken and `~last` for what is known of an effect.
//! Plans read `node=verdict:reason`, with `?` where it is conditional and `<parent` where stale.

mod report;
mod table;

use serde_json::{Map, Value, json};

use super::{Choices, State, plan};
use crate::{
    domain::{EffectState, NodeRecord, NodeStatus},
    workflow::{Definition, DefinitionLimits},
};

fn definition(graph: &str) -> Definition {
    let mut nodes = Map::new();
    let mut branches = Vec::new();
    for line in graph.split(';') {
        let (head, children) = line.split_once('>').unwrap_or((line, ""));
        let (id, kind) = head.trim().split_once(':').unwrap();
        let (kind, declared) = kind.split_once('#').unwrap_or((kind, ""));
        let mut node = json!({ "type": kind.trim_end_matches('!'), "payload": {} });
        if kind.ends_with('!') {
            node["onError"] = "continue".into();
        }
        if !declared.is_empty() {
            node["sideEffects"] = declared.into();
        }
        let mut ids = Vec::new();
        for child in children.split_whitespace() {
            let (child, branch) = child.split_once('/').unwrap_or((child, ""));
            ids.push(child);
            if !branch.is_empty() {
                branches.push((child, branch));
            }
        }
        node["children"] = ids.into();
        nodes.insert(id.to_owned(), node);
    }
    for (child, branch) in branches {
        nodes[child]["branch"] = branch.into();
    }
    let is_manual = |node: &&String| nodes[*node]["type"] == "manual";
    let triggers: Vec<_> = nodes.keys().filter(is_manual).cloned().collect();
    let value = json!({ "triggerNodeIds": triggers, "nodes": nodes });
    Definition::parse(&value, &DefinitionLimits::default()).unwrap()
}

fn record(definition: &Definition, text: &str) -> NodeRecord {
    let (text, last) = text.split_once('~').unwrap_or((text, ""));
    let (text, branch) = text.split_once('/').unwrap_or((text, ""));
    let (id, status) = text.split_once('=').unwrap();
    let kind = definition
        .find(id)
        .map_or("gone", |ix| &definition.node(ix).kind);
    let status = NodeStatus::parse(status).unwrap();
    let mut record = NodeRecord::new(id.parse().unwrap(), kind, status);
    record.branch = Some(branch.to_owned()).filter(|branch| !branch.is_empty());
    if !last.is_empty() {
        let doubted = last.ends_with('+') || last == "in_doubt";
        let effect = json!({
            "generation": 1, "last": last.trim_end_matches('+'), "doubted": doubted
        });
        record.effect = Some(serde_json::from_value::<EffectState>(effect).unwrap());
    }
    record
}

fn word(value: impl serde::Serialize) -> String {
    let Value::String(word) = json!(value) else {
        panic!("not a word")
    };
    word
}

/// The plan without the trigger's line.
fn planned(graph: &str, stopped: &str) -> String {
    let definition = definition(graph);
    let records: Vec<_> = stopped
        .split_whitespace()
        .map(|text| record(&definition, text))
        .collect();
    let trigger = definition.find("root").unwrap();
    let state = State::new(&definition, &records);
    let plan = plan(&definition, trigger, &state, &Choices::default()).unwrap();
    assert_eq!(plan.nodes[0].path.to_string(), "root");
    assert_eq!(word(plan.nodes[0].reason), "trigger");
    let lines = plan.nodes[1..].iter().map(|line| {
        format!(
            "{}={}:{}{}{}{}",
            line.path,
            word(line.verdict),
            word(line.reason),
            if line.conditional { "?" } else { "" },
            if line.stale.is_empty() { "" } else { "<" },
            line.stale.join(",")
        )
    });
    lines.collect::<Vec<_>>().join(" ")
}

fn check(graph: &str, table: &[(&str, &str)]) {
    for (state, expected) in table {
        let state = format!("root=success {state}");
        assert_eq!(&planned(graph, &state), expected, "{graph} with {state}");
    }
}

#[test]
fn every_status_of_a_node_that_is_reached() {
    check(
        "root:manual > n; n:log",
        &[
            ("", "n=execute:never_started"),
            ("n=pending", "n=execute:never_started"),
            ("n=running", "n=execute:interrupted"),
            ("n=success", "n=reuse:succeeded"),
            ("n=partial", "n=execute:failed"),
            ("n=failure", "n=execute:failed"),
            ("n=skipped", "n=reuse:stays_skipped"),
            ("n=waiting", "n=execute:was_waiting"),
            ("n=scheduled", "n=execute:was_waiting"),
            ("n=cancelled", "n=execute:cancelled"),
            ("n=success gone=failure", "n=reuse:succeeded"),
        ],
    );
}

#[test]
fn a_tolerated_failure_is_kept_and_nothing_else_of_such_a_node() {
    check(
        "root:manual > n; n:http-request! > m; m:log",
        &[
            (
                "n=failure",
                "n=reuse:tolerated_failure m=execute:never_started",
            ),
            (
                "n=failure~in_doubt",
                "n=reuse:tolerated_failure m=execute:never_started",
            ),
            ("n=cancelled", "n=execute:cancelled m=execute:never_started"),
            (
                "n=running~in_flight m=success",
                "n=in_doubt:outcome_unknown m=reuse:succeeded<n",
            ),
        ],
    );
}

#[test]
fn an_effect_without_outcome_is_in_doubt_whatever_the_status() {
    check(
        "root:manual > n; n:http-request",
        &[
            ("n=running~in_flight", "n=in_doubt:outcome_unknown"),
            ("n=pending~in_flight", "n=in_doubt:outcome_unknown"),
            ("n=pending~in_doubt", "n=in_doubt:outcome_unknown"),
            ("n=failure~in_doubt", "n=in_doubt:outcome_unknown"),
            ("n=cancelled~in_doubt", "n=in_doubt:outcome_unknown"),
            ("n=scheduled~failed+", "n=in_doubt:outcome_unknown"),
            ("n=waiting~failed+", "n=in_doubt:outcome_unknown"),
            // A later answer says nothing about the first call.
            ("n=failure~failed+", "n=in_doubt:outcome_unknown"),
            ("n=failure~rejected+", "n=in_doubt:outcome_unknown"),
            ("n=failure~failed", "n=execute:failed"),
            ("n=failure~rejected", "n=execute:failed"),
            ("n=cancelled~unsent", "n=execute:cancelled"),
            ("n=pending~failed", "n=execute:never_started"),
            // A recorded success is one.
            ("n=success~succeeded+", "n=reuse:succeeded"),
            ("n=success~in_flight", "n=reuse:succeeded"),
        ],
    );
}

#[test]
fn a_node_without_effects_is_never_in_doubt() {
    let table = [
        ("n=running~in_flight", "n=execute:interrupted"),
        ("n=failure~in_doubt", "n=execute:failed"),
    ];
    check("root:manual > n; n:log", &table);
    check("root:manual > n; n:http-request#none", &table);
}

#[test]
fn below_a_branch_that_is_reused() {
    check(
        "root:manual > if; if:if > a/then b/else c; a:http-request > a2; a2:log; b:log > b2; \
         b2:log; c:log",
        &[
            (
                "if=success/then",
                "if=reuse:succeeded a=execute:never_started a2=execute:never_started \
                 b=skip:branch_not_taken b2=skip:branch_not_taken c=execute:never_started",
            ),
            (
                "if=success/else a=failure a2=success b=failure b2=skipped c=skipped",
                "if=reuse:succeeded a=skip:branch_not_taken a2=reuse:succeeded b=execute:failed \
                 b2=execute:decided_anew c=reuse:stays_skipped",
            ),
            (
                "if=success/then a=skipped b=skipped b2=pending",
                "if=reuse:succeeded a=reuse:stays_skipped a2=skip:branch_not_taken \
                 b=reuse:stays_skipped b2=skip:branch_not_taken c=execute:never_started",
            ),
            // What can't run is not repeated, whatever it left behind.
            (
                "if=success/else a=running~in_flight b=success c=success",
                "if=reuse:succeeded a=skip:branch_not_taken a2=skip:branch_not_taken \
                 b=reuse:succeeded b2=execute:never_started c=reuse:succeeded",
            ),
            // It took no branch that is known.
            (
                "if=success c=success",
                "if=reuse:succeeded a=skip:branch_not_taken a2=skip:branch_not_taken \
                 b=skip:branch_not_taken b2=skip:branch_not_taken c=reuse:succeeded",
            ),
        ],
    );
}

#[test]
fn below_a_branch_that_is_decided_anew() {
    check(
        "root:manual > if; if:if > a/then b/else c; a:http-request > a2; a2:log; b:log > b2; \
         b2:log; c:log",
        &[
            (
                "if=failure/then",
                "if=execute:failed a=execute:never_started? a2=execute:never_started? \
                 b=execute:never_started? b2=execute:never_started? c=execute:never_started",
            ),
            (
                "if=cancelled a=success a2=failure b=skipped b2=skipped c=success",
                "if=execute:cancelled a=reuse:succeeded<if a2=execute:failed \
                 b=execute:decided_anew? b2=execute:decided_anew? c=reuse:succeeded<if",
            ),
            (
                "if=running a=failure~in_doubt a2=success b=success b2=skipped c=skipped",
                "if=execute:interrupted a=in_doubt:outcome_unknown? a2=reuse:succeeded<a \
                 b=reuse:succeeded<if b2=reuse:stays_skipped c=execute:decided_anew",
            ),
            // Skipped, and an earlier run does not know what it did.
            (
                "if=failure a=skipped~in_doubt a2=skipped b=success c=success",
                "if=execute:failed a=in_doubt:outcome_unknown? a2=execute:decided_anew? \
                 b=reuse:succeeded<if b2=execute:never_started c=reuse:succeeded<if",
            ),
        ],
    );
}

#[test]
fn a_branch_below_a_branch() {
    check(
        "root:manual > if; if:if > in/then o/else; in:if > x; x:log; o:log",
        &[(
            "if=failure in=success/then x=skipped",
            "if=execute:failed in=reuse:succeeded<if x=reuse:stays_skipped \
             o=execute:never_started?",
        )],
    );
    check(
        "root:manual > if; if:if! > in/then o/else p; in:log; o:log; p:log",
        &[(
            // It failed tolerated: no branch, whatever an old record says.
            "if=failure/then o=skipped",
            "if=reuse:tolerated_failure in=skip:branch_not_taken o=reuse:stays_skipped \
             p=execute:never_started",
        )],
    );
}

#[test]
fn joins_run_when_any_edge_is_live() {
    check(
        "root:manual > if s; if:if > a/then b/else; a:log > j; b:log > j; s:log > j; j:log",
        &[
            (
                "if=failure s=success",
                "if=execute:failed a=execute:never_started? b=execute:never_started? \
                 s=reuse:succeeded j=execute:never_started",
            ),
            (
                "if=failure s=skipped",
                "if=execute:failed a=execute:never_started? b=execute:never_started? \
                 s=reuse:stays_skipped j=execute:never_started?",
            ),
            (
                "if=success/then a=failure b=skipped s=skipped",
                "if=reuse:succeeded a=execute:failed b=reuse:stays_skipped \
                 s=reuse:stays_skipped j=execute:never_started",
            ),
            (
                "if=success/then a=skipped b=skipped s=skipped",
                "if=reuse:succeeded a=reuse:stays_skipped b=reuse:stays_skipped \
                 s=reuse:stays_skipped j=skip:branch_not_taken",
            ),
            (
                "if=success/then a=failure b=skipped s=failure j=success",
                "if=reuse:succeeded a=execute:failed b=reuse:stays_skipped s=execute:failed \
                 j=reuse:succeeded<a,s",
            ),
            (
                "if=success/then a=success b=skipped s=success j=failure",
                "if=reuse:succeeded a=reuse:succeeded b=reuse:stays_skipped s=reuse:succeeded \
                 j=execute:failed",
            ),
        ],
    );
}

#[test]
fn a_success_below_a_stale_one_is_stale_itself() {
    check(
        "root:manual > a; a:log > b; b:log > c; c:log > d; d:log",
        &[(
            "a=failure b=success c=success d=pending",
            "a=execute:failed b=reuse:succeeded<a c=reuse:succeeded<b d=execute:never_started",
        )],
    );
}

#[test]
fn what_another_trigger_leads_to_is_not_run() {
    // `t` stands first: the order of the text does not decide.
    check(
        "t:manual > x y; root:manual > n; n:log > j; x:log > j; y:http-request! > z; z:log; j:log",
        &[
            (
                "",
                "n=execute:never_started j=execute:never_started t=skip:unreachable \
                 x=skip:unreachable y=skip:unreachable z=skip:unreachable",
            ),
            (
                "n=failure t=success x=success y=running~in_flight z=cancelled",
                "n=execute:failed j=execute:never_started t=reuse:succeeded x=reuse:succeeded \
                 y=skip:unreachable z=skip:unreachable",
            ),
            // The live edge of a parent that can't be reached carries nothing.
            (
                "n=skipped x=success",
                "n=reuse:stays_skipped j=skip:branch_not_taken t=skip:unreachable \
                 x=reuse:succeeded y=skip:unreachable z=skip:unreachable",
            ),
            // What applies first holds: reuse comes before skip.
            (
                "n=success j=failure t=skipped x=skipped y=failure z=skipped",
                "n=reuse:succeeded j=execute:failed t=reuse:stays_skipped \
                 x=reuse:stays_skipped y=reuse:tolerated_failure z=reuse:stays_skipped",
            ),
        ],
    );
}

#[test]
fn only_what_is_unsafe_and_in_doubt_needs_somebodys_word() {
    let graph = "root:manual > if a b c; if:if > d/then; a:http-request#unsafe; \
                 b:http-request; c:http-request#unsafe; d:http-request#unsafe";
    let definition = definition(graph);
    for (state, expected) in [
        (
            "a=running~in_flight b=running~in_flight c=failure~failed",
            "a",
        ),
        ("a=success~in_flight c=pending~in_doubt", "c"),
        ("if=success/else d=running~in_flight", ""),
        ("if=failure d=running~in_flight", "d"),
    ] {
        let records: Vec<_> = state
            .split_whitespace()
            .map(|text| record(&definition, text))
            .collect();
        let root = definition.find("root").unwrap();
        let state_of = State::new(&definition, &records);
        let plan = plan(&definition, root, &state_of, &Choices::default()).unwrap();
        let paths = plan.unconfirmed;
        let paths: Vec<_> = paths.iter().map(ToString::to_string).collect();
        assert_eq!(paths.join(" "), expected, "{state}");
    }
}

#[test]
fn promise_6_the_plan_is_a_pure_function_of_what_is_recorded() {
    let definition = definition("root:manual > a; a:log > b; b:log");
    let root = definition.find("root").unwrap();
    let text = |state: &str| {
        let records: Vec<_> = state
            .split_whitespace()
            .map(|text| record(&definition, text))
            .collect();
        let state = State::new(&definition, &records);
        plan(&definition, root, &state, &Choices::default())
            .unwrap()
            .to_text()
    };
    assert_eq!(text("a=success b=failure"), text("b=failure a=success"));
    assert_ne!(text("a=success b=failure"), text("a=failure b=failure"));
    assert_ne!(text("a=success"), text("a=success b=failure"));
}
