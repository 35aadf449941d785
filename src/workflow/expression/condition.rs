//! The `condition` of an `if` and of a `filter`: `$and` or `$or` of `{"{{left}}": {"$op": right}}`.
//!
//! Its keys are expressions that keep their type, so a resolved condition can't be an object by
//! key. It becomes `{"$and": [..]}`, `{"$or": [..]}` and, for each comparison,
//! `{"left": .., "op": "$gt", "right": ..}`. A clause with several comparisons means all of them.

use serde_json::{Map, Value};

/// The operators that ask whether there is a value: for them a missing one is an answer.
const ABOUT_MISSING: &[&str] = &["$exists", "$notExists"];

pub(super) fn may_be_missing(operator: &str) -> bool {
    ABOUT_MISSING.contains(&operator)
}

/// One member of a condition or clause.
pub(super) enum Term<'a> {
    /// `$and` or `$or` of further conditions.
    Group {
        operator: &'a str,
        conditions: &'a [Value],
    },
    /// A left side and what it is compared with, by operator.
    Comparisons {
        left: &'a str,
        by_operator: &'a Map<String, Value>,
    },
}

/// The members of a condition, all of which must hold. The error says what is wrong.
pub(super) fn terms(condition: &Value) -> Result<Vec<Term<'_>>, String> {
    let members = condition
        .as_object()
        .filter(|members| !members.is_empty())
        .ok_or(
            "a condition must be an object like {\"$and\": [{\"{{a.result}}\": {\"$eq\": 1}}]}",
        )?;
    members
        .iter()
        .map(|(key, value)| term(key, value))
        .collect()
}

/// Whether it says what it means without expressions as keys: a value that may be a condition,
/// the empty condition, a comparison written as it is resolved.
pub(super) fn is_written_out(condition: &Value) -> bool {
    condition
        .as_object()
        .is_none_or(|members| members.is_empty() || members.get("op").is_some_and(Value::is_string))
}

fn term<'a>(key: &'a str, value: &'a Value) -> Result<Term<'a>, String> {
    if matches!(key, "$and" | "$or") {
        let conditions = value
            .as_array()
            .ok_or_else(|| format!("`{key}` must be an array of conditions"))?;
        return Ok(Term::Group {
            operator: key,
            conditions,
        });
    }
    let by_operator = value.as_object().filter(|operators| {
        !operators.is_empty() && operators.keys().all(|operator| operator.starts_with('$'))
    });
    let by_operator = by_operator.ok_or_else(|| {
        let key: String = key.chars().take(80).collect();
        format!("`{key}` must be compared by an operator, like {{\"$eq\": 1}}")
    })?;
    Ok(Term::Comparisons {
        left: key,
        by_operator,
    })
}

/// Whether a condition has the shape of one, all the way down; the error says what is wrong.
pub(in crate::workflow) fn check_shape(condition: &Value) -> Result<(), String> {
    for term in terms(condition)? {
        if let Term::Group { conditions, .. } = term {
            conditions.iter().try_for_each(check_shape)?;
        }
    }
    Ok(())
}
