//! A server of the test's own, to be ended and started again.

use std::{
    path::{Path, PathBuf},
    process::Stdio,
};

use tempfile::TempDir;
use tokio::process::Command;

/// A private PostgreSQL or RabbitMQ; stopped when dropped.
pub(crate) struct Server {
    home: PathBuf,
    _folder: TempDir,
    /// Its URL.
    pub(crate) url: String,
}

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/services.sh");

impl Server {
    /// Starts a private PostgreSQL beside the RabbitMQ of the tests.
    pub(crate) async fn postgres() -> Self {
        Self::start("DATABASE_URL", tempfile::tempdir().unwrap()).await
    }

    /// Starts a private PostgreSQL whose data is in a folder, which has to be open to every user.
    pub(crate) async fn postgres_in(folder: &Path) -> Self {
        Self::start("DATABASE_URL", tempfile::tempdir_in(folder).unwrap()).await
    }

    /// Starts a private RabbitMQ beside the PostgreSQL of the tests.
    pub(crate) async fn rabbitmq() -> Self {
        Self::start("AMQP_URL", tempfile::tempdir().unwrap()).await
    }

    /// What is not set is started.
    async fn start(variable: &str, folder: TempDir) -> Self {
        let mut command = script("start", folder.path());
        command.env_remove(variable);
        let printed = finish(command).await;
        let line = printed
            .lines()
            .find_map(|line| line.strip_prefix(&format!("export {variable}=")));
        let url = line
            .unwrap_or_else(|| panic!("no URL: {printed}"))
            .to_owned();
        let home = folder.path().to_owned();
        Self {
            home,
            _folder: folder,
            url,
        }
    }

    /// Starts a PostgreSQL that has ended by itself; one that runs is left alone.
    pub(crate) async fn revive_postgres(&self) {
        let data = self.home.join("postgres/data");
        if !runs(&data) {
            self.tell("start-postgres", &[]).await;
        }
    }

    /// Tells the script what to do with it.
    pub(crate) async fn tell(&self, what: &str, arguments: &[&str]) {
        let mut command = script(what, &self.home);
        command.args(arguments);
        finish(command).await;
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let stopped = std::process::Command::new("bash")
            .args([SCRIPT, "stop"])
            .arg(&self.home)
            .stderr(Stdio::null())
            .status();
        drop(stopped);
    }
}

/// Whether the process that a data folder names is alive.
fn runs(data: &Path) -> bool {
    let named = std::fs::read_to_string(data.join("postmaster.pid")).unwrap_or_default();
    let id = named.lines().next().unwrap_or_default();
    !id.is_empty() && Path::new("/proc").join(id).exists()
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
