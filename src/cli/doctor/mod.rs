//! `redrive doctor`: looks whether everything is there and works.
//!
//! It changes nothing: no file, no migration, no exchange and no queue is made, and no lock is
//! taken, so it works beside a serving process. Each check is bounded in time and ends in a
//! sentence that says what to do.
//!
//! To add a check: a function that gives a [`Check`], called from the file that it belongs to, and
//! its name in that file's list, for when it can't be made.

mod api;
mod broker;
mod check;
mod ledger;

use clap::{Args, ValueEnum};
use serde_json::json;

use self::check::{Check, Status, all_skipped};
use super::{CliError, Format, database::ConfigArgs, json_text, output, table};

/// Arguments of `redrive doctor`.
#[derive(Debug, Args)]
pub(super) struct Doctor {
    #[command(flatten)]
    config: ConfigArgs,
    #[command(flatten)]
    api: api::ApiUnderTest,
    /// The form of the output
    #[arg(short, long, value_enum, default_value_t, conflicts_with = "json")]
    output: Form,
    /// Short for `-o json`
    #[arg(long)]
    json: bool,
}

/// The form of the report.
#[derive(Debug, Clone, Copy, Default, ValueEnum)]
enum Form {
    /// For people: columns
    #[default]
    Table,
    /// `{ok, checks: [{name, status, message}]}`
    Json,
}

impl Doctor {
    pub(super) fn format(&self) -> Format {
        match self.output {
            Form::Table if !self.json => Format::Table,
            Form::Table | Form::Json => Format::Json,
        }
    }

    pub(super) async fn run(self) -> Result<(), CliError> {
        let checks = self.checks().await;
        output::print(&shown(&checks, self.format()))?;
        let failed: Vec<_> = failed(&checks).collect();
        if failed.is_empty() {
            return Ok(());
        }
        Err(anyhow::anyhow!("not as it should be: {}", failed.join(", ")).into())
    }

    async fn checks(&self) -> Vec<Check> {
        let config = match self.config.load() {
            Ok(config) => config,
            Err(error) => {
                let mut checks = vec![Check::failed("configuration", error.to_string())];
                let names = [ledger::NAMES, broker::NAMES].concat();
                checks.extend(all_skipped(&names, "without a configuration"));
                checks.extend(self.api.checks().await);
                return checks;
            }
        };
        let (ledger, broker, api) = tokio::join!(
            ledger::checks(&config.database),
            broker::checks(&config.broker),
            self.api.checks(),
        );
        let mut checks = vec![Check::ok("configuration", "it can be read")];
        checks.extend(ledger.into_iter().chain(broker).chain(api));
        checks
    }
}

fn failed(checks: &[Check]) -> impl Iterator<Item = &'static str> {
    let failed = checks.iter().filter(|check| check.status == Status::Failed);
    failed.map(|check| check.name)
}

fn shown(checks: &[Check], format: Format) -> String {
    if format == Format::Json {
        let ok = failed(checks).next().is_none();
        return json_text::pretty(&json!({ "ok": ok, "checks": checks }).to_string());
    }
    let row = |check: &Check| {
        [
            check.name.to_owned(),
            check.status.as_str().to_owned(),
            check.message.clone(),
        ]
    };
    let rows: Vec<_> = checks.iter().map(row).collect();
    table::table(["CHECK", "RESULT", "WHAT"], &rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_is_for_people_or_for_programs() {
        let mut checks = vec![Check::ok("database", "it answers")];
        let json = shown(&checks, Format::Json);
        assert!(json.contains(r#""ok": true"#), "{json}");
        checks.push(Check::failed("broker", "no answer: start it"));
        checks.push(Check::skipped("token", "none is given"));
        let json: serde_json::Value = serde_json::from_str(&shown(&checks, Format::Json)).unwrap();
        assert_eq!(json["ok"], false);
        assert_eq!(json["checks"][1]["status"], "failed");
        let text = shown(&checks, Format::Table);
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines[2], "broker    failed   no answer: start it");
        assert_eq!(failed(&checks).collect::<Vec<_>>(), ["broker"]);
    }
}
