//! The order of execution, and who is below whom.

use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::{ids, parse};
use crate::workflow::Definition;

/// A definition with nodes `n0`, `n1`, ... and these children.
fn graph(children: &[Vec<usize>]) -> Definition {
    let nodes: Map<String, Value> = children
        .iter()
        .enumerate()
        .map(|(at, children)| {
            let children: Vec<_> = children.iter().map(|child| format!("n{child}")).collect();
            (
                format!("n{at}"),
                json!({"type": "log", "children": children}),
            )
        })
        .collect();
    parse(&json!({ "nodes": nodes })).unwrap()
}

/// The rule told as the engine lives it: enter a node when its last reachable parent is walked.
fn walk(definition: &Definition, reachable: &[bool], at: usize, done: &mut Vec<usize>) {
    let node = definition.node(at);
    let is_waiting = node
        .parents
        .iter()
        .any(|p| reachable[*p] && !done.contains(p));
    if is_waiting || done.contains(&at) {
        return;
    }
    done.push(at);
    for &child in &node.children {
        walk(definition, reachable, child, done);
    }
}

#[test]
fn the_order_is_depth_first_and_waits_for_the_last_parent() {
    //      0
    //    / | \
    //   1  2  3
    //   |\ |  |
    //   4  5  6      5 waits for 1 and 2
    let definition = graph(&[
        vec![1, 2, 3],
        vec![4, 5],
        vec![5],
        vec![6],
        vec![],
        vec![],
        vec![],
    ]);
    assert_eq!(definition.order(0), [0, 1, 4, 2, 5, 3, 6]);
}

#[test]
fn an_unreachable_parent_holds_nobody_up() {
    let value = json!({
        "nodes": {
            "x": {"type": "manual", "children": ["a"]},
            "y": {"type": "manual", "children": ["b", "c"]},
            "a": {"type": "log", "children": ["b"]},
            "b": {"type": "log"},
            "c": {"type": "log"}
        },
        "triggerNodeIds": ["x", "y"]
    });
    let definition = parse(&value).unwrap();
    assert_eq!(ids(&definition, &definition.order(0)), ["x", "a", "b"]);
    assert_eq!(ids(&definition, &definition.order(1)), ["y", "b", "c"]);
    assert_eq!(definition.reachable(0), [true, false, true, true, false]);
    assert_eq!(definition.descendants(0), [false, false, true, true, false]);
    assert!(definition.is_ancestor(0, 3) && definition.is_ancestor(1, 3));
    assert!(!definition.is_ancestor(3, 0) && !definition.is_ancestor(3, 3));
}

#[test]
fn ten_thousand_nodes_are_walked_without_recursion() {
    const MANY: usize = 10_000;
    let chain: Vec<_> = (0..MANY)
        .map(|at| if at + 1 < MANY { vec![at + 1] } else { vec![] })
        .collect();
    let definition = graph(&chain);
    assert_eq!(definition.order(0), (0..MANY).collect::<Vec<_>>());
    assert!(definition.is_ancestor(0, MANY - 1));
    // Out to all and in again.
    let mut fan: Vec<_> = (0..MANY).map(|_| vec![MANY - 1]).collect();
    fan[0] = (1..MANY - 1).collect();
    fan[MANY - 1].clear();
    let definition = graph(&fan);
    assert_eq!(definition.order(0), (0..MANY).collect::<Vec<_>>());
    let mut ring = chain;
    ring[MANY - 1] = vec![1];
    let nodes: Map<String, Value> = ring
        .iter()
        .enumerate()
        .map(|(at, c)| {
            let children: Vec<_> = c.iter().map(|c| format!("n{c}")).collect();
            (format!("n{at}"), json!({"type": "x", "children": children}))
        })
        .collect();
    let message = parse(&json!({ "nodes": nodes })).unwrap_err().to_string();
    assert!(
        message.contains("-> ... form a cycle") && message.len() < 1_000,
        "{message}"
    );
}

/// Up to 12 nodes whose edges lead to higher numbers, in any order.
fn children() -> impl Strategy<Value = Vec<Vec<usize>>> {
    (2_usize..12).prop_flat_map(|count| {
        let lists: Vec<_> = (0..count)
            .map(|at| {
                let later: Vec<_> = (at + 1..count).collect();
                let most = later.len();
                proptest::sample::subsequence(later, 0..=most).prop_shuffle()
            })
            .collect();
        lists
    })
}

proptest! {
    #[test]
    fn the_order_is_topological_and_what_a_walk_gives(children in children()) {
        let definition = graph(&children);
        for &trigger in definition.triggers() {
            let reachable = definition.reachable(trigger);
            let order = definition.order(trigger);
            let mut walked = Vec::new();
            walk(&definition, &reachable, trigger, &mut walked);
            prop_assert_eq!(&order, &walked);
            prop_assert_eq!(order.len(), reachable.iter().filter(|&&r| r).count());
            for (position, &node) in order.iter().enumerate() {
                for &parent in &definition.node(node).parents {
                    let before = order.iter().position(|&n| n == parent);
                    prop_assert!(before.is_none_or(|before| before < position));
                }
            }
        }
        for above in 0..children.len() {
            let below = definition.descendants(above);
            for (at, &is_below) in below.iter().enumerate() {
                prop_assert_eq!(definition.is_ancestor(above, at), is_below);
            }
        }
    }
}
