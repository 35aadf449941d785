//! The program as users run it: a child process on a ledger file of its own.

use std::{
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt, BufReader, Lines},
    process::{Child, ChildStderr, Command},
};

/// How long a start or a stop may take before a test gives up.
const PATIENCE: Duration = Duration::from_secs(40);

/// What the program says once it answers.
const LISTENS: &str = "redrive listens on";

/// A ledger file, and the address that whoever serves it listens on.
pub(super) struct Installation {
    folder: TempDir,
    address: String,
    said: Arc<Mutex<Vec<String>>>,
}

/// One process that serves.
pub(super) struct Process {
    child: Child,
    pub(super) spawned: Instant,
    /// From its start until it listened; none when it ended before.
    pub(super) ready_after: Option<Duration>,
}

impl Installation {
    pub(super) fn new() -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
            address: free_address(),
            said: Arc::default(),
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
        let mut command = Command::new(env!("CARGO_BIN_EXE_redrive"));
        command
            .args(arguments)
            .current_dir(self.folder.path())
            .env_clear()
            .env("DATABASE_URL", self.database_url())
            .env("REDRIVE_SERVER__LISTEN", &self.address)
            .env("REDRIVE_HTTP__ALLOW_NETWORKS", r#"["127.0.0.0/8"]"#)
            .env("REDRIVE_LOG__FILTER", "warn")
            .kill_on_drop(true);
        if let Some(path) = std::env::var_os("PATH") {
            command.env("PATH", path);
        }
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
    pub(super) fn spawn(&self) -> (Process, Lines<BufReader<ChildStderr>>) {
        let mut command = self.command(&["serve"]);
        command.stdout(Stdio::null()).stderr(Stdio::piped());
        let spawned = Instant::now();
        let mut child = command.spawn().unwrap();
        let stderr = BufReader::new(child.stderr.take().unwrap()).lines();
        let process = Process {
            child,
            spawned,
            ready_after: None,
        };
        (process, stderr)
    }

    /// Starts a process and waits until it listens.
    pub(super) async fn start(&self) -> Process {
        let (mut process, lines) = self.spawn();
        self.until_ready(&mut process, lines).await;
        assert!(process.ready_after.is_some(), "{:#?}", self.said());
        process
    }

    /// Waits until the process listens, or has ended.
    pub(super) async fn until_ready(
        &self,
        process: &mut Process,
        mut lines: Lines<BufReader<ChildStderr>>,
    ) {
        let said = Arc::clone(&self.said);
        let listening = async {
            while let Ok(Some(line)) = lines.next_line().await {
                if line.starts_with(LISTENS) {
                    return true;
                }
                said.lock().unwrap().push(line);
            }
            false
        };
        let listens = tokio::time::timeout(PATIENCE, listening).await;
        if listens.expect("neither listening nor dead") {
            process.ready_after = Some(process.spawned.elapsed());
        }
        tokio::spawn(async move {
            while let Ok(Some(line)) = lines.next_line().await {
                said.lock().unwrap().push(line);
            }
        });
    }
}

impl Process {
    /// SIGKILL; gives the instant right before it.
    pub(super) async fn kill(mut self) -> Instant {
        let at = Instant::now();
        let _ = self.child.start_kill();
        let status = self.child.wait().await.unwrap();
        assert!(status.code().is_none(), "it ended by itself: {status}");
        at
    }

    /// SIGTERM.
    pub(super) async fn terminate(&self) {
        let id = self.child.id().expect("it has ended");
        let kill = format!("kill -TERM {id}");
        let sent = Command::new("sh").args(["-c", &kill]).status().await;
        assert!(sent.unwrap().success());
    }

    /// Its exit status.
    pub(super) async fn ended(mut self) -> ExitStatus {
        let ended = tokio::time::timeout(PATIENCE, self.child.wait()).await;
        ended.expect("it did not stop").unwrap()
    }

    /// SIGTERM, and the end of a process that stops as it should.
    pub(super) async fn stop(self) {
        self.terminate().await;
        let status = self.ended().await;
        assert!(status.success(), "{status}");
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
