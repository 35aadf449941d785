//! Messages that come again and again: the broker gives them up after twenty times, however healthy
//! their runs are. The ledger does not.

use std::time::Duration;

use redrive::{app::Role, domain::Lane};
use tokio::time::Instant;

use super::{definition, import_failed, sending::somebody_has_slots};
use crate::support::{
    app::{TestApp, process},
    broker::{Place, about, connect, get, given_out_before, until},
    ledger::Ledger,
    proxy::{Flow, Proxy, server_of},
    target::Target,
};

const GIVEN_UP: &str = "select count(*) from dead_letters where reason = 'delivery_limit'";
const DEAD_LETTERS: &str = "select count(*) from dead_letters";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_retry_that_the_broker_gave_up_is_sent_again_and_ends() {
    let (place, target) = (Place::shared().await, Target::start().await);
    let app = TestApp::start_as(&[Role::Api, Role::Relay], Ledger::postgres().await, |c| {
        c.broker = place.config();
    })
    .await;
    import_failed(&app, "run_source", &target.url("/work")).await;
    let run = app.retry("run_source").await;
    let queue = place.queue(Lane::Interactive);
    until("sent", async || {
        somebody_has_slots(&app.ledger).await;
        place.ready(&queue).await == Some(1)
    })
    .await;

    // As workers do that are killed one after the other.
    let mut deaths = 0;
    until("given up", async || {
        let doomed = connect(&place.url).await;
        let channel = doomed.create_channel().await.unwrap();
        deaths += usize::from(get(&channel, &queue).await.is_some());
        doomed.close(200, "killed".into()).await.unwrap();
        deaths > 20 && app.ledger.count(GIVEN_UP).await > 0
    })
    .await;
    let given_up = Instant::now();
    until("sent again", async || {
        somebody_has_slots(&app.ledger).await;
        place.ready(&queue).await == Some(1)
    })
    .await;
    // The rescuer would have found it too, half a minute later.
    let waited = given_up.elapsed();
    assert!(waited < Duration::from_secs(10), "{waited:?}");

    let worker = process(&[Role::Worker], &app.ledger.url, |c| {
        c.broker = place.config();
    })
    .await;
    assert_eq!(app.ended(&run).await["status"], "success");
    assert_eq!(target.calls_of("/work").len(), 1);
    assert_eq!(app.ledger.count(DEAD_LETTERS).await, 1);
    worker.stop().await;
    place.until_ready(&queue, 0).await;
    app.stop().await.remove().await;
    place.remove().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn promise_1_a_published_retry_that_the_broker_gave_up_is_stored_all_the_same() {
    let (place, target) = (Place::shared().await, Target::start().await);
    let accepting = |c: &mut redrive::config::Config| {
        c.broker = place.config();
        c.broker.accept_external_intents = true;
    };
    let app = TestApp::start_as(
        &[Role::Api, Role::Relay],
        Ledger::postgres().await,
        accepting,
    );
    let app = app.await;
    import_failed(&app, "run_source", &target.url("/work")).await;
    let queue = place.queue(Lane::Bulk);
    let intent = serde_json::json!({
        "schema": "redrive.intent.v1",
        "retryId": "rty_published",
        "sourceRunId": "run_source",
        "organizationId": "org_test",
        "runId": "run_published",
    });
    // A queue is there before it is bound.
    until("published", async || {
        place.try_put("bulk", intent.to_string().as_bytes()).await
    })
    .await;
    until("given up", async || {
        let doomed = connect(&place.url).await;
        let channel = doomed.create_channel().await.unwrap();
        get(&channel, &queue).await;
        doomed.close(200, "killed".into()).await.unwrap();
        app.ledger.count(GIVEN_UP).await > 0
    })
    .await;
    assert_eq!(app.get("/v1/retries/rty_published").await["lane"], "bulk");
    let worker = process(&[Role::Worker], &app.ledger.url, accepting).await;
    assert_eq!(app.ended("run_published").await["status"], "success");
    assert_eq!(target.calls_of("/work").len(), 1);
    worker.stop().await;
    app.stop().await.remove().await;
    place.remove().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_message_goes_round_while_the_database_is_away() {
    let (place, target) = (Place::shared().await, Target::start().await);
    let app = TestApp::start_as(&[Role::Api], Ledger::postgres().await, |_| {}).await;
    let wire = Proxy::to(server_of(&app.ledger.url));
    let database = wire.instead_of_server(&app.ledger.url);
    let worker = process(&[Role::Worker], &database, |c| c.broker = place.config()).await;
    let queue = place.queue(Lane::Interactive);
    until("declared", async || place.look(&queue).await.is_some()).await;
    place.until_consumed(&queue, true).await;

    wire.refuse().await;
    let definition = definition(&target.url("/work"));
    let mut runs = Vec::new();
    for _ in 0..5 {
        let run = app.start_run(&definition, &serde_json::json!({})).await;
        place.put_dispatch(Lane::Interactive, &about(&run)).await;
        runs.push(run);
    }
    place.until_consumed(&queue, false).await;
    place.until_ready(&queue, 5).await;
    let paused = Instant::now();
    while paused.elapsed() < Duration::from_secs(4) {
        assert_eq!(place.look(&queue).await, Some((5, 0)), "it has to wait");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let channel = place.channel().await;
    for _ in 0..5 {
        let message = get(&channel, &queue).await.unwrap();
        let times = given_out_before(&message);
        assert!(times <= 1, "given out {times} times before");
    }
    channel.close(200, "looked".into()).await.unwrap();

    wire.accept();
    for run in &runs {
        assert_eq!(app.ended(run).await["status"], "success");
    }
    place.until_consumed(&queue, true).await;
    place.until_ready(&queue, 0).await;
    worker.stop().await;
    place.until_ready(&queue, 0).await;
    assert_eq!(target.calls_of("/work").len(), 5);
    assert_eq!(place.ready(&place.dead_queue()).await, Some(0));
    app.stop().await.remove().await;
    place.remove().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_whose_ack_was_lost_comes_again_and_finds_its_run_held() {
    let (place, target) = (Place::shared().await, Target::start().await);
    let wire = Proxy::to(server_of(&place.url));
    let app = TestApp::start_as(&[Role::Api], Ledger::postgres().await, |_| {}).await;
    let worker = process(&[Role::Worker], &app.ledger.url, |c| {
        c.broker = place.config_through(&wire);
    })
    .await;
    let queue = place.queue(Lane::Interactive);
    until("declared", async || place.look(&queue).await.is_some()).await;
    place.until_consumed(&queue, true).await;

    let gate = target.hold("/work");
    wire.set(Flow::FromServer);
    let definition = definition(&target.url("/work"));
    let run = app.start_run(&definition, &serde_json::json!({})).await;
    place.put_dispatch(Lane::Interactive, &about(&run)).await;
    target.until_called("/work", 1).await;
    // It has the run, and the broker was never told.
    wire.cut();
    until("given back", async || {
        place.look(&queue).await == Some((1, 0))
    })
    .await;
    wire.set(Flow::Both);
    // Whatever connection was begun meanwhile has been heard by nobody.
    wire.cut();
    until("taken a second time", async || {
        place.look(&queue).await == Some((0, 1))
    })
    .await;
    gate.notify_one();
    assert_eq!(app.ended(&run).await["status"], "success");
    worker.stop().await;
    assert_eq!(target.calls_of("/work").len(), 1);
    app.stop().await.remove().await;
    place.remove().await;
}
