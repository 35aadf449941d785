//! Messages that come many times, in any order and late, forged and malformed, put straight into the
//! queues; and many clients at one source.

use std::{sync::Arc, time::Duration};

use tokio::sync::watch;

use super::{
    PATIENCE,
    audit::{self, Invariant, Verdict, bounds},
    keyed::Keyed,
    members::{Crew, Pool, stop_all},
    storm::messages::{Publisher, duplicates, rubbish, shuffle},
};
use crate::support::{
    dice::{Dice, scale},
    report::Report,
    witness::Witness,
};

/// How often all that was sent is sent again.
const WAVES: usize = 3;

/// How many go at once, and the longest time between them.
const BATCH: usize = 200;
const LATE: Duration = Duration::from_millis(150);

async fn crew_and_users(settings: &[(&str, &str)]) -> (Crew, Keyed) {
    let crew = Crew::start(Pool::new(settings).await, 2).await;
    for member in crew.workers.iter().chain([&crew.relay]) {
        member.until_ready(200).await;
    }
    let address = crew.api.process.url.replace("http://", "");
    let users = Keyed::new(&crew.pool, &[address]).await;
    (crew, users)
}

/// Publishes batch by batch, so that what comes first may come long before the last.
async fn trickle(
    publisher: &Publisher,
    users: &Keyed,
    malformed: usize,
    dice: &mut Dice,
) -> (usize, usize) {
    let (mut copies, mut unusable) = (0, 0);
    for wave in 0..WAVES {
        let mut again = duplicates(&users.journal.accepted(), dice);
        let mut useless = rubbish(malformed.div_ceil(WAVES), dice);
        shuffle(&mut again, dice);
        while !again.is_empty() || !useless.is_empty() {
            let rest = again.split_off(BATCH.min(again.len()));
            copies += publisher.publish(std::mem::replace(&mut again, rest)).await;
            let rest = useless.split_off(BATCH.min(useless.len()));
            let now = std::mem::replace(&mut useless, rest);
            unusable += publisher.publish_rubbish(now).await;
            tokio::time::sleep(dice.up_to(LATE)).await;
        }
        println!("wave {wave}: {copies} copies, {unusable} unusable");
    }
    (copies, unusable)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pool_promise_1_2_3_messages_repeated_shuffled_and_forged() {
    let retries = usize::try_from(scale("REDRIVE_POOL_LETTERS", 60)).unwrap();
    let malformed = usize::try_from(scale("REDRIVE_POOL_MALFORMED", 1_000)).unwrap();
    let seed = scale("REDRIVE_POOL_SEED", u64::from(std::process::id()));
    let size = format!("{retries} retries, {malformed} unusable messages");
    let mut report = Report::new("messages repeated, shuffled, forged", seed, size);
    let mut dice = Dice(seed);
    let witness = Witness::start(dice.fork(), Duration::from_millis(400)).await;
    let settings = [("REDRIVE_BROKER__ACCEPT_EXTERNAL_INTENTS", "true")];
    let (crew, users) = crew_and_users(&settings).await;
    crew.client.import(0..retries, &witness).await;

    let publisher = Arc::new(Publisher::new(&crew.pool));
    let (_, all) = watch::channel(retries);
    let submitting = tokio::spawn(users.clone().submit(8, all, dice.fork()));
    let early = trickle(&publisher, &users, malformed / 2, &mut dice).await;
    submitting.await.unwrap();
    let late = trickle(&publisher, &users, malformed.div_ceil(2), &mut dice).await;
    report.settled(audit::until_all_ended(&crew.pool, PATIENCE).await);
    let kept = publisher.until_kept(&crew.pool).await;

    let tally = users.journal.tally();
    let mut verdict = audit::examine(&crew.pool, &crew.client, &witness, &tally, &[]).await;
    let repeated = verdict.repeated.clone();
    let once = (repeated.calls, repeated.claims) == (0, 0);
    verdict.require(once, Invariant::SecondRun, || format!("{repeated:?}"));
    let (copies, unusable) = (early.0 + late.0, early.1 + late.1);
    verdict.require(unusable >= malformed, Invariant::Lost, || {
        format!("{unusable} of {malformed} were taken")
    });
    bounds::sessions(&crew.pool, 4, &mut verdict).await;
    report.fact(
        "faults",
        format!("{copies} copies, {unusable} unusable, {kept} of them different"),
    );
    finish(crew, verdict, report).await;
}

async fn finish(crew: Crew, mut verdict: Verdict, report: Report) {
    let Crew {
        pool,
        api,
        relay,
        workers,
        ..
    } = crew;
    stop_all(workers.into_iter().chain([api, relay])).await;
    bounds::lanes(&pool, &pool.amqp, &mut verdict).await;
    verdict.report(report);
    verdict.assert_holds();
    pool.assert_sound();
    pool.remove().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pool_promise_2_a_crowd_at_one_source() {
    let rounds = usize::try_from(scale("REDRIVE_POOL_CROWDS", 10)).unwrap();
    let clients = usize::try_from(scale("REDRIVE_POOL_CROWD", 100)).unwrap();
    let size = format!("{clients} clients, {rounds} rounds");
    let mut report = Report::new("a crowd at one source", 1, size);
    let witness = Witness::steady(Duration::ZERO).await;
    let (crew, users) = crew_and_users(&[]).await;
    crew.client.import(0..rounds, &witness).await;
    for round in 0..rounds {
        users.crowd(round, clients).await;
    }
    report.settled(audit::until_all_ended(&crew.pool, PATIENCE).await);
    let tally = users.journal.tally();
    let mut verdict = audit::examine(&crew.pool, &crew.client, &witness, &tally, &[]).await;
    // Nobody was told anything but that somebody else was first.
    let refused = users.journal.refusals().len();
    let others = rounds * (clients - 1);
    verdict.require(refused == others, Invariant::SecondRun, || {
        format!("{refused} refusals of {others}")
    });
    report.fact("faults", format!("{refused} refused"));
    finish(crew, verdict, report).await;
}
