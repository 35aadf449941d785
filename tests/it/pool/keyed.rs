//! Those who ask under an Idempotency-Key and go on asking until they know.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use serde_json::Value;
use tokio::{sync::watch, task::JoinSet};

use super::{load::Tally, members::Pool};
use crate::support::{dice::Dice, story::source};

/// How long one request may take before it counts as unanswered.
const UNANSWERED: Duration = Duration::from_secs(8);

/// How long somebody waits before asking again, for each time that was in vain.
const PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// How long anybody goes on asking.
const PATIENCE: Duration = Duration::from_mins(4);

/// What was accepted.
#[derive(Debug, Clone)]
pub(super) struct Accepted {
    pub(super) source: String,
    pub(super) run: String,
    pub(super) retry: String,
    /// How often it was asked for until there was an answer.
    pub(super) asked: usize,
}

/// What everybody was told. Cheap to clone; all clones are one.
#[derive(Debug, Clone, Default)]
pub(super) struct Journal(Arc<Mutex<Told>>);

#[derive(Debug, Default)]
struct Told {
    accepted: Vec<Accepted>,
    refusals: Vec<String>,
}

impl Journal {
    pub(super) fn accepted(&self) -> Vec<Accepted> {
        self.0.lock().unwrap().accepted.clone()
    }

    /// The bodies of all refusals.
    pub(super) fn refusals(&self) -> Vec<String> {
        self.0.lock().unwrap().refusals.clone()
    }

    fn add(&self, accepted: Accepted) {
        self.0.lock().unwrap().accepted.push(accepted);
    }

    fn refused(&self, body: &Value) {
        self.0.lock().unwrap().refusals.push(body.to_string());
    }

    /// The new run of each source. No source has two.
    pub(super) fn tally(&self) -> Tally {
        let mut tally = Tally::default();
        for accepted in self.accepted() {
            let (source, run) = (accepted.source, accepted.run);
            let earlier = tally.runs.insert(source.clone(), run.clone());
            let is_one = earlier.as_ref().is_none_or(|earlier| *earlier == run);
            assert!(is_one, "{source} has {run} and {earlier:?}");
        }
        tally
    }
}

/// Users of one or more APIs. Cheap to clone.
#[derive(Clone)]
pub(super) struct Keyed {
    http: reqwest::Client,
    bases: Vec<String>,
    token: String,
    pub(super) journal: Journal,
}

impl Keyed {
    /// Users who go from one API of these addresses to the next when they are not answered.
    pub(super) async fn new(pool: &Pool, addresses: &[String]) -> Self {
        let bases = addresses.iter().map(|address| format!("http://{address}"));
        Self {
            http: crate::support::app::client(),
            bases: bases.collect(),
            token: pool.token().await,
            journal: Journal::default(),
        }
    }

    /// One request: status and body; none when no whole answer came back.
    pub(super) async fn ask(&self, turn: usize, source: &str, key: &str) -> Option<(u16, Value)> {
        let base = &self.bases[turn % self.bases.len()];
        let request = self
            .http
            .post(format!("{base}/v1/runs/{source}/retry"))
            .bearer_auth(&self.token)
            .header("idempotency-key", key)
            .timeout(UNANSWERED);
        let answer = request.send().await.ok()?;
        let status = answer.status().as_u16();
        if status == 503 {
            assert!(answer.headers().contains_key("retry-after"), "{answer:?}");
        }
        let text = answer.text().await.ok()?;
        let body = serde_json::from_str(&text).unwrap_or(Value::String(text));
        if status != 200 {
            self.journal.refused(&body);
        }
        Some((status, body))
    }

    /// Asks under one key until it is decided: what was accepted, or none if another one's retry
    /// of the same source was.
    pub(super) async fn insist(&self, source: &str, key: &str, turn: usize) -> Option<Accepted> {
        let began = Instant::now();
        // What it was told, for whoever wants to know why it never was answered.
        let mut told = BTreeMap::<_, usize>::new();
        for asked in 1.. {
            let waited = began.elapsed();
            assert!(waited < PATIENCE, "{source} has no answer: {told:?}");
            let answer = self.ask(turn + asked, source, key).await;
            let heard = answer.as_ref().map(|(status, body)| {
                let reason = body["error"]["reason"].as_str().unwrap_or_default();
                (*status, reason.to_owned())
            });
            *told
                .entry(((turn + asked) % self.bases.len(), heard))
                .or_default() += 1;
            match answer {
                None | Some((503, _)) => {}
                Some((200, body)) => {
                    let text = |at: &Value| at.as_str().expect("an id").to_owned();
                    return Some(Accepted {
                        source: source.to_owned(),
                        run: text(&body["data"]["id"]),
                        retry: text(&body["data"]["retry"]["id"]),
                        asked,
                    });
                }
                Some((409, body)) if body["error"]["reason"] == "idempotency_in_flight" => {}
                Some((409, body)) => {
                    let reason = body["error"]["reason"].as_str().expect("a reason");
                    let expected = ["retry_in_progress", "already_retried"];
                    assert!(expected.contains(&reason), "{source}: {body}");
                    return None;
                }
                Some((status, body)) => panic!("{source}: {status} {body}"),
            }
            // Hundreds of them that ask without a pause are the whole load of a machine.
            let times = u32::try_from(asked).unwrap();
            tokio::time::sleep((PAUSE * times).min(LONGEST_PAUSE)).await;
        }
        unreachable!("it asks without end")
    }

    /// Retries sources up to `released`, so many at once, and now and then asks once more for what
    /// it has: the answer is the same. Ends when nobody is left who could release more.
    pub(super) async fn submit(self, at_once: usize, released: watch::Receiver<usize>, dice: Dice) {
        let next = Arc::new(AtomicUsize::new(0));
        let (mut dice, mut submitters) = (dice, JoinSet::new());
        for place in 0..at_once {
            let (users, next) = (self.clone(), Arc::clone(&next));
            let (mut released, mut dice) = (released.clone(), dice.fork());
            submitters.spawn(async move {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    // An error says that everything has been released.
                    let _ = released.wait_for(|released| number < *released).await;
                    if number >= *released.borrow() {
                        return;
                    }
                    users.retry(number, place, dice.one_in(4)).await;
                }
            });
        }
        while let Some(done) = submitters.join_next().await {
            done.unwrap();
        }
    }

    async fn retry(&self, number: usize, place: usize, again: bool) {
        let (source, key) = (source(number), format!("key-{number}"));
        let accepted = self.insist(&source, &key, place).await;
        let accepted = accepted.expect("nobody else retries it");
        if again {
            let replayed = self.insist(&source, &key, place + 1).await;
            let replayed = replayed.expect("the same answer");
            assert_eq!(
                (&replayed.run, &replayed.retry),
                (&accepted.run, &accepted.retry)
            );
        }
        self.journal.add(accepted);
    }

    /// So many clients, each with a key of its own, retry one source at once: one of them does.
    pub(super) async fn crowd(&self, number: usize, clients: usize) {
        let source = source(number);
        let asking = (0..clients).map(|client| {
            let (source, key) = (&source, format!("crowd-{number}-{client}"));
            async move { self.insist(source, &key, client).await }
        });
        let accepted = futures_util::future::join_all(asking).await;
        let mut accepted: Vec<_> = accepted.into_iter().flatten().collect();
        assert_eq!(accepted.len(), 1, "{source}: {accepted:#?}");
        self.journal.add(accepted.remove(0));
    }
}
