//! Clients: they click, click again, ask again when no answer came, cancel, publish and forge.

use redrive::{
    broker::Dispatch,
    domain::{JsonText, Lane, OrganizationId, Retry, Run, RunId},
    intake::{Caller, IntakeError},
    store::IdempotencyKey,
};
use serde_json::{Value, json};

use super::{broker::Letter, world::World};
use crate::support::rows::{acme, id};

/// Nobody of this organisation has anything here.
const ELSEWHERE: &str = "elsewhere";

/// What the clients of a world know.
#[derive(Debug, Default)]
pub(super) struct Clients {
    seed: u64,
    pub(super) sources: Vec<RunId>,
    /// Sources, and runs that they were told of.
    known: Vec<RunId>,
    /// What was promised: retry and run.
    promised: Vec<(String, RunId)>,
    requests: Vec<Request>,
    /// Ids of the retries that they published.
    published: Vec<String>,
    pub(super) clicks: usize,
    pub(super) forged: usize,
}

/// A request with a key.
#[derive(Debug, Clone)]
struct Request {
    source: RunId,
    body: Option<Value>,
    key: String,
    /// The run that was promised, if an answer came.
    run: Option<RunId>,
}

impl Clients {
    pub(super) fn of(seed: u64, sources: Vec<RunId>) -> Self {
        Self {
            seed,
            known: sources.clone(),
            sources,
            ..Self::default()
        }
    }

    /// Whether there is anything to cancel.
    pub(super) fn has_runs(&self) -> bool {
        self.known.len() > self.sources.len()
    }

    pub(super) fn published(&self) -> usize {
        self.published.len()
    }
}

fn caller(key: Option<&str>) -> Caller {
    Caller {
        organization_id: acme(),
        actor: Some("ann".to_owned()),
        traceparent: None,
        key: key.map(|key| IdempotencyKey {
            organization_id: acme(),
            key: key.to_owned(),
            fingerprint: "the same".to_owned(),
        }),
    }
}

impl World {
    /// A source, or a run that they were told of: the newest more often than the others.
    fn known(&mut self) -> RunId {
        let known = &self.clients.known;
        let place = if self.dice.one_in(2) {
            known.len() - 1
        } else {
            self.dice.below(known.len())
        };
        known[place].clone()
    }

    /// Somebody clicks, for the first time or once more.
    pub(super) async fn click(&mut self) {
        self.clients.clicks += 1;
        let requests = &self.clients.requests;
        if !requests.is_empty() && self.dice.one_in(3) {
            let number = self.dice.below(requests.len());
            return self.ask(number).await;
        }
        let source = self.known();
        let body = match self.dice.below(8) {
            0 => Some(json!({ "lane": "bulk" })),
            1 => {
                let later = self.clock.read() + chrono::TimeDelta::seconds(50);
                Some(json!({ "notBefore": later.to_rfc3339() }))
            }
            _ => None,
        };
        if self.dice.one_in(2) {
            let number = self.clients.requests.len();
            self.clients.requests.push(Request {
                source,
                body,
                key: format!("{}.{number}", self.clients.seed),
                run: None,
            });
            return self.ask(number).await;
        }
        let answer = self.retry(caller(None), &source, body).await;
        self.hear(&source, answer);
    }

    /// Sends a request with its key, whatever became of it before.
    async fn ask(&mut self, number: usize) {
        let request = self.clients.requests[number].clone();
        let key = caller(Some(&request.key));
        let answer = self.retry(key, &request.source, request.body.clone()).await;
        if self.dice.one_in(4) {
            return self.note(format!("{request:?}: the answer is lost"));
        }
        let is_answered = answer.is_some();
        let run = self.hear(&request.source, answer);
        if is_answered && request.run.is_some() {
            self.story.saw("the same answer");
            assert_eq!(request.run, run, "one key, two answers");
        }
        let request = &mut self.clients.requests[number];
        request.run = run.or(request.run.take());
    }

    async fn retry(
        &mut self,
        caller: Caller,
        source: &RunId,
        body: Option<Value>,
    ) -> Option<Result<(Run, Retry), IntakeError>> {
        let looks = self.looks(8);
        let asked = Box::pin(self.intake.retry(&caller, source, body));
        self.clock.until_death(looks, asked).await
    }

    /// The run that was promised, if one was.
    fn hear(
        &mut self,
        source: &RunId,
        answer: Option<Result<(Run, Retry), IntakeError>>,
    ) -> Option<RunId> {
        let (run, retry) = match answer {
            None => {
                self.story.saw("no answer");
                self.note(format!("{source} is to be retried: no answer"));
                return None;
            }
            Some(Err(IntakeError::Refused(refusal))) => {
                self.note(format!("{source} is not retried: {:?}", refusal.reason));
                return None;
            }
            Some(Err(error)) => panic!("{source}: {error:?}"),
            Some(Ok(accepted)) => accepted,
        };
        self.note(format!(
            "{source} is retried as {}: {:?}",
            run.id, retry.state
        ));
        if !self.clients.known.contains(&run.id) {
            self.clients.known.push(run.id.clone());
        }
        let promise = (retry.id.to_string(), run.id.clone());
        self.clients.promised.push(promise);
        Some(run.id)
    }

    pub(super) async fn cancel(&mut self) {
        let held = self.held();
        let run = held.filter(|_| self.dice.one_in(2));
        let run = run.unwrap_or_else(|| self.known());
        let looks = self.looks(4);
        let intake = self.intake.clone();
        let asked = self
            .clock
            .until_death(looks, async { intake.cancel(&caller(None), &run).await });
        let told = match asked.await {
            None => "no answer".to_owned(),
            Some(Ok(run)) => {
                self.story.saw(if run.status.is_ended() {
                    "a cancellation"
                } else {
                    "a request to cancel"
                });
                // Its worker may hear of it at once, or with its next write.
                if self.dice.one_in(2) {
                    self.tell_cancelled(&run.id);
                }
                run.status.as_str().to_owned()
            }
            Some(Err(IntakeError::AlreadyEnded { status, .. })) => format!("it is {status}"),
            Some(Err(error)) => panic!("{run}: {error:?}"),
        };
        self.note(format!("{run} is to be cancelled: {told}"));
    }

    /// Another platform publishes a retry instead of requesting it.
    pub(super) fn publish_intent(&mut self) {
        let source = self.known();
        let id = format!("i{}.{}", self.clients.seed, self.clients.published.len());
        self.note(format!("{id} is published for {source}"));
        self.mail.publish(intent(&id, &source, acme().as_str()));
        self.clients.published.push(id);
    }

    /// Messages that should not be there.
    pub(super) fn forge(&mut self) {
        self.clients.forged += 1;
        let known = self.known();
        let elsewhere: OrganizationId = id(ELSEWHERE);
        let letter = |dispatch: &Dispatch| Letter::of(dispatch, Lane::Interactive);
        let (what, forged) = match self.dice.below(5) {
            0 => {
                let dispatch = Dispatch::new(id("unknown"), None, acme(), None);
                ("an unknown run", letter(&dispatch))
            }
            1 => {
                let dispatch = Dispatch::new(known, Some(id("unknown")), elsewhere, None);
                ("a run of others", letter(&dispatch))
            }
            2 => {
                let dispatch = Dispatch::new(known, None, acme(), None);
                ("a run", letter(&dispatch))
            }
            3 => {
                let id = format!("f{}", self.clients.seed);
                ("a retry of others", intent(&id, &known, ELSEWHERE))
            }
            _ => {
                let noise = self.dice.roll().to_le_bytes().to_vec();
                ("noise", Letter::intent(noise, Lane::Bulk))
            }
        };
        self.note(format!("somebody forges {what}"));
        self.mail.publish(forged);
    }

    /// What was promised is there, and nobody elsewhere got anything.
    pub(super) async fn check_clients(&mut self) {
        let acme = acme();
        for (retry, run) in &self.clients.promised {
            let is_there = self.watch.has_retry(acme.as_str(), retry, run.as_str());
            assert!(is_there.await, "lost: {retry} with {run}");
        }
        for retry in &self.clients.published {
            let is_there = self.watch.has_intent(acme.as_str(), retry).await;
            assert!(is_there, "lost: the published {retry}");
        }
        assert_eq!(self.watch.runs_of(ELSEWHERE).await, 0, "a run of others");
    }
}

fn intent(id: &str, source: &RunId, organization: &str) -> Letter {
    let body = json!({
        "schema": "redrive.intent.v1", "retryId": id, "sourceRunId": source.as_str(),
        "organizationId": organization
    });
    let body = JsonText::of(&body).as_str().as_bytes().to_vec();
    Letter::intent(body, Lane::Automatic)
}
