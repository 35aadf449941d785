//! Gives a payload its values.

use std::borrow::Cow;

use serde_json::{Map, Value, json};

use super::{
    Expression, ExpressionError, ExpressionLimits, Fault, Operand, Part, Scope, Template,
    condition::{Term, is_written_out, may_be_missing, terms},
    field_template::Growing,
    forms::{Form, LeftSides},
    limits::json_bytes,
};
use crate::domain::{ErrorClass, NodeError, nesting};

/// The code of the error of an expression that points at nothing and has no fallback.
pub const MISSING_VALUE: &str = "missing_value";

/// Keys with this prefix would change what the resolved payload means when it is read again.
const RESERVED_PREFIX: &str = "$serde_json::private::";

/// Resolves every expression in the strings and keys of `payload`, a node's of `kind`.
///
/// A string that is exactly one expression keeps the JSON type of its value. The condition of
/// an `if` or a `filter` becomes `{"$and": [..]}`, `{"$or": [..]}` and `{"left", "op", "right"}`; in
/// an `if`, `left` is absent where `$exists` or `$notExists` asks for a value that is missing. In
/// the `template` of a `format` what is no mark is escaped: see [`field_parts`](super::field_parts).
///
/// # Errors
/// Class `expression`, with `{expression, node, field}` as details: `missing_value` without a
/// fallback, `invalid_expression`, `expression_limit`, `key_collision` when two keys of an object
/// become the same, `invalid_key`. Class `definition`: `invalid_condition`.
pub fn resolve_payload(
    kind: &str,
    payload: &Value,
    scope: &dyn Scope,
    limits: &ExpressionLimits,
) -> Result<Value, Box<NodeError>> {
    let mut resolver = Resolver {
        kind,
        scope,
        limits,
        field: Vec::new(),
        bytes_left: limits.node_bytes,
    };
    let value = resolver.value(payload)?;
    if nesting(&value) > limits.nesting {
        let message = format!(
            "the resolved payload nests deeper than {} levels",
            limits.nesting
        );
        return Err(resolver.fail("expression_limit", None, &message));
    }
    Ok(value)
}

struct Resolver<'a> {
    kind: &'a str,
    scope: &'a dyn Scope,
    limits: &'a ExpressionLimits,
    /// Where in the payload the resolver is.
    field: Vec<Cow<'a, str>>,
    bytes_left: usize,
}

impl<'a> Resolver<'a> {
    fn value(&mut self, value: &'a Value) -> Result<Value, Box<NodeError>> {
        match value {
            Value::String(text) => self.string(text),
            Value::Array(items) => self.array(items).map(Value::Array),
            Value::Object(members) => self.object(members).map(Value::Object),
            Value::Null | Value::Bool(_) | Value::Number(_) => Ok(value.clone()),
        }
    }

    fn array(&mut self, items: &'a [Value]) -> Result<Vec<Value>, Box<NodeError>> {
        let mut resolved = Vec::with_capacity(items.len());
        for (index, item) in items.iter().enumerate() {
            let value = self.at(index.to_string(), |this| this.value(item))?;
            resolved.push(value);
        }
        Ok(resolved)
    }

    fn object(
        &mut self,
        members: &'a Map<String, Value>,
    ) -> Result<Map<String, Value>, Box<NodeError>> {
        let is_payload = self.field.is_empty();
        let mut resolved = Map::with_capacity(members.len());
        for (key, value) in members {
            let (key, value) = self.at(key, |this| {
                let new_key = this.key(key)?;
                if resolved.contains_key(&new_key) {
                    let message = "another key of the same object has become the same text";
                    return Err(this.fail("key_collision", Some(key), message));
                }
                let form = if is_payload {
                    Form::of(this.kind, &new_key)
                } else {
                    Form::Value
                };
                let value = match form {
                    Form::Value => this.value(value),
                    Form::Condition(sides) => this.condition(value, sides),
                    Form::FieldTemplate => this.field_template(value),
                };
                Ok((new_key, value?))
            })?;
            resolved.insert(key, value);
        }
        Ok(resolved)
    }

    /// Runs `step` one level further down; errors inside name that field.
    fn at<T>(
        &mut self,
        field: impl Into<Cow<'a, str>>,
        step: impl FnOnce(&mut Self) -> Result<T, Box<NodeError>>,
    ) -> Result<T, Box<NodeError>> {
        self.field.push(field.into());
        let done = step(self);
        self.field.pop();
        done
    }

    fn key(&mut self, key: &str) -> Result<String, Box<NodeError>> {
        let template = self.parse(key)?;
        let text = self.text(&template)?;
        if text.starts_with(RESERVED_PREFIX) {
            return Err(self.fail(
                "invalid_key",
                Some(key),
                "the key has become a reserved one",
            ));
        }
        Ok(text)
    }

    fn string(&mut self, text: &str) -> Result<Value, Box<NodeError>> {
        let template = self.parse(text)?;
        let Some(expression) = template.as_expression() else {
            return self.text(&template).map(Value::String);
        };
        let Some(value) = self.evaluate(expression) else {
            return Err(self.missing(expression));
        };
        self.spend(&value, expression)?;
        Ok(value.into_owned())
    }

    /// A template that `format` reads again.
    fn field_template(&mut self, value: &'a Value) -> Result<Value, Box<NodeError>> {
        let Value::String(text) = value else {
            return self.value(value);
        };
        let template = self.parse(text)?;
        let alone = template.as_expression().and_then(|e| self.evaluate(e));
        if alone.is_some_and(|value| !value.is_string()) {
            // It is no text, which is the node's to refuse.
            return self.string(text);
        }
        let text = self.grow(&template, Growing::with_fields())?;
        Ok(Value::String(text))
    }

    fn parse(&self, text: &str) -> Result<Template, Box<NodeError>> {
        let is_node = |id: &str| self.scope.is_node(id);
        Template::parse(text, &is_node, self.limits).map_err(|e| self.unreadable(&e))
    }

    fn text(&mut self, template: &Template) -> Result<String, Box<NodeError>> {
        self.grow(template, Growing::plain())
    }

    /// The text of a template. Its pieces are measured before they are copied.
    fn grow(&mut self, template: &Template, mut text: Growing) -> Result<String, Box<NodeError>> {
        let limit = self.limits.field_bytes.min(self.bytes_left);
        for part in template.parts() {
            let left = limit.saturating_sub(text.len());
            match part {
                Part::Text(piece) if piece.len() <= left => text.literal(piece),
                Part::Foreign(piece) if piece.len() <= left => text.mark(piece),
                Part::Text(_) | Part::Foreign(_) => return Err(self.too_large(None)),
                Part::Expression(expression) => {
                    let Some(value) = self.evaluate(expression) else {
                        return Err(self.missing(expression));
                    };
                    let piece = match value.as_str() {
                        Some(piece) => Some(Cow::Borrowed(piece)),
                        None => json_bytes(&value, left).map(|_| Cow::Owned(value.to_string())),
                    };
                    match piece.filter(|piece| piece.len() <= left) {
                        Some(piece) => text.literal(&piece),
                        None => return Err(self.too_large(Some(expression))),
                    }
                }
            }
        }
        let text = text.finish();
        if text.len() > limit {
            return Err(self.too_large(None));
        }
        self.bytes_left -= text.len();
        Ok(text)
    }

    /// The value of an expression: of its first operand that is there and not null, else of its
    /// last.
    fn evaluate<'e>(&self, expression: &'e Expression) -> Option<Cow<'e, Value>>
    where
        'a: 'e,
    {
        let mut value = None;
        for operand in &expression.operands {
            value = match operand {
                Operand::Path(path) => self.scope.get(path),
                Operand::Literal(literal) => Some(Cow::Borrowed(literal)),
            };
            if value.as_ref().is_some_and(|value| !value.is_null()) {
                break;
            }
        }
        value
    }

    /// Accounts for a value that goes into the payload, before it is copied.
    fn spend(&mut self, value: &Value, expression: &Expression) -> Result<(), Box<NodeError>> {
        let limit = self.limits.field_bytes.min(self.bytes_left);
        let Some(bytes) = json_bytes(value, limit) else {
            return Err(self.too_large(Some(expression)));
        };
        self.bytes_left -= bytes;
        Ok(())
    }

    fn condition(
        &mut self,
        condition: &'a Value,
        sides: LeftSides,
    ) -> Result<Value, Box<NodeError>> {
        if sides == LeftSides::FieldNames && is_written_out(condition) {
            return self.value(condition);
        }
        let terms = match terms(condition) {
            Ok(terms) => terms,
            Err(message) => return Err(self.invalid_condition(&message)),
        };
        let mut resolved = Vec::with_capacity(terms.len());
        for term in terms {
            match term {
                Term::Group {
                    operator,
                    conditions,
                } => {
                    let inner = self.at(operator, |this| this.conditions(conditions, sides))?;
                    resolved.push(json!({ operator: inner }));
                }
                Term::Comparisons { left, by_operator } => {
                    let mut inner =
                        self.at(left, |this| this.comparisons(left, by_operator, sides))?;
                    resolved.append(&mut inner);
                }
            }
        }
        match <[Value; 1]>::try_from(resolved) {
            Ok([only]) => Ok(only),
            Err(all) => Ok(json!({ "$and": all })),
        }
    }

    fn conditions(
        &mut self,
        conditions: &'a [Value],
        sides: LeftSides,
    ) -> Result<Vec<Value>, Box<NodeError>> {
        let mut resolved = Vec::with_capacity(conditions.len());
        for (index, condition) in conditions.iter().enumerate() {
            resolved.push(self.at(index.to_string(), |this| this.condition(condition, sides))?);
        }
        Ok(resolved)
    }

    fn comparisons(
        &mut self,
        left: &str,
        by_operator: &'a Map<String, Value>,
        sides: LeftSides,
    ) -> Result<Vec<Value>, Box<NodeError>> {
        let template = self.parse(left)?;
        let mut resolved = Vec::with_capacity(by_operator.len());
        for (operator, right) in by_operator {
            let mut comparison = Map::new();
            // A missing value may be asked for, the name of a field has to be there.
            let may_miss = sides == LeftSides::Values && may_be_missing(operator);
            let left = match template.as_expression() {
                Some(expression) => self.left(expression, may_miss)?,
                // Made for each operator, so that each copy is accounted for.
                None => Some(Value::String(self.text(&template)?)),
            };
            if let Some(left) = left {
                comparison.insert("left".to_owned(), left);
            }
            comparison.insert("op".to_owned(), operator.as_str().into());
            let right = self.at(operator, |this| this.value(right))?;
            comparison.insert("right".to_owned(), right);
            resolved.push(Value::Object(comparison));
        }
        Ok(resolved)
    }

    fn left(
        &mut self,
        expression: &Expression,
        may_miss: bool,
    ) -> Result<Option<Value>, Box<NodeError>> {
        match self.evaluate(expression) {
            Some(value) => {
                self.spend(&value, expression)?;
                Ok(Some(value.into_owned()))
            }
            None if may_miss => Ok(None),
            None => Err(self.missing(expression)),
        }
    }
}

/// The ways to fail.
impl Resolver<'_> {
    fn missing(&self, expression: &Expression) -> Box<NodeError> {
        let message = "has no value; correct it or give it a fallback, like `|| null`";
        self.fail(MISSING_VALUE, Some(&expression.to_string()), message)
    }

    fn unreadable(&self, error: &ExpressionError) -> Box<NodeError> {
        let code = match error.fault {
            Fault::Syntax => "invalid_expression",
            Fault::Limit => "expression_limit",
        };
        self.fail(code, Some(&error.expression), &error.message)
    }

    fn too_large(&self, expression: Option<&Expression>) -> Box<NodeError> {
        let message = format!(
            "the resolved payload is too large: at most {} bytes a field (limits.field_bytes) and {} \
             in all (limits.node_bytes)",
            self.limits.field_bytes, self.limits.node_bytes
        );
        let expression = expression.map(ToString::to_string);
        self.fail("expression_limit", expression.as_deref(), &message)
    }

    fn invalid_condition(&self, message: &str) -> Box<NodeError> {
        let mut error = self.fail("invalid_condition", None, message);
        error.class = ErrorClass::Definition;
        error
    }

    fn fail(&self, code: &str, expression: Option<&str>, message: &str) -> Box<NodeError> {
        let steps: Vec<_> = self.field.iter().map(|step| excerpt(step)).collect();
        let field = steps.join(".");
        let expression = expression.map(excerpt);
        let shown = expression.map(|e| format!("`{e}`: ")).unwrap_or_default();
        let place = match field.as_str() {
            "" => String::new(),
            field => format!("`{field}`: "),
        };
        let mut details = Map::new();
        if let Some(expression) = expression {
            details.insert("expression".to_owned(), expression.into());
        }
        if let Some(node) = self.scope.node() {
            details.insert("node".to_owned(), node.into());
        }
        details.insert("field".to_owned(), field.into());
        let message = format!("{place}{shown}{message}");
        let error = NodeError::new(ErrorClass::Expression, code, message);
        Box::new(error.with_details(Value::Object(details)))
    }
}

/// Keys and expressions are other people's text: in errors, long ones are cut.
fn excerpt(text: &str) -> &str {
    const SHOWN: usize = 256;
    &text[..text.floor_char_boundary(SHOWN)]
}
