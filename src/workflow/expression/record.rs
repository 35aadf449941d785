//! A node's record as expressions see it.

use std::sync::OnceLock;

use serde_json::{Map, Value};

use crate::domain::{JsonText, NodeRecord};

/// A node's record, ready to be read by expressions. Its large members stay text until the first
/// expression asks for one, and are then read once.
#[derive(Debug)]
pub struct RecordView {
    small: Map<String, Value>,
    input: Lazy,
    result: Lazy,
    error: Lazy,
    extra: Lazy,
}

impl RecordView {
    /// A member of the record by its name in `executionState`: `status`, `result`, `error`, ...
    /// None when the record does not have it.
    #[must_use]
    pub fn field(&self, name: &str) -> Option<&Value> {
        match name {
            "input" => self.input.get(),
            "result" => self.result.get(),
            "error" => self.error.get(),
            name => self.small.get(name).or_else(|| self.extra.get()?.get(name)),
        }
    }

    /// The whole record as one object.
    #[must_use]
    pub fn whole(&self) -> Value {
        let mut members = self.small.clone();
        for (name, lazy) in [
            ("input", &self.input),
            ("result", &self.result),
            ("error", &self.error),
        ] {
            if let Some(value) = lazy.get() {
                members.insert(name.to_owned(), value.clone());
            }
        }
        let extra = self.extra.get().and_then(Value::as_object);
        for (name, value) in extra.into_iter().flatten() {
            if !members.contains_key(name) {
                members.insert(name.clone(), value.clone());
            }
        }
        Value::Object(members)
    }
}

impl From<&NodeRecord> for RecordView {
    fn from(record: &NodeRecord) -> Self {
        let mut small = Map::new();
        let mut put = |name: &str, value: Option<Value>| {
            if let Some(value) = value {
                small.insert(name.to_owned(), value);
            }
        };
        put("type", Some(record.kind.as_str().into()));
        put("status", Some(record.status.as_str().into()));
        put("startedAt", record.started_at.as_deref().map(Value::from));
        put("finishedAt", record.finished_at.as_deref().map(Value::from));
        // No attempts, effect or origin: they change when the record is reused, and what an
        // expression reads must not, or the same call would look like another one.
        Self {
            small,
            input: Lazy::new(record.input.as_ref()),
            result: Lazy::new(record.result.as_ref()),
            error: Lazy::new(record.error.as_ref()),
            extra: Lazy::new(record.extra.as_ref()),
        }
    }
}

/// JSON that is read when it is first asked for. Text that can't be read has no value.
#[derive(Debug)]
struct Lazy {
    text: Option<JsonText>,
    value: OnceLock<Option<Value>>,
}

impl Lazy {
    fn new(text: Option<&JsonText>) -> Self {
        Self {
            text: text.cloned(),
            value: OnceLock::new(),
        }
    }

    fn get(&self) -> Option<&Value> {
        let text = self.text.as_ref()?;
        self.value.get_or_init(|| text.value().ok()).as_ref()
    }
}
