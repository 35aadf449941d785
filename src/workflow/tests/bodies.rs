//! Loops: which nodes their bodies are, in which order, and what is no body.

use serde_json::{Map, Value, json};

use super::parse;
use crate::workflow::{Definition, DefinitionLimits};

/// `id:kind` or `id` (a log), `>` children, `[` body: `each:for-each > after [a b`.
fn definition(lines: &[&str]) -> Value {
    let mut nodes = Map::new();
    for line in lines {
        let (rest, body) = line.split_once('[').unwrap_or((line, ""));
        let (head, children) = rest.split_once('>').unwrap_or((rest, ""));
        let (id, kind) = head.trim().split_once(':').unwrap_or((head.trim(), "log"));
        let list = |text: &str| {
            text.split_whitespace()
                .map(str::to_owned)
                .collect::<Vec<_>>()
        };
        let mut node = json!({ "type": kind, "children": list(children) });
        if !body.is_empty() {
            node["loopBody"] = list(body).into();
        }
        nodes.insert(id.to_owned(), node);
    }
    json!({ "nodes": nodes })
}

fn order(definition: &Definition, id: &str) -> Vec<String> {
    let at = definition.find(id).unwrap();
    let body = definition.node(at).loop_body.unwrap();
    let order = definition.body(body).order.iter();
    order
        .map(|at| definition.node(*at).id.to_string())
        .collect()
}

#[test]
fn a_body_is_what_it_lists_and_what_is_reached_through_it() {
    let value = definition(&[
        "root:manual > each",
        "each:for-each > after [b a",
        "a > c",
        "b > c",
        "c > d",
        "d",
        "after",
    ]);
    let definition = parse(&value).unwrap();
    assert_eq!(order(&definition, "each"), ["b", "a", "c", "d"]);
    assert_eq!(
        definition.triggers().len(),
        1,
        "entries of a body are no triggers"
    );
    let at = |id: &str| definition.find(id).unwrap();
    assert!(
        definition.is_ancestor(at("each"), at("d")) && definition.is_ancestor(at("root"), at("d"))
    );
    assert!(definition.is_ancestor(at("a"), at("d")) && !definition.is_ancestor(at("a"), at("b")));
    assert!(!definition.is_ancestor(at("d"), at("after")));
    assert_eq!(definition.loop_around(at("d")), Some(at("each")));
}

#[test]
fn bodies_nest_and_may_list_what_is_inside_them() {
    let value = definition(&[
        "root:manual > outer",
        "outer:for-each > inner x [inner x",
        "inner:for-each [x",
        "x",
    ]);
    // An edge from a loop into its own body says what `loopBody` says.
    let nested = parse(&value).unwrap();
    assert_eq!(order(&nested, "outer"), ["inner"]);
    assert_eq!(order(&nested, "inner"), ["x"]);
}

#[test]
fn what_is_no_body_is_refused_by_name() {
    for (lines, part) in [
        (
            &["root:manual > each x", "each:for-each [x", "x"][..],
            "`x` is in another place",
        ),
        (
            &["root:manual > each", "each:for-each > y [x", "x > y", "y"],
            "`y` is in another place",
        ),
        (
            &["root:manual > each", "each:for-each [none"],
            "there is no node `none`",
        ),
        (
            &["root:manual > each", "each:for-each [each"],
            "inside its own body",
        ),
        (
            &["root:manual", "a:for-each [b", "b:for-each [a"],
            "inside its own body",
        ),
        (
            &["root:manual > a b", "a:for-each [x", "b:for-each [x", "x"],
            "not inside each other",
        ),
        (
            &["root:manual > each", "each:for-each [a b", "a > b", "b > a"],
            "form a cycle",
        ),
        (
            &["root:manual > a", "a [x", "x"],
            "only a node of type `for-each` has a body",
        ),
    ] {
        let error = parse(&definition(lines)).unwrap_err().to_string();
        assert!(error.contains(part), "{lines:?}: {error}");
    }
    let mut value = definition(&["root:manual > each", "each:for-each [x", "x"]);
    value["triggerNodeIds"] = json!(["root", "x"]);
    assert!(
        parse(&value)
            .unwrap_err()
            .to_string()
            .contains("can't be inside a loop")
    );
    value["triggerNodeIds"] = json!(["root"]);
    value["nodes"]["each"]["loopBody"] = json!("x");
    assert!(
        parse(&value)
            .unwrap_err()
            .to_string()
            .contains("must be an array")
    );
}

#[test]
fn a_body_does_not_reach_back_to_its_loop() {
    for lines in [
        &["root:manual > each", "each:for-each [x", "x > each"][..],
        &["root:manual > each", "each:for-each [root"],
        &[
            "root:manual",
            "a:for-each [x",
            "x > b",
            "b:for-each [y",
            "y > a",
        ],
    ] {
        let error = parse(&definition(lines)).unwrap_err().to_string();
        assert!(error.contains("is in another place"), "{lines:?}: {error}");
    }
}

#[test]
fn loops_nest_only_so_deep() {
    let nested = |depth: usize| {
        let mut lines = vec!["root:manual > n0".to_owned()];
        lines.extend((0..depth).map(|at| format!("n{at}:for-each [n{}", at + 1)));
        lines.push(format!("n{depth}"));
        let lines: Vec<_> = lines.iter().map(String::as_str).collect();
        definition(&lines)
    };
    assert!(parse(&nested(10)).is_ok());
    let error = parse(&nested(11)).unwrap_err().to_string();
    assert!(error.contains("at most 10 deep"), "{error}");
    // Nor by loops that belong to a body because they are reached through it.
    let reached = |depth: usize| {
        let mut lines = vec!["root:manual > n0".to_owned()];
        lines.extend((0..depth).map(|at| format!("n{at}:for-each [x{at}")));
        lines.extend((1..depth).map(|at| format!("x{} > n{at}", at - 1)));
        lines.push(format!("x{}", depth - 1));
        let lines: Vec<_> = lines.iter().map(String::as_str).collect();
        definition(&lines)
    };
    assert!(parse(&reached(10)).is_ok());
    let error = parse(&reached(11)).unwrap_err().to_string();
    assert!(error.contains("at most 10 deep"), "{error}");
    assert!(Definition::parse(&nested(11), &DefinitionLimits::STORED).is_ok());
}
