//! Whoever plays in an installation without servers is client, worker, time and fate.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use chrono::TimeDelta;
use redrive::{
    config::HttpConfig,
    domain::{Clock, NodeStatus, RunId, RunStatus, Timestamp},
    engine::{Signals, Stopped, nodes},
    plan::Verdict,
    store::{Claim, Claimed},
};
use serde_json::json;

use super::effects::{Calls, Effects};
use crate::{
    chains::case::Case,
    support::{
        dice::Dice,
        installation::{Installation, caller, within_points},
        ledger::Ledger,
        rows::{MINUTE, acme},
    },
};

/// The longest chain that a case can need: every run gets further.
const LONGEST: usize = 100;
/// Kills of one run: five without an outcome between them would end it.
const MOST_KILLS: usize = 4;
/// The most times that a run is taken up: each brings it on.
const MOST_STEPS: usize = 1_000;
/// Points where a worker waits: it is killed at one of so many.
const POINTS: usize = 80;

pub(super) struct World {
    inside: Installation,
    effects: Arc<Effects>,
}

/// One case while it is played.
struct Play<'a> {
    world: &'a World,
    case: Case,
    dice: Dice,
    kills: usize,
}

impl World {
    pub(super) fn new(ledger: Ledger) -> Self {
        let effects = Arc::new(Effects::default());
        let handlers = nodes::built_in(&HttpConfig::default(), &BTreeMap::new()).unwrap();
        let calls = Arc::new(Calls(effects.clone()));
        Self {
            inside: Installation::new(ledger, handlers.with("http-request", calls)),
            effects,
        }
    }

    /// Starts a run and retries it until it has succeeded.
    pub(super) async fn play(&self, seed: u64) {
        let case = Case::with_waits(seed);
        let mut dice = Dice(seed ^ 0xC0FF_EE00);
        self.effects.script(&case, &mut dice);
        let mut play = Play {
            world: self,
            case,
            dice,
            kills: 0,
        };
        let start = json!({ "definition": play.case.definition(""), "payload": { "yes": true } });
        let run = self.inside.intake.start(&caller(), start).await.unwrap();
        let (mut run, mut planned) = (run.id, None);
        for _ in 0..LONGEST {
            let status = play.drive(&run).await;
            if let Some(planned) = &planned {
                play.hold_to_plan(planned, &run, status).await;
            }
            if status == RunStatus::Success {
                return self.effects.check(&play.case, play.kills);
            }
            planned = Some(play.plan(&run).await);
            let body = Some(json!({ "includePartial": true }));
            run = self
                .inside
                .intake
                .retry(&caller(), &run, body)
                .await
                .unwrap()
                .0
                .id;
        }
        panic!("no end after {LONGEST} retries: {:?}", play.case);
    }
}

impl Play<'_> {
    /// Does with a run what workers do, until it has ended.
    async fn drive(&mut self, run: &RunId) -> RunStatus {
        let store = &self.world.inside.ledger.store;
        let mut kills = 0;
        for _ in 0..MOST_STEPS {
            let claim = match store.claim(run, "worker", MINUTE).await.unwrap() {
                Claimed::Claimed(claim) => *claim,
                Claimed::Refused => {
                    let run = store.run(&acme(), run).await.unwrap().unwrap();
                    assert!(run.status.is_ended(), "not due: {run:?} of {:?}", self.case);
                    return run.status;
                }
                Claimed::NoSuchRun => panic!("it was accepted: {:?}", self.case),
            };
            let is_killed = kills < MOST_KILLS && self.dice.one_in(4);
            let last_point = is_killed.then(|| self.dice.below(POINTS));
            let stopped = self.work(claim, last_point).await;
            self.note_successes(run).await;
            match stopped {
                Some(Stopped::Ended(status)) => return status,
                Some(Stopped::Parked) => self.wake(run).await,
                Some(stopped) => panic!("{stopped:?} of {:?}", self.case),
                None => {
                    kills += 1;
                    self.kills += 1;
                    store.expire_leases().await.unwrap();
                }
            }
        }
        panic!("no end of {run} after {MOST_STEPS} steps: {:?}", self.case);
    }

    /// One worker's work; none if it is killed.
    async fn work(&self, claim: Claim, mut points: Option<usize>) -> Option<Stopped> {
        let world = self.world;
        let signals = Signals::default();
        world.effects.on_cancel(&signals.cancelled);
        let work = within_points(world.inside.work(claim, &signals), &mut points);
        tokio::select! {
            biased;
            () = world.effects.killed.notified() => None,
            stopped = work => stopped,
        }
    }

    /// What a run waits for comes, or its time.
    async fn wake(&self, run: &RunId) {
        let world = self.world;
        let (mut has_resumed, now) = (false, world.inside.clock.now());
        let mut due: Option<Timestamp> = None;
        for record in world.inside.records(run).await {
            if !matches!(record.status, NodeStatus::Waiting | NodeStatus::Scheduled) {
                continue;
            }
            let node = record.path.to_string();
            let node = node.rsplit('.').next().unwrap();
            if record.status == NodeStatus::Waiting && self.case.is_resumed(node) {
                has_resumed |= world.inside.resume(run, &record, "1").await;
            } else {
                let at = record.due_at.as_deref().unwrap().parse().unwrap();
                // Whose time is over already waits in an iteration that has failed.
                if at > now {
                    due = Some(due.map_or(at, |due| due.min(at)));
                }
            }
        }
        if !has_resumed {
            let due = due.unwrap_or_else(|| panic!("nothing to wait for: {:?}", self.case));
            world.inside.clock.set(due + TimeDelta::milliseconds(1));
        }
    }

    async fn note_successes(&self, run: &RunId) {
        for record in self.world.inside.records(run).await {
            let input = record
                .input
                .filter(|_| record.status == NodeStatus::Success);
            let input = input.map(|input| input.value().unwrap());
            if let Some(url) = input.as_ref().and_then(|input| input["url"].as_str()) {
                self.world.effects.is_recorded(url);
            }
        }
    }

    /// What is planned, by path: whether it is reused, and whether it may be left out.
    async fn plan(&self, run: &RunId) -> HashMap<String, (bool, bool)> {
        let body = Some(json!({ "includePartial": true }));
        let inspected = self
            .world
            .inside
            .intake
            .plan(&caller(), run, body)
            .await
            .unwrap();
        assert!(
            inspected.refusal.is_none(),
            "{:?} of {:?}",
            inspected.refusal,
            self.case
        );
        let planned = inspected.planned.unwrap();
        let lines = planned.lines().map(|(line, _)| {
            let path = serde_json::to_value(&line.path).unwrap();
            let path = path.as_str().unwrap().to_owned();
            let is_open = line.conditional || line.verdict == Verdict::Skip;
            (path, (line.verdict == Verdict::Reuse, is_open))
        });
        lines.collect()
    }

    /// Reused is exactly what was planned; what was planned without a condition was done.
    async fn hold_to_plan(
        &self,
        planned: &HashMap<String, (bool, bool)>,
        run: &RunId,
        status: RunStatus,
    ) {
        let records = self.world.inside.records(run).await;
        let records: HashMap<_, _> = records
            .iter()
            .map(|record| (record.path.to_string(), record))
            .collect();
        for (path, (is_reused, is_open)) in planned {
            let Some(record) = records.get(path) else {
                let may_be_missing = status != RunStatus::Success || *is_open;
                assert!(!is_reused && may_be_missing, "{path} of {:?}", self.case);
                continue;
            };
            let was_reused = record.origin_run_id.is_some();
            assert_eq!(was_reused, *is_reused, "{path} of {:?}", self.case);
        }
    }
}
