//! Processes are told to stop, and runs are cancelled, while others hold them.

use std::time::{Duration, Instant};

use super::{
    PATIENCE, audit,
    load::Client,
    members::{Crew, Pool},
    seen,
};
use crate::support::witness::Witness;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pool_a_worker_is_told_to_stop() {
    let witness = Witness::steady(Duration::from_millis(500)).await;
    let mut crew = Crew::start(Pool::new(&[("REDRIVE_WORKER__SLOTS", "8")]).await, 2).await;
    let began = Instant::now();
    crew.client.import(0..60, &witness).await;
    let tally = crew.client.load(0..60, 16, None).await;
    let leaving = crew.workers.remove(0);
    seen::until_claimed(&crew.pool.ledger, &leaving.name, began, 6).await;
    let name = leaving.name.clone();
    let told = Instant::now();
    let status = leaving.told_to_stop().await;
    let took = told.elapsed();
    assert_eq!(status.code(), Some(0));
    // No call takes longer than half a second, and no node follows.
    assert!(took < Duration::from_secs(4), "{took:?}");
    let lost = "select count(*) from runs where lost_leases > 0 or split_part(lease_owner, '/', 1) not in (select name from workers)";
    assert_eq!(crew.pool.ledger.count(lost).await, 0);
    assert_eq!(
        crew.pool.ledger.count("select count(*) from workers").await,
        1
    );
    // Nothing waits for a lease or for a message to be sent again.
    let rest = audit::until_all_ended(&crew.pool, Duration::from_secs(20)).await;
    let repeated = audit::hold(&crew.pool, &crew.client, &witness, &tally, &[]).await;
    println!("{name} stopped in {took:?}; all ended {rest:?} later; {repeated:?}");
    assert_eq!(repeated.calls, 0, "calls are finished, not dropped");
    crew.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pool_api_and_relay_are_told_to_stop() {
    let witness = Witness::steady(Duration::from_millis(20)).await;
    let mut crew = Crew::start(Pool::new(&[]).await, 1).await;
    crew.client.import(0..120, &witness).await;
    let second = crew.pool.start("api").await;
    let through_second = Client::new(&crew.pool, &second).await;
    let (first, other) = tokio::join!(
        async {
            let load = crew.client.steadily(0..60, Duration::from_secs(3));
            tokio::time::sleep(Duration::from_secs(1)).await;
            let told = Instant::now();
            assert_eq!(second.told_to_stop().await.code(), Some(0));
            let api = told.elapsed();
            let relay = std::mem::replace(&mut crew.relay, crew.pool.start("relay").await);
            let told = Instant::now();
            assert_eq!(relay.told_to_stop().await.code(), Some(0));
            println!("api stopped in {api:?}, relay in {:?}", told.elapsed());
            load.await.unwrap()
        },
        // Whoever has an answer has a retry.
        through_second.load_until_gone(60..120, 8),
    );
    println!("accepted before it stopped: {}", other.runs.len());
    let mut tally = first;
    tally.assert_accepted();
    tally.add(other);
    audit::until_all_ended(&crew.pool, PATIENCE).await;
    // What was accepted and not answered is there as well.
    let retries = crew.pool.ledger.count("select count(*) from retries").await;
    assert!(usize::try_from(retries).unwrap() >= tally.runs.len());
    for (source, run) in &tally.runs {
        let sql = format!(
            "select count(*) from retries where source_run_id = '{source}' and run_id = '{run}'"
        );
        assert_eq!(crew.pool.ledger.count(&sql).await, 1, "{source}");
    }
    crew.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pool_a_run_of_another_process_is_cancelled() {
    let witness = Witness::steady(Duration::from_mins(5)).await;
    let settings = [("REDRIVE_WORKER__CANCEL_GRACE_MS", "1000")];
    let crew = Crew::start(Pool::new(&settings).await, 1).await;
    crew.client.import(0..1, &witness).await;
    let run = crew.client.retry(0).await;
    witness.until_called("/first/0").await;
    let asked = Instant::now();
    let path = format!("/v1/runs/{run}/cancel");
    crew.client.must("POST", &path, None).await;
    audit::until_all_ended(&crew.pool, PATIENCE).await;
    let took = asked.elapsed();
    // It is asked for once a second, and the call has its second of grace.
    assert!(took < Duration::from_secs(4), "{took:?}");
    let run = crew.client.get(&format!("/v1/runs/{run}")).await;
    assert_eq!(run["status"], "cancelled", "{run:#}");
    assert_eq!(
        run["executionState"]["first"]["error"]["class"], "in_doubt",
        "{run:#}"
    );
    println!("cancelled within {took:?}");
    crew.end().await;
}
