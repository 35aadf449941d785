//! Handlers that panic, hang, or take their process down: their runs end where everybody can see
//! it, and no other run notices.

mod deadly;

use std::sync::Arc;

use redrive::{
    app::App,
    domain::SideEffects,
    engine::{HandlerFuture, NodeCall, NodeHandler},
};
use serde_json::{Value, json};
use tokio::sync::Notify;

use crate::support::{app::TestApp, ledger::Ledger, on_both_engines, target::Target};

on_both_engines![
    a_handler_that_panics_fails_its_node_and_harms_no_other_run,
    a_handler_that_panics_may_have_had_its_effect,
    a_handler_that_hangs_ends_at_its_time_out_and_harms_no_other_run,
    a_handler_that_hangs_without_a_time_out_can_be_cancelled,
];

/// What a handler does.
#[derive(Debug, Clone, Copy)]
enum Does {
    Panic,
    PanicAtOnce,
    PanicWhenAsked,
    Hang,
    Abort,
}

/// A kind that does its worst.
struct Poison {
    does: Does,
    effects: SideEffects,
    /// Told when a call begins to hang.
    hanging: Arc<Notify>,
}

impl NodeHandler for Poison {
    fn side_effects(&self, _payload: &Value) -> SideEffects {
        assert!(!matches!(self.does, Does::PanicWhenAsked), "poison");
        self.effects
    }

    fn run<'a>(&'a self, _call: NodeCall<'a>) -> HandlerFuture<'a> {
        assert!(!matches!(self.does, Does::PanicAtOnce), "poison");
        Box::pin(async {
            tokio::task::yield_now().await;
            match self.does {
                Does::Hang => {
                    self.hanging.notify_one();
                    std::future::pending().await
                }
                Does::Abort => std::process::abort(),
                Does::Panic | Does::PanicAtOnce | Does::PanicWhenAsked => panic!("poison"),
            }
        })
    }
}

/// An application that has them all, each as it is and with effects.
fn poisoned(app: App, hanging: &Arc<Notify>) -> App {
    let kinds = [
        ("panics", Does::Panic),
        ("panics-at-once", Does::PanicAtOnce),
        ("panics-when-asked", Does::PanicWhenAsked),
        ("hangs", Does::Hang),
        ("aborts", Does::Abort),
    ];
    kinds.into_iter().fold(app, |app, (kind, does)| {
        let with_effects = format!("{kind}-with-effects");
        let poison = |effects| Poison {
            does,
            effects,
            hanging: Arc::clone(hanging),
        };
        app.handler(kind, poison(SideEffects::None))
            .handler(with_effects, poison(SideEffects::Assumed))
    })
}

/// root -> n (of a kind) -> after
fn definition(kind: &str, more: &Value) -> Value {
    let mut node = json!({ "type": kind, "payload": {}, "children": ["after"] });
    for (name, value) in more.as_object().unwrap() {
        node[name] = value.clone();
    }
    json!({ "nodes": {
        "root": { "type": "manual", "children": ["n"] },
        "n": node,
        "after": { "type": "log", "payload": { "message": "after" } }
    } })
}

async fn start(ledger: Ledger) -> (TestApp, Arc<Notify>) {
    let hanging = Arc::default();
    let small = |config: &mut redrive::config::Config| {
        (config.worker.slots, config.worker.cancel_grace_ms) = (2, 50);
    };
    let app = TestApp::start_app(ledger, small, |app| poisoned(app, &hanging)).await;
    (app, hanging)
}

/// Runs one after another beside a run whose call is under way all the time.
async fn beside_a_neighbour(app: &TestApp, runs: &[(Value, (&str, &str))]) {
    let target = Target::start().await;
    let gate = target.hold("/held");
    let mut call = definition("http-request", &json!({}));
    call["nodes"]["n"]["payload"] = json!({ "url": target.url("/held"), "method": "POST" });
    let neighbour = app.start_run(&call, &json!({})).await;
    target.until_called("/held", 1).await;
    for (definition, error) in runs {
        let run = app.start_run(definition, &json!({})).await;
        ends_with(&app.ended(&run).await, *error);
        // Its retry is no better, and as visible.
        ends_with(&app.ended(&app.retry(&run).await).await, *error);
    }
    gate.notify_one();
    let neighbour = app.ended(&neighbour).await;
    assert_eq!(neighbour["status"], "success", "{neighbour:#}");
    assert_eq!(target.calls().len(), 1);
}

/// The run failed at `n`, and both say why.
fn ends_with(run: &Value, (class, code): (&str, &str)) {
    assert_eq!(run["status"], "failure", "{run:#}");
    let error = &run["executionState"]["n"]["error"];
    assert_eq!(
        (&error["class"], &error["code"]),
        (&json!(class), &json!(code)),
        "{run:#}"
    );
    let summary = run["summary"].as_str().unwrap();
    assert!(summary.contains("at n ("), "{summary}");
    assert!(
        run["executionState"]
            .get("after")
            .is_none_or(|after| after["status"] == "pending")
    );
}

async fn a_handler_that_panics_fails_its_node_and_harms_no_other_run(ledger: Ledger) {
    let (app, _) = start(ledger).await;
    let kinds = ["panics", "panics-at-once", "panics-when-asked"];
    let runs = kinds.map(|kind| (definition(kind, &json!({})), ("internal", "panicked")));
    beside_a_neighbour(&app, &runs).await;
    app.stop().await;
}

async fn a_handler_that_panics_may_have_had_its_effect(ledger: Ledger) {
    let (app, _) = start(ledger).await;
    let in_doubt = ("in_doubt", "panicked");
    let kinds = ["panics-with-effects", "panics-at-once-with-effects"];
    beside_a_neighbour(
        &app,
        &kinds.map(|kind| (definition(kind, &json!({})), in_doubt)),
    )
    .await;

    let declared = json!({ "sideEffects": "unsafe" });
    let definition = definition("panics", &declared);
    let run = app.start_run(&definition, &json!({})).await;
    ends_with(&app.ended(&run).await, in_doubt);
    let path = format!("/v1/runs/{run}/retry");
    let (status, answer) = app.call("POST", &path, None).await;
    assert_eq!(status, 409, "{answer}");
    assert_eq!(answer["error"]["reason"], "confirmation_required");
    app.stop().await;
}

async fn a_handler_that_hangs_ends_at_its_time_out_and_harms_no_other_run(ledger: Ledger) {
    let (app, _) = start(ledger).await;
    let limited = json!({ "timeoutMs": 50 });
    let runs = [
        (definition("hangs", &limited), ("timeout", "timed_out")),
        (
            definition("hangs-with-effects", &limited),
            ("in_doubt", "timed_out"),
        ),
    ];
    beside_a_neighbour(&app, &runs).await;
    app.stop().await;
}

async fn a_handler_that_hangs_without_a_time_out_can_be_cancelled(ledger: Ledger) {
    let (app, hanging) = start(ledger).await;
    for (kind, class) in [("hangs", "cancelled"), ("hangs-with-effects", "in_doubt")] {
        let definition = definition(kind, &json!({}));
        let run = app.start_run(&definition, &json!({})).await;
        hanging.notified().await;
        app.post(&format!("/v1/runs/{run}/cancel"), &json!({}))
            .await;
        let ended = app.ended(&run).await;
        assert_eq!(ended["status"], "cancelled");
        let n = &ended["executionState"]["n"];
        assert_eq!(n["status"], "cancelled", "{ended:#}");
        assert_eq!(n["error"]["class"], class, "{ended:#}");
    }
    app.stop().await;
}
