//! The command line: subcommands, the HTTP client they use, the demo.
//!
//! Data goes to standard output, everything else to standard error; nothing is coloured, so
//! `NO_COLOR` holds by itself. Each subcommand is one file with its arguments and a `run`; a
//! [`CliError`] decides the exit code.
//!
//! To add a subcommand: a file with a `clap::Args` struct and its `run`, a variant of `Command`
//! (or of the noun it belongs to), and an arm in [`run`].

mod bench;
mod client;
mod database;
mod dead_letters;
mod demo;
mod dev;
mod doctor;
mod error;
mod input;
mod json_text;
mod migrate;
mod output;
mod plan_view;
mod retries;
mod runs;
mod serve;
mod table;
mod token;
mod view;
mod workflows;

pub use error::CliError;
pub use output::Format;

use clap::{Parser, Subcommand};

const EXIT_CODES: &str = "\
Exit codes:
  0  ok
  1  any other failure
  2  wrong usage: arguments, files that can't be read, input that is no JSON
  3  not found
  4  conflict: the run can't be retried, cancelled or imported now
  5  not authenticated, or not allowed
  6  timed out

Data goes to standard output, everything else to standard error. With -o json
and -o jsonl an error is the API's error object, on standard error.";

/// Retries a failed or cancelled workflow run from its failure point.
#[derive(Debug, Parser)]
#[command(
    name = "redrive",
    version,
    about,
    after_help = EXIT_CODES,
    infer_subcommands = true,
    max_term_width = 100
)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// See a failed run retried from its failure point: one process, nothing to install
    Demo(demo::Demo),
    /// Run everything in one process on this machine, with its data in a folder
    Dev(dev::Dev),
    /// Measure retries: how many a second, how fast, at what cost; to plan capacity
    Bench(bench::Bench),
    /// Run the API and the workers
    Serve(serve::Serve),
    /// Bring the database up to this version
    Migrate(migrate::Migrate),
    /// Look whether everything is there and works, and say what to do; changes nothing
    Doctor(doctor::Doctor),
    /// Make, list and revoke API tokens, directly in the database
    #[command(subcommand, infer_subcommands = true)]
    Token(token::Token),
    /// Start, read, retry and cancel runs over the API
    #[command(subcommand, infer_subcommands = true)]
    Runs(runs::Runs),
    /// See what became of accepted retries over the API
    #[command(subcommand, infer_subcommands = true)]
    Retries(retries::Retries),
    /// Register workflows, start runs of them, and see their variables over the API
    #[command(subcommand, infer_subcommands = true)]
    Workflows(workflows::Workflows),
    /// See and drop messages that could not be used over the API (operator token)
    #[command(subcommand, infer_subcommands = true)]
    DeadLetters(dead_letters::DeadLetters),
}

impl Cli {
    /// The form in which an error of this command is written.
    #[must_use]
    pub fn error_format(&self) -> Format {
        match &self.command {
            Command::Runs(runs) => runs.format(),
            Command::Retries(retries) => retries.format(),
            Command::Workflows(workflows) => workflows.format(),
            Command::DeadLetters(letters) => letters.format(),
            Command::Doctor(doctor) => doctor.format(),
            Command::Bench(bench) => bench.output.format(),
            Command::Token(token) => token.format(),
            Command::Demo(_) | Command::Dev(_) | Command::Serve(_) | Command::Migrate(_) => {
                Format::Table
            }
        }
    }
}

/// Runs one command to its end.
///
/// # Errors
/// What went wrong; the error knows its exit code.
pub async fn run(cli: Cli) -> Result<(), CliError> {
    match cli.command {
        Command::Demo(demo) => demo.run().await,
        Command::Dev(dev) => dev.run().await,
        Command::Bench(bench) => bench.run().await,
        Command::Serve(serve) => serve.run().await,
        Command::Migrate(migrate) => migrate.run().await,
        Command::Token(token) => token.run().await,
        Command::Runs(runs) => runs.run().await,
        Command::Retries(retries) => retries.run().await,
        Command::Workflows(workflows) => workflows.run().await,
        Command::DeadLetters(letters) => letters.run().await,
        Command::Doctor(doctor) => Box::pin(doctor.run()).await,
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn verify_cli() {
        Cli::command().debug_assert();
    }

    fn parses(line: &str) -> bool {
        Cli::try_parse_from(line.split(' ')).is_ok()
    }

    #[test]
    fn commands_parse_as_documented() {
        for line in [
            "redrive demo",
            "redrive dev --port 0 --data ./x --token abc",
            "redrive dev --ephemeral",
            "redrive serve --roles api,worker,relay,scheduler --listen 0.0.0.0:8080 --migrate",
            "redrive migrate --config redrive.toml",
            "redrive token create --org org_1 --name ci --scopes read,retry",
            "redrive token list --json",
            "redrive token revoke tok_1",
            "redrive runs list --status failure --limit 5 --offset 10 -o id",
            "redrive runs get run_1 --summary --json",
            "redrive runs start --definition - --payload {} --run-id run_7",
            "redrive runs import run.json",
            "redrive runs retry run_1 --reason again --url http://h:1 --token t",
            "redrive runs cancel run_1",
            "redrive runs writes run_1 --limit 5",
            "redrive workflows list --limit 5 -o id",
            "redrive workflows get wf_1 --json",
            "redrive workflows put wf_1 --name Orders --definition d.json",
            "redrive workflows run wf_1 --payload {} --trigger root --version 2 --run-id run_7",
            "redrive workflows variables wf_1",
            "redrive workflows set wf_1 count 1.50",
            "redrive workflows unset wf_1 count",
            "redrive retries list --state refused --source run_1 -o jsonl",
            "redrive retries get rty_1",
            "redrive retr l",
            "redrive dead-letters list --limit 5 --offset 10 -o id",
            "redrive dead-letters get dl_1 --json",
            "redrive dead-letters drop dl_1 dl_2 --url http://h:1 --token t",
            "redrive doctor",
            "redrive doctor --config redrive.toml --url http://h:1 --token t -o json",
            "redrive doctor --json",
        ] {
            assert!(parses(line), "{line}");
        }
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for line in [
            "redrive",
            "redrive runs",
            "redrive dev --ephemeral --data ./x",
            "redrive token create",
            "redrive token create --org org_1 --scopes everything",
            "redrive runs list --limit 0",
            "redrive runs list --limit 101",
            "redrive runs list --status done",
            "redrive runs get run_1 -o json --json",
            "redrive serve --roles cook",
            "redrive dead-letters list --limit 101",
            "redrive dead-letters drop",
            "redrive doctor -o id",
            "redrive doctor -o table --json",
        ] {
            assert!(!parses(line), "{line}");
        }
    }

    #[test]
    fn help_names_every_exit_code() {
        let help = Cli::command().render_long_help().to_string();
        for code in 0..=6 {
            assert!(help.contains(&format!("\n  {code}  ")), "{code}");
        }
    }
}
