//! What breaks and mends, again and again, costs a process nothing for good.

use std::time::Duration;

use super::{
    PATIENCE,
    audit::{self, bounds, bounds::Footprint},
    load::{Client, Tally},
    members::{Member, Pool, stop_all},
    wires::Wires,
};
use crate::support::{dice::scale, proxy::Flow, report::Report, witness::Witness};

/// Retries of a wave.
const WAVE: usize = 30;

/// Waves until everything that is kept for later has been made.
const WARM: usize = 2;

/// One wave of retries over wires that break in the middle of it.
async fn wave(pool: &Pool, client: &Client, wires: &Wires, number: usize) -> Tally {
    let numbers = number * WAVE..(number + 1) * WAVE;
    let load = client.steadily(numbers, Duration::from_secs(1));
    for proxy in [&wires.database, &wires.broker] {
        tokio::time::sleep(Duration::from_millis(200)).await;
        proxy.cut();
        tokio::time::sleep(Duration::from_millis(100)).await;
        proxy.half_close();
        proxy.set(Flow::Nothing);
        tokio::time::sleep(Duration::from_millis(200)).await;
        proxy.set(Flow::Both);
    }
    let tally = load.await.unwrap();
    audit::until_all_ended(pool, PATIENCE).await;
    tally
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pool_nothing_grows_with_what_breaks() {
    let waves = usize::try_from(scale("REDRIVE_POOL_WAVES", 4)).unwrap();
    let mut report = Report::new(
        "nothing grows",
        1,
        format!("{waves} waves of {WAVE} retries"),
    );
    let witness = Witness::steady(Duration::from_millis(20)).await;
    let pool = Pool::new(&[]).await;
    let wires = Wires::of(&pool);
    let mut members: Vec<Member> = Vec::new();
    for role in ["api", "relay", "worker", "worker"] {
        members.push(wires.start(&pool, role).await);
    }
    let client = Client::new(&pool, &members[0]).await;
    client.import(0..waves * WAVE, &witness).await;
    let (mut tally, mut before) = (Tally::default(), Vec::new());
    for number in 0..waves {
        tally.add(wave(&pool, &client, &wires, number).await);
        for member in &members {
            member.until_ready(200).await;
        }
        if number + 1 == WARM {
            before = members.iter().map(Footprint::of).collect();
        }
    }
    let departed: Vec<_> = members
        .iter()
        .map(|member| super::members::Departed::since(member.name.clone(), report.began()))
        .collect();
    let mut verdict = audit::examine(&pool, &client, &witness, &tally, &departed).await;
    for (member, before) in members.iter().zip(&before) {
        let now = Footprint::of(member);
        println!("{}: {before:?}, then {now:?}", member.name);
        now.check(before, member, &mut verdict);
    }
    bounds::sessions(&pool, members.len(), &mut verdict).await;
    pool.assert_sound();
    stop_all(members).await;
    bounds::lanes(&pool, &pool.amqp, &mut verdict).await;
    report.fact("faults", format!("{} wires cut and silenced", 2 * waves));
    verdict.report(report);
    verdict.assert_holds();
    pool.remove().await;
}
