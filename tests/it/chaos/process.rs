//! The program as users run it: a child process on a ledger file of its own.

use std::path::{Path, PathBuf};

use tempfile::TempDir;
use tokio::process::Command;

use crate::support::process::{Output, Process, Said, free_address, redrive};

/// A ledger file, and the address that whoever serves it listens on.
pub(super) struct Installation {
    folder: TempDir,
    address: String,
    said: Said,
}

impl Installation {
    pub(super) fn new() -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
            address: free_address(),
            said: Said::default(),
        }
    }

    pub(super) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub(super) fn file(&self) -> PathBuf {
        self.folder.path().join("redrive.db")
    }

    pub(super) fn database_url(&self) -> String {
        format!("sqlite:{}", self.file().display())
    }

    /// What all processes said that may matter after a failure.
    pub(super) fn said(&self) -> Vec<String> {
        self.said.lock().unwrap().clone()
    }

    pub(super) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = redrive(arguments);
        command
            .current_dir(self.folder.path())
            .env("DATABASE_URL", self.database_url())
            .env("REDRIVE_SERVER__LISTEN", &self.address)
            .env("REDRIVE_HTTP__ALLOW_NETWORKS", r#"["127.0.0.0/8"]"#)
            .env("REDRIVE_LOG__FILTER", "warn");
        command
    }

    /// A token made by the command line.
    pub(super) async fn token(&self) -> String {
        let made = self.command(&["token", "create", "--org", "org_test"]);
        let output = { made }.output().await.unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    /// Starts a process, without waiting for it to listen.
    pub(super) fn spawn(&self) -> (Process, Output) {
        self.spawn_with(&[])
    }

    /// The same with variables of its own.
    pub(super) fn spawn_with(&self, variables: &[(&str, String)]) -> (Process, Output) {
        let mut command = self.command(&["serve"]);
        command.envs(variables.iter().cloned());
        Process::spawn(command)
    }

    /// Starts a process and waits until it listens.
    pub(super) async fn start(&self) -> Process {
        self.start_with(&[]).await
    }

    /// The same with variables of its own.
    pub(super) async fn start_with(&self, variables: &[(&str, String)]) -> Process {
        let (mut process, lines) = self.spawn_with(variables);
        self.until_ready(&mut process, lines).await;
        assert!(process.ready_after.is_some(), "{:#?}", self.said());
        process
    }

    /// Waits until the process listens, or has ended.
    pub(super) async fn until_ready(&self, process: &mut Process, lines: Output) {
        process.until_ready(lines, &self.said).await;
    }
}

/// Copies a ledger that nobody has open, so that reading it leaves its log as the dead left it.
pub(super) fn copy(file: &Path, to: &Path) -> PathBuf {
    let copy = to.join("copy.db");
    for suffix in ["", "-wal"] {
        let name = |path: &Path| PathBuf::from(format!("{}{suffix}", path.display()));
        if name(file).exists() {
            std::fs::copy(name(file), name(&copy)).unwrap();
        }
    }
    copy
}
