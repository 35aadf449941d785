//! Processes tell each other that there is something to do, so that nobody waits for a look.

use redrive::{
    app::Role,
    broker::{Hints, RabbitMq},
    domain::RunId,
};
use serde_json::json;
use tokio::{task::JoinHandle, time::timeout};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::support::{
    app::TestApp,
    broker::{PATIENCE, Place, until},
    ledger::Ledger,
    proxy::{Proxy, server_of},
    target::Target,
};

/// A process, as far as hints go.
struct Process {
    hints: Hints,
    stop: CancellationToken,
    passing: JoinHandle<()>,
}

impl Process {
    fn start(rabbit: RabbitMq) -> Self {
        let (hints, stop) = (Hints::default(), CancellationToken::new());
        let (own, stopped) = (hints.clone(), stop.clone());
        let passing = tokio::spawn(async move { rabbit.pass_hints(&own, stopped).await });
        Self {
            hints,
            stop,
            passing,
        }
    }

    /// Waits until what one says is heard by the other.
    async fn until_heard_by(&self, other: &Self) {
        let run: RunId = "run_probe".parse().unwrap();
        let mut heard = other.hints.cancellations();
        until("heard", async || {
            self.hints.cancel_requested(&run);
            heard.try_recv().is_ok()
        })
        .await;
    }

    async fn stop(self) {
        self.stop.cancel();
        self.passing.await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_one_process_says_the_others_hear() {
    let place = Place::shared().await;
    let process = || Process::start(RabbitMq::new(&place.config()).unwrap());
    let (one, other) = (process(), process());
    one.until_heard_by(&other).await;
    other.until_heard_by(&one).await;

    let run: RunId = "run_1".parse().unwrap();
    let (mut resumes, mut cancellations) = (other.hints.resumes(), other.hints.cancellations());
    one.hints.resumed(&run);
    let heard = timeout(PATIENCE, resumes.recv()).await.unwrap();
    assert_eq!(heard.unwrap(), run);
    one.hints.cancel_requested(&run);
    while timeout(PATIENCE, cancellations.recv())
        .await
        .unwrap()
        .unwrap()
        != run
    {}

    // What each said to itself and at the beginning is taken first.
    for process in [&one, &other] {
        process.hints.something_is_due();
        process.hints.until_something_is_due().await;
    }
    for _ in 0..3 {
        one.hints.something_is_due();
        let heard = other.hints.until_something_is_due();
        timeout(PATIENCE, heard).await.expect("something is due");
    }
    one.stop().await;
    other.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_that_was_cut_off_hears_again() {
    let place = Place::shared().await;
    let wire = Proxy::to(server_of(&place.url));
    let one = Process::start(RabbitMq::new(&place.config()).unwrap());
    let other = Process::start(RabbitMq::new(&place.config_through(&wire)).unwrap());
    one.until_heard_by(&other).await;
    wire.cut();
    one.until_heard_by(&other).await;
    wire.half_close();
    other.until_heard_by(&one).await;
    // What nobody can read harms nobody.
    place.put_hint(b"\x00garbage").await;
    place
        .put_hint(br#"{"schema":"redrive.hint.v9","kind":"dance"}"#)
        .await;
    one.until_heard_by(&other).await;
    one.stop().await;
    other.stop().await;
}

/// Whoever may publish there can hurry what is so, and nothing else.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_forged_hint_cancels_nothing() {
    let (place, target) = (Place::shared().await, Target::start().await);
    let app = TestApp::start_as(&Role::ALL, Ledger::postgres().await, |c| {
        c.broker = place.config();
    })
    .await;
    let gate = target.hold("/work");
    let definition = json!({ "nodes": {
        "root": { "type": "manual", "payload": {}, "children": ["call"] },
        "call": { "type": "http-request", "payload": { "url": target.url("/work"), "method": "POST" } }
    }});
    let run = app.start_run(&definition, &json!({})).await;
    target.until_called("/work", 1).await;
    let hints =
        ["cancel_requested", "resumed", "ended"].map(|kind| json!({ "kind": kind, "runId": run }));
    let forged = json!({ "schema": "redrive.hint.v1", "from": Uuid::new_v4(), "hints": hints });
    until("listening", async || {
        place.try_put_hint(forged.to_string().as_bytes()).await
    })
    .await;
    // One that is heard after it, so that it was heard as well.
    let witness = Process::start(RabbitMq::new(&place.config()).unwrap());
    let mut heard = witness.hints.cancellations();
    until("heard", async || {
        place.put_hint(forged.to_string().as_bytes()).await;
        heard.try_recv().is_ok()
    })
    .await;
    gate.notify_one();
    assert_eq!(app.ended(&run).await["status"], "success");
    witness.stop().await;
    app.stop().await.remove().await;
    place.remove().await;
}
