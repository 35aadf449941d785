//! A server of the test's own, to be ended and started again.

use std::{path::Path, process::Stdio};

use tempfile::TempDir;
use tokio::process::Command;

/// A private PostgreSQL or RabbitMQ; stopped when dropped.
pub(super) struct Server {
    folder: TempDir,
    /// Its URL.
    pub(super) url: String,
}

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/services.sh");

impl Server {
    /// Starts a private PostgreSQL beside the RabbitMQ of the tests.
    pub(super) async fn postgres() -> Self {
        Self::start("DATABASE_URL").await
    }

    /// Starts a private RabbitMQ beside the PostgreSQL of the tests.
    pub(super) async fn rabbitmq() -> Self {
        Self::start("AMQP_URL").await
    }

    /// What is not set is started.
    async fn start(variable: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut command = script("start", folder.path());
        command.env_remove(variable);
        let printed = finish(command).await;
        let line = printed
            .lines()
            .find_map(|line| line.strip_prefix(&format!("export {variable}=")));
        let url = line
            .unwrap_or_else(|| panic!("no URL: {printed}"))
            .to_owned();
        Self { folder, url }
    }

    /// Tells the script what to do with it.
    pub(super) async fn tell(&self, what: &str, arguments: &[&str]) {
        let mut command = script(what, self.folder.path());
        command.args(arguments);
        finish(command).await;
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let stopped = std::process::Command::new("bash")
            .args([SCRIPT, "stop"])
            .arg(self.folder.path())
            .stderr(Stdio::null())
            .status();
        drop(stopped);
    }
}

fn script(what: &str, folder: &Path) -> Command {
    let mut command = Command::new("bash");
    command.args([SCRIPT, what]).arg(folder);
    command
}

/// Its output. What it starts keeps its standard error, so that goes to a file of its own.
async fn finish(mut command: Command) -> String {
    let said = tempfile::NamedTempFile::new().unwrap();
    command.stdin(Stdio::null()).stderr(said.reopen().unwrap());
    let printed = command.output().await.unwrap();
    let said = std::fs::read_to_string(said.path()).unwrap();
    assert!(printed.status.success(), "{said}");
    String::from_utf8(printed.stdout).unwrap()
}
