//! What the latest definition may change under a run.

use super::{definition, record};
use crate::plan::{Choices, Report, State, compatibility, plan};

const OWN: &str = "root:manual > if; if:if > a/then b/else; a:log > c; b:log; c:log";

/// The report about `latest` for a run of [`OWN`] that took `then` and stopped at `c`.
fn report(latest: &str, choices: &Choices) -> Report {
    let (own, latest) = (definition(OWN), definition(latest));
    let words = "root=success if=success/then a=success b=skipped c=failure";
    let records: Vec<_> = words
        .split_whitespace()
        .map(|text| record(&own, text))
        .collect();
    let states = [State::new(&own, &records), State::new(&latest, &records)];
    let root = own.find("root").unwrap();
    let own_plan = plan(&own, root, &states[0], choices).unwrap();
    let root = latest.find("root").unwrap();
    let latest_plan = plan(&latest, root, &states[1], choices).unwrap();
    compatibility(
        (&own, &own_plan),
        &states[0],
        (&latest, &latest_plan),
        "root",
    )
}

fn blocking(latest: &str) -> String {
    report(latest, &Choices::default()).blocking.join("; ")
}

#[test]
fn only_the_branch_that_was_taken_has_to_stay() {
    let without_else = "root:manual > if; if:if > a/then; a:log > c; c:log";
    assert_eq!(blocking(without_else), "");
    let turned = "root:manual > if; if:if > a/else b/then; a:log > c; b:log; c:log";
    assert_eq!(blocking(turned), "");
    let without_then = "root:manual > if a; if:if > b/else; a:log > c; b:log; c:log";
    let message = blocking(without_then);
    assert!(
        message.contains("`if` has lost the branch that it took, then"),
        "{message}"
    );
}

#[test]
fn a_reused_node_has_to_stay_what_it_was() {
    let gone = blocking("root:manual > if; if:if > x/then b/else; x:log > c; b:log; c:log");
    assert!(gone.contains("`a` is gone"), "{gone}");
    let other = blocking("root:manual > if; if:if > a/then b/else; a:regex > c; b:log; c:log");
    assert!(other.contains("`a` is of type regex"), "{other}");
    let failed_one_gone = "root:manual > if; if:if > a/then b/else; a:log > d; b:log; d:log";
    assert_eq!(blocking(failed_one_gone), "");
}

#[test]
fn what_runs_again_need_not_stay() {
    let gone = "root:manual > if; if:if > x/then b/else; x:log > c; b:log; c:log";
    let all = Choices {
        all: true,
        ..Choices::default()
    };
    assert_eq!(report(gone, &all).blocking, Vec::<String>::new());
}

#[test]
fn a_new_node_above_a_reused_one_is_a_warning() {
    let latest = "root:manual > n if; n:log > a; if:if > a/then b/else; a:log > c; b:log; c:log";
    let found = report(latest, &Choices::default());
    assert_eq!(found.blocking, Vec::<String>::new());
    assert!(found.warnings[0].contains("`n` runs although `a` below it is reused"));
}
