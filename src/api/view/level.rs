//! The records of a run as nested maps: those outside all loops, and in each loop's record a map
//! for each of its iterations.

use std::collections::{BTreeMap, HashMap};

use serde::{Serialize, Serializer, ser::SerializeMap};

use super::state::serialize_record;
use crate::domain::{NodeRecord, PathSegment};

/// The records of one map.
#[derive(Debug, Default)]
pub(super) struct Level<'a> {
    branches: Vec<Option<Branch<'a>>>,
    by_id: HashMap<&'a str, usize>,
}

/// A node, and what is inside it.
#[derive(Debug)]
pub(super) struct Branch<'a> {
    id: &'a str,
    /// None where only a node inside it has a record.
    record: Option<&'a NodeRecord>,
    iterations: BTreeMap<u32, Level<'a>>,
}

impl<'a> Level<'a> {
    /// The records of a run.
    pub(super) fn of(records: &'a [NodeRecord]) -> Self {
        let mut level = Self::default();
        for record in records {
            level.insert(record.path.segments(), record);
        }
        level
    }

    fn insert(&mut self, segments: &'a [PathSegment], record: &'a NodeRecord) {
        let Some((first, rest)) = segments.split_first() else {
            return;
        };
        let id = first.node.as_str();
        let end = self.branches.len();
        let place = *self.by_id.entry(id).or_insert(end);
        if place == end {
            self.branches.push(None);
        }
        let branch = self.branches[place].get_or_insert_with(|| Branch {
            id,
            record: None,
            iterations: BTreeMap::new(),
        });
        match first.iteration {
            None => branch.record = Some(record),
            Some(number) => {
                let inner = branch.iterations.entry(number).or_default();
                inner.insert(rest, record);
            }
        }
    }

    /// Takes out the node with this id, if it has a record.
    pub(super) fn take(&mut self, id: &str) -> Option<Branch<'a>> {
        let place = self.by_id.get(id)?;
        self.branches[*place]
            .take()
            .filter(|branch| branch.record.is_some())
    }

    /// What is left that has a record, in the order in which it was written.
    pub(super) fn into_branches(self) -> impl Iterator<Item = Branch<'a>> {
        let branches = self.branches.into_iter().flatten();
        branches.filter(|branch| branch.record.is_some())
    }

    fn branches(&self) -> impl Iterator<Item = &Branch<'a>> {
        let branches = self.branches.iter().flatten();
        branches.filter(|branch| branch.record.is_some())
    }
}

impl<'a> Branch<'a> {
    /// The node's id.
    pub(super) fn id(&self) -> &'a str {
        self.id
    }

    /// As many maps as iterations were entered, or as an import had; none if it is no loop.
    fn maps(&self) -> Option<Vec<Map<'_>>> {
        let entered = self.iterations.last_key_value();
        let entered = entered.map(|(number, _)| number.saturating_add(1));
        let imported = self.record.and_then(NodeRecord::imported_iterations);
        let count = entered.max(imported)?;
        let maps = (0..count).map(|number| Map(self.iterations.get(&number)));
        Some(maps.collect())
    }
}

/// One iteration; none that has no record is an empty map.
struct Map<'a>(Option<&'a Level<'a>>);

impl Serialize for Map<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        for branch in self.0.into_iter().flat_map(Level::branches) {
            map.serialize_entry(branch.id, branch)?;
        }
        map.end()
    }
}

impl Serialize for Branch<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.record {
            Some(record) => serialize_record(record, self.maps().as_ref(), serializer),
            None => serializer.serialize_map(None)?.end(),
        }
    }
}
