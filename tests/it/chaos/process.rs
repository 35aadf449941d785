//! The program as users run it: a child process on a ledger file of its own.

use std::path::{Path, PathBuf};

use tempfile::TempDir;
use tokio::process::Command;

use crate::support::process::{Output, Process, Said, redrive};

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
        Process::spawn(self.command(&["serve"]))
    }

    /// Starts a process and waits until it listens.
    pub(super) async fn start(&self) -> Process {
        let (mut process, lines) = self.spawn();
        self.until_ready(&mut process, lines).await;
        assert!(process.ready_after.is_some(), "{:#?}", self.said());
        process
    }

    /// Waits until the process listens, or has ended.
    pub(super) async fn until_ready(&self, process: &mut Process, lines: Output) {
        process.until_ready(lines, &self.said).await;
    }
}

/// An address that is free now, below the ports that connections take.
fn free_address() -> String {
    let first = 20_000 + std::process::id() % 10_000;
    let free = (first..32_000).find(|port| {
        let port = u16::try_from(*port).unwrap();
        std::net::TcpListener::bind(("127.0.0.1", port)).is_ok()
    });
    format!("127.0.0.1:{}", free.expect("a free port"))
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
