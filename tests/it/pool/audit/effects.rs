//! I3, and what may be repeated: a call that was under way, unrecorded, when something happened to
//! the process that had made it.

use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};

use super::{Departed, Invariant, Seen, Tally, Verdict};
use crate::{
    pool::seen::seconds,
    support::{
        story::{EFFECTS, source},
        witness::{Call, Witness},
    },
};

/// How long bytes that had left a process before it stood still may take to arrive once it goes on.
const THAW: Duration = Duration::from_secs(2);

/// The calls under one key, and the writes of their node.
struct Effect<'a> {
    calls: &'a [Call],
    writes: &'a [&'a Seen],
    departed: &'a [Departed],
}

pub(super) fn check(
    seen: &[Seen],
    witness: &Witness,
    tally: &Tally,
    departed: &[Departed],
    verdict: &mut Verdict,
) {
    let mut of_nodes = HashMap::<_, Vec<&Seen>>::new();
    for write in seen.iter().filter(|seen| seen.what == "node") {
        let key = (write.run_id.as_str(), write.path.as_str());
        of_nodes.entry(key).or_default().push(write);
    }
    let mut paths = HashSet::new();
    for (key, calls) in witness.by_key() {
        let first = &calls[0];
        let (node, number) = first.path[1..].split_once('/').unwrap();
        let source = source(number.parse().unwrap());
        names(&key, first, (node, &source), tally, verdict);
        verdict.require(
            paths.insert(first.path.clone()),
            Invariant::SecondRun,
            || format!("a second key: {first:?}"),
        );
        let writes = of_nodes.get(&(first.run.as_str(), node));
        let effect = Effect {
            calls: &calls,
            writes: writes.map_or(&[], Vec::as_slice),
            departed,
        };
        effect.check(verdict);
    }
    let expected = tally.runs.len() * EFFECTS.len();
    let found = paths.len();
    verdict.require(found == expected, Invariant::Lost, || {
        format!("{found} effects instead of {expected}")
    });
}

/// The call is one of the new run's, under a key that says so.
fn names(
    key: &str,
    first: &Call,
    (node, source): (&str, &str),
    tally: &Tally,
    verdict: &mut Verdict,
) {
    verdict.require(EFFECTS.contains(&node), Invariant::RepeatedSuccess, || {
        format!("reused or skipped: {first:?}")
    });
    let is_the_run = tally.runs.get(source) == Some(&first.run);
    verdict.require(is_the_run, Invariant::SecondRun, || {
        format!("a second run: {first:?}")
    });
    let is_its_key = key.starts_with(&format!("{source}/{node}/"));
    verdict.require(is_its_key, Invariant::SecondRun, || format!("{first:?}"));
}

impl Effect<'_> {
    fn check(&self, verdict: &mut Verdict) {
        let writes = self.writes;
        let successes: Vec<_> = writes.iter().filter(|w| w.status == "success").collect();
        let epochs: HashSet<_> = successes.iter().map(|success| success.epoch).collect();
        verdict.require(epochs.len() < 2, Invariant::Zombie, || {
            format!("recorded by several: {writes:?}")
        });
        let Some(success) = successes.first() else {
            verdict.add(Invariant::Lost, format!("never recorded: {writes:?}"));
            return;
        };
        let first = &self.calls[0];
        for call in self.calls {
            let same =
                (&call.path, &call.run, &call.body) == (&first.path, &first.run, &first.body);
            verdict.require(same, Invariant::SecondRun, || {
                format!("one key, two effects: {first:?} {call:?}")
            });
            if seconds(call.arrived) <= success.at {
                continue;
            }
            let thawed = self.has_thawed(call, success);
            verdict.repeated.thawed += usize::from(thawed);
            verdict.require(thawed, Invariant::RepeatedSuccess, || {
                format!("called after its success was recorded: {call:?} {writes:?}")
            });
        }
        for pair in self.calls.windows(2) {
            // One that has thawed is counted as such, wherever it comes in between.
            if !pair.iter().any(|call| self.has_thawed(call, success)) {
                self.repetition(&pair[0], &pair[1], verdict);
            }
        }
    }

    /// Holds a repetition to what happened to the process that had made the earlier call.
    fn repetition(&self, earlier: &Call, later: &Call, verdict: &mut Verdict) {
        let made = seconds(earlier.arrived);
        let begun = self
            .writes
            .iter()
            .rfind(|write| write.status == "running" && write.at <= made);
        let Some(begun) = begun else {
            let what = format!("no start mark before {earlier:?}");
            verdict.add(Invariant::RepeatedCall, what);
            return;
        };
        // What it had sent may arrive after its end.
        let excused = self
            .departed
            .iter()
            .filter(|gone| gone.name == begun.process)
            .any(|gone| begun.at <= seconds(gone.until) && gone.at < later.arrived);
        verdict.repeated.calls += usize::from(excused);
        verdict.require(excused, Invariant::RepeatedCall, || {
            let (writes, departed) = (self.writes, self.of(&begun.process));
            format!(
                "repeated though its process went on: {earlier:?} {later:?} {writes:#?} {departed:?}"
            )
        });
    }

    fn of(&self, process: &str) -> Vec<&Departed> {
        let departed = self.departed.iter();
        departed.filter(|gone| gone.name == process).collect()
    }

    /// No process can take back what it was about to write into a socket when it was made to stand
    /// still; the target knows the key.
    fn has_thawed(&self, call: &Call, success: &Seen) -> bool {
        let stood = |process: &str, begun: f64| {
            self.departed.iter().any(|gone| {
                gone.name == process
                    && gone.stood_still
                    && begun <= seconds(gone.at)
                    && seconds(gone.at) < success.at
                    && gone.until <= call.arrived
                    && call.arrived < gone.until + THAW
            })
        };
        let begun = self.writes.iter().filter(|w| w.status == "running");
        begun
            .filter(|begun| begun.epoch < success.epoch)
            .any(|begun| stood(&begun.process, begun.at))
    }
}
