//! A workflow's definition: nodes, triggers, variables.

use std::{
    collections::HashMap,
    sync::{Arc, OnceLock},
};

use serde_json::Value;

use super::{
    Body, DefinitionError, InputField, Node, VariableDef, ancestors::Ancestors,
    input_schema::read_schema, read,
};
use crate::domain::{MAX_NESTING, NodeId};

/// The limits that a definition is held to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DefinitionLimits {
    /// Nodes of one definition.
    pub nodes: usize,
    /// Nesting of arrays and objects.
    pub nesting: usize,
    /// Bytes of one node's payload, as compact JSON with its expressions unresolved.
    pub payload_bytes: usize,
    /// Loops inside each other.
    pub loop_depth: usize,
}

impl Default for DefinitionLimits {
    fn default() -> Self {
        Self {
            nodes: 10_000,
            nesting: MAX_NESTING,
            payload_bytes: 1024 * 1024,
            loop_depth: 10,
        }
    }
}

impl DefinitionLimits {
    /// For definitions that were accepted before: limits that were lowered since must not keep
    /// their runs from being executed and retried.
    pub const STORED: Self = Self {
        nodes: usize::MAX,
        nesting: usize::MAX,
        payload_bytes: usize::MAX,
        loop_depth: usize::MAX,
    };
}

/// A definition that can be walked: acyclic, every child known, at least one trigger.
///
/// It is a reading of the text, not a substitute for it: members that it does not know are not
/// here, so whoever stores a definition stores the text.
#[derive(Debug, Clone)]
pub struct Definition {
    pub(super) nodes: Vec<Node>,
    /// Position by id, and by the other names that a node answers to.
    pub(super) positions: HashMap<String, usize>,
    pub(super) triggers: Vec<usize>,
    pub(super) variables: Vec<VariableDef>,
    pub(super) input_schema: Vec<InputField>,
    pub(super) bodies: Vec<Body>,
    /// Every position, parents before children and loops before their bodies.
    pub(super) topological: Vec<usize>,
    /// Whether it came in the older shape, where the trigger is read like `root`.
    pub(super) is_legacy: bool,
    /// Shared by clones; built when first asked for.
    pub(super) ancestors: Arc<OnceLock<Ancestors>>,
}

impl Definition {
    /// Reads a definition, in the present shape or the older one. Unknown members are ignored.
    ///
    /// Expressions are not looked at: an imported run keeps whatever it has. See
    /// [`Definition::validate_for_start`].
    ///
    /// # Errors
    /// The first fault found, naming node and member.
    pub fn parse(value: &Value, limits: &DefinitionLimits) -> Result<Self, DefinitionError> {
        read::read(value, limits)
    }

    /// The nodes, in the order of the definition's `nodes`; in the older shape the trigger is
    /// first.
    #[must_use]
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// The node at a position that this definition gave.
    #[must_use]
    pub fn node(&self, position: usize) -> &Node {
        &self.nodes[position]
    }

    /// The position of the node with this id. In the older shape the trigger also answers to its
    /// own id, while its state stands under `trigger`.
    #[must_use]
    pub fn find(&self, id: &str) -> Option<usize> {
        self.positions.get(id).copied()
    }

    /// The position of each trigger, at least one.
    #[must_use]
    pub fn triggers(&self) -> &[usize] {
        &self.triggers
    }

    /// The trigger that fires: the one `named`, else the only one. `root` also names the only
    /// one, whatever its id.
    ///
    /// # Errors
    /// The name is no trigger's, or there are several and none is named.
    pub fn firing_trigger(&self, named: Option<&str>) -> Result<usize, DefinitionError> {
        let known = || {
            let ids: Vec<_> = self.triggers.iter().map(|&t| self.id(t)).collect();
            ids.join("`, `")
        };
        let only = match self.triggers.as_slice() {
            [only] => Some(*only),
            _ => None,
        };
        let Some(name) = named else {
            return only.ok_or_else(|| {
                let message = format!("there are several triggers, name one of `{}`", known());
                DefinitionError::new(message)
            });
        };
        self.find(name)
            .filter(|&position| self.node(position).is_trigger)
            .or(only.filter(|_| name == "root"))
            .ok_or_else(|| {
                let message = format!("`{name}` is no trigger, name one of `{}`", known());
                DefinitionError::new(message)
            })
    }

    /// A body: 0 is outside all loops, the others are the loops' ([`Node::loop_body`]).
    #[must_use]
    pub fn body(&self, body: usize) -> &Body {
        &self.bodies[body]
    }

    /// The loop that the node at `position` is directly in.
    #[must_use]
    pub fn loop_around(&self, position: usize) -> Option<usize> {
        self.bodies[self.nodes[position].body].of
    }

    /// The declared variables.
    #[must_use]
    pub fn variables(&self) -> &[VariableDef] {
        &self.variables
    }

    /// What the payload of a start must hold that fires this trigger: what the definition says,
    /// and what the trigger's own `inputSchema` says.
    #[must_use]
    pub fn input_schema(&self, trigger: usize) -> Vec<InputField> {
        let own = read_schema(self.nodes[trigger].payload.get("inputSchema"));
        self.input_schema.iter().cloned().chain(own).collect()
    }

    /// The declared variable with this name.
    #[must_use]
    pub fn variable(&self, name: &str) -> Option<&VariableDef> {
        self.variables.iter().find(|variable| variable.name == name)
    }

    /// Whether an id is the other name of the trigger that fired: `root`, unless a node is called
    /// so.
    #[must_use]
    pub fn is_root_alias(&self, id: &str) -> bool {
        id == "root" && self.find(id).is_none()
    }

    pub(super) fn id(&self, position: usize) -> &str {
        NodeId::as_str(&self.nodes[position].id)
    }
}
