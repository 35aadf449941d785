//! A RabbitMQ of one test's own, to do to it what others would not like.

use std::process::{Command, Output, Stdio};

use tempfile::TempDir;

use super::services::database_url;

/// The server. It stops when this goes.
pub(crate) struct PrivateBroker {
    folder: TempDir,
    pub(crate) url: String,
}

fn services(arguments: &[&str]) -> Command {
    let mut command = Command::new("bash");
    command
        .arg("tests/services.sh")
        .args(arguments)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        // One that is there is used: only the broker is to be private.
        .env("DATABASE_URL", database_url())
        .env_remove("AMQP_URL")
        .stdin(Stdio::null());
    command
}

async fn run(mut command: Command) -> Output {
    let ran = tokio::task::spawn_blocking(move || command.output()).await;
    let output = ran.unwrap().unwrap();
    assert!(output.status.success(), "{output:?}");
    output
}

impl PrivateBroker {
    pub(crate) async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let output = run(services(&["start", folder.path().to_str().unwrap()])).await;
        let lines = String::from_utf8(output.stdout).unwrap();
        let url = lines
            .lines()
            .find_map(|l| l.strip_prefix("export AMQP_URL="));
        Self {
            folder,
            url: url.unwrap().to_owned(),
        }
    }

    /// Does something to it with `rabbitmqctl`; what that printed.
    pub(crate) async fn control(&self, arguments: &[&str]) -> String {
        let folder = self.folder.path().to_str().unwrap();
        let command = [&["rabbitmqctl", folder], arguments].concat();
        let output = run(services(&command)).await;
        String::from_utf8(output.stdout).unwrap()
    }
}

impl Drop for PrivateBroker {
    fn drop(&mut self) {
        let folder = self.folder.path().to_str().unwrap();
        let _ = services(&["stop", folder]).output();
    }
}
