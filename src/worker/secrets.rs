//! Which members of inputs stay masked in a retry's run.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use serde_json::{Map, Value};

use crate::domain::{ITERATION_SECRET_KEYS, NodeId, NodePath, NodeRecord, SECRET_KEYS};

/// By the id of a node, the members of its input that are secret.
type ByNode = BTreeMap<String, BTreeSet<String>>;

/// What the records of a source say of the nodes inside loops. Iterations come and go, so it is kept
/// on the record of the outermost loop around them, for those that are yet to come.
pub(super) struct Secrets(HashMap<NodeId, ByNode>);

impl Secrets {
    pub(super) fn of(records: &[NodeRecord]) -> Self {
        let mut by_loop: HashMap<NodeId, ByNode> = HashMap::new();
        for record in records.iter().filter(|record| record.extra.is_some()) {
            let outermost = &record.path.segments()[0].node;
            let mut add = |id: &str, keys: Vec<String>| {
                if !keys.is_empty() {
                    let by_node = by_loop.entry(outermost.clone()).or_default();
                    by_node.entry(id.to_owned()).or_default().extend(keys);
                }
            };
            if record.path.segments().len() > 1 {
                add(record.path.node().as_str(), record.secret_keys());
            } else {
                for (id, keys) in record.iteration_secret_keys() {
                    add(&id, keys);
                }
            }
        }
        Self(by_loop)
    }

    /// The members of a record's `extra` that say what is secret.
    pub(super) fn kept(&self, path: &NodePath, source: Option<&NodeRecord>) -> Map<String, Value> {
        let mut extra = Map::new();
        let own = source.map(NodeRecord::secret_keys).unwrap_or_default();
        if !own.is_empty() {
            extra.insert(SECRET_KEYS.to_owned(), own.into());
        }
        let is_outermost = path.segments().len() == 1;
        let inside = self.0.get(path.node()).filter(|_| is_outermost);
        if let Some(inside) = inside {
            let by_node = inside.iter().map(|(id, keys)| {
                let keys = keys.iter().cloned().collect::<Vec<_>>();
                (id.clone(), Value::from(keys))
            });
            extra.insert(ITERATION_SECRET_KEYS.to_owned(), by_node.collect());
        }
        extra
    }
}
