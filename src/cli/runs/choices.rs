//! The choices of a retry on the command line: the same for `runs retry` and `runs plan`.

use clap::Args;
use serde_json::{Map, Value};

use crate::cli::{CliError, input};

/// What a retry may be told.
#[derive(Debug, Default, Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of its own")]
pub(super) struct Choices {
    /// Run this node and everything below it (`pay`, `loop[3].pay`)
    #[arg(long, value_name = "PATH")]
    from: Option<String>,
    /// Run everything but the trigger again
    #[arg(long)]
    all: bool,
    /// Accept a run that ended partial
    #[arg(long)]
    include_partial: bool,
    /// Use the workflow's latest definition instead of the run's own
    #[arg(long)]
    latest: bool,
    /// Change a prop for what executes: NAME=JSON
    #[arg(long = "prop", value_name = "NAME=JSON")]
    props: Vec<String>,
    /// Change a variable for what executes: NAME=JSON
    #[arg(long = "var", value_name = "NAME=JSON")]
    variables: Vec<String>,
    /// Give a node that failed its result: PATH=JSON
    #[arg(long = "result", value_name = "PATH=JSON")]
    results: Vec<String>,
    /// Repeat this unsafe call although its outcome is unknown
    #[arg(long, value_name = "PATH")]
    acknowledge: Vec<String>,
    /// Send this call under a new effect key
    #[arg(long, value_name = "PATH")]
    new_effect_key: Vec<String>,
    /// Make another branch of a run that has been retried
    #[arg(long)]
    allow_again: bool,
    /// Refuse if the plan is not the one with this hash
    #[arg(long, value_name = "HASH")]
    plan_hash: Option<String>,
    /// Not before this time (RFC 3339)
    #[arg(long, value_name = "TIME")]
    not_before: Option<String>,
    /// Why: recorded with the retry
    #[arg(long)]
    reason: Option<String>,
    /// The lane: interactive, automatic or bulk
    #[arg(long)]
    lane: Option<String>,
    /// The whole body instead: JSON, or @FILE
    #[arg(long, value_name = "JSON")]
    body: Option<String>,
}

impl Choices {
    /// The request's body; none when nothing is chosen.
    pub(super) fn body(&self) -> Result<Option<String>, CliError> {
        if let Some(body) = &self.body {
            return Ok(Some(input::json_argument(body)?.get().to_owned()));
        }
        let mut members = Map::new();
        let mut put = |name: &str, value: Option<Value>| {
            if let Some(value) = value {
                members.insert(name.to_owned(), value);
            }
        };
        let text = |text: &Option<String>| text.as_deref().map(Value::from);
        let list = |list: &[String]| (!list.is_empty()).then(|| Value::from(list.to_vec()));
        let flag = |is_set: bool| is_set.then_some(Value::Bool(true));
        put("fromNodeId", text(&self.from));
        put("mode", self.all.then(|| "all".into()));
        put("includePartial", flag(self.include_partial));
        put("definition", self.latest.then(|| "latest".into()));
        put("propValues", pairs(&self.props)?);
        put("variables", pairs(&self.variables)?);
        put("nodeResults", pairs(&self.results)?);
        put("acknowledge", list(&self.acknowledge));
        put("newEffectKey", list(&self.new_effect_key));
        put("allowAgain", flag(self.allow_again));
        put("planHash", text(&self.plan_hash));
        put("notBefore", text(&self.not_before));
        put("reason", text(&self.reason));
        put("lane", text(&self.lane));
        Ok((!members.is_empty()).then(|| Value::Object(members).to_string()))
    }
}

/// `NAME=JSON` as members of an object. The name ends at the first `=`; numbers keep their digits.
fn pairs(pairs: &[String]) -> Result<Option<Value>, CliError> {
    let mut members = Map::new();
    for pair in pairs {
        let (name, text) = pair.split_once('=').ok_or_else(|| {
            CliError::Usage(format!(
                "{pair:?} is not NAME=JSON, like count=3 or to='\"me\"'"
            ))
        })?;
        let value = serde_json::from_str(text)
            .map_err(|e| CliError::Usage(format!("the value of {name:?} is no JSON: {e}")))?;
        members.insert(name.to_owned(), value);
    }
    Ok((!members.is_empty()).then_some(Value::Object(members)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;
    use serde_json::json;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        choices: Choices,
    }

    fn body(line: &[&str]) -> Result<Option<Value>, CliError> {
        let line = Line::parse_from(["retry"].iter().chain(line));
        let text = line.choices.body()?;
        Ok(text.map(|text| serde_json::from_str(&text).unwrap()))
    }

    #[test]
    fn every_choice_has_its_flag() {
        assert_eq!(body(&[]).unwrap(), None);
        let all = body(&[
            "--from",
            "loop[3].pay",
            "--all",
            "--include-partial",
            "--latest",
            "--prop",
            "n=1.50",
            "--var",
            "v=[1]",
            "--result",
            "a={\"x\":\"=\"}",
            "--acknowledge",
            "pay",
            "--new-effect-key",
            "pay",
            "--new-effect-key",
            "b",
            "--allow-again",
            "--plan-hash",
            "h",
            "--not-before",
            "2030-01-01T00:00:00Z",
            "--reason",
            "why",
            "--lane",
            "bulk",
        ]);
        let expected = json!({
            "fromNodeId": "loop[3].pay", "mode": "all", "includePartial": true,
            "definition": "latest", "propValues": { "n": serde_json::from_str::<Value>("1.50").unwrap() },
            "variables": { "v": [1] }, "nodeResults": { "a": { "x": "=" } },
            "acknowledge": ["pay"], "newEffectKey": ["pay", "b"], "allowAgain": true,
            "planHash": "h", "notBefore": "2030-01-01T00:00:00Z", "reason": "why", "lane": "bulk"
        });
        assert_eq!(all.unwrap().unwrap(), expected);
        assert_eq!(
            body(&["--body", "{\"mode\":\"all\"}"]).unwrap(),
            Some(json!({ "mode": "all" }))
        );
        assert!(body(&["--prop", "n"]).is_err());
        assert!(body(&["--prop", "n=oops"]).is_err());
    }
}
