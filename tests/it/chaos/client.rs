//! Those who ask for retries, and write down every answer.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use serde_json::Value;
use tokio::sync::watch;

use super::process::Installation;
use crate::support::{
    dice::Dice,
    story::{failed_run, source},
    witness::Witness,
};

/// How long all runs may take to end after the last kill.
const PATIENCE: Duration = Duration::from_mins(1);

/// What somebody was promised.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub(super) source: String,
    pub(super) run: String,
}

/// What was answered, in that order. Cheap to clone; all clones are one.
#[derive(Debug, Clone, Default)]
pub(super) struct Journal(Arc<Mutex<Entries>>);

#[derive(Debug, Default)]
struct Entries {
    answered: Vec<Entry>,
    named_by_a_refusal: usize,
}

impl Journal {
    pub(super) fn entries(&self) -> Vec<Entry> {
        self.0.lock().unwrap().answered.clone()
    }

    pub(super) fn named_by_a_refusal(&self) -> usize {
        self.0.lock().unwrap().named_by_a_refusal
    }

    pub(super) fn add(&self, source: String, run: String, by_a_refusal: bool) {
        let mut entries = self.0.lock().unwrap();
        entries.answered.push(Entry { source, run });
        entries.named_by_a_refusal += usize::from(by_a_refusal);
    }
}

/// A user of the API.
#[derive(Clone)]
pub(super) struct Client {
    http: reqwest::Client,
    base: String,
    token: String,
    next: Arc<AtomicUsize>,
}

impl Client {
    pub(super) async fn new(installation: &Installation) -> Self {
        Self {
            http: crate::support::app::client(),
            base: installation.url(""),
            token: installation.token().await,
            next: Arc::default(),
        }
    }

    /// Status and body; none when no whole answer came back.
    async fn call(&self, method: &str, path: &str, body: Option<String>) -> Option<(u16, Value)> {
        let url = format!("{}{path}", self.base);
        let mut request = self
            .http
            .request(method.parse().unwrap(), url)
            .bearer_auth(&self.token)
            .timeout(Duration::from_secs(20));
        if let Some(body) = body {
            request = request
                .header("content-type", "application/json")
                .body(body);
        }
        let answer = request.send().await.ok()?;
        let status = answer.status().as_u16();
        let text = answer.text().await.ok()?;
        Some((
            status,
            serde_json::from_str(&text).unwrap_or(Value::String(text)),
        ))
    }

    /// The data of an answer that has to come and to be 200.
    pub(super) async fn get(&self, path: &str) -> Value {
        let (status, mut answer) = self.call("GET", path, None).await.expect("an answer");
        assert_eq!(status, 200, "GET {path}: {answer}");
        answer["data"].take()
    }

    pub(super) async fn import(&self, count: usize, witness: &Witness) {
        for number in 0..count {
            let run = failed_run(number, witness).to_string();
            let answer = self.call("POST", "/v1/runs/import", Some(run)).await;
            let (status, answer) = answer.expect("an answer");
            assert_eq!(status, 200, "{answer}");
        }
    }

    /// The sources as they are shown.
    pub(super) async fn sources(&self, count: usize) -> Vec<Value> {
        let mut sources = Vec::new();
        for number in 0..count {
            sources.push(self.get(&format!("/v1/runs/{}", source(number))).await);
        }
        sources
    }

    async fn ask(&self, source: &str) -> Option<(u16, Value)> {
        self.call("POST", &format!("/v1/runs/{source}/retry"), None)
            .await
    }

    /// The new run of an accepted retry.
    pub(super) async fn retry(&self, number: usize) -> Option<String> {
        let (status, answer) = self.ask(&source(number)).await?;
        assert_eq!(status, 200, "{answer}");
        answer["data"]["id"].as_str().map(str::to_owned)
    }

    /// Retries source after source, as far as they are released, until there are no more.
    pub(super) async fn submit(
        self,
        journal: Journal,
        mut released: watch::Receiver<usize>,
        mut dice: Dice,
    ) {
        loop {
            let number = self.next.fetch_add(1, Ordering::Relaxed);
            // An error says that the sender is gone: everything that will be released has been.
            if released
                .wait_for(|released| number < *released)
                .await
                .is_err()
            {
                return;
            }
            let source = source(number);
            let run = self.insist(&source, &journal).await;
            if dice.one_in(4) {
                self.click_again(&source, &run).await;
            }
        }
    }

    /// Asks until there is an answer. A refusal that names a run is one only after a lost answer.
    async fn insist(&self, source: &str, journal: &Journal) -> String {
        let mut lost = 0;
        loop {
            match self.ask(source).await {
                None => lost += 1,
                Some((503, _)) => {}
                Some((200, answer)) => {
                    let run = answer["data"]["id"].as_str().expect("an id").to_owned();
                    journal.add(source.to_owned(), run.clone(), false);
                    return run;
                }
                Some((409, answer)) if lost > 0 => {
                    let run = named(&answer).to_owned();
                    journal.add(source.to_owned(), run.clone(), true);
                    return run;
                }
                Some((status, answer)) => panic!("{source}: {status} {answer} (lost {lost})"),
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// The second click finds the first one's run.
    async fn click_again(&self, source: &str, run: &str) {
        loop {
            match self.ask(source).await {
                None | Some((503, _)) => tokio::time::sleep(Duration::from_millis(10)).await,
                Some((409, answer)) => {
                    assert_eq!(named(&answer), run, "{answer}");
                    return;
                }
                Some((status, answer)) => panic!("{source} again: {status} {answer}"),
            }
        }
    }

    /// The run once it has ended.
    pub(super) async fn ended(&self, run: &str, installation: &Installation) -> Value {
        self.ended_before(run, Instant::now() + PATIENCE, installation)
            .await
    }

    pub(super) async fn until_all_ended(&self, journal: &Journal, installation: &Installation) {
        let until = Instant::now() + PATIENCE;
        for entry in journal.entries() {
            self.ended_before(&entry.run, until, installation).await;
        }
    }

    async fn ended_before(&self, run: &str, until: Instant, installation: &Installation) -> Value {
        loop {
            let now = self.get(&format!("/v1/runs/{run}")).await;
            let status = now["status"].as_str().expect("a status");
            if !["waiting", "running"].contains(&status) {
                return now;
            }
            assert!(Instant::now() < until, "{now} {:#?}", installation.said());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

/// The run that a refusal points to.
fn named(answer: &Value) -> &str {
    let reason = answer["error"]["reason"].as_str().expect("a reason");
    let expected = ["retry_in_progress", "already_retried"];
    assert!(expected.contains(&reason), "{answer}");
    answer["error"]["runId"].as_str().expect("a run")
}
