//! Which nodes run together: those outside all loops, and the body of each loop.

use std::collections::{HashMap, HashSet};

use serde_json::{Map, Value};

use super::{DefinitionError, Node};

/// The type of a loop.
pub(super) const LOOP: &str = "for-each";

/// The nodes that run together, once for each run or once for each iteration of a loop.
///
/// Edges never leave a body, so each is a graph of its own.
#[derive(Debug, Clone, Default)]
pub struct Body {
    /// The loop that it is the body of; none for the nodes outside all loops.
    pub of: Option<usize>,
    /// Its nodes, in the order of the definition. A node's place in this list is its
    /// [`Node::place`].
    pub members: Vec<usize>,
    /// Its nodes in the order in which an iteration runs them; empty for the nodes outside all
    /// loops, whose order depends on the trigger that fired.
    pub order: Vec<usize>,
}

/// Reads `loopBody` of every loop, gives each node its body, and returns the bodies; the first
/// one is outside all loops.
///
/// `loopBody` names the nodes of a body. What is only reached through a body belongs to it too,
/// listed or not. An edge from a loop to a node inside it says nothing new and is dropped; every
/// other edge into or out of a body is refused.
pub(super) fn read_bodies(
    nodes: &mut [Node],
    sources: &[&Map<String, Value>],
    positions: &HashMap<String, usize>,
    depth_limit: usize,
) -> Result<Vec<Body>, DefinitionError> {
    let mut listed = Vec::new();
    for (at, source) in sources.iter().enumerate() {
        let ids = read_list(&nodes[at], source, positions);
        let ids = ids.map_err(|e| e.at_field("loopBody").at_node(nodes[at].id.as_str()))?;
        if nodes[at].kind == LOOP {
            listed.push((at, ids));
        }
    }
    let mut owners = owners(nodes, &listed, depth_limit)?;
    check_depth(nodes, &owners, depth_limit)?;
    adopt(nodes, &mut owners);
    check_depth(nodes, &owners, depth_limit)?;
    drop_entry_edges(nodes, &owners);
    check_edges(nodes, &owners)?;
    Ok(bodies(nodes, &listed, &owners))
}

fn read_list(
    node: &Node,
    source: &Map<String, Value>,
    positions: &HashMap<String, usize>,
) -> Result<Vec<usize>, DefinitionError> {
    let ids = match source.get("loopBody") {
        None | Some(Value::Null) => return Ok(Vec::new()),
        Some(Value::Array(ids)) => ids,
        Some(_) => return Err(DefinitionError::new("must be an array of node ids")),
    };
    if node.kind != LOOP && !ids.is_empty() {
        let message = format!("only a node of type `{LOOP}` has a body");
        return Err(DefinitionError::new(message));
    }
    let mut seen = HashSet::new();
    let mut list = Vec::with_capacity(ids.len());
    for id in ids {
        let id = id
            .as_str()
            .ok_or_else(|| DefinitionError::new("must be an array of node ids"))?;
        let Some(&member) = positions.get(id) else {
            return Err(DefinitionError::new(format!("there is no node `{id}`")));
        };
        if seen.insert(member) {
            list.push(member);
        }
    }
    Ok(list)
}

/// The innermost loop around each node. A body may list what is in the bodies inside it as well.
fn owners(
    nodes: &[Node],
    listed: &[(usize, Vec<usize>)],
    depth_limit: usize,
) -> Result<Vec<Option<usize>>, DefinitionError> {
    let mut candidates: Vec<Vec<usize>> = vec![Vec::new(); nodes.len()];
    for (owner, members) in listed {
        for &member in members {
            candidates[member].push(*owner);
        }
    }
    let is_inside = |inner: usize, outer: usize| {
        let mut around = candidates[inner].clone();
        let mut seen = HashSet::new();
        while let Some(next) = around.pop() {
            if next == outer {
                return true;
            }
            if seen.insert(next) {
                around.extend(&candidates[next]);
            }
        }
        false
    };
    if let Some(at) = candidates
        .iter()
        .position(|around| around.len() > depth_limit)
    {
        let message = format!(
            "is in more than {depth_limit} bodies: loops may nest so deep (limits.loop_depth)"
        );
        return Err(DefinitionError::new(message).at_node(nodes[at].id.as_str()));
    }
    let mut owners = vec![None; nodes.len()];
    for (member, around) in candidates.iter().enumerate() {
        let innermost = around
            .iter()
            .find(|inner| around.iter().all(|o| o == *inner || is_inside(**inner, *o)));
        match (innermost, around.as_slice()) {
            (None, [one, other, ..]) => {
                let message = format!(
                    "is in the bodies of `{}` and `{}`, which are not inside each other",
                    nodes[*one].id, nodes[*other].id
                );
                return Err(DefinitionError::new(message).at_node(nodes[member].id.as_str()));
            }
            (innermost, _) => owners[member] = innermost.copied(),
        }
    }
    Ok(owners)
}

/// No loop is inside itself, and none too deep.
fn check_depth(
    nodes: &[Node],
    owners: &[Option<usize>],
    limit: usize,
) -> Result<(), DefinitionError> {
    for (at, node) in nodes.iter().enumerate().filter(|(_, n)| n.kind == LOOP) {
        let fault = |message: String| {
            let error = DefinitionError::new(message).at_field("loopBody");
            Err(error.at_node(node.id.as_str()))
        };
        let mut depth = 1;
        let mut around = owners[at];
        while let Some(owner) = around {
            depth += 1;
            if owner == at || depth > nodes.len() {
                return fault("a loop can't be inside its own body".into());
            }
            around = owners[owner];
        }
        if depth > limit {
            return fault(format!(
                "loops may nest at most {limit} deep (limits.loop_depth)"
            ));
        }
    }
    Ok(())
}

/// What is reached only from inside one body is part of it; a loop around that body is not, and the
/// edge to it crosses.
fn adopt(nodes: &[Node], owners: &mut [Option<usize>]) {
    let mut open: Vec<usize> = (0..nodes.len())
        .filter(|at| owners[*at].is_some())
        .collect();
    while let Some(at) = open.pop() {
        for &child in &nodes[at].children {
            let mut parents = nodes[child].parents.iter();
            if owners[child].is_none()
                && parents.all(|parent| owners[*parent] == owners[at])
                && !is_inside(owners, at, child)
            {
                owners[child] = owners[at];
                open.push(child);
            }
        }
    }
}

/// An edge from a loop to a node inside it says what `loopBody` says.
fn drop_entry_edges(nodes: &mut [Node], owners: &[Option<usize>]) {
    for (at, node) in nodes.iter_mut().enumerate() {
        node.children.retain(|child| !is_inside(owners, *child, at));
        node.parents
            .retain(|parent| !is_inside(owners, at, *parent));
    }
}

/// Whether a node is in the body of `outer`, or deeper. The owners must not go round in a circle.
fn is_inside(owners: &[Option<usize>], node: usize, outer: usize) -> bool {
    let mut around = owners[node];
    while let Some(owner) = around {
        if owner == outer {
            return true;
        }
        around = owners[owner];
    }
    false
}

fn check_edges(nodes: &[Node], owners: &[Option<usize>]) -> Result<(), DefinitionError> {
    for (at, node) in nodes.iter().enumerate() {
        let crossing = node.children.iter().find(|c| owners[**c] != owners[at]);
        if let Some(&child) = crossing {
            let name = |owner: Option<usize>| match owner {
                Some(owner) => format!("the body of `{}`", nodes[owner].id),
                None => "outside all loops".to_owned(),
            };
            let message = format!(
                "`{}` is in another place ({}) than this node ({}): a loop's body has no edges to \
                 or from outside; what follows a loop is its child",
                nodes[child].id,
                name(owners[child]),
                name(owners[at])
            );
            let error = DefinitionError::new(message).at_field("children");
            return Err(error.at_node(node.id.as_str()));
        }
    }
    Ok(())
}

fn bodies(
    nodes: &mut [Node],
    listed: &[(usize, Vec<usize>)],
    owners: &[Option<usize>],
) -> Vec<Body> {
    let mut bodies = vec![Body::default()];
    for (owner, _) in listed {
        nodes[*owner].loop_body = Some(bodies.len());
        bodies.push(Body {
            of: Some(*owner),
            ..Body::default()
        });
    }
    for at in 0..nodes.len() {
        let body = owners[at]
            .and_then(|owner| nodes[owner].loop_body)
            .unwrap_or(0);
        nodes[at].body = body;
        nodes[at].place = bodies[body].members.len();
        bodies[body].members.push(at);
    }
    for (body, (_, list)) in bodies.iter_mut().skip(1).zip(listed) {
        // The entries in the order in which they are listed.
        let own = body.of.and_then(|owner| nodes[owner].loop_body);
        let is_entry =
            |at: &&usize| Some(nodes[**at].body) == own && nodes[**at].parents.is_empty();
        let mut entries: Vec<usize> = list.iter().filter(is_entry).copied().collect();
        entries.reverse();
        body.order = depth_first(nodes, entries, |_| true);
    }
    bodies
}

/// Depth first from the end of `stack`, `children` in order; a node is entered when the last of
/// its parents that `counts` has been walked. Linear in nodes and edges.
pub(super) fn depth_first(
    nodes: &[Node],
    mut stack: Vec<usize>,
    counts: impl Fn(usize) -> bool,
) -> Vec<usize> {
    let mut unsettled: HashMap<usize, usize> = HashMap::new();
    let mut order = Vec::new();
    while let Some(position) = stack.pop() {
        order.push(position);
        // The first child goes on last, so that it is walked first.
        for &child in nodes[position].children.iter().rev() {
            let open = unsettled.entry(child).or_insert_with(|| {
                let parents = nodes[child].parents.iter();
                parents.filter(|parent| counts(**parent)).count()
            });
            *open = open.saturating_sub(1);
            if *open == 0 {
                stack.push(child);
            }
        }
    }
    order
}
