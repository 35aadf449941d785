//! The promises, checked against what was answered, what is durable, what each process wrote, and
//! what was seen outside.

use std::{
    collections::{HashMap, HashSet},
    time::{Duration, Instant},
};

use super::{
    load::{Client, Tally},
    members::{Departed, Pool},
    seen::{self, Seen, seconds},
};
use crate::support::{
    story::{EFFECTS, NOTHING, assert_ended_well, source},
    witness::{Call, Witness},
};

/// Waits until no run is under way.
pub(super) async fn until_all_ended(pool: &Pool, patience: Duration) -> Duration {
    let began = Instant::now();
    let active = "select count(*) from runs where status in ('waiting', 'running')";
    loop {
        let left = pool.ledger.count(active).await;
        if left == 0 {
            return began.elapsed();
        }
        let waited = began.elapsed();
        assert!(waited < patience, "{left} runs: {:#?}", pool.said());
        tokio::time::sleep(super::LOOK).await;
    }
}

/// What was done twice, and why that was right.
#[derive(Debug, Default)]
pub(super) struct Repeated {
    pub(super) calls: usize,
    pub(super) claims: usize,
    pub(super) most_sends: usize,
}

/// Promises 1 to 5 after all runs have ended: each accepted retry has its one run, which ended
/// well; `departed` are the processes whose calls may have been made again.
pub(super) async fn hold(
    pool: &Pool,
    client: &Client,
    witness: &Witness,
    tally: &Tally,
    departed: &[Departed],
) -> Repeated {
    for (what, sql) in NOTHING {
        assert_eq!(pool.ledger.count(sql).await, 0, "{what}");
    }
    let retries = pool.ledger.count("select count(*) from retries").await;
    assert_eq!(usize::try_from(retries).unwrap(), tally.runs.len());
    for (source, id) in &tally.runs {
        let run = client.get(&format!("/v1/runs/{id}")).await;
        assert_ended_well(&run, source);
    }
    let seen = seen::all(&pool.ledger).await;
    writers(&seen);
    let calls = effects(&seen, witness, tally, departed);
    let claims = seen.iter().filter(|seen| seen.what == "claim").count();
    let mut sends = HashMap::<_, usize>::new();
    for seen in seen.iter().filter(|seen| seen.what == "send") {
        *sends.entry(&seen.run_id).or_default() += 1;
    }
    Repeated {
        calls,
        claims: claims - tally.runs.len(),
        most_sends: sends.values().copied().max().unwrap_or(0),
    }
}

/// Promise 4: under each epoch of a run only the process that claimed it writes its nodes.
fn writers(seen: &[Seen]) {
    let mut holders = HashMap::new();
    for seen in seen {
        let key = (&seen.run_id, seen.epoch);
        if seen.what == "claim" {
            let earlier = holders.insert(key, &seen.process);
            assert_eq!(earlier, None, "one epoch, two claims: {seen:?}");
        } else if seen.what == "node" && seen.epoch > 0 {
            assert_eq!(holders.get(&key), Some(&&seen.process), "{seen:?}");
        }
    }
}

/// Promise 3, and what may be repeated: a call that was under way, unrecorded, when the process
/// that made it went away. Says how many were.
fn effects(seen: &[Seen], witness: &Witness, tally: &Tally, departed: &[Departed]) -> usize {
    let mut writes = HashMap::<_, Vec<&Seen>>::new();
    for write in seen.iter().filter(|seen| seen.what == "node") {
        let key = (write.run_id.as_str(), write.path.as_str());
        writes.entry(key).or_default().push(write);
    }
    let (mut paths, mut repeated) = (HashSet::new(), 0);
    for (key, calls) in witness.by_key() {
        let first = &calls[0];
        let (node, number) = first.path[1..].split_once('/').unwrap();
        assert!(EFFECTS.contains(&node), "reused or skipped: {first:?}");
        let source = source(number.parse().unwrap());
        assert_eq!(first.run, tally.runs[&source], "a second run: {first:?}");
        assert!(paths.insert(first.path.clone()), "a second key: {first:?}");
        assert!(key.starts_with(&format!("{source}/{node}/")), "{first:?}");
        let writes = &writes[&(first.run.as_str(), node)];
        let successes: Vec<_> = writes.iter().filter(|w| w.status == "success").collect();
        let epochs: HashSet<_> = successes.iter().map(|success| success.epoch).collect();
        assert_eq!(epochs.len(), 1, "recorded by several: {writes:?}");
        for call in &calls {
            let same =
                (&call.path, &call.run, &call.body) == (&first.path, &first.run, &first.body);
            assert!(same, "one key, two effects: {first:?} {call:?}");
            let late = seconds(call.arrived) > successes[0].at;
            assert!(
                !late,
                "called after its success was recorded: {call:?} {writes:?}"
            );
        }
        for pair in calls.windows(2) {
            excuse(&pair[0], &pair[1], writes, departed);
            repeated += 1;
        }
    }
    assert_eq!(paths.len(), tally.runs.len() * EFFECTS.len(), "effects");
    repeated
}

/// Holds a repetition to the departure of the process that had made the earlier call.
fn excuse(earlier: &Call, later: &Call, writes: &[&Seen], departed: &[Departed]) {
    let made = seconds(earlier.arrived);
    let begun = writes
        .iter()
        .rfind(|write| write.status == "running" && write.at <= made);
    let begun = begun.expect("a start mark before the call");
    // What it had sent may arrive after its end.
    let went = departed
        .iter()
        .filter(|gone| gone.name == begun.process)
        .any(|gone| begun.at <= seconds(gone.at) && gone.at < later.arrived);
    assert!(
        went,
        "repeated though its process went on: {earlier:?} {later:?} {writes:#?} {departed:?}"
    );
}
