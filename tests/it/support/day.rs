//! A day of work that passes every point at which a process can be told to die, more than once: in
//! each of two waves a plain retry, one that takes the detour, and one that comes another way.
//!
//! Whoever works through it has patience: what is not answered is asked again, under the same
//! idempotency key.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use super::{
    ledger::{count_at, execute_at},
    story::{CHILD, detoured_run, failed_run, source},
    witness::Witness,
};

/// How often to ask again.
const LOOK: Duration = Duration::from_millis(100);

/// Retries of a wave: the plain one, the one that takes the detour, the one that is published
/// where that is possible.
const WAVE: usize = 3;
const WAVES: usize = 2;

/// Retries of the day.
pub(crate) const RETRIES: usize = WAVE * WAVES;

/// Whoever works, and what else is at hand.
#[derive(Clone)]
pub(crate) struct Day {
    pub(crate) http: reqwest::Client,
    pub(crate) base: String,
    pub(crate) token: String,
    /// The ledger, for looks and deeds behind the program's back.
    pub(crate) database: String,
    /// Names of the exchange, where there is a broker to publish to.
    pub(crate) exchange: Option<String>,
    /// Whether messages are lost, so that there is something to rescue.
    pub(crate) loses_messages: bool,
    /// How long anything may take.
    pub(crate) patience: Duration,
}

/// The new run of each source.
pub(crate) type Runs = BTreeMap<String, String>;

impl Day {
    /// Brings so many sources in, and registers what the detour starts.
    pub(crate) async fn prepare(&self, sources: usize, witness: &Witness) {
        let definition = json!({ "nodes": {
            "root": { "type": "manual", "payload": {}, "children": ["note"] },
            "note": { "type": "log", "payload": { "message": "on an errand" } }
        }});
        let workflow = json!({ "name": CHILD, "definition": definition });
        let path = format!("/v1/workflows/{CHILD}");
        self.until("PUT", &path, Some(&workflow), |_| true).await;
        for number in 0..sources {
            let run = if number % WAVE == 1 {
                detoured_run(number, witness)
            } else {
                failed_run(number, witness)
            };
            self.until("POST", "/v1/runs/import", Some(&run), |_| true)
                .await;
        }
    }

    /// Works through all of it; the new run of each source.
    pub(crate) async fn work(self) -> Runs {
        let mut runs = Runs::new();
        for wave in 0..WAVES {
            let first = wave * WAVE;
            let (plain, detoured) = tokio::join!(self.retry(first), self.retry(first + 1));
            let other = self.other_way(first + 2).await;
            self.see_through_the_detour(&detoured).await;
            for run in [&plain, &detoured, &other] {
                self.ended(run).await;
            }
            let accepted = [plain, detoured, other].into_iter().enumerate();
            runs.extend(accepted.map(|(place, run)| (source(first + place), run)));
        }
        runs
    }

    /// The run of a retry that somebody asks for.
    pub(crate) async fn retry(&self, number: usize) -> String {
        let path = format!("/v1/runs/{}/retry", source(number));
        let run = self.until("POST", &path, None, |_| true).await;
        run["id"].as_str().expect("an id").to_owned()
    }

    /// The run of a retry that is published, with something that nobody can use; without a broker
    /// it is one like the others.
    async fn other_way(&self, number: usize) -> String {
        match &self.exchange {
            None => self.retry(number).await,
            Some(exchange) => {
                super::topology::publish(exchange, "interactive", b"garbage").await;
                publish_retry(exchange, number).await
            }
        }
    }

    /// Ends the wait, once the run waits.
    pub(crate) async fn see_through_the_detour(&self, run: &str) {
        self.paused(run).await;
        if self.loses_messages {
            self.lose_its_message(run).await;
        }
        self.resume(run).await;
    }

    /// Waits until a run waits for somebody.
    pub(crate) async fn paused(&self, run: &str) {
        let path = format!("/v1/runs/{run}");
        self.until("GET", &path, None, |run| run["waitingFor"] == "wait")
            .await;
    }

    /// What a paused run waits for.
    pub(crate) async fn resume(&self, run: &str) {
        let path = format!("/v1/runs/{run}/nodes/pause/resume");
        self.until("POST", &path, None, |_| true).await;
    }

    /// A message that was sent long ago and that nobody ever got.
    async fn lose_its_message(&self, run: &str) {
        let lose = format!(
            "update outbox set sent_at = '2020-01-01T00:00:00.000000Z', sends = 1
              where run_id = '{run}'"
        );
        assert_eq!(execute_at(&self.database, &lose).await.unwrap(), 1);
        let missing =
            format!("select count(*) from outbox where run_id = '{run}' and sent_at is not null");
        let limit = Instant::now() + self.patience;
        while count_at(&self.database, &missing).await > 0 {
            assert!(Instant::now() < limit, "{run} is not rescued");
            tokio::time::sleep(LOOK).await;
        }
    }

    /// The run once it has ended.
    pub(crate) async fn ended(&self, run: &str) -> Value {
        let path = format!("/v1/runs/{run}");
        self.until("GET", &path, None, |run| {
            let status = run["status"].as_str().expect("a status");
            !["waiting", "running"].contains(&status)
        })
        .await
    }

    /// The data of an answer that is 200 and as wanted, whoever dies meanwhile.
    async fn until(
        &self,
        method: &str,
        path: &str,
        body: Option<&Value>,
        is_wanted: impl Fn(&Value) -> bool,
    ) -> Value {
        let limit = Instant::now() + self.patience;
        let key = uuid::Uuid::new_v4().simple().to_string();
        loop {
            let answer = self.ask(method, path, body, &key).await;
            if let Some((200, mut answer)) = answer.clone() {
                let data = answer["data"].take();
                if is_wanted(&data) {
                    return data;
                }
            }
            assert!(Instant::now() < limit, "{method} {path}: {answer:#?}");
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Status and body; none when no whole answer came back.
    pub(crate) async fn ask(
        &self,
        method: &str,
        path: &str,
        body: Option<&Value>,
        key: &str,
    ) -> Option<(u16, Value)> {
        let url = format!("{}{path}", self.base);
        let mut request = self
            .http
            .request(method.parse().unwrap(), url)
            .bearer_auth(&self.token)
            .timeout(Duration::from_secs(20));
        if method == "POST" {
            request = request.header("idempotency-key", key);
        }
        if let Some(body) = body {
            request = request
                .header("content-type", "application/json")
                .body(body.to_string());
        }
        let answer = request.send().await.ok()?;
        let status = answer.status().as_u16();
        let text = answer.text().await.ok()?;
        Some((
            status,
            serde_json::from_str(&text).unwrap_or(Value::String(text)),
        ))
    }
}

/// Publishes a retry, as another platform's API layer does; its run.
pub(crate) async fn publish_retry(exchange: &str, number: usize) -> String {
    let run = format!("published_{number}");
    let intent = json!({
        "schema": "redrive.intent.v1",
        "retryId": format!("rty_{run}"),
        "sourceRunId": source(number),
        "organizationId": "org_test",
        "runId": run,
    });
    super::topology::publish(exchange, "interactive", intent.to_string().as_bytes()).await;
    run
}
