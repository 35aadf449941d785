//! What happens to a chain of runs, by dice: the same on whatever ledger it is played.

use chrono::TimeDelta;
use redrive::{
    domain::{
        NodeRecord, NodeStatus, RetryId, RetryState, Run, RunId, RunStatus, Timestamp,
        VariableWrite, WaitingFor,
    },
    store::{
        Checkpoint, Claim, Claimed, Creation, Fence, Finish, IdempotencyKey, NewRetry, Parking,
        Store, StoreError,
    },
};

use crate::support::{
    dice::Dice,
    rows::{
        MINUTE, acme, checkpoint, creation, finish, id, json, new_import, new_retry, node, now,
    },
};

const PATHS: [&str; 6] = ["trigger", "pay", "z", "loop[0].pay", "loop[1].pay", "a"];
const STATUSES: [NodeStatus; 4] = [
    NodeStatus::Running,
    NodeStatus::Success,
    NodeStatus::Failure,
    NodeStatus::Skipped,
];

/// A chain, and what is known of it.
pub(crate) struct Chain {
    name: String,
    dice: Dice,
    /// The runs that there are, the oldest first.
    pub(crate) runs: Vec<RunId>,
    /// What somebody holds, or held.
    fences: Vec<Fence>,
    made: usize,
}

/// Something that is done to a chain.
#[derive(Debug, Clone)]
pub(crate) enum Step {
    Retry(Box<NewRetry>, Option<IdempotencyKey>),
    Claim(RunId),
    Create(Fence, Creation),
    Write(Fence, Checkpoint),
    Finish(Fence, Finish),
    Park(Fence, Box<Parking>),
    Release(Fence),
    Cancel(RunId, Timestamp),
}

/// What came of it, without what the ledger's own clock says.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Outcome {
    Said(String),
    Took(Fence, String),
}

impl Chain {
    /// A chain of one run that ended.
    pub(crate) async fn begin(number: u64, seed: u64, stores: [&Store; 2]) -> Self {
        let mut dice = Dice(seed);
        let name = format!("c{number}");
        let root = format!("run_{name}_0");
        let statuses = [
            RunStatus::Failure,
            RunStatus::Cancelled,
            RunStatus::Partial,
            RunStatus::Success,
        ];
        let status = statuses[dice.below(5).saturating_sub(1)];
        let mut import = new_import(&root, None, status);
        import.nodes = some(&mut dice, 5);
        for store in stores {
            store.import(&import, None).await.unwrap().unwrap();
        }
        Self {
            name,
            dice,
            runs: vec![id(&root)],
            fences: Vec::new(),
            made: 1,
        }
    }

    /// What happens next: mostly what is in order, now and then what is not.
    pub(crate) fn next(&mut self) -> Step {
        if self.fences.is_empty() || self.dice.one_in(6) {
            return match self.dice.below(8) {
                0..3 => self.retry(),
                3..7 => Step::Claim(self.a_run()),
                _ => Step::Cancel(self.a_run(), now()),
            };
        }
        let fence = self.a_fence();
        match self.dice.below(12) {
            0..4 => Step::Create(fence, self.creation()),
            4..7 => Step::Write(fence, self.checkpoint()),
            7..10 => Step::Finish(fence, self.finish()),
            10 => Step::Park(fence, Box::new(self.parking())),
            _ => Step::Release(fence),
        }
    }

    /// Learns what came of a step.
    pub(crate) fn learn(&mut self, step: &Step, outcome: &Outcome) {
        match (step, outcome) {
            (Step::Retry(new, _), Outcome::Said(said)) if said.starts_with("accepted") => {
                self.runs.push(new.run.id.clone());
                self.fences.clear();
            }
            (Step::Claim(..), Outcome::Took(fence, _)) => self.fences.push(fence.clone()),
            (Step::Finish(..), Outcome::Said(said)) if said == "Ended" => self.fences.clear(),
            _ => {}
        }
    }

    /// Mostly the newest.
    fn a_run(&mut self) -> RunId {
        let newest = self.runs.len() - 1;
        let which = if self.dice.one_in(5) {
            self.dice.below(newest + 1)
        } else {
            newest
        };
        self.runs[which].clone()
    }

    /// Mostly the newest.
    fn a_fence(&mut self) -> Fence {
        let newest = self.fences.len() - 1;
        let which = if self.dice.one_in(5) {
            self.dice.below(newest + 1)
        } else {
            newest
        };
        let fence = &self.fences[which];
        Fence {
            run_id: fence.run_id.clone(),
            epoch: fence.epoch + i64::from(self.dice.one_in(9)),
        }
    }

    fn retry(&mut self) -> Step {
        let source = self.a_run();
        let taken = self.dice.one_in(10);
        let run = if taken {
            self.a_run().to_string()
        } else {
            self.made += 1;
            format!("run_{}_{}", self.name, self.made)
        };
        let mut new = new_retry(source.as_str(), &run);
        new.retry.root_run_id = Some(self.runs[0].clone());
        new.retry.id = RetryId::generate(now());
        new.run.variables = json(r#"{"a":1.10}"#);
        let dice = &mut self.dice;
        new.terms.include_partial = dice.one_in(2);
        new.terms.allow_again = dice.one_in(6);
        new.terms.chain_limit = if dice.one_in(3) { 2 } else { 100 };
        new.traceparent = dice.one_in(2).then(|| "00-trace".into());
        if dice.one_in(4) {
            new.due_at = Some(now() + TimeDelta::seconds(if dice.one_in(2) { 60 } else { -60 }));
            new.retry.state = RetryState::Scheduled;
            new.run.waiting_for = Some(WaitingFor::Schedule);
        }
        let key = dice.one_in(3).then(|| IdempotencyKey {
            organization_id: acme(),
            key: format!("{}-{}", self.name, dice.below(3)),
            fingerprint: "f".into(),
        });
        Step::Retry(Box::new(new), key)
    }

    fn creation(&mut self) -> Creation {
        let reuse: Vec<&str> = PATHS.into_iter().filter(|_| self.dice.one_in(4)).collect();
        let records = some(&mut self.dice, 2);
        let records = records
            .into_iter()
            .filter(|r| !reuse.contains(&r.path.to_string().as_str()));
        Creation {
            records: records.collect(),
            ..creation(&reuse)
        }
    }

    fn checkpoint(&mut self) -> Checkpoint {
        let records = some(&mut self.dice, 4);
        let dice = &mut self.dice;
        let written = VariableWrite {
            name: "a".into(),
            old_value: json("1"),
            new_value: json("2"),
            written_by_node: Some(id("pay")),
            written_at: now(),
            lasts: false,
        };
        Checkpoint {
            variable_writes: if dice.one_in(8) {
                vec![written]
            } else {
                Vec::new()
            },
            total_cu: json(&dice.below(3).to_string()),
            has_outcome: dice.one_in(2),
            ..checkpoint(records)
        }
    }

    fn finish(&mut self) -> Finish {
        let statuses = [
            RunStatus::Failure,
            RunStatus::Failure,
            RunStatus::Cancelled,
            RunStatus::Partial,
            RunStatus::Success,
        ];
        let status = statuses[self.dice.below(statuses.len())];
        Finish {
            checkpoint: self.checkpoint(),
            may_have_signals: self.dice.one_in(4),
            ..finish(status)
        }
    }

    fn parking(&mut self) -> Parking {
        Parking {
            checkpoint: self.checkpoint(),
            waiting_for: WaitingFor::Delay,
            due_at: Some(now() - TimeDelta::seconds(1)),
            children: Vec::new(),
        }
    }
}

/// Records of some of the paths, each at most once.
fn some(dice: &mut Dice, most: usize) -> Vec<NodeRecord> {
    let mut paths = PATHS.to_vec();
    let count = dice.below(most + 1);
    (0..count)
        .map(|_| {
            let path = paths.swap_remove(dice.below(paths.len()));
            let mut record = node(path, STATUSES[dice.below(STATUSES.len())]);
            record.result = dice.one_in(2).then(|| json(r#"{"b":1,"a":[1.10]}"#));
            record.branch = dice.one_in(4).then(|| "yes".into());
            record.started_at = Some(dice.roll().to_string());
            record.extra = dice.one_in(4).then(|| json(r#"{"context":"ü"}"#));
            record
        })
        .collect()
}

/// Does a step.
pub(crate) async fn play(store: &Store, step: &Step) -> Outcome {
    match step {
        Step::Retry(new, key) => match store.accept_retry(new, key.as_ref()).await {
            Ok(Ok(Ok(accepted))) => Outcome::Said(format!("accepted {accepted:?}")),
            other => said(other.map(|other| format!("{other:?}"))),
        },
        Step::Claim(run) => match take(store, run).await {
            Claimed::Claimed(claim) => took(*claim),
            other @ (Claimed::Refused | Claimed::NoSuchRun) => Outcome::Said(format!("{other:?}")),
        },
        Step::Create(fence, creation) => said(store.create(fence, creation).await),
        Step::Write(fence, checkpoint) => said(store.checkpoint(fence, checkpoint).await),
        Step::Finish(fence, finish) => said(store.finish(fence, finish).await),
        Step::Park(fence, parking) => said(store.park(fence, parking).await),
        Step::Release(fence) => said(store.release(fence).await),
        Step::Cancel(run, now) => {
            let cancelled = store.request_cancel(&acme(), run, *now).await.unwrap();
            Outcome::Said(format!("{cancelled:?}"))
        }
    }
}

/// Claims as a worker does.
async fn take(store: &Store, run: &RunId) -> Claimed {
    if let Some(claim) = store.claim_first(run, "worker/1", MINUTE).await.unwrap() {
        return Claimed::Claimed(Box::new(claim));
    }
    store.claim(run, "worker/1", MINUTE).await.unwrap()
}

fn took(claim: Claim) -> Outcome {
    let mut claim = claim;
    if let Some(retry) = &mut claim.retry {
        retry.updated_at = retry.created_at;
    }
    let fence = claim.fence.clone();
    let claim = Claim {
        run: without_clock(claim.run),
        ..claim
    };
    Outcome::Took(fence, format!("{claim:?}"))
}

/// A run that was created before it was claimed starts by the ledger's own clock.
pub(crate) fn without_clock(run: Run) -> Run {
    let started_at = run.started_at.map(|_| "then".into());
    Run { started_at, ..run }
}

fn said<T: std::fmt::Debug>(done: Result<T, StoreError>) -> Outcome {
    match done {
        Ok(done) => Outcome::Said(format!("{done:?}")),
        Err(StoreError::Inconsistent {
            table, column, why, ..
        }) => Outcome::Said(format!("{table}.{column}: {why}")),
        Err(error) => Outcome::Said(error.to_string()),
    }
}
