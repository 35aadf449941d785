//! What a start asks of a definition beyond being readable: that its expressions can work.

use serde_json::Value;

use super::{
    Definition, DefinitionError, Node,
    expression::{
        CONDITION, CONDITION_KIND, ExpressionLimits, Head, Operand, Path, Segment, Template,
        check_shape,
    },
    policy::check_own_policy,
};
use crate::domain::ErrorClass;

impl Definition {
    /// Checks every expression of every node: that it can be read, and that it points at an
    /// ancestor, a trigger, a declared variable or a known head. Conditions must have the shape
    /// of one. A policy must not stand where it would do nothing.
    ///
    /// For starts only. An imported run is not refused for such a fault: what can't be read or is
    /// missing fails its node when it runs.
    ///
    /// # Errors
    /// The first fault found, naming node and field.
    pub fn validate_for_start(&self, limits: &ExpressionLimits) -> Result<(), DefinitionError> {
        for (position, node) in self.nodes.iter().enumerate() {
            // A trigger's payload is configuration, nothing resolves it.
            if node.is_trigger {
                continue;
            }
            check_retried(node).map_err(|e| e.at_node(self.id(position)))?;
            check_own_policy(node).map_err(|e| e.at_node(self.id(position)))?;
            let mut walk = Walk {
                definition: self,
                limits,
                position,
                field: vec!["payload".to_owned()],
            };
            walk.value(&node.payload)
                .and_then(|()| walk.condition())
                .and_then(|()| walk.input_mapping())
                .map_err(|e| e.at_field(walk.field.join(".")).at_node(self.id(position)))?;
        }
        Ok(())
    }
}

/// The kind that sets a variable.
const SET_VARIABLE: &str = "set-variable";

/// A payload that can't be resolved fails its node before any attempt, so a policy for that does
/// nothing.
fn check_retried(node: &Node) -> Result<(), DefinitionError> {
    let classes = node.retry.iter().flat_map(|policy| &policy.retry_on);
    if classes
        .into_iter()
        .any(|class| *class == ErrorClass::Expression)
    {
        let message = "`expression` is never retried, as such a node is not even called: remove it \
                       and give the expression a fallback";
        return Err(DefinitionError::new(message).at_field("retry.retryOn"));
    }
    Ok(())
}

struct Walk<'a> {
    definition: &'a Definition,
    limits: &'a ExpressionLimits,
    position: usize,
    /// After an error, where it happened.
    field: Vec<String>,
}

impl Walk<'_> {
    fn value(&mut self, value: &Value) -> Result<(), DefinitionError> {
        match value {
            Value::String(text) => self.text(text),
            Value::Array(items) => items.iter().enumerate().try_for_each(|(index, item)| {
                self.field.push(index.to_string());
                self.value(item)?;
                self.field.pop();
                Ok(())
            }),
            Value::Object(members) => members.iter().try_for_each(|(key, value)| {
                self.field.push(key.clone());
                self.text(key)?;
                self.value(value)?;
                self.field.pop();
                Ok(())
            }),
            Value::Null | Value::Bool(_) | Value::Number(_) => Ok(()),
        }
    }

    fn input_mapping(&mut self) -> Result<(), DefinitionError> {
        self.field = vec!["blockContext".to_owned(), "inputMapping".to_owned()];
        match &self.definition.node(self.position).input_mapping {
            Some(mapping) => self.value(mapping),
            None => Ok(()),
        }
    }

    fn condition(&mut self) -> Result<(), DefinitionError> {
        let node = self.definition.node(self.position);
        match node.payload.get(CONDITION) {
            Some(condition) if node.kind == CONDITION_KIND => {
                self.field.push(CONDITION.to_owned());
                check_shape(condition).map_err(DefinitionError::new)
            }
            _ => Ok(()),
        }
    }

    fn text(&self, text: &str) -> Result<(), DefinitionError> {
        let is_node = |id: &str| self.definition.find(id).is_some();
        let template = Template::parse(text, &is_node, self.limits)
            .map_err(|e| DefinitionError::new(e.to_string()))?;
        for expression in template.expressions() {
            for operand in &expression.operands {
                if let Operand::Path(path) = operand {
                    self.reference(path)
                        .map_err(|why| DefinitionError::new(format!("`{expression}`: {why}")))?;
                }
            }
        }
        Ok(())
    }

    fn reference(&self, path: &Path) -> Result<(), String> {
        if let Some(id) = path.head.node() {
            return self.node(id);
        }
        if path.head.needs_loop() {
            return self.loop_value(&path.head);
        }
        let variable = match (&path.head, path.segments.first()) {
            (Head::Vars, Some(Segment::Key(name))) => name.clone(),
            (Head::Vars, Some(Segment::Index(index))) => index.to_string(),
            _ => return Ok(()),
        };
        let is_known = self.definition.variable(&variable).is_some() || self.is_set(&variable);
        is_known.then_some(()).ok_or_else(|| {
            format!(
                "the variable `{variable}` is not declared in `variableDefs`, and no node sets it"
            )
        })
    }

    /// Whether some node may set a variable: by its name, or by one that is known when it runs.
    fn is_set(&self, variable: &str) -> bool {
        let setters = self
            .definition
            .nodes
            .iter()
            .filter(|node| node.kind == SET_VARIABLE);
        let mut names = setters.filter_map(|node| node.payload.get("name")?.as_str());
        names.any(|name| name == variable || name.contains("{{") || name.contains("<<"))
    }

    /// Values of loops are there only inside them: one deep for the innermost loop's, two deep for
    /// its parent's, anywhere in the body for a loop by its name.
    fn loop_value(&self, head: &Head) -> Result<(), String> {
        let mut around = Vec::new();
        let mut at = self.position;
        while let Some(outer) = self.definition.loop_around(at) {
            around.push(outer);
            at = outer;
        }
        if let Head::For { node, .. } = head {
            return match self.definition.find(node) {
                None => Err(format!("there is no node `{node}`")),
                Some(named) if around.contains(&named) => Ok(()),
                Some(_) => Err(format!("this node is not in the body of a loop `{node}`")),
            };
        }
        let is_parents = matches!(head, Head::ParentItem | Head::ParentIndex);
        if is_parents && around.len() < 2 {
            let place = "inside a loop that is inside another one";
            return Err(format!("`{head}` has a value only {place}"));
        }
        if around.is_empty() {
            return Err(format!("`{head}` has a value only inside a loop"));
        }
        Ok(())
    }

    fn node(&self, id: &str) -> Result<(), String> {
        if self.definition.is_root_alias(id) {
            return Ok(());
        }
        let Some(target) = self.definition.find(id) else {
            return Err(format!("there is no node `{id}`"));
        };
        let is_above = self.definition.node(target).is_trigger
            || self.definition.is_ancestor(target, self.position);
        if is_above {
            return Ok(());
        }
        Err(format!(
            "`{id}` does not come before this node, so it can't be read here"
        ))
    }
}
