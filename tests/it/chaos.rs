//! The one process is killed, or told to stop, while it has its hands full.
//!
//! `REDRIVE_CHAOS_RETRIES`, `REDRIVE_CHAOS_KILLS` and `REDRIVE_CHAOS_SEED` scale and repeat it.

mod audit;
#[cfg(feature = "faults")]
mod bugs;
mod client;
mod killer;
mod ledger;
#[cfg(feature = "faults")]
mod points;
mod process;

use std::{sync::Arc, time::Duration};

use tokio::sync::watch;

use self::{
    audit::Audit,
    client::{Client, Journal},
    killer::Killer,
    process::Installation,
};
use crate::support::{
    dice::{Dice, scale},
    report::Report,
    story::EFFECTS,
    witness::Witness,
};

/// How many submit at once.
const SUBMITTERS: usize = 8;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn chaos_promise_1_2_3_5_sigkill_of_the_one_process() {
    let retries = usize::try_from(scale("REDRIVE_CHAOS_RETRIES", 500)).unwrap();
    let kills = usize::try_from(scale("REDRIVE_CHAOS_KILLS", 60)).unwrap();
    let seed = scale("REDRIVE_CHAOS_SEED", u64::from(std::process::id()));
    let size = format!("{retries} retries, {kills} kills");
    let mut report = Report::new("the one process killed, on SQLite", seed, size);
    let mut dice = Dice(seed);
    let witness = Witness::start(dice.fork(), Duration::from_millis(30)).await;
    let installation = Arc::new(Installation::new());
    let client = Client::new(&installation).await;

    let process = installation.start().await;
    client.import(retries, &witness).await;
    let sources = client.sources(retries).await;
    process.stop().await;

    let journal = Journal::default();
    let (released, gate) = watch::channel(0);
    let submitters: Vec<_> = (0..SUBMITTERS)
        .map(|_| {
            tokio::spawn(
                client
                    .clone()
                    .submit(journal.clone(), gate.clone(), dice.fork()),
            )
        })
        .collect();
    let mut killer = Killer::new(&installation, &journal, dice.fork());
    for number in 0..kills {
        // In bursts, and the last of them before the last kill.
        let due = (retries * (number + 1)).div_ceil(kills);
        let burst = (due.div_ceil(10) * 10).min(retries);
        released.send_replace(burst);
        killer.one_life().await;
    }
    released.send_replace(retries);
    // Submitters end once there is nobody left who could release more.
    drop(released);
    let last = killer.last_life().await;
    for submitter in submitters {
        submitter.await.unwrap();
    }
    client.until_all_ended(&journal, &installation).await;

    let mut audit = Audit::new(&witness, &journal, killer.lives());
    audit.accepted(&client, retries).await;
    audit.runs(&client).await;
    audit.effects();
    assert_eq!(
        sources,
        client.sources(retries).await,
        "a source has changed"
    );
    last.stop().await;
    audit.ledger(&installation, retries).await;
    println!("{}; {}", killer.summary(), audit.summary());
    report.fact("faults", format!("{kills} SIGKILL"));
    report.fact("repeatedInFlight", audit.repeated());
    report.file(true);
    assert_eq!(installation.said(), [""; 0], "warnings");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn chaos_the_process_drains_on_sigterm() {
    let witness = Witness::start(Dice(1), Duration::from_millis(600)).await;
    let installation = Arc::new(Installation::new());
    let client = Client::new(&installation).await;
    let process = installation.start().await;
    client.import(6, &witness).await;
    let mut runs = Vec::new();
    for number in 0..6 {
        runs.push(client.retry(number).await.expect("an answer"));
    }
    for number in 0..6 {
        witness.until_called(&format!("/first/{number}")).await;
    }
    let told = std::time::Instant::now();
    process.terminate().await;
    let status = process.ended().await;
    assert_eq!(status.code(), Some(0));
    // No call takes longer than 0.6 s, and no node follows.
    let took = told.elapsed();
    assert!(took < Duration::from_secs(3), "{took:?}");
    let recorded = ledger::Durable::left_in(&installation.file())
        .await
        .successes;
    let calls = witness.calls();
    for call in &calls {
        assert!(call.answered.is_some(), "dropped in the drain: {call:?}");
        let node = call.path.split('/').nth(1).unwrap().to_owned();
        assert!(
            recorded.contains(&(call.run.clone(), node)),
            "not recorded: {call:?}"
        );
    }
    let mut file = ledger::Ledger::open(&installation.file()).await;
    let held = "select count(*) from runs where lease_owner is not null or lost_leases <> 0";
    assert_eq!(file.count(held).await, 0, "leases are given back");
    drop(file);

    let process = installation.start().await;
    for (number, run) in runs.iter().enumerate() {
        let run = client.ended(run, &installation).await;
        assert_eq!(run["status"], "success", "{run}");
        for node in EFFECTS {
            let path = format!("/{node}/{number}");
            let times = witness
                .calls()
                .iter()
                .filter(|call| call.path == path)
                .count();
            assert_eq!(times, 1, "{path}");
        }
    }
    process.stop().await;
    assert_eq!(installation.said(), [""; 0], "warnings");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn chaos_a_second_process_on_the_same_file_is_refused() {
    let witness = Witness::start(Dice(1), Duration::ZERO).await;
    let installation = Installation::new();
    let client = Client::new(&installation).await;
    let process = installation.start().await;
    let second = installation
        .command(&["serve", "--listen", "127.0.0.1:0"])
        .output();
    let second = tokio::time::timeout(Duration::from_secs(20), second).await;
    let second = second.expect("it serves").unwrap();
    let said = String::from_utf8(second.stderr).unwrap();
    assert_eq!(second.status.code(), Some(1), "{said}");
    assert!(said.contains("another process serves"), "{said}");
    assert!(said.contains("redrive.db.lock"), "{said}");
    assert_eq!(said.lines().count(), 1, "{said}");
    // The first one does not mind.
    client.import(1, &witness).await;
    let run = client.retry(0).await.expect("an answer");
    assert_eq!(client.ended(&run, &installation).await["status"], "success");
    // Its death frees the file.
    process.kill().await;
    installation.start().await.stop().await;
}
