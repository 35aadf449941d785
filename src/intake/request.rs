//! The body of a retry request: the choices, read the same way when they come in and when a worker
//! finds them frozen in the ledger.

use std::collections::BTreeSet;

use chrono::TimeDelta;
use serde_json::{Map, Value};

use super::{
    IntakeError,
    body::{flag, invalid, object, only, text, user_json, user_object},
};
use crate::{
    domain::{JsonText, Lane, NodePath, Run, Timestamp, same_value},
    plan::{Choices, Pinned},
    workflow::Definition,
};

/// The members of a request.
const MEMBERS: [&str; 14] = [
    "fromNodeId",
    "mode",
    "includePartial",
    "definition",
    "propValues",
    "variables",
    "nodeResults",
    "acknowledge",
    "newEffectKey",
    "allowAgain",
    "planHash",
    "notBefore",
    "reason",
    "lane",
];

/// The longest `reason`, in characters.
const MOST_REASON: usize = 1_000;

/// How far ahead `notBefore` may be, in days.
const MOST_DAYS_AHEAD: i64 = 366;

/// What runs again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Mode {
    /// What has not succeeded.
    #[default]
    Failed,
    /// Everything but the trigger.
    All,
}

/// A request body that has been read.
#[derive(Debug, Clone, Default)]
pub struct Request {
    /// The body as it is frozen.
    pub(super) text: Option<JsonText>,
    pub(super) reason: Option<String>,
    pub(super) lane: Option<Lane>,
    pub(super) allow_again: bool,
    pub(super) include_partial: bool,
    /// Whether the latest definition is asked for, not the run's own.
    pub(super) latest: bool,
    pub(super) prop_values: Map<String, Value>,
    variables: Map<String, Value>,
    node_results: Vec<(NodePath, Value)>,
    from: Option<NodePath>,
    mode: Mode,
    acknowledge: Vec<NodePath>,
    new_effect_key: Vec<NodePath>,
    pub(super) plan_hash: Option<String>,
    pub(super) not_before: Option<Timestamp>,
}

impl Request {
    /// Reads a body; none is the contract's own, and chooses nothing.
    ///
    /// # Errors
    /// `invalid_request`, naming the member.
    pub fn read(body: Option<Value>) -> Result<Self, IntakeError> {
        let mut members = object(body.unwrap_or_else(|| Value::Object(Map::new())))?;
        only(&members, &MEMBERS)?;
        members.retain(|_, value| !value.is_null());
        let results = user_object(&members, "nodeResults")?;
        let mut node_results = Vec::with_capacity(results.len());
        for (path, value) in results {
            node_results.push((node_path("nodeResults", &path)?, value));
        }
        let from = text(&members, "fromNodeId")?;
        let mut request = Self {
            reason: None,
            lane: lane(&members)?,
            allow_again: flag(&members, "allowAgain")?,
            include_partial: flag(&members, "includePartial")?,
            latest: one_of(&members, "definition", ["snapshot", "latest"])?,
            prop_values: user_object(&members, "propValues")?,
            variables: user_object(&members, "variables")?,
            node_results,
            from: from
                .map(|from| node_path("fromNodeId", &from))
                .transpose()?,
            mode: if one_of(&members, "mode", ["failed", "all"])? {
                Mode::All
            } else {
                Mode::Failed
            },
            acknowledge: paths(&members, "acknowledge")?,
            new_effect_key: paths(&members, "newEffectKey")?,
            plan_hash: text(&members, "planHash")?,
            not_before: time(&members, "notBefore")?,
            text: None,
        };
        if let Some(reason) = text(&members, "reason")? {
            request.set_reason(&reason)?;
        }
        request.text = Some(user_json(&Value::Object(members), "the body")?);
        Ok(request)
    }

    /// The request that an accepted retry was frozen with.
    ///
    /// # Errors
    /// The stored text is none: the ledger is damaged, or of a later version.
    pub fn stored(text: &JsonText) -> Result<Self, IntakeError> {
        let value = text
            .value()
            .map_err(|error| invalid(format!("the stored request can't be read: {error}")))?;
        Self::read(Some(value))
    }

    /// Gives it a reason, whatever it had.
    pub(super) fn set_reason(&mut self, reason: &str) -> Result<(), IntakeError> {
        if reason.chars().count() > MOST_REASON {
            return Err(invalid(format!(
                "reason must be at most {MOST_REASON} characters"
            )));
        }
        self.reason = Some(reason.to_owned());
        Ok(())
    }

    /// The body to freeze: an object, empty for an empty one.
    pub(super) fn frozen(&self) -> JsonText {
        self.text.clone().unwrap_or_else(|| JsonText::trusted("{}"))
    }

    /// Whether the request changes values that nodes read.
    #[must_use]
    pub fn changes_values(&self) -> bool {
        !self.prop_values.is_empty() || !self.variables.is_empty()
    }

    /// What it says of nodes, and nothing else of it.
    pub(super) fn naming(&self) -> Self {
        Self {
            from: self.from.clone(),
            mode: self.mode,
            node_results: self.node_results.clone(),
            ..Self::default()
        }
    }

    /// Whether the path is one of `newEffectKey`.
    #[must_use]
    pub fn forces_new_key(&self, path: &NodePath) -> bool {
        self.new_effect_key.contains(path)
    }

    /// The result that the request gives a node.
    #[must_use]
    pub fn result_of(&self, path: &NodePath) -> Option<&Value> {
        let mut results = self.node_results.iter();
        results.find(|(of, _)| of == path).map(|(_, value)| value)
    }

    /// The branch that a given result takes.
    #[must_use]
    pub fn branch_of(result: &Value) -> Option<String> {
        result.get("branch")?.as_str().map(str::to_owned)
    }

    /// The choices as the planner takes them.
    pub(super) fn choices(&self, source: &Run) -> Choices {
        let pinned = self.node_results.iter().map(|(path, value)| Pinned {
            path: path.clone(),
            branch: Self::branch_of(value),
        });
        let props = source.prop_values.value().unwrap_or_default();
        let is_changed = |name: &&String| {
            let (old, new) = (props.get(name.as_str()), &self.prop_values[name.as_str()]);
            old.is_none_or(|old| !same_value(old, new))
        };
        let props = self.prop_values.keys().filter(is_changed);
        let variables = self.variables.keys().map(|name| format!("$vars.{name}"));
        Choices {
            from: self.from.clone(),
            all: self.mode == Mode::All,
            pinned: pinned.collect(),
            acknowledged: self.acknowledge.clone(),
            new_effect_key: self.new_effect_key.clone(),
            changed_values: props
                .map(|name| format!("$props.{name}"))
                .chain(variables)
                .collect::<BTreeSet<_>>(),
        }
    }

    /// Why the variables that it sets can't be set: a name that nothing declares is a typing error,
    /// and would change nothing.
    pub(super) fn unknown_variable(&self, source: &Run, definition: &Definition) -> Option<String> {
        let captured = source.variables.value().unwrap_or_default();
        let is_known =
            |name: &String| definition.variable(name).is_some() || captured.get(name).is_some();
        let unknown = self.variables.keys().find(|name| !is_known(name))?;
        Some(format!(
            "variables: `{unknown}` is not declared in the definition's `variableDefs`"
        ))
    }

    /// What of it a plan depends on, in one form for each meaning.
    pub(super) fn plan_choices(&self) -> String {
        let mut members = match self.frozen().value() {
            Ok(Value::Object(members)) => members,
            _ => Map::new(),
        };
        for name in [
            "planHash",
            "reason",
            "lane",
            "notBefore",
            "allowAgain",
            "includePartial",
            "acknowledge",
        ] {
            members.shift_remove(name);
        }
        members.retain(|name, value| !says_nothing(name, value));
        let sorted: std::collections::BTreeMap<_, _> = members.iter().collect();
        serde_json::to_string(&sorted).unwrap_or_default()
    }
}

/// Whether a member that is set to this value is as good as not there.
fn says_nothing(name: &str, value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::String(word) => {
            matches!(
                (name, word.as_str()),
                ("mode", "failed") | ("definition", "snapshot")
            )
        }
        Value::Array(items) => items.is_empty(),
        Value::Object(members) => members.is_empty(),
        Value::Bool(true) | Value::Number(_) => false,
    }
}

fn node_path(member: &str, text: &str) -> Result<NodePath, IntakeError> {
    // An id may hold what a path sets apart; it is read as an id where it is no path.
    text.parse()
        .map_err(|error| invalid(format!("{member}: {error}")))
}

fn paths(members: &Map<String, Value>, name: &str) -> Result<Vec<NodePath>, IntakeError> {
    let wrong = || invalid(format!("{name} must be a list of node paths"));
    let Some(list) = members.get(name) else {
        return Ok(Vec::new());
    };
    let list = list.as_array().ok_or_else(wrong)?;
    list.iter()
        .map(|path| node_path(name, path.as_str().ok_or_else(wrong)?))
        .collect()
}

/// Whether a member is the second of its two words; the first is the default.
fn one_of(
    members: &Map<String, Value>,
    name: &str,
    [first, second]: [&str; 2],
) -> Result<bool, IntakeError> {
    match text(members, name)?.as_deref() {
        None => Ok(false),
        Some(word) if word == first => Ok(false),
        Some(word) if word == second => Ok(true),
        Some(_) => Err(invalid(format!(
            "{name} must be {first:?} (the default) or {second:?}"
        ))),
    }
}

fn lane(members: &Map<String, Value>) -> Result<Option<Lane>, IntakeError> {
    let Some(word) = text(members, "lane")? else {
        return Ok(None);
    };
    Lane::parse(&word).map(Some).ok_or_else(|| {
        invalid("lane must be \"interactive\" (the default), \"automatic\" or \"bulk\"")
    })
}

fn time(members: &Map<String, Value>, name: &str) -> Result<Option<Timestamp>, IntakeError> {
    let Some(word) = text(members, name)? else {
        return Ok(None);
    };
    let time = word.parse::<Timestamp>();
    time.map(Some)
        .map_err(|_| invalid(format!("{name} must be a time like 2030-01-31T12:00:00Z")))
}

/// Refuses a start that is too far ahead.
pub(super) fn check_not_before(request: &Request, now: Timestamp) -> Result<(), IntakeError> {
    let latest = now.checked_add_signed(TimeDelta::days(MOST_DAYS_AHEAD));
    match (request.not_before, latest) {
        (Some(time), Some(latest)) if time > latest => Err(invalid(format!(
            "notBefore may be at most {MOST_DAYS_AHEAD} days ahead"
        ))),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn refused(body: Value) -> String {
        Request::read(Some(body)).unwrap_err().to_string()
    }

    #[test]
    fn an_empty_body_is_the_contracts_behaviour() {
        for body in [
            None,
            Some(json!({})),
            Some(json!({"mode": null, "lane": null})),
        ] {
            let request = Request::read(body).unwrap();
            assert_eq!(request.frozen().as_str(), "{}");
            assert!(request.reason.is_none() && request.mode == Mode::Failed && !request.latest);
        }
    }

    #[test]
    fn choices_are_read_and_frozen() {
        let body = json!({
            "fromNodeId": "loop[3].pay", "mode": "all", "includePartial": true,
            "definition": "latest", "propValues": {"p": 1}, "variables": {"v": [2]},
            "nodeResults": {"a": {"branch": "then"}, "[\"a.b\"]": null},
            "acknowledge": ["pay"], "newEffectKey": ["loop[0].pay"], "allowAgain": true,
            "planHash": "x", "notBefore": "2030-01-31T12:00:00+01:00", "reason": "why", "lane": "bulk"
        });
        let read = Request::read(Some(body.clone())).unwrap();
        assert_eq!(read.frozen().value().unwrap(), body);
        let again = Request::stored(&read.frozen()).unwrap();
        assert_eq!(format!("{read:?}"), format!("{again:?}"));
        assert_eq!(read.from.unwrap().to_string(), "loop[3].pay");
        assert_eq!(read.node_results.len(), 2);
        assert_eq!(
            read.not_before.unwrap().to_rfc3339(),
            "2030-01-31T11:00:00+00:00"
        );
    }

    #[test]
    fn wrong_members_are_refused_by_name() {
        for (name, value) in [
            ("fromNodeId", json!(5)),
            ("fromNodeId", json!("loop[")),
            ("mode", json!("some")),
            ("includePartial", json!("yes")),
            ("definition", json!("newest")),
            ("propValues", json!([])),
            ("variables", json!(1)),
            ("nodeResults", json!([])),
            ("nodeResults", json!({"a.b": 1})),
            ("acknowledge", json!("pay")),
            ("acknowledge", json!([1])),
            ("newEffectKey", json!(["x["])),
            ("allowAgain", json!(1)),
            ("planHash", json!(1)),
            ("notBefore", json!("soon")),
            ("reason", json!(7)),
            ("lane", json!("fast")),
            ("resaon", json!("typo")),
        ] {
            let message = refused(json!({ name: value }));
            assert!(message.contains(name), "{name}: {message}");
        }
        assert!(refused(json!([])).contains("must be a JSON object"));
        assert!(refused(json!({"reason": "x".repeat(1_001)})).contains("at most 1000"));
    }
}
