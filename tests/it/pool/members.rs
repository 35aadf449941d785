//! The processes of one installation: a database, queues with a prefix of their own, and whoever
//! was started on them.

use std::{
    process::{ExitStatus, Output as Finished},
    sync::atomic::{AtomicUsize, Ordering},
    time::Instant,
};

use tempfile::TempDir;
use tokio::process::Command;

use super::{broker, load::Client, seen};
use crate::support::{
    ledger::Ledger,
    process::{Process, Said, redrive},
    services,
};

/// One installation.
pub(super) struct Pool {
    pub(super) ledger: Ledger,
    pub(super) amqp: String,
    pub(super) prefix: String,
    settings: Vec<(String, String)>,
    folder: TempDir,
    said: Said,
    started: AtomicUsize,
}

/// One of its processes.
pub(super) struct Member {
    /// What the database knows it by.
    pub(super) name: String,
    pub(super) process: Process,
}

/// A process that went away, stood still, or was cut off, from a time on and for a time.
#[derive(Debug, Clone)]
pub(super) struct Departed {
    pub(super) name: String,
    pub(super) at: Instant,
    /// When it was over; for one that does not come back the same instant.
    pub(super) until: Instant,
    /// Whether it could not know: it was stopped in the middle of a step, and went on with it.
    pub(super) stood_still: bool,
}

impl Departed {
    /// One that does not come back.
    pub(super) fn for_good(name: String, at: Instant) -> Self {
        Self {
            name,
            at,
            until: at,
            stood_still: false,
        }
    }

    /// One that something was wrong with until now.
    pub(super) fn since(name: String, at: Instant) -> Self {
        Self {
            until: Instant::now(),
            ..Self::for_good(name, at)
        }
    }
}

impl Pool {
    /// On the servers that the tests share; settings are environment variables of every process.
    pub(super) async fn new(settings: &[(&str, &str)]) -> Self {
        Self::on(Ledger::postgres().await, services::amqp_url(), settings).await
    }

    /// With a ledger or a broker of the test's own.
    pub(super) async fn on(ledger: Ledger, amqp: String, settings: &[(&str, &str)]) -> Self {
        seen::watch(&ledger).await;
        let own = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        Self {
            ledger,
            amqp,
            prefix: format!("test-{}", uuid::Uuid::new_v4().simple()),
            settings: settings.iter().map(own).collect(),
            folder: tempfile::tempdir().unwrap(),
            said: Said::default(),
            started: AtomicUsize::new(0),
        }
    }

    /// What all processes said that may matter after a failure.
    pub(super) fn said(&self) -> Vec<String> {
        self.said.lock().unwrap().clone()
    }

    /// What they said that no disturbance excuses.
    pub(super) fn assert_sound(&self) {
        let said = self.said();
        let unsound: Vec<_> = said
            .iter()
            .filter(|line| line.contains("panicked") || line.contains("refused a statement"))
            .collect();
        assert!(unsound.is_empty(), "{unsound:#?}");
    }

    /// The program in this installation, under a name that the database can tell.
    pub(super) fn command(&self, name: &str, arguments: &[&str]) -> Command {
        let mut command = redrive(arguments);
        command
            .current_dir(self.folder.path())
            .env("DATABASE_URL", self.database(name))
            .env("AMQP_URL", &self.amqp)
            .env("REDRIVE_BROKER__PREFIX", &self.prefix)
            .env("REDRIVE_HTTP__ALLOW_NETWORKS", r#"["127.0.0.0/8"]"#)
            .env("REDRIVE_LOG__FILTER", "warn");
        for (name, value) in &self.settings {
            command.env(name, value);
        }
        command
    }

    /// The ledger's URL for a process, by which the database knows it.
    pub(super) fn database(&self, name: &str) -> String {
        let mark = if self.ledger.url.contains('?') {
            '&'
        } else {
            '?'
        };
        format!("{}{mark}options[redrive.process]={name}", self.ledger.url)
    }

    /// Starts a process with these roles and waits until it listens.
    pub(super) async fn start(&self, roles: &str) -> Member {
        self.start_at("127.0.0.1:0", roles, &[]).await
    }

    /// The same at an address, with variables of its own.
    pub(super) async fn start_at(
        &self,
        address: &str,
        roles: &str,
        variables: &[(&str, String)],
    ) -> Member {
        let name = self.next_name(roles);
        let started = self.try_start(&name, address, roles, variables).await;
        started.unwrap_or_else(|| panic!("{:#?}", self.said()))
    }

    /// A name that no process had yet.
    pub(super) fn next_name(&self, roles: &str) -> String {
        let number = self.started.fetch_add(1, Ordering::Relaxed);
        format!("{}{number}", roles.replace(',', "_"))
    }

    /// Starts a process; none if it ended before it listened.
    pub(super) async fn try_start(
        &self,
        name: &str,
        address: &str,
        roles: &str,
        variables: &[(&str, String)],
    ) -> Option<Member> {
        let arguments = ["serve", "--roles", roles, "--listen", address];
        let mut command = self.command(name, &arguments);
        command.envs(variables.iter().cloned());
        let (mut process, output) = Process::spawn(command);
        process.until_ready(output, &self.said).await;
        let name = name.to_owned();
        process
            .ready_after
            .is_some()
            .then_some(Member { name, process })
    }

    /// Starts several with the same roles, side by side.
    pub(super) async fn start_many(&self, roles: &str, count: usize) -> Vec<Member> {
        let starting = (0..count).map(|_| self.start(roles));
        futures_util::future::join_all(starting).await
    }

    /// The program, to its end.
    pub(super) async fn run(&self, arguments: &[&str]) -> Finished {
        self.command("command", arguments).output().await.unwrap()
    }

    /// A token made by the command line.
    pub(super) async fn token(&self) -> String {
        self.token_of("org_test").await
    }

    pub(super) async fn token_of(&self, organization: &str) -> String {
        let made = self.run(&["token", "create", "--org", organization]).await;
        assert!(made.status.success(), "{made:?}");
        String::from_utf8(made.stdout).unwrap().trim().to_owned()
    }

    /// Removes what the test left, once all processes have ended.
    pub(super) async fn remove(self) {
        broker::remove(&self.amqp, &self.prefix).await;
        self.ledger.remove().await;
    }
}

impl Member {
    pub(super) async fn kill(self) -> Departed {
        let name = self.name;
        Departed::for_good(name, self.process.kill().await)
    }

    /// SIGTERM; its exit status.
    pub(super) async fn told_to_stop(self) -> ExitStatus {
        self.process.terminate().await;
        self.process.ended().await
    }

    /// Status and body of what it answers about itself.
    pub(super) async fn ask(&self, path: &str) -> (u16, String) {
        let url = format!("{}{path}", self.process.url);
        let answer = crate::support::app::client().get(url).send().await.unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    }

    /// Waits until `/readyz` answers with this status.
    pub(super) async fn until_ready(&self, status: u16) -> String {
        let began = Instant::now();
        loop {
            let (found, body) = self.ask("/readyz").await;
            if found == status {
                return body;
            }
            assert!(began.elapsed() < super::PATIENCE, "{}: {body}", self.name);
            tokio::time::sleep(super::LOOK).await;
        }
    }
}

/// An API, a relay, workers, and somebody who uses them.
pub(super) struct Crew {
    pub(super) pool: Pool,
    pub(super) api: Member,
    pub(super) relay: Member,
    pub(super) workers: Vec<Member>,
    pub(super) client: Client,
}

impl Crew {
    pub(super) async fn start(pool: Pool, workers: usize) -> Self {
        let api = pool.start("api").await;
        let relay = pool.start("relay").await;
        let workers = pool.start_many("worker", workers).await;
        let client = Client::new(&pool, &api).await;
        Self {
            pool,
            api,
            relay,
            workers,
            client,
        }
    }

    /// Stops everybody well, and removes what the test left.
    pub(super) async fn end(self) {
        self.pool.assert_sound();
        stop_all(self.workers.into_iter().chain([self.api, self.relay])).await;
        self.pool.remove().await;
    }
}

/// Stops them side by side; every one of them has to end well.
pub(super) async fn stop_all(members: impl IntoIterator<Item = Member>) {
    let stopping = members.into_iter().map(|member| async move {
        let name = member.name.clone();
        let status = member.told_to_stop().await;
        assert_eq!(status.code(), Some(0), "{name}");
    });
    futures_util::future::join_all(stopping).await;
}
