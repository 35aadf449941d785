//! The program as users run it: a child process.

use std::{
    ffi::OsString,
    process::{ExitStatus, Stdio},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU16, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::{
    io::{AsyncBufReadExt, BufReader, Lines},
    process::{Child, ChildStderr, Command},
};

/// How long a start or a stop may take before a test gives up.
const PATIENCE: Duration = Duration::from_secs(40);

/// What the program says once it answers.
const LISTENS: &str = "redrive listens on ";

/// What processes said that may matter after a failure. Cheap to clone; all clones are one.
pub(crate) type Said = Arc<Mutex<Vec<String>>>;

/// Its lines until it listens.
pub(crate) type Output = Lines<BufReader<ChildStderr>>;

/// The program, with a clean environment.
pub(crate) fn redrive(arguments: &[&str]) -> Command {
    let mut command = Command::new(program());
    command.args(arguments).env_clear().kill_on_drop(true);
    if let Some(path) = std::env::var_os("PATH") {
        command.env("PATH", path);
    }
    command
}

/// Where the program is: what cargo built for the tests, or what `REDRIVE_TEST_PROGRAM` names, for
/// rows that are to meet what is released.
fn program() -> OsString {
    let named = std::env::var_os("REDRIVE_TEST_PROGRAM");
    named.unwrap_or_else(|| env!("CARGO_BIN_EXE_redrive").into())
}

/// An address that is free now, below the ports that connections take, and that nobody else here
/// was given.
pub(crate) fn free_address() -> String {
    static GIVEN: AtomicU16 = AtomicU16::new(0);
    let first = 20_000 + u16::try_from(std::process::id() % 10_000).unwrap();
    let mut ports = (0..2_000).map(|_| first + GIVEN.fetch_add(1, Ordering::Relaxed));
    let free = ports.find(|port| std::net::TcpListener::bind(("127.0.0.1", *port)).is_ok());
    format!("127.0.0.1:{}", free.expect("a free port"))
}

/// One process that serves.
pub(crate) struct Process {
    child: Child,
    pub(crate) spawned: Instant,
    /// From its start until it listened; none when it ended before.
    pub(crate) ready_after: Option<Duration>,
    /// The URL that it said it listens on.
    pub(crate) url: String,
}

impl Process {
    /// Starts a process, without waiting for it to listen.
    pub(crate) fn spawn(mut command: Command) -> (Self, Output) {
        command.stdout(Stdio::null()).stderr(Stdio::piped());
        let spawned = Instant::now();
        let mut child = command.spawn().unwrap();
        let stderr = BufReader::new(child.stderr.take().unwrap()).lines();
        let process = Self {
            child,
            spawned,
            ready_after: None,
            url: String::new(),
        };
        (process, stderr)
    }

    /// Waits until the process listens, or has ended; everything else that it says is kept.
    pub(crate) async fn until_ready(&mut self, mut lines: Output, said: &Said) {
        let listening = async {
            while let Ok(Some(line)) = lines.next_line().await {
                if let Some(url) = line.strip_prefix(LISTENS) {
                    return Some(url.to_owned());
                }
                said.lock().unwrap().push(line);
            }
            None
        };
        let listens = tokio::time::timeout(PATIENCE, listening).await;
        if let Some(url) = listens.expect("neither listening nor dead") {
            self.ready_after = Some(self.spawned.elapsed());
            self.url = url;
        }
        let said = Arc::clone(said);
        tokio::spawn(async move {
            while let Ok(Some(line)) = lines.next_line().await {
                said.lock().unwrap().push(line);
            }
        });
    }

    /// SIGKILL; gives the instant right before it.
    pub(crate) async fn kill(mut self) -> Instant {
        let at = Instant::now();
        let _ = self.child.start_kill();
        let status = self.child.wait().await.unwrap();
        assert!(status.code().is_none(), "it ended by itself: {status}");
        at
    }

    /// What the system knows it by.
    pub(crate) fn id(&self) -> u32 {
        self.child.id().expect("it has ended")
    }

    /// SIGTERM.
    pub(crate) async fn terminate(&self) {
        self.signal("TERM").await;
    }

    /// Any signal, by its name.
    pub(crate) async fn signal(&self, name: &str) {
        let id = self.id();
        let kill = format!("kill -{name} {id}");
        let sent = Command::new("sh").args(["-c", &kill]).status().await;
        assert!(sent.unwrap().success());
    }

    /// Its exit status.
    pub(crate) async fn ended(mut self) -> ExitStatus {
        let ended = tokio::time::timeout(PATIENCE, self.child.wait()).await;
        ended.expect("it did not stop").unwrap()
    }

    /// The instant at which it is seen to have died by itself, as a fault had it.
    #[cfg(feature = "faults")]
    pub(crate) async fn died(mut self) -> Instant {
        use std::os::unix::process::ExitStatusExt;

        let died = tokio::time::timeout(PATIENCE, self.child.wait()).await;
        let status = died.expect("it never passed the point").unwrap();
        let at = Instant::now();
        assert_eq!(status.signal(), Some(6), "{status}");
        at
    }

    /// SIGTERM, and the end of a process that stops as it should.
    pub(crate) async fn stop(self) {
        self.terminate().await;
        let status = self.ended().await;
        assert!(status.success(), "{status}");
    }
}
