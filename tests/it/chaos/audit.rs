//! The promises, checked against what was promised, what is durable, and what was seen outside.

use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};

use serde_json::Value;

use super::{
    client::{Client, Journal},
    killer::Lives,
    ledger::Ledger,
    process::Installation,
};
use crate::support::{
    story::{EFFECTS, NOTHING, assert_ended_well, source},
    witness::{Call, Witness},
};

/// Sources and retries: not what they started.
const RUNS: &str = "select count(*) from runs where id not in (select run_id from children)";

/// The auditor.
pub(super) struct Audit<'a> {
    lives: &'a Lives,
    keys: HashMap<String, Vec<Call>>,
    /// The new run of each source.
    runs: HashMap<String, String>,
    named_by_a_refusal: usize,
    repeated: usize,
    answered_and_repeated: usize,
    longest_commit: Duration,
}

impl<'a> Audit<'a> {
    pub(super) fn new(witness: &Witness, journal: &Journal, lives: &'a Lives) -> Self {
        let entries = journal.entries().into_iter();
        Self {
            lives,
            keys: witness.by_key(),
            runs: entries.map(|entry| (entry.source, entry.run)).collect(),
            named_by_a_refusal: journal.named_by_a_refusal(),
            repeated: 0,
            answered_and_repeated: 0,
            longest_commit: Duration::ZERO,
        }
    }

    /// Promises 1 and 2: each source has the one retry and the one run that somebody was told.
    pub(super) async fn accepted(&self, client: &Client, retries: usize) {
        assert_eq!(self.runs.len(), retries, "sources that got an answer");
        for number in 0..retries {
            let source = source(number);
            let path = format!("/v1/retries?sourceRunId={source}");
            let listed = client.get(&path).await;
            let items = listed["items"].as_array().unwrap();
            assert_eq!(items.len(), 1, "{listed}");
            assert_eq!(items[0]["runId"], self.runs[&source].as_str(), "{listed}");
            assert_eq!(items[0]["state"], "created", "{listed}");
        }
    }

    /// Promise 1: each retry happened, as planned, with the values that the effects gave.
    pub(super) async fn runs(&self, client: &Client) {
        for (source, id) in &self.runs {
            let run = client.get(&format!("/v1/runs/{id}")).await;
            assert_ended_well(&run, source);
            for node in EFFECTS {
                self.outcome(id, node, &run["executionState"][node]);
            }
        }
    }

    /// A recorded attempt for every call, all with the node's one key.
    fn outcome(&self, run: &str, node: &str, record: &Value) {
        let attempts = record["attempts"].as_array().unwrap();
        let keys: HashSet<_> = attempts.iter().map(|a| a["effectKey"].as_str()).collect();
        let keys: Vec<_> = keys.into_iter().collect();
        let [Some(key)] = keys[..] else {
            panic!("{node} of {run} had other keys than one: {record}");
        };
        let calls = self.keys.get(key).map_or(0, Vec::len);
        let (fewest, most) = (1, attempts.len());
        assert!(
            (fewest..=most).contains(&calls),
            "{calls} calls of {node} of {run}: {record}"
        );
    }

    /// Promise 3, and what may be repeated: the calls of one node of one run have one key and one
    /// body; of two of them the first was made by a process that died before it had recorded the
    /// outcome; none was made by a process that found the success recorded.
    pub(super) fn effects(&mut self) {
        let mut paths = HashSet::new();
        for (key, calls) in std::mem::take(&mut self.keys) {
            let first = &calls[0];
            let (node, number) = first.path[1..].split_once('/').unwrap();
            assert!(EFFECTS.contains(&node), "reused or skipped: {first:?}");
            let source = source(number.parse().unwrap());
            assert_eq!(first.run, self.runs[&source], "a second run: {first:?}");
            assert!(paths.insert(first.path.clone()), "a second key: {first:?}");
            assert!(key.starts_with(&format!("{source}/{node}/")), "{first:?}");
            for call in &calls {
                let same =
                    (&call.path, &call.run, &call.body) == (&first.path, &first.run, &first.body);
                assert!(same, "one key, two effects: {first:?} {call:?}");
                let recorded = self
                    .lives
                    .recorded
                    .get(&(call.run.clone(), node.to_owned()));
                let life = self.lives.at(call.arrived);
                let too_late = recorded.is_some_and(|recorded| life > *recorded);
                assert!(
                    !too_late,
                    "in life {life}, recorded in {recorded:?}: {call:?}"
                );
            }
            for pair in calls.windows(2) {
                self.repetition(&pair[0], &pair[1]);
            }
        }
    }

    fn repetition(&mut self, earlier: &Call, later: &Call) {
        let life = self.lives.at(earlier.arrived);
        assert!(
            life < self.lives.at(later.arrived),
            "repeated without a kill: {earlier:?} {later:?}"
        );
        let killed = self.lives.lives[life].killed.unwrap();
        self.repeated += 1;
        let Some(answered) = earlier.answered.filter(|answered| *answered < killed) else {
            return;
        };
        self.answered_and_repeated += 1;
        // How long a commit takes is the machine's affair. That what was recorded is not repeated is
        // held by the copies of the ledger, not by time.
        self.longest_commit = self.longest_commit.max(killed - answered);
    }

    /// Promises 1 and 2 once more, in the file.
    pub(super) async fn ledger(&self, installation: &Installation, retries: usize) {
        let mut ledger = Ledger::open(&installation.file()).await;
        assert_eq!(ledger.text("pragma integrity_check").await, "ok");
        let all = i64::try_from(retries).unwrap();
        assert_eq!(ledger.count("select count(*) from retries").await, all);
        assert_eq!(ledger.count(RUNS).await, 2 * all);
        for (what, sql) in NOTHING {
            assert_eq!(ledger.count(sql).await, 0, "{what}");
        }
    }

    /// How many calls were made again.
    pub(super) fn repeated(&self) -> usize {
        self.repeated
    }

    pub(super) fn summary(&self) -> String {
        format!(
            "{} retries, {} of them named by a refusal after a lost answer; {} calls repeated, {} \
             of them answered and not yet recorded, at most {:?} before the kill",
            self.runs.len(),
            self.named_by_a_refusal,
            self.repeated,
            self.answered_and_repeated,
            self.longest_commit,
        )
    }
}
