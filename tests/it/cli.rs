//! The binary as its users meet it: the demo, and a development server.

use std::{
    fs,
    path::Path,
    process::{Output, Stdio},
    time::Duration,
};

use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::{Child, Command},
    time::timeout,
};

const PATIENCE: Duration = Duration::from_mins(1);

/// The binary in a folder of its own; nothing of the environment configures it.
pub(crate) fn redrive(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_redrive"));
    command.current_dir(folder).kill_on_drop(true);
    for name in [
        "DATABASE_URL",
        "AMQP_URL",
        "PORT",
        "REDRIVE_URL",
        "REDRIVE_TOKEN",
    ] {
        command.env_remove(name);
    }
    command
}

/// What a command ended with, and its standard output as text.
pub(crate) async fn output(command: &mut Command) -> (Output, String) {
    let output = timeout(PATIENCE, command.output()).await.unwrap().unwrap();
    let text = String::from_utf8(output.stdout.clone()).unwrap();
    (output, text)
}

#[tokio::test]
async fn the_demo_ends_well_and_fits_80_columns() {
    let folder = tempfile::tempdir().unwrap();
    let (demo, text) = output(redrive(folder.path()).arg("demo")).await;
    assert!(demo.status.success(), "{text}\n{:?}", demo.stderr);
    assert!(demo.stderr.is_empty(), "{:?}", demo.stderr);
    assert!(
        text.lines().all(|line| line.chars().count() <= 80),
        "{text}"
    );
    assert!(text.contains("Everything above was checked and is true"));
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
}

/// A development server and what it printed.
struct Dev {
    child: Child,
    printed: Vec<String>,
}

impl Dev {
    async fn start(folder: &Path) -> Self {
        let mut child = redrive(folder)
            .args(["dev", "--port", "0"])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut printed = Vec::new();
        while let Some(line) = timeout(PATIENCE, lines.next_line()).await.unwrap().unwrap() {
            printed.push(line);
            if printed.last().unwrap() == "redrive runs list" {
                return Self { child, printed };
            }
        }
        panic!("the server ended: {printed:?}");
    }

    fn line(&self, start: &str) -> &str {
        let found = self.printed.iter().find(|line| line.starts_with(start));
        found.unwrap()
    }

    /// A command of the client that uses what the server printed.
    fn client(&self, folder: &Path) -> Command {
        let export = self.line("export ").trim_start_matches("export ");
        let (url, token) = export.split_once(' ').unwrap();
        let token = token
            .trim_start_matches("REDRIVE_TOKEN=")
            .trim_matches('\'');
        let mut command = redrive(folder);
        command
            .env("REDRIVE_URL", url.trim_start_matches("REDRIVE_URL="))
            .env("REDRIVE_TOKEN", token);
        command
    }

    async fn stop(mut self) {
        let id = self.child.id().unwrap().to_string();
        let mut kill = Command::new("kill");
        assert!(kill.arg(id).status().await.unwrap().success());
        let ended = timeout(PATIENCE, self.child.wait()).await.unwrap().unwrap();
        assert!(ended.success());
    }
}

#[tokio::test]
async fn what_dev_prints_works_and_its_token_outlives_it() {
    let folder = tempfile::tempdir().unwrap();
    let dev = Dev::start(folder.path()).await;
    if Command::new("curl").arg("-V").output().await.is_ok() {
        let (_, answer) = output(Command::new("bash").args(["-c", dev.line("curl ")])).await;
        let answer: serde_json::Value = serde_json::from_str(&answer).unwrap();
        assert_eq!(answer["code"], 200);
    }
    let mut list = dev.client(folder.path());
    assert!(output(list.args(["runs", "list"])).await.0.status.success());
    let token = dev.line("token ").to_owned();
    dev.stop().await;
    let again = Dev::start(folder.path()).await;
    assert_eq!(again.line("token "), token);
    again.stop().await;
}

#[tokio::test]
async fn the_client_says_by_its_exit_code_what_went_wrong() {
    let folder = tempfile::tempdir().unwrap();
    let dev = Dev::start(folder.path()).await;
    for (arguments, code) in [
        (["runs", "get", "nope"].as_slice(), 3),
        (&["runs", "retry", "nope", "-o", "json"], 3),
        (&["runs", "import", "/no/such/file"], 2),
        (&["runs", "list", "--token", "wrong"], 5),
        (&["runs", "list", "--url", "http://127.0.0.1:9"], 1),
    ] {
        let (ended, text) = output(dev.client(folder.path()).args(arguments)).await;
        assert_eq!(ended.status.code(), Some(code), "{arguments:?}");
        assert_eq!(text, "", "data only on standard output");
        assert!(!ended.stderr.is_empty());
    }
    dev.stop().await;
}

#[tokio::test]
async fn a_plan_is_drawn_a_wait_resumed_and_a_chain_shown() {
    let folder = tempfile::tempdir().unwrap();
    let dev = Dev::start(folder.path()).await;
    let definition = r#"{"nodes": {
        "root": {"type": "manual", "children": ["approve"]},
        "approve": {"type": "wait", "payload": {"timeoutMs": 60000}, "children": ["say"]},
        "say": {"type": "log", "payload": {"message": "{{approve.result.triggerResult.by}}"}}
    }}"#;
    fs::write(folder.path().join("wait.json"), definition).unwrap();
    let run = async |arguments: &[&str]| {
        let (done, text) = output(dev.client(folder.path()).args(arguments)).await;
        assert!(done.status.success(), "{arguments:?}: {text} {done:?}");
        text
    };
    let start = ["runs", "start", "--definition", "wait.json", "-o", "id"];
    let first = run(&start).await.trim().to_owned();
    run(&["runs", "cancel", &first]).await;
    while !run(&["runs", "get", &first]).await.contains("cancelled") {}
    let drawn = run(&["runs", "plan", &first]).await;
    assert!(
        drawn.contains("= root") && drawn.contains("> approve"),
        "{drawn}"
    );
    let json = run(&["runs", "plan", &first, "--json"]).await;
    assert!(json.contains("\"planHash\""), "{json}");
    let second = run(&["runs", "retry", &first, "-o", "id"])
        .await
        .trim()
        .to_owned();
    let resume = [
        "runs",
        "resume",
        &second,
        "approve",
        "--data",
        r#"{"by": "ann"}"#,
    ];
    // It waits once a worker has brought it there.
    while !run(&resume).await.contains("resumed") {}
    while !run(&["runs", "get", &second]).await.contains("Succeeded") {}
    let chain = run(&["runs", "chain", &first]).await;
    assert!(chain.contains(&format!("└ {second}  success")), "{chain}");
    assert!(chain.contains("effective: success"), "{chain}");
    dev.stop().await;
}

#[tokio::test]
async fn a_workflow_is_kept_run_and_its_variable_set_and_given_its_default_again() {
    let folder = tempfile::tempdir().unwrap();
    let dev = Dev::start(folder.path()).await;
    let definition = r#"{
        "variableDefs": [{"name": "count", "default": 0, "lifetime": "persist"}],
        "nodes": {
            "root": {"type": "manual", "children": ["count"]},
            "count": {"type": "set-variable", "payload": {"name": "count", "value": 7}}
        }
    }"#;
    fs::write(folder.path().join("count.json"), definition).unwrap();
    let run = async |arguments: &[&str]| {
        let (done, text) = output(dev.client(folder.path()).args(arguments)).await;
        assert!(done.status.success(), "{arguments:?}: {text} {done:?}");
        text
    };
    let put = ["workflows", "put", "counter", "--definition", "count.json"];
    run(&[&put[..], &["--name", "A counter"]].concat()).await;
    assert!(run(&["workflows", "list"]).await.contains("A counter"));
    let kept = run(&["workflows", "get", "counter", "-o", "json"]).await;
    assert!(kept.contains("\"variableDefs\""), "{kept}");

    let variables = ["workflows", "variables", "counter", "-o", "json"];
    let value = async || {
        let text = run(&variables).await;
        let listed: serde_json::Value = serde_json::from_str(&text).unwrap();
        listed["items"][0]["value"].clone()
    };
    assert_eq!(value().await, 0);
    let first = run(&["workflows", "run", "counter", "-o", "id"]).await;
    let first = first.trim();
    while !run(&["runs", "get", first]).await.contains("Succeeded") {}
    assert_eq!(value().await, 7);
    let writes = run(&["runs", "writes", first]).await;
    assert!(writes.contains("count"), "{writes}");
    run(&["workflows", "set", "counter", "count", "[1, 2]"]).await;
    assert_eq!(value().await, serde_json::json!([1, 2]));
    run(&["workflows", "unset", "counter", "count"]).await;
    assert_eq!(value().await, 0);
    dev.stop().await;
}
