//! A worker stands still for longer than its leases last, and goes on.

use std::time::{Duration, Instant};

use super::{
    PATIENCE, audit,
    members::{Crew, Departed, Pool},
    seen::{self, Seen, seconds},
};
use crate::support::{report::Report, witness::Witness};

const LEASE: Duration = Duration::from_secs(6);

/// What the worker had begun before it stood still, it does not call for when it goes on.
fn silent(seen: &[Seen], witness: &Witness, frozen: &str, stood: Instant, went_on: Instant) {
    for call in witness.calls() {
        let node = call.path.split('/').nth(1).unwrap();
        let begun = seen.iter().rfind(|write| {
            (write.what.as_str(), write.status.as_str()) == ("node", "running")
                && (write.run_id.as_str(), write.path.as_str()) == (call.run.as_str(), node)
                && write.at <= seconds(call.arrived)
        });
        let begun = begun.expect("a start mark before the call");
        let is_late =
            call.arrived >= went_on && begun.process == frozen && begun.at <= seconds(stood);
        assert!(!is_late, "{call:?} {begun:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pool_promise_4_a_worker_stands_still_for_two_leases() {
    let mut report = Report::new("a worker stands still", 1, "100 retries");
    let witness = Witness::steady(Duration::from_millis(400)).await;
    let settings = [
        ("REDRIVE_WORKER__LEASE_MS", "6000"),
        ("REDRIVE_WORKER__SLOTS", "8"),
    ];
    let crew = Crew::start(Pool::new(&settings).await, 2).await;
    let (pool, client, frozen) = (&crew.pool, &crew.client, &crew.workers[0]);
    client.import(0..100, &witness).await;

    let began = Instant::now();
    let mut tally = client.load(0..60, 16, None).await;
    seen::until_claimed(&pool.ledger, &frozen.name, began, 6).await;
    frozen.process.signal("STOP").await;
    let at = Instant::now();
    tokio::time::sleep(2 * LEASE).await;
    let went_on = Instant::now();
    frozen.process.signal("CONT").await;
    tally.add(client.load(60..100, 16, None).await);
    seen::until_claimed(&pool.ledger, &frozen.name, went_on, 4).await;
    audit::until_all_ended(pool, PATIENCE).await;
    report.settled(went_on.elapsed());

    silent(
        &seen::all(&pool.ledger).await,
        &witness,
        &frozen.name,
        at,
        went_on,
    );
    let departed = [Departed {
        until: went_on,
        ..Departed::for_good(frozen.name.clone(), at)
    }];
    let verdict = audit::examine(pool, client, &witness, &tally, &departed).await;
    tally.assert_accepted();
    let again = seen::claims(&pool.ledger, &frozen.name, went_on).await;
    println!("{:?}; {again} claims after it went on", verdict.repeated);
    assert!(verdict.repeated.claims > 0, "it held nothing");
    report.fact("faults", "SIGSTOP for two leases");
    verdict.report(report);
    verdict.assert_holds();
    crew.end().await;
}
