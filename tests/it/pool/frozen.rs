//! A worker stands still for longer than its leases last, and goes on.

use std::time::{Duration, Instant};

use super::{
    PATIENCE, audit,
    members::{Crew, Departed, Pool},
    seen,
};
use crate::support::witness::Witness;

const LEASE: Duration = Duration::from_secs(3);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pool_promise_4_a_worker_stands_still_for_two_leases() {
    let witness = Witness::steady(Duration::from_millis(400)).await;
    let settings = [
        ("REDRIVE_WORKER__LEASE_MS", "3000"),
        ("REDRIVE_WORKER__SLOTS", "8"),
    ];
    let crew = Crew::start(Pool::new(&settings).await, 2).await;
    let (pool, client, frozen) = (&crew.pool, &crew.client, &crew.workers[0]);
    client.import(0..100, &witness).await;

    let began = Instant::now();
    let mut tally = client.load(0..60, 16, None).await;
    seen::until_claimed(&pool.ledger, &frozen.name, began, 6).await;
    let at = Instant::now();
    frozen.process.signal("STOP").await;
    tokio::time::sleep(2 * LEASE).await;
    frozen.process.signal("CONT").await;
    let went_on = Instant::now();
    tally.add(client.load(60..100, 16, None).await);
    seen::until_claimed(&pool.ledger, &frozen.name, went_on, 4).await;
    let rest = audit::until_all_ended(pool, PATIENCE).await;

    let departed = [Departed {
        name: frozen.name.clone(),
        at,
    }];
    let repeated = audit::hold(pool, client, &witness, &tally, &departed).await;
    tally.assert_accepted();
    let again = seen::claims(&pool.ledger, &frozen.name, went_on).await;
    println!("all ended {rest:?} later; {repeated:?}; {again} claims after it went on");
    assert!(repeated.claims > 0, "it held nothing");
    crew.end().await;
}
