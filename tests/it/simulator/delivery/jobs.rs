//! Workers: what each does with a message, one durable step at a time.

use std::time::Duration;

use redrive::{
    broker::{Intent, Message},
    domain::{RunId, Timestamp},
    engine::{EngineError, MOST_LOST_LEASES, Signals, Stopped},
    intake::IntentOutcome,
    store::{Claim, Claimed, Fence, Written},
    worker::create_run,
};

use super::{
    broker::Letter,
    is_planted,
    target::{Answer, Door, Execution, Place, Progress},
    world::World,
};
use crate::support::rows::MINUTE;

const WORKERS: usize = 3;

/// Two thirds of a lease: a worker that has not renewed for so long stops by itself.
const RELIED_ON: i64 = 40;

/// A message in the hands of a worker, and the run that comes of it.
pub(super) struct Job {
    worker: usize,
    /// The message, as long as nobody settled it.
    letter: Option<Letter>,
    stage: Stage,
    signals: Signals,
    /// The lease, and when it was taken or renewed last.
    lease: Option<(Fence, Timestamp)>,
    /// The call that was answered and not recorded.
    answered: Option<Place>,
}

enum Stage {
    Received,
    Due(RunId),
    Claimed(Box<Claim>),
    Created(Box<Claim>),
    Executing { run: Execution, is_at_door: bool },
}

/// What comes after a step.
enum Next {
    On(Stage),
    Done,
    /// The message can't be used.
    Rejected,
}

impl World {
    /// A message comes to a worker.
    pub(super) fn deliver(&mut self) {
        let Some(letter) = self.mail.deliver(&mut self.dice) else {
            return;
        };
        let worker = self.dice.below(WORKERS);
        self.note(format!("worker {worker} gets {}", text(&letter)));
        self.jobs.push(Job {
            worker,
            letter: Some(letter),
            stage: Stage::Received,
            signals: Signals::default(),
            lease: None,
            answered: None,
        });
    }

    /// A worker does a step.
    pub(super) async fn work(&mut self) {
        if self.jobs.is_empty() {
            return;
        }
        let job = self.jobs.swap_remove(self.dice.below(self.jobs.len()));
        self.work_on(job).await;
    }

    /// Whoever got the last message does a step.
    pub(super) async fn work_on_newest(&mut self) {
        if let Some(job) = self.jobs.pop() {
            self.work_on(job).await;
        }
    }

    /// Whether a worker holds a run, or thinks so.
    pub(super) fn has_leases(&self) -> bool {
        self.jobs.iter().any(|job| job.lease.is_some())
    }

    /// A run that a worker holds, or thinks so.
    pub(super) fn held(&self) -> Option<RunId> {
        let lease = self.jobs.iter().rev().find_map(|job| job.lease.as_ref());
        lease.map(|(fence, _)| fence.run_id.clone())
    }

    async fn work_on(&mut self, mut job: Job) {
        let (looks, worker) = (self.looks(8), job.worker);
        let lost = self.lost_run(&job);
        let before = match &lost {
            Some(run) => {
                self.story.saw("a zombie");
                self.watch.writes(run).await
            }
            None => 0,
        };
        let clock = self.clock.clone();
        let next = clock
            .until_death(looks, Box::pin(self.advance(&mut job)))
            .await;
        if let Some(run) = &lost {
            let after = self.watch.writes(run).await;
            assert_eq!(after, before, "a write of {run} under an old epoch");
        }
        match next {
            None => {
                self.story.saw("a death in a step");
                self.note(format!("worker {worker} dies"));
                job.answered = self.target.made().or(job.answered.take());
                self.lose(job).await;
                self.kill_worker(worker).await;
            }
            Some(Next::On(stage)) => {
                job.stage = stage;
                self.jobs.push(job);
            }
            Some(Next::Done) => {}
            Some(Next::Rejected) => self.bury(job.letter.take(), "rejected").await,
        }
    }

    /// The run of a job, if somebody else has taken it over.
    fn lost_run(&self, job: &Job) -> Option<RunId> {
        let (fence, _) = job.lease.as_ref()?;
        let newest = self.epochs.get(&fence.run_id)?;
        (fence.epoch < *newest).then(|| fence.run_id.clone())
    }

    async fn advance(&mut self, job: &mut Job) -> Next {
        match std::mem::replace(&mut job.stage, Stage::Received) {
            Stage::Received => self.receive(job).await,
            Stage::Due(run) => self.claim(job, run).await,
            Stage::Claimed(claim) => self.create(job, claim).await,
            Stage::Created(claim) => {
                job.letter = None;
                let (engine, signals) = (self.engine.clone(), job.signals.clone());
                let run: Execution =
                    Box::pin(async move { engine.execute(&claim, &signals).await });
                self.execute(job, run, false).await
            }
            Stage::Executing { run, is_at_door } => self.execute(job, run, is_at_door).await,
        }
    }

    async fn receive(&mut self, job: &mut Job) -> Next {
        let Some(letter) = job.letter.clone() else {
            return Next::Done;
        };
        match Message::from_bytes(&letter.body) {
            Err(_) => Next::Rejected,
            Ok(Message::Dispatch(dispatch)) => Next::On(Stage::Due(dispatch.run_id)),
            Ok(Message::Intent(intent)) => self.store_intent(job, &letter, &intent).await,
        }
    }

    async fn store_intent(&mut self, job: &mut Job, letter: &Letter, intent: &Intent) -> Next {
        if is_planted("ack_before_commit") {
            job.letter = None;
        }
        let outcome = Box::pin(self.intake.intent(intent, letter.lane, None))
            .await
            .unwrap();
        self.note(format!("{}: {outcome:?}", intent.retry_id));
        match outcome {
            IntentOutcome::Accepted(run) => {
                job.letter = None;
                Next::On(Stage::Due(run))
            }
            IntentOutcome::Refused => Next::Done,
            IntentOutcome::Duplicate => {
                self.story.saw("a duplicate");
                Next::Done
            }
            IntentOutcome::Unusable(_) => Next::Rejected,
        }
    }

    async fn claim(&mut self, job: &mut Job, run: RunId) -> Next {
        let now = self.clock.read();
        let owner = format!("worker-{}", job.worker);
        let claimed = self.ledger.store.claim(&run, &owner, MINUTE).await.unwrap();
        let claim = match claimed {
            Claimed::Claimed(claim) => claim,
            Claimed::Refused => return Next::Done,
            Claimed::NoSuchRun => return Next::Rejected,
        };
        let epoch = claim.fence.epoch;
        self.note(format!("worker {} claims {run}, epoch {epoch}", job.worker));
        let before = self.epochs.insert(run, epoch);
        assert!(before.is_none_or(|before| before < epoch), "{epoch} again");
        if claim.lost_leases > 0 {
            self.story.saw("a take-over");
        }
        if claim.lost_leases >= MOST_LOST_LEASES {
            self.story.saw("the last take-over");
        }
        job.lease = Some((claim.fence.clone(), now));
        Next::On(Stage::Claimed(claim))
    }

    async fn create(&mut self, job: &mut Job, mut claim: Box<Claim>) -> Next {
        let Some(retry) = claim.retry.clone().filter(|_| !claim.run.created) else {
            return Next::On(Stage::Created(claim));
        };
        let (store, now) = (self.ledger.store.clone(), self.clock.read());
        let created = Box::pin(create_run(&store, &claim, &retry, now))
            .await
            .unwrap();
        self.note(format!(
            "worker {} creates {}: {created:?}",
            job.worker, claim.run.id
        ));
        match created {
            Some(Written::Done { cancel_requested }) => {
                claim.run.created = true;
                claim.run.cancel_requested_at = cancel_requested.then_some(now);
                Next::On(Stage::Created(claim))
            }
            Some(Written::LeaseLost) => {
                self.story.saw("a creation too late");
                Next::Done
            }
            None => {
                self.story.saw("a refusal after acceptance");
                Next::Done
            }
        }
    }

    /// Goes on to the next door, or to the end.
    async fn execute(&mut self, job: &mut Job, mut run: Execution, is_at_door: bool) -> Next {
        let answer = if self.is_calm {
            Answer::Done
        } else {
            Answer::throw(&mut self.dice)
        };
        let target = self.target.clone();
        let stopped = match target.pass(&mut run, is_at_door, answer).await {
            Progress::At(door) => {
                self.stand(job, door).await;
                let is_at_door = true;
                return Next::On(Stage::Executing { run, is_at_door });
            }
            Progress::Stopped(stopped) => stopped,
        };
        self.note(format!("worker {} stops: {stopped:?}", job.worker));
        match stopped {
            Ok(Stopped::LeaseLost) => {
                self.story.saw("a lease lost");
                job.answered = target.made().or(job.answered.take());
                self.forget_answer(job);
            }
            Ok(Stopped::Ended(status)) => self.story.saw(status.as_str()),
            Ok(Stopped::Parked) => self.story.saw("a pause"),
            Ok(Stopped::Released) => panic!("nobody stops"),
            Err(EngineError::Store(error)) => panic!("{error:?}"),
            Err(error) => panic!("{error}"),
        }
        Next::Done
    }

    async fn stand(&mut self, job: &mut Job, door: Door) {
        self.note(format!("worker {} is at {door:?}", job.worker));
        match &door {
            Door::Before((root, path)) => {
                job.answered = None;
                let is_done = self.watch.has_succeeded(root, path).await;
                assert!(!is_done, "a recorded success of {path} runs again");
            }
            Door::Behind(place) => job.answered = Some(place.clone()),
        }
    }

    fn forget_answer(&self, job: &mut Job) {
        if let Some(place) = job.answered.take() {
            self.target.lose(&place);
        }
    }

    /// A job is gone with its worker.
    async fn lose(&mut self, mut job: Job) {
        self.forget_answer(&mut job);
        if let Some(letter) = job.letter.take()
            && let Some(given_up) = self.mail.give_back(letter)
        {
            self.bury(Some(given_up), "delivery_limit").await;
        }
    }

    async fn bury(&mut self, letter: Option<Letter>, reason: &'static str) {
        if let Some(letter) = letter {
            self.story.saw(reason);
            self.note(format!("{reason}: {}", text(&letter)));
            self.keeper.keep_one(letter.dead(reason)).await.unwrap();
        }
    }

    /// A worker dies between two steps.
    pub(super) async fn kill(&mut self) {
        let worker = self.dice.below(WORKERS);
        self.note(format!("worker {worker} is killed"));
        self.kill_worker(worker).await;
    }

    pub(super) async fn kill_all(&mut self) {
        for worker in 0..WORKERS {
            self.kill_worker(worker).await;
        }
    }

    async fn kill_worker(&mut self, worker: usize) {
        let jobs = std::mem::take(&mut self.jobs);
        let (dead, alive) = jobs.into_iter().partition(|job| job.worker == worker);
        self.jobs = alive;
        let dead: Vec<Job> = dead;
        for job in dead {
            self.lose(job).await;
        }
    }

    /// A worker renews the leases that it still relies on.
    pub(super) async fn renew(&mut self) {
        let worker = self.dice.below(WORKERS);
        let relied_on = |job: &&mut Job| job.worker == worker && !job.signals.lease.is_over();
        let mut jobs: Vec<_> = self.jobs.iter_mut().filter(relied_on).collect();
        let fences = jobs
            .iter()
            .filter_map(|job| Some(job.lease.as_ref()?.0.clone()));
        let fences: Vec<_> = fences.collect();
        let now = self.clock.read();
        let renewed = self.ledger.store.renew(&fences, MINUTE).await.unwrap();
        for job in &mut jobs {
            let Some((fence, since)) = &mut job.lease else {
                continue;
            };
            match renewed.iter().find(|lease| lease.run_id == fence.run_id) {
                None => job.signals.lost.cancel(),
                Some(lease) => {
                    *since = now;
                    if lease.cancel_requested {
                        job.signals.cancelled.cancel();
                    }
                }
            }
        }
        self.note(format!("worker {worker} renews {}", renewed.len()));
    }

    /// What workers see of the time that has passed: that a lease is over they see before they send
    /// anything, and most of them stop at once.
    pub(super) fn tell_time(&mut self, may_be_frozen: bool) {
        let now = self.clock.read();
        for job in &mut self.jobs {
            let Some((_, since)) = &job.lease else {
                continue;
            };
            if (now - *since).num_seconds() < RELIED_ON {
                continue;
            }
            let past = tokio::time::Instant::now() - Duration::from_nanos(1);
            job.signals.lease.good_until(past);
            if !may_be_frozen || self.dice.one_in(2) {
                job.signals.lost.cancel();
            }
        }
    }

    pub(super) fn tell_cancelled(&mut self, run: &RunId) {
        let has = |job: &&Job| {
            job.lease
                .as_ref()
                .is_some_and(|(fence, _)| fence.run_id == *run)
        };
        for job in self.jobs.iter().filter(has) {
            job.signals.cancelled.cancel();
        }
    }
}

fn text(letter: &Letter) -> String {
    String::from_utf8_lossy(&letter.body).into_owned()
}
