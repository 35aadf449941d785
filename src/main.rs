//! The `redrive` binary.

use std::process::ExitCode;

use clap::Parser;
use redrive::cli::{Cli, run};

#[tokio::main]
async fn main() -> ExitCode {
    let cli = Cli::parse();
    let format = cli.error_format();
    match run(cli).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => error.report(format),
    }
}
