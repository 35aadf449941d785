//! Those who ask for retries, many at once, and what they were answered.

use std::{
    collections::{BTreeMap, HashMap},
    ops::Range,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use serde_json::Value;
use tokio::{
    sync::watch,
    task::{JoinHandle, JoinSet},
};

use super::members::{Member, Pool};
use crate::support::{
    story::{failed_run, source},
    witness::Witness,
};

/// A user of the API. Cheap to clone.
#[derive(Clone)]
pub(super) struct Client {
    http: reqwest::Client,
    base: String,
    token: String,
}

/// What a load was answered.
#[derive(Debug, Default)]
pub(super) struct Tally {
    /// The new run of each source.
    pub(super) runs: HashMap<String, String>,
    /// How often each status came; 0 for no answer.
    pub(super) statuses: BTreeMap<u16, usize>,
    /// How long each answer took.
    pub(super) took: Vec<Duration>,
}

impl Tally {
    pub(super) fn add(&mut self, other: Self) {
        self.runs.extend(other.runs);
        for (status, count) in other.statuses {
            *self.statuses.entry(status).or_default() += count;
        }
        self.took.extend(other.took);
    }

    /// Every request was answered, and none of them with an error.
    pub(super) fn assert_accepted(&self) {
        assert_eq!(self.statuses.keys().collect::<Vec<_>>(), [&200]);
    }

    /// How long all but one in a hundred of the answers took at most.
    pub(super) fn p99(&self) -> Duration {
        let mut took = self.took.clone();
        took.sort_unstable();
        took[(took.len() * 99 / 100).min(took.len() - 1)]
    }
}

/// An answer: none if it did not come whole.
struct Answer {
    status: u16,
    retry_after: bool,
    body: Value,
}

impl Client {
    /// A user of this process's API.
    pub(super) async fn new(pool: &Pool, api: &Member) -> Self {
        Self {
            http: crate::support::app::client(),
            base: api.process.url.clone(),
            token: pool.token().await,
        }
    }

    /// A user of whatever API listens at an address.
    pub(super) async fn at_address(pool: &Pool, address: &str) -> Self {
        Self {
            http: crate::support::app::client(),
            base: format!("http://{address}"),
            token: pool.token().await,
        }
    }

    /// Somebody else at the same API.
    pub(super) fn as_another(&self, token: String) -> Self {
        Self {
            token,
            ..self.clone()
        }
    }

    async fn call(&self, method: &str, path: &str, body: Option<String>) -> Option<Answer> {
        let request = self
            .http
            .request(method.parse().unwrap(), format!("{}{path}", self.base))
            .bearer_auth(&self.token)
            .timeout(Duration::from_secs(30));
        let request = match body {
            Some(body) => request
                .header("content-type", "application/json")
                .body(body),
            None => request,
        };
        let answer = request.send().await.ok()?;
        let status = answer.status().as_u16();
        let retry_after = answer.headers().contains_key("retry-after");
        let text = answer.text().await.ok()?;
        Some(Answer {
            status,
            retry_after,
            body: serde_json::from_str(&text).unwrap_or(Value::String(text)),
        })
    }

    /// The data of an answer that has to come and to be 200.
    pub(super) async fn get(&self, path: &str) -> Value {
        self.must("GET", path, None).await
    }

    /// The data of an answer; none if there is no such thing.
    pub(super) async fn find(&self, path: &str) -> Option<Value> {
        let mut answer = self.call("GET", path, None).await.expect("an answer");
        match answer.status {
            200 => Some(answer.body["data"].take()),
            404 => None,
            status => panic!("GET {path}: {status} {}", answer.body),
        }
    }

    pub(super) async fn must(&self, method: &str, path: &str, body: Option<String>) -> Value {
        let mut answer = self.call(method, path, body).await.expect("an answer");
        assert_eq!(answer.status, 200, "{method} {path}: {}", answer.body);
        answer.body["data"].take()
    }

    pub(super) async fn import(&self, numbers: Range<usize>, witness: &Witness) {
        self.import_with(numbers, witness, |_| {}).await;
    }

    /// Brings in sources that are not quite as usual.
    pub(super) async fn import_with(
        &self,
        numbers: Range<usize>,
        witness: &Witness,
        change: fn(&mut Value),
    ) {
        self.many(numbers, 8, |client, number| {
            let mut run = failed_run(number, witness);
            change(&mut run);
            let run = run.to_string();
            async move {
                client.must("POST", "/v1/runs/import", Some(run)).await;
            }
        })
        .await;
    }

    /// The sources as they are shown.
    pub(super) async fn sources(&self, count: usize) -> Vec<Value> {
        let mut sources = Vec::new();
        for number in 0..count {
            sources.push(self.get(&format!("/v1/runs/{}", source(number))).await);
        }
        sources
    }

    /// The new run of one accepted retry.
    pub(super) async fn retry(&self, number: usize) -> String {
        let path = format!("/v1/runs/{}/retry", source(number));
        let run = self.must("POST", &path, None).await;
        run["id"].as_str().expect("an id").to_owned()
    }

    /// Retries these sources, so many at once, as far as they are released.
    pub(super) async fn load(
        &self,
        numbers: Range<usize>,
        at_once: usize,
        released: Option<watch::Receiver<usize>>,
    ) -> Tally {
        let next = Arc::new(AtomicUsize::new(numbers.start));
        let mut submitters = JoinSet::new();
        for _ in 0..at_once {
            let (client, next, end) = (self.clone(), Arc::clone(&next), numbers.end);
            let mut released = released.clone();
            submitters.spawn(async move {
                let mut tally = Tally::default();
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= end {
                        return tally;
                    }
                    if let Some(released) = &mut released {
                        // An error says that everything has been released.
                        let _ = released.wait_for(|released| number < *released).await;
                    }
                    client.insist(number, &mut tally).await;
                }
            });
        }
        let mut all = Tally::default();
        while let Some(tally) = submitters.join_next().await {
            all.add(tally.unwrap());
        }
        all
    }

    /// Retries these sources in the background, evenly over a time.
    pub(super) fn steadily(&self, numbers: Range<usize>, over: Duration) -> JoinHandle<Tally> {
        let (client, step) = (self.clone(), over / u32::try_from(numbers.len()).unwrap());
        let (released, gate) = watch::channel(numbers.start);
        tokio::spawn(async move {
            let mut pace = tokio::time::interval(step);
            let end = numbers.end;
            let releasing = async move {
                while *released.borrow() < end {
                    pace.tick().await;
                    released.send_modify(|released| *released += 1);
                }
            };
            tokio::join!(client.load(numbers, 16, Some(gate)), releasing).0
        })
    }

    /// Retries these sources until nobody answers.
    pub(super) async fn load_until_gone(&self, numbers: Range<usize>, at_once: usize) -> Tally {
        let next = AtomicUsize::new(numbers.start);
        let submitting = (0..at_once).map(|_| async {
            let mut runs = HashMap::new();
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= numbers.end {
                    return runs;
                }
                let source = source(number);
                let path = format!("/v1/runs/{source}/retry");
                match self.call("POST", &path, None).await {
                    Some(answer) if answer.status == 200 => {
                        let run = answer.body["data"]["id"].as_str().expect("an id");
                        runs.insert(source, run.to_owned());
                    }
                    Some(answer) => panic!("{}: {}", answer.status, answer.body),
                    None => return runs,
                }
                tokio::time::sleep(super::LOOK * 10).await;
            }
        });
        let runs = futures_util::future::join_all(submitting).await;
        Tally {
            runs: runs.into_iter().flatten().collect(),
            ..Tally::default()
        }
    }

    /// Asks until there is an answer. A refusal may name the run only after an answer was lost or
    /// said that it does not know.
    async fn insist(&self, number: usize, tally: &mut Tally) {
        let source = source(number);
        let path = format!("/v1/runs/{source}/retry");
        let mut unclear = false;
        loop {
            let began = Instant::now();
            let answer = self.call("POST", &path, None).await;
            tally.took.push(began.elapsed());
            let status = answer.as_ref().map_or(0, |answer| answer.status);
            *tally.statuses.entry(status).or_default() += 1;
            let run = match answer {
                Some(answer) if status == 200 => answer.body["data"]["id"].clone(),
                Some(answer) if status == 409 && unclear => answer.body["error"]["runId"].clone(),
                Some(answer) if status == 503 => {
                    assert!(answer.retry_after, "{}", answer.body);
                    Value::Null
                }
                None => Value::Null,
                Some(answer) => panic!("{source}: {status} {}", answer.body),
            };
            if let Some(run) = run.as_str() {
                tally.runs.insert(source, run.to_owned());
                return;
            }
            unclear = true;
            tokio::time::sleep(super::LOOK).await;
        }
    }

    async fn many<F: Future<Output = ()> + Send + 'static>(
        &self,
        numbers: Range<usize>,
        at_once: usize,
        work: impl Fn(Self, usize) -> F,
    ) {
        let mut working = JoinSet::new();
        for number in numbers {
            if working.len() >= at_once {
                working.join_next().await.unwrap().unwrap();
            }
            working.spawn(work(self.clone(), number));
        }
        while let Some(done) = working.join_next().await {
            done.unwrap();
        }
    }
}
