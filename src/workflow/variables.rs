//! The variables that a definition declares.

use std::collections::HashSet;

use serde_json::{Map, Value};

use super::DefinitionError;

/// How long a variable keeps its value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Lifetime {
    /// Starts at its default in each run.
    #[default]
    Reset,
    /// Lives on the workflow.
    Persist,
}

/// A declared variable.
#[derive(Debug, Clone, PartialEq)]
pub struct VariableDef {
    /// Its name, unique in the definition.
    pub name: String,
    /// Its first value; JSON null when none is given.
    pub default: Value,
    /// How long it keeps its value.
    pub lifetime: Lifetime,
    /// The declared type (`number`, `text`, ...), which nothing enforces.
    pub kind: Option<String>,
}

pub(super) fn read_variables(
    members: &Map<String, Value>,
) -> Result<Vec<VariableDef>, DefinitionError> {
    let defs = match members.get("variableDefs") {
        None | Some(Value::Null) => return Ok(Vec::new()),
        Some(Value::Array(defs)) => defs,
        Some(_) => {
            return Err(DefinitionError::new("must be an array").at_field("variableDefs"));
        }
    };
    let mut names = HashSet::new();
    let mut variables = Vec::with_capacity(defs.len());
    for (position, def) in defs.iter().enumerate() {
        let at = |e: DefinitionError| e.at_field(format!("variableDefs.{position}"));
        let variable = read_variable(def).map_err(at)?;
        if !names.insert(variable.name.clone()) {
            let message = format!("the variable `{}` is declared twice", variable.name);
            return Err(at(DefinitionError::new(message)));
        }
        variables.push(variable);
    }
    Ok(variables)
}

fn read_variable(def: &Value) -> Result<VariableDef, DefinitionError> {
    let name = def.get("name").and_then(Value::as_str).unwrap_or_default();
    if name.is_empty() {
        return Err(DefinitionError::new(
            "a variable needs a `name`, a non-empty text",
        ));
    }
    let lifetime = match def.get("lifetime") {
        None | Some(Value::Null) => Lifetime::Reset,
        Some(word) => match word.as_str() {
            Some("reset" | "") => Lifetime::Reset,
            Some("persist") => Lifetime::Persist,
            _ => {
                let message = format!("`lifetime` of `{name}` must be \"reset\" or \"persist\"");
                return Err(DefinitionError::new(message));
            }
        },
    };
    Ok(VariableDef {
        name: name.to_owned(),
        default: def.get("default").cloned().unwrap_or_default(),
        lifetime,
        kind: def.get("type").and_then(Value::as_str).map(str::to_owned),
    })
}
