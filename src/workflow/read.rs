//! From user JSON to a [`Definition`]: shape, ids, edges, branches.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    sync::Arc,
};

use serde_json::{Map, Value};

use super::{
    Body, Definition, DefinitionError, DefinitionLimits, Node, OnError,
    bodies::read_bodies,
    edge::branches_of,
    expression::json_bytes,
    input_schema::read_input_schema,
    legacy::{LegacyTrigger, legacy_trigger},
    policy::{read_retry, read_timeout},
    variables::read_variables,
};
use crate::domain::{NodeId, SideEffects, nesting};

type Members = Map<String, Value>;

pub(super) fn read(
    value: &Value,
    limits: &DefinitionLimits,
) -> Result<Definition, DefinitionError> {
    let members = value
        .as_object()
        .ok_or_else(|| DefinitionError::new("a definition must be an object"))?;
    if nesting(value) > limits.nesting {
        let message = format!("a definition may nest at most {} levels", limits.nesting);
        return Err(DefinitionError::new(message));
    }
    let sources = node_sources(members)?;
    let legacy = legacy_trigger(members, sources)?;
    let mut positions = HashMap::with_capacity(sources.len() + 2);
    let (mut nodes, bodies) = read_nodes(legacy.as_ref(), sources, limits, &mut positions)?;
    if let Some(alias) = legacy.as_ref().and_then(|legacy| legacy.alias.clone()) {
        check_id(&alias).map_err(|e| e.at_field("trigger.id"))?;
        positions.insert(alias, 0);
    }
    let topological = topological_order(&nodes, &bodies)?;
    let triggers = match legacy {
        Some(_) => vec![0],
        None => read_triggers(members, &nodes, &positions)?,
    };
    mark_triggers(&mut nodes, &triggers)?;
    check_branches(&nodes)?;
    Ok(Definition {
        nodes,
        positions,
        triggers,
        variables: read_variables(members)?,
        input_schema: read_input_schema(members),
        bodies,
        topological,
        is_legacy: legacy.is_some(),
        ancestors: Arc::default(),
    })
}

fn node_sources(members: &Members) -> Result<&Members, DefinitionError> {
    let message = match members.get("nodes") {
        Some(Value::Object(nodes)) if !nodes.is_empty() => return Ok(nodes),
        Some(Value::Object(_)) => "is empty: a definition has at least one node",
        None | Some(Value::Null) => "is missing: an object of nodes by id",
        Some(_) => "must be an object of nodes by id",
    };
    Err(DefinitionError::new(message).at_field("nodes"))
}

/// All nodes with their edges and their bodies; `positions` is filled on the way.
fn read_nodes(
    legacy: Option<&LegacyTrigger<'_>>,
    sources: &Members,
    limits: &DefinitionLimits,
    positions: &mut HashMap<String, usize>,
) -> Result<(Vec<Node>, Vec<Body>), DefinitionError> {
    let count = sources.len() + usize::from(legacy.is_some());
    if count > limits.nodes {
        let limit = limits.nodes;
        let message = format!("has {count} nodes, at most {limit} are allowed (limits.nodes)");
        return Err(DefinitionError::new(message).at_field("nodes"));
    }
    let mut members = Vec::with_capacity(count);
    let mut nodes = Vec::with_capacity(count);
    if let Some(legacy) = legacy {
        nodes.push(
            read_node(&legacy.id, legacy.members, limits).map_err(|e| e.at_node(&legacy.id))?,
        );
        members.push(legacy.members);
    }
    for (id, source) in sources {
        let source = source
            .as_object()
            .ok_or_else(|| DefinitionError::new("must be an object").at_node(id))?;
        nodes.push(read_node(id, source, limits).map_err(|e| e.at_node(id))?);
        members.push(source);
    }
    positions.extend(
        nodes
            .iter()
            .enumerate()
            .map(|(at, node)| (node.id.as_str().to_owned(), at)),
    );
    for (parent, source) in members.iter().enumerate() {
        let children =
            read_children(source, positions).map_err(|e| e.at_node(nodes[parent].id.as_str()))?;
        for &child in &children {
            nodes[child].parents.push(parent);
        }
        nodes[parent].children = children;
    }
    let bodies = read_bodies(&mut nodes, &members, positions, limits.loop_depth)?;
    Ok((nodes, bodies))
}

fn check_id(id: &str) -> Result<NodeId, DefinitionError> {
    id.parse()
        .map_err(|e: crate::domain::InvalidId| DefinitionError::new(e.to_string()))
}

fn read_node(
    id: &str,
    source: &Members,
    limits: &DefinitionLimits,
) -> Result<Node, DefinitionError> {
    let id = check_id(id)?;
    let kind = match source.get("type") {
        Some(Value::String(kind)) if !kind.is_empty() => kind.clone(),
        None | Some(Value::Null | Value::String(_)) => {
            return Err(DefinitionError::new(
                "has no `type`: say what kind of node it is",
            ));
        }
        Some(_) => return Err(wrong("type", "must be a text")),
    };
    let given = |name: &str| source.get(name).filter(|value| !value.is_null());
    let payload = match given("payload").or_else(|| given("props")) {
        None => Value::Object(Map::new()),
        Some(payload) if payload.is_object() => payload.clone(),
        Some(_) => return Err(wrong("payload", "must be an object")),
    };
    if json_bytes(&payload, limits.payload_bytes).is_none() {
        let limit = limits.payload_bytes;
        let message = format!("has more than {limit} bytes (limits.payload_bytes)");
        return Err(wrong("payload", &message));
    }
    Ok(Node {
        id,
        kind,
        payload,
        children: Vec::new(),
        parents: Vec::new(),
        branch: read_branch(source)?,
        connector: given("connector").cloned(),
        on_error: read_on_error(source)?,
        input_mapping: read_input_mapping(source)?,
        retry: read_retry(source)?,
        timeout: read_timeout(source)?,
        side_effects: read_side_effects(source)?,
        is_trigger: false,
        body: 0,
        place: 0,
        loop_body: None,
    })
}

fn wrong(field: &str, message: &str) -> DefinitionError {
    DefinitionError::new(message).at_field(field)
}

fn read_branch(source: &Members) -> Result<Option<String>, DefinitionError> {
    match source.get("branch") {
        None | Some(Value::Null) => Ok(None),
        // Exports write an empty text where no branch was set.
        Some(Value::String(branch)) => Ok(Some(branch.clone()).filter(|b| !b.is_empty())),
        Some(_) => Err(wrong("branch", "must be a text")),
    }
}

fn read_on_error(source: &Members) -> Result<OnError, DefinitionError> {
    match source.get("onError") {
        None | Some(Value::Null) => Ok(OnError::Stop),
        Some(word) => match word.as_str() {
            Some("stop") => Ok(OnError::Stop),
            Some("continue") => Ok(OnError::Continue),
            _ => Err(wrong("onError", "must be \"stop\" or \"continue\"")),
        },
    }
}

/// `blockContext.inputMapping`: what the block that a node was expanded from was given.
fn read_input_mapping(source: &Members) -> Result<Option<Value>, DefinitionError> {
    let mapping = source
        .get("blockContext")
        .and_then(|context| context.get("inputMapping"));
    match mapping {
        None | Some(Value::Null) => Ok(None),
        Some(mapping) if mapping.is_object() => Ok(Some(mapping.clone())),
        Some(_) => Err(wrong("blockContext.inputMapping", "must be an object")),
    }
}

fn read_side_effects(source: &Members) -> Result<Option<SideEffects>, DefinitionError> {
    let word = match source.get("sideEffects") {
        None | Some(Value::Null) => return Ok(None),
        Some(word) => word.as_str(),
    };
    match word {
        Some("none") => Ok(Some(SideEffects::None)),
        Some("idempotent") => Ok(Some(SideEffects::Idempotent)),
        Some("assumed") => Ok(Some(SideEffects::Assumed)),
        Some("unsafe") => Ok(Some(SideEffects::Unsafe)),
        _ => Err(wrong(
            "sideEffects",
            "must be \"none\", \"idempotent\", \"assumed\" or \"unsafe\"",
        )),
    }
}

fn read_children(
    source: &Members,
    positions: &HashMap<String, usize>,
) -> Result<Vec<usize>, DefinitionError> {
    let ids = match source.get("children") {
        None | Some(Value::Null) => return Ok(Vec::new()),
        Some(Value::Array(ids)) => ids,
        Some(_) => return Err(wrong("children", "must be an array of node ids")),
    };
    let mut seen = HashSet::with_capacity(ids.len());
    let mut children = Vec::with_capacity(ids.len());
    for (at, id) in ids.iter().enumerate() {
        let fault = |message: String| Err(wrong(&format!("children.{at}"), &message));
        let Some(id) = id.as_str() else {
            return fault("must be a node id".into());
        };
        let Some(&child) = positions.get(id) else {
            return fault(format!("there is no node `{id}`"));
        };
        if !seen.insert(child) {
            return fault(format!("`{id}` is listed twice"));
        }
        children.push(child);
    }
    Ok(children)
}

/// Parents before children, loops before their bodies. What is left when no node is free of
/// parents is a cycle.
fn topological_order(nodes: &[Node], bodies: &[Body]) -> Result<Vec<usize>, DefinitionError> {
    let in_loop = |node: &Node| usize::from(bodies[node.body].of.is_some());
    let mut parents_left: Vec<usize> = nodes
        .iter()
        .map(|node| node.parents.len() + in_loop(node))
        .collect();
    let mut order: Vec<usize> = (0..nodes.len())
        .filter(|&at| parents_left[at] == 0)
        .collect();
    let mut next = 0;
    while let Some(&position) = order.get(next) {
        next += 1;
        let node = &nodes[position];
        let body = node.loop_body.map(|body| bodies[body].members.as_slice());
        for &child in node.children.iter().chain(body.unwrap_or_default()) {
            parents_left[child] -= 1;
            if parents_left[child] == 0 {
                order.push(child);
            }
        }
    }
    if order.len() == nodes.len() {
        return Ok(order);
    }
    Err(cycle_error(nodes, bodies, &parents_left))
}

/// Names the nodes of one cycle. Every node left has a parent that is left too, so going up from
/// any of them comes round.
fn cycle_error(nodes: &[Node], bodies: &[Body], parents_left: &[usize]) -> DefinitionError {
    const SHOWN: usize = 20;
    let mut seen_at = HashMap::new();
    let mut walk = Vec::new();
    let mut at = parents_left.iter().position(|&left| left > 0);
    while let Some(position) = at {
        if let Some(start) = seen_at.insert(position, walk.len()) {
            walk.drain(..start);
            break;
        }
        walk.push(position);
        let parents = nodes[position].parents.iter().copied();
        let around = bodies[nodes[position].body].of;
        at = parents
            .chain(around)
            .find(|&parent| parents_left[parent] > 0);
    }
    // The walk went up; the cycle is told downward, from the node that comes first.
    walk.reverse();
    let first = (0..walk.len()).min_by_key(|&at| walk[at]).unwrap_or(0);
    walk.rotate_left(first);
    let names: Vec<_> = walk
        .iter()
        .map(|&position| nodes[position].id.as_str())
        .collect();
    let more = if names.len() > SHOWN { " -> ..." } else { "" };
    let shown = names[..names.len().min(SHOWN)].join("` -> `");
    let message = format!("the nodes `{shown}`{more} form a cycle: remove one of their edges");
    let error = DefinitionError::new(message).at_field("children");
    names
        .first()
        .map(|first| error.clone().at_node(*first))
        .unwrap_or(error)
}

fn read_triggers(
    members: &Members,
    nodes: &[Node],
    positions: &HashMap<String, usize>,
) -> Result<Vec<usize>, DefinitionError> {
    let ids = match members.get("triggerNodeIds") {
        None | Some(Value::Null) => return Ok(parentless(nodes, positions)),
        Some(Value::Array(ids)) if ids.is_empty() => return Ok(parentless(nodes, positions)),
        Some(Value::Array(ids)) => ids,
        Some(_) => return Err(wrong("triggerNodeIds", "must be an array of node ids")),
    };
    let mut triggers = Vec::with_capacity(ids.len());
    let mut seen = HashSet::with_capacity(ids.len());
    for (at, id) in ids.iter().enumerate() {
        let fault = |message: String| Err(wrong(&format!("triggerNodeIds.{at}"), &message));
        let Some(id) = id.as_str() else {
            return fault("must be a node id".into());
        };
        let Some(&trigger) = positions.get(id) else {
            return fault(format!("there is no node `{id}`"));
        };
        if seen.insert(trigger) {
            triggers.push(trigger);
        }
    }
    Ok(triggers)
}

/// The triggers of a definition that lists none: the nodes that nobody has as child. If `root`
/// is one of several, it is the trigger and the others are loose ends of an editor.
fn parentless(nodes: &[Node], positions: &HashMap<String, usize>) -> Vec<usize> {
    let is_parentless = |&at: &usize| nodes[at].parents.is_empty() && nodes[at].body == 0;
    match positions.get("root").copied().filter(is_parentless) {
        Some(root) => vec![root],
        None => (0..nodes.len()).filter(is_parentless).collect(),
    }
}

fn mark_triggers(nodes: &mut [Node], triggers: &[usize]) -> Result<(), DefinitionError> {
    for &trigger in triggers {
        if let Some(&parent) = nodes[trigger].parents.first() {
            let message = format!(
                "`{}` is a trigger and can't follow a node: remove it here or from `triggerNodeIds`",
                nodes[trigger].id
            );
            return Err(wrong("children", &message).at_node(nodes[parent].id.as_str()));
        }
        if nodes[trigger].body != 0 {
            let message = "a trigger can't be inside a loop: remove it from `triggerNodeIds`";
            return Err(DefinitionError::new(message).at_node(nodes[trigger].id.as_str()));
        }
        nodes[trigger].is_trigger = true;
    }
    Ok(())
}

/// A branch below parents that branch must be one that they have.
fn check_branches(nodes: &[Node]) -> Result<(), DefinitionError> {
    for node in nodes {
        let Some(branch) = node.branch.as_deref() else {
            continue;
        };
        let parents = node.parents.iter();
        let known: BTreeSet<_> = parents
            .filter_map(|&parent| branches_of(&nodes[parent].kind))
            .flatten()
            .copied()
            .collect();
        if !known.is_empty() && !known.contains(branch) {
            let known: Vec<_> = known.iter().map(|known| format!("\"{known}\"")).collect();
            let message = format!("its parents have only the branches {}", known.join(", "));
            return Err(wrong("branch", &message).at_node(node.id.as_str()));
        }
    }
    Ok(())
}
