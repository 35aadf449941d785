//! Definitions and graphs: what is read, what is refused, in which order nodes run.

mod bodies;
mod graph;
mod reading;
mod starts;

use serde_json::Value;

use super::{Definition, DefinitionError, DefinitionLimits};

fn parse(value: &Value) -> Result<Definition, DefinitionError> {
    Definition::parse(value, &DefinitionLimits::default())
}

fn ids<'a>(definition: &'a Definition, positions: &[usize]) -> Vec<&'a str> {
    let id = |&position: &usize| definition.node(position).id.as_str();
    positions.iter().map(id).collect()
}
