//! What a node kind is: the one trait that built-in kinds and a platform's own implement.

use std::{collections::HashMap, pin::Pin, sync::Arc};

use serde_json::{Map, Value};

use super::signals::LeaseClock;
use crate::domain::{
    NodeError, NodeId, NodePath, OrganizationId, RunId, SideEffects, Simulation, Timestamp,
};

/// What [`NodeHandler::run`] gives back.
pub type HandlerFuture<'a> =
    Pin<Box<dyn Future<Output = Result<NodeOutput, NodeError>> + Send + 'a>>;

/// A node kind: how nodes of one type are executed.
///
/// The engine resolves the payload, writes the start mark, calls [`run`](Self::run), and records
/// what it gives. **It may be called again for the same effect** after a crash, a time-out or a
/// retry, with the same [`NodeCall::effect_key`] and the same input: a handler with effects passes
/// the key on, so that its target can tell a repeat from a new call.
///
/// A handler that panics fails its node, code `panicked`: class `in_doubt` if it has effects, else
/// `internal`. It must not block its thread, on which other runs are executed: while it does, neither
/// `timeoutMs` nor a cancellation ends it.
pub trait NodeHandler: Send + Sync + 'static {
    /// What repeating a node with this payload means. The payload is the resolved one. A
    /// `sideEffects` member of the node overrides it.
    fn side_effects(&self, _payload: &Value) -> SideEffects {
        SideEffects::Assumed
    }

    /// Executes the node once.
    ///
    /// # Errors
    /// The class of the error decides what may be done about it: a call whose outcome is unknown
    /// must be [`InDoubt`](crate::domain::ErrorClass::InDoubt), never `Transient`.
    fn run<'a>(&'a self, call: NodeCall<'a>) -> HandlerFuture<'a>;
}

/// The run that a node is executed for.
#[derive(Debug, Clone)]
pub struct RunContext {
    /// The run.
    pub run_id: RunId,
    /// The first run of its chain.
    pub root_run_id: RunId,
    /// Whose run it is.
    pub organization_id: OrganizationId,
    /// The run's simulation fields.
    pub simulation: Simulation,
}

/// One execution of one node.
#[derive(Debug, Clone)]
pub struct NodeCall<'a> {
    /// The run.
    pub run: &'a RunContext,
    /// The node.
    pub node_id: &'a NodeId,
    /// Where it stands.
    pub path: &'a NodePath,
    /// Its type.
    pub kind: &'a str,
    /// The resolved payload.
    pub input: &'a Value,
    /// The node's `connector`, as the definition has it.
    pub connector: Option<&'a Value>,
    /// The key of its effect; none for a node without effects.
    pub effect_key: Option<&'a str>,
    /// Which attempt in this run it is, from 1.
    pub attempt: u32,
    /// The time that an earlier call asked to be called again at ([`NodeOutput::due`]); it has
    /// come.
    pub due: Option<Timestamp>,
    /// The variables' present values by name.
    pub variables: &'a Map<String, Value>,
    /// The present.
    pub now: Timestamp,
    /// Until when the run is this worker's: the engine has asked right before this call. A handler
    /// that does something lengthy before it sends anything out asks again, and fails with the code
    /// `lease_over` when it has sent nothing.
    pub lease: &'a LeaseClock,
}

/// What an execution gave.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct NodeOutput {
    /// The node's result.
    pub result: Value,
    /// The branch taken, for kinds that have branches.
    pub branch: Option<String>,
    /// A variable to set, in the same transaction as the node's outcome.
    pub variable: Option<VariableSet>,
    /// Not done yet: call again at this time. Everything else here is ignored. The worker is free
    /// meanwhile.
    pub due: Option<Timestamp>,
}

impl NodeOutput {
    /// A success with a result.
    #[must_use]
    pub fn result(result: Value) -> Self {
        Self {
            result,
            ..Self::default()
        }
    }
}

/// A variable and its new value.
#[derive(Debug, Clone, PartialEq)]
pub struct VariableSet {
    /// The variable.
    pub name: String,
    /// Its new value.
    pub value: Value,
}

/// The node kinds of one process, by type.
#[derive(Clone, Default)]
pub struct Handlers {
    kinds: HashMap<String, Arc<dyn NodeHandler>>,
    /// Kinds for types that no other kind is for, with the types they are for.
    fallbacks: Vec<(String, Arc<dyn NodeHandler>)>,
}

impl Handlers {
    /// Adds a kind, or replaces the one of this type.
    #[must_use]
    pub fn with(mut self, kind: impl Into<String>, handler: Arc<dyn NodeHandler>) -> Self {
        self.kinds.insert(kind.into(), handler);
        self
    }

    /// Adds a kind for types that no kind of their own is for: one type, all with a prefix
    /// (`slack-*`), or all (`*`). The closest wins.
    #[must_use]
    pub fn with_fallback(
        mut self,
        types: impl Into<String>,
        handler: Arc<dyn NodeHandler>,
    ) -> Self {
        self.fallbacks.push((types.into(), handler));
        self
    }

    /// The types that have a kind of their own, in no order.
    pub fn kinds(&self) -> impl Iterator<Item = &str> {
        self.kinds.keys().map(String::as_str)
    }

    /// Whether a kind of its own is for this type.
    #[must_use]
    pub fn has(&self, kind: &str) -> bool {
        self.kinds.contains_key(kind)
    }

    /// The kind of this type.
    #[must_use]
    pub fn get(&self, kind: &str) -> Option<&Arc<dyn NodeHandler>> {
        self.kinds.get(kind).or_else(|| {
            let fallbacks = self.fallbacks.iter();
            let closest = fallbacks
                .filter_map(|(types, handler)| Some((closeness(types, kind)?, handler)))
                .max_by_key(|(closeness, _)| *closeness);
            closest.map(|(_, handler)| handler)
        })
    }
}

/// How close `types` describes a kind; none when it is for others. The name itself is closer than
/// the longest prefix.
fn closeness(types: &str, kind: &str) -> Option<usize> {
    if types == kind {
        return Some(usize::MAX);
    }
    let prefix = types.strip_suffix('*')?;
    kind.starts_with(prefix).then_some(prefix.len())
}

impl std::fmt::Debug for Handlers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let fallbacks = self.fallbacks.iter().map(|(types, _)| types);
        f.debug_set()
            .entries(self.kinds.keys())
            .entries(fallbacks)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Named;

    impl NodeHandler for Named {
        fn run<'a>(&'a self, _call: NodeCall<'a>) -> HandlerFuture<'a> {
            Box::pin(async { Ok(NodeOutput::default()) })
        }
    }

    #[test]
    fn the_closest_kind_wins() {
        let names = ["*", "slack-*", "slack-post*", "slack-post", "if"];
        let all = names.map(|_| Arc::new(Named) as Arc<dyn NodeHandler>);
        let own: Arc<dyn NodeHandler> = Arc::new(Named);
        let fallbacks = names.into_iter().zip(all.clone());
        let handlers = fallbacks.fold(Handlers::default(), |handlers, (types, handler)| {
            handlers.with_fallback(types, handler)
        });
        let handlers = handlers.with("if", own.clone());
        for (kind, expected) in [
            ("if", &own),
            ("slack-post", &all[3]),
            ("slack-post-file", &all[2]),
            ("slack-read", &all[1]),
            ("slack-", &all[1]),
            ("slack", &all[0]),
        ] {
            assert!(Arc::ptr_eq(handlers.get(kind).unwrap(), expected), "{kind}");
        }
        assert!(Handlers::default().get("if").is_none());
    }
}
