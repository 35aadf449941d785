//! Data comes back as it went in.

use chrono::TimeDelta;
use redrive::{
    domain::{Attempt, EffectState, ErrorClass, LastAttempt, NodeError, RetryState, RunStatus},
    store::{ImportOutcome, RetryFilter, RunFilter},
};

use crate::support::{
    ledger::Ledger,
    rows::{acme, claim, end, failed_chain, id, json, new_import, now, run, start},
};

const AWKWARD: &str = r#"{"z":115792089237316195423570985008687907853269984665640564039457584007913129639935,"a":1.10,"e":1E+2,"n":null,"u":"\u00e9 é 漢字 🦀 \u0001","":[{"b":{},"a":[]}] }"#;

pub(super) async fn promise_7_data_comes_back_as_it_went_in(ledger: &Ledger) {
    let store = &ledger.store;
    let mut import = new_import("rün_🦀", Some("elsewhere"), RunStatus::Partial);
    import.run.prop_values = json(AWKWARD);
    import.run.variables = json(AWKWARD);
    import.run.total_cu = json("0.10");
    import.run.simulation.forks = Some(json(AWKWARD));
    import.run.finished_at = Some("when the cows came home".into());
    import.run.workflow_version = Some(i64::MAX);
    import.definition.as_mut().unwrap().text = json(AWKWARD);
    let record = &mut import.nodes[1];
    record.path = id(r#"loop[3]["a.b\"é"]"#);
    for field in [
        &mut record.input,
        &mut record.result,
        &mut record.error,
        &mut record.extra,
    ] {
        *field = Some(json(AWKWARD));
    }
    record.due_at = Some("2020-02-30".into());
    record.branch = Some("ja".into());
    record.origin_run_id = Some(id("run_0"));
    record.effect = Some(EffectState {
        generation: 3,
        raised_by: Some(id("run_0")),
        last: LastAttempt::InDoubt,
        doubted: true,
        is_unsafe: true,
        resolve_again: true,
        sent_input: Some(json(AWKWARD)),
    });
    let details = serde_json::from_str(AWKWARD).unwrap();
    record.attempts = vec![Attempt {
        number: 2,
        effect_key: Some("key".into()),
        started_at: "then".into(),
        finished_at: Some("later".into()),
        error: Some(NodeError::new(ErrorClass::Transient, "http_503", "no").with_details(details)),
    }];
    let ImportOutcome::Imported(stored) = store.import(&import, None).await.unwrap().unwrap()
    else {
        panic!("it is new");
    };
    import.run.root_run_id = import.run.id.clone();
    assert_eq!(*stored, import.run);
    assert_eq!(run(store, "rün_🦀").await, import.run);
    let nodes = store.nodes(&import.run.id, None).await.unwrap();
    assert_eq!(nodes, import.nodes);
    let text = store.definition(&id("hash")).await.unwrap().unwrap();
    assert_eq!(text.as_str(), AWKWARD);
    assert_eq!(store.definition(&id("none")).await.unwrap(), None);
}

pub(super) async fn runs_are_listed_newest_first(ledger: &Ledger) {
    let store = &ledger.store;
    let at = now();
    for (name, age) in [("run_b", 2), ("run_a", 2), ("run_c", 1), ("run_d", 3)] {
        let mut import = new_import(name, None, RunStatus::Failure);
        import.run.created_at = at - TimeDelta::seconds(age);
        store.import(&import, None).await.unwrap().unwrap();
    }
    start(store, "run_live").await;
    claim(store, "run_live").await.unwrap();
    let list = async |status, limit, offset| {
        let filter = RunFilter {
            status,
            limit,
            offset,
            root_run_id: None,
            workflow_id: None,
        };
        let runs = store.runs(&acme(), &filter).await.unwrap();
        let ids: Vec<_> = runs.iter().map(|run| run.id.to_string()).collect();
        ids.join(" ")
    };
    assert_eq!(list(None, 9, 0).await, "run_live run_c run_b run_a run_d");
    assert_eq!(list(Some(RunStatus::Failure), 2, 1).await, "run_b run_a");
    assert_eq!(list(Some(RunStatus::Running), 9, 0).await, "run_live");
    assert_eq!(list(Some(RunStatus::Success), 9, 0).await, "");
}

pub(super) async fn retries_are_listed_newest_first(ledger: &Ledger) {
    let store = &ledger.store;
    failed_chain(store, &["run_a", "run_b", "run_c"]).await;
    end_of_another(ledger).await;
    let list = async |filter: RetryFilter| {
        let retries = store.retries(&acme(), &filter).await.unwrap();
        let runs: Vec<_> = retries
            .iter()
            .map(|r| r.run_id.clone().unwrap().to_string())
            .collect();
        runs.join(" ")
    };
    let filter = RetryFilter {
        limit: 9,
        ..RetryFilter::default()
    };
    assert_eq!(list(filter.clone()).await, "run_y run_c run_b");
    let of_a = RetryFilter {
        source_run_id: Some(id("run_a")),
        ..filter.clone()
    };
    assert_eq!(list(of_a).await, "run_b");
    let queued = RetryFilter {
        state: Some(RetryState::Queued),
        ..filter.clone()
    };
    assert_eq!(list(queued).await, "");
    let second = RetryFilter {
        limit: 1,
        offset: 1,
        ..filter
    };
    assert_eq!(list(second).await, "run_c");
}

async fn end_of_another(ledger: &Ledger) {
    let store = &ledger.store;
    start(store, "run_x").await;
    end(store, "run_x", RunStatus::Failure).await;
    crate::support::rows::try_retry(store, "run_x", "run_y")
        .await
        .unwrap();
    end(store, "run_y", RunStatus::Success).await;
}
