//! `regex`: matches a text against a pattern in RE2's syntax (see `re2.rs`), in time linear in the
//! text.
//!
//! `{"text": "order 42", "pattern": "order (?P<id>\\d+)"}` gives `{"matched": true, "matches":
//! {"0": "order 42", "1": "42", "id": "42"}}`: the groups of the first match by number, and by
//! name where they have one. A group that took no part is left out. With `"global": true` there is
//! also `all`, one such map per match. `input` is another name for `text`.

use regex::{Captures, Regex, RegexBuilder};
use serde_json::{Map, Value, json};

use super::{payload::Payload, re2};
use crate::{
    domain::{ErrorClass, NodeError, SideEffects},
    engine::{HandlerFuture, NodeCall, NodeHandler, NodeOutput},
};

/// Bytes of a compiled pattern, and of the tables built while it runs.
const MAX_COMPILED: usize = 1024 * 1024;
/// Groups of a pattern, the whole match included.
const MAX_GROUPS: usize = 100;
/// Groups in all matches together.
const MAX_TEXTS: usize = 100_000;
/// Longer texts are matched on a thread of their own, so that other runs go on.
const LONG_TEXT: usize = 16 * 1024;

/// The kind.
#[derive(Debug)]
pub(super) struct Matcher;

impl NodeHandler for Matcher {
    fn side_effects(&self, _payload: &Value) -> SideEffects {
        SideEffects::None
    }

    fn run<'a>(&'a self, call: NodeCall<'a>) -> HandlerFuture<'a> {
        Box::pin(async move {
            let payload = Payload::of(call.kind, call.input)?;
            let (name, text) = payload.either(["text", "input"], "a string")?;
            let text = text
                .as_str()
                .ok_or_else(|| payload.wrong(name, "a string"))?;
            let pattern = compile(&payload, payload.text("pattern")?)?;
            let global = payload.switch("global", false)?;
            let result = if text.len() > LONG_TEXT {
                let text = text.to_owned();
                let task = tokio::task::spawn_blocking(move || find(&pattern, &text, global));
                task.await.map_err(|error| {
                    NodeError::new(ErrorClass::Internal, "panic", error.to_string())
                })??
            } else {
                find(&pattern, text, global)?
            };
            Ok(NodeOutput::result(result))
        })
    }
}

fn compile(payload: &Payload<'_>, pattern: &str) -> Result<Regex, NodeError> {
    let refuse = |error: &str| {
        let error: String = error.chars().take(500).collect();
        payload.refuse(format!("`pattern` is no pattern: {error}"))
    };
    let translated = re2::translate(pattern).map_err(|error| refuse(&error))?;
    let mut builder = RegexBuilder::new(&translated);
    builder
        .size_limit(MAX_COMPILED)
        .dfa_size_limit(MAX_COMPILED);
    let regex = builder.nest_limit(100).build().map_err(|error| {
        // The lines before show a pattern that the author has not written.
        let error = error.to_string();
        refuse(error.rsplit("error: ").next().unwrap_or(&error))
    })?;
    if regex.captures_len() > MAX_GROUPS {
        return Err(payload.refuse(format!("`pattern` has over {} groups", MAX_GROUPS - 1)));
    }
    Ok(regex)
}

fn find(pattern: &Regex, text: &str, global: bool) -> Result<Value, NodeError> {
    let most = if global { usize::MAX } else { 1 };
    let mut found = pattern
        .captures_iter(text)
        .take(most)
        .map(|captures| groups(pattern, &captures));
    let (mut all, mut texts) = (Vec::new(), 0);
    for groups in &mut found {
        texts += groups.len();
        if texts > MAX_TEXTS {
            let message = format!("regex: there are more than {MAX_TEXTS} groups in all matches");
            return Err(NodeError::new(
                ErrorClass::Definition,
                "result_too_large",
                message,
            ));
        }
        all.push(Value::Object(groups));
    }
    let first = all.first().cloned().unwrap_or_else(|| json!({}));
    let mut result = json!({ "matched": !all.is_empty(), "matches": first });
    if let (true, Some(members)) = (global, result.as_object_mut()) {
        members.insert("all".to_owned(), Value::Array(all));
    }
    Ok(result)
}

fn groups(pattern: &Regex, captures: &Captures<'_>) -> Map<String, Value> {
    let mut groups = Map::new();
    for (number, name) in pattern.capture_names().enumerate() {
        let Some(group) = captures.get(number) else {
            continue;
        };
        groups.insert(number.to_string(), group.as_str().into());
        if let Some(name) = name {
            groups.insert(name.to_owned(), group.as_str().into());
        }
    }
    groups
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::nodes::testing::Call;

    async fn run(input: Value) -> Result<Value, NodeError> {
        let call = Call::new("regex", input);
        let output = Matcher.run(call.call()).await?;
        Ok(output.result)
    }

    #[tokio::test]
    async fn matches_are_maps_of_groups() {
        for (input, expected) in [
            (
                json!({"text": "order 42", "pattern": r"order (?P<id>\d+)(x)?"}),
                json!({"matched": true, "matches": {"0": "order 42", "1": "42", "id": "42"}}),
            ),
            (
                json!({"input": "none", "pattern": r"\d"}),
                json!({"matched": false, "matches": {}}),
            ),
            (
                json!({"text": "a1 b2", "pattern": r"([a-z])\d", "global": true}),
                json!({
                    "matched": true,
                    "matches": {"0": "a1", "1": "a"},
                    "all": [{"0": "a1", "1": "a"}, {"0": "b2", "1": "b"}],
                }),
            ),
            (
                json!({"text": "", "pattern": "x", "global": true}),
                json!({"matched": false, "matches": {}, "all": []}),
            ),
            (
                json!({"text": "éa", "pattern": "", "global": true}),
                json!({"matched": true, "matches": {"0": ""}, "all": [{"0": ""}, {"0": ""}, {"0": ""}]}),
            ),
            (
                json!({"text": "ÄB", "pattern": "(?i)äb"}),
                json!({"matched": true, "matches": {"0": "ÄB"}}),
            ),
        ] {
            assert_eq!(run(input.clone()).await.unwrap(), expected, "{input}");
        }
    }

    #[tokio::test]
    async fn patterns_mean_what_they_mean_in_re2() {
        for (pattern, text, expected) in [
            (r"\w+", "né", Some("n")),
            (r"\d", "٣", None),
            (r"a\sb", "a\u{a0}b", None),
            (r"\bn\b", "né", Some("n")),
            (r"(?i)\w+", "AB_9-", Some("AB_9")),
            ("{", "a{b", Some("{")),
            ("a{,2}", "a{,2}", Some("a{,2}")),
            (r"\Qa.b*\E+", "a.b**", Some("a.b**")),
            ("[a&&b]+", "a&b", Some("a&b")),
            ("[a--z]+", "a", None),
            ("[[]+", "[[", Some("[[")),
            ("[[:alpha:]]+", "ab1", Some("ab")),
            (r"(?P<l>\pL)", "é", Some("é")),
        ] {
            let result = run(json!({"text": text, "pattern": pattern})).await;
            let found = result
                .ok()
                .and_then(|r| Some(r["matches"]["0"].as_str()?.to_owned()));
            assert_eq!(found.as_deref(), expected, "{pattern}");
        }
    }

    #[tokio::test]
    async fn wrong_payloads_are_refused() {
        for input in [
            json!({"text": "a"}),
            json!({"pattern": "a"}),
            json!({"text": 1, "pattern": "a"}),
            json!({"text": "a", "pattern": "("}),
            json!({"text": "a", "pattern": r"(?=a)"}),
            json!({"text": "a", "pattern": r"(a)\1"}),
            json!({"text": "a", "pattern": "a{1000}{1000}{1000}"}),
            json!({"text": "a", "pattern": "(".repeat(10_000)}),
            json!({"text": "a", "pattern": "()".repeat(100)}),
            json!({"text": "a", "pattern": "a", "global": "yes"}),
        ] {
            let error = run(input.clone()).await.unwrap_err();
            assert_eq!(error.code, "invalid_payload", "{input}");
            assert_eq!(error.class, ErrorClass::Definition);
        }
    }

    #[tokio::test]
    async fn long_texts_and_many_matches_are_bounded() {
        let text = "a".repeat(200_000);
        let result = run(json!({"text": text, "pattern": "(a*)*b"}))
            .await
            .unwrap();
        assert_eq!(result["matched"], false);
        let error = run(json!({"text": text, "pattern": "a", "global": true})).await;
        assert_eq!(error.unwrap_err().code, "result_too_large");
    }
}
