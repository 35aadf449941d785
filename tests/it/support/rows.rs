//! Rows to put into a ledger.

use std::{str::FromStr, time::Duration};

use redrive::{
    domain::{
        Clock, JsonText, Lane, NodeRecord, NodeStatus, OrganizationId, PerLane, Refusal, Retry,
        RetryId, RetryState, Run, RunId, RunStatus, Simulation, SystemClock, Timestamp, WaitingFor,
    },
    store::{
        AcceptedStart, Checkpoint, Claim, Claimed, Creation, DueRow, Fence, Finish, Finished,
        ImportOutcome, NewImport, NewRetry, NewStart, RetryTerms, Store, StoredDefinition, Written,
    },
};

pub(crate) const MINUTE: Duration = Duration::from_mins(1);
pub(crate) const DONE: Written = Written::Done {
    cancel_requested: false,
};

pub(crate) fn now() -> Timestamp {
    SystemClock.now()
}

pub(crate) fn id<T: FromStr<Err: std::fmt::Debug>>(text: &str) -> T {
    text.parse().unwrap()
}

pub(crate) fn acme() -> OrganizationId {
    id("acme")
}

pub(crate) fn json(text: &str) -> JsonText {
    JsonText::trusted(text)
}

/// The header of a run that waits for a worker.
pub(crate) fn header(run: &str) -> Run {
    Run {
        id: id(run),
        organization_id: acme(),
        root_run_id: id(run),
        source_run_id: None,
        status: RunStatus::Waiting,
        waiting_for: Some(WaitingFor::Queue),
        created: true,
        definition_hash: Some(id("hash")),
        trigger_node_id: Some(id("trigger")),
        trigger_source: Some("api".into()),
        triggered_by: Some("ann".into()),
        workflow_id: Some("wf".into()),
        workflow_version: Some(7),
        workflow_owner_user_id: Some("owner".into()),
        prop_values: json(r#"{"z":1,"a":2}"#),
        variables: json("{}"),
        simulation: Simulation {
            forks: Some(json("[1]")),
            mode: Some("dry".into()),
            is_simulation: true,
            is_dust_test: false,
        },
        summary: None,
        total_cu: json("0"),
        created_at: now(),
        started_at: None,
        finished_at: None,
        cancel_requested_at: None,
    }
}

pub(crate) fn definition() -> StoredDefinition {
    StoredDefinition {
        hash: id("hash"),
        text: json(r#"{"nodes":{"trigger":{}}}"#),
    }
}

pub(crate) fn node(path: &str, status: NodeStatus) -> NodeRecord {
    NodeRecord::new(id(path), "code", status)
}

pub(crate) fn new_start(run: &str) -> NewStart {
    NewStart {
        run: header(run),
        definition: definition(),
        trigger: node("trigger", NodeStatus::Success),
        lane: Lane::Interactive,
        traceparent: Some("00-trace".into()),
    }
}

pub(crate) fn new_retry(source: &str, run: &str) -> NewRetry {
    let retry = Retry {
        id: id(&format!("rty_{run}")),
        organization_id: acme(),
        source_run_id: id(source),
        run_id: Some(id(run)),
        root_run_id: Some(id(source)),
        ordinal: None,
        state: RetryState::Queued,
        lane: Lane::Bulk,
        request: json(r#"{"mode":"failed"}"#),
        reason: Some("it failed".into()),
        triggered_by: Some("bob".into()),
        refusal: None,
        created_at: now(),
        updated_at: now(),
    };
    NewRetry {
        run: Run {
            source_run_id: Some(id(source)),
            created: false,
            trigger_source: Some("retry".into()),
            ..header(run)
        },
        retry,
        terms: RetryTerms {
            chain_limit: 100,
            include_partial: false,
            live_limit: None,
            allow_again: false,
        },
        due_at: None,
        traceparent: None,
    }
}

pub(crate) fn new_import(run: &str, source: Option<&str>, status: RunStatus) -> NewImport {
    NewImport {
        run: Run {
            source_run_id: source.map(id),
            status,
            waiting_for: None,
            summary: Some("as it came".into()),
            started_at: Some("2020-01-01 00:00".into()),
            ..header(run)
        },
        definition: Some(definition()),
        nodes: vec![
            node("trigger", NodeStatus::Success),
            node("pay", NodeStatus::Failure),
        ],
        variable_writes: Vec::new(),
        retry_id: RetryId::generate(now()),
    }
}

pub(crate) fn checkpoint(records: Vec<NodeRecord>) -> Checkpoint {
    Checkpoint {
        records,
        variable_writes: Vec::new(),
        total_cu: json("1"),
        has_outcome: false,
        applied: Vec::new(),
        children: Vec::new(),
    }
}

pub(crate) fn creation(reuse: &[&str]) -> Creation {
    Creation {
        reuse: reuse.iter().map(|path| id(path)).collect(),
        records: Vec::new(),
        plan: json("{}"),
        now: now(),
    }
}

pub(crate) fn finish(status: RunStatus) -> Finish {
    Finish {
        checkpoint: checkpoint(Vec::new()),
        status,
        summary: "It ended.".into(),
        now: now(),
        may_have_signals: false,
    }
}

/// A run that is due.
pub(crate) async fn start(store: &Store, run: &str) {
    let accepted = store
        .accept_start(&new_start(run), None, None)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(accepted, AcceptedStart::Accepted);
}

/// An ended run from elsewhere.
pub(crate) async fn import(store: &Store, run: &str, source: Option<&str>) -> Run {
    let import = new_import(run, source, RunStatus::Failure);
    match store.import(&import, None).await.unwrap().unwrap() {
        ImportOutcome::Imported(run) => *run,
        ImportOutcome::RunExists => panic!("{run} exists"),
    }
}

pub(crate) async fn claim(store: &Store, run: &str) -> Option<Claim> {
    claim_as(store, run, "worker", MINUTE).await
}

pub(crate) async fn claim_as(
    store: &Store,
    run: &str,
    owner: &str,
    ttl: Duration,
) -> Option<Claim> {
    match store.claim(&id(run), owner, ttl).await.unwrap() {
        Claimed::Claimed(claim) => Some(*claim),
        Claimed::Refused | Claimed::NoSuchRun => None,
    }
}

/// Leases up to `limit` due rows of whatever lane.
pub(crate) async fn lease_due(store: &Store, limit: u32, lease: Duration) -> Vec<DueRow> {
    let room = PerLane::from_fn(|_| limit);
    let due = store.lease_due(&room, Duration::ZERO, lease).await;
    due.unwrap()
}

/// Claims with a lease that expires at once.
pub(crate) async fn claim_and_die(store: &Store, run: &str) -> Fence {
    let claim = claim_as(store, run, "dead", Duration::ZERO).await;
    claim.unwrap().fence
}

pub(crate) async fn try_retry(
    store: &Store,
    source: &str,
    run: &str,
) -> Result<(Run, Retry), Refusal> {
    let accepted = store.accept_retry(&new_retry(source, run), None).await;
    accepted.unwrap().unwrap()
}

/// Takes a due run to its end.
pub(crate) async fn end(store: &Store, run: &str, status: RunStatus) {
    let claim = claim(store, run).await.unwrap();
    if !claim.run.created {
        let created = store.create(&claim.fence, &creation(&["trigger"])).await;
        assert_eq!(created.unwrap(), DONE);
    }
    let ended = store.finish(&claim.fence, &finish(status)).await.unwrap();
    assert_eq!(ended, Finished::Ended);
}

/// A chain of failed runs, each the retry of the one before.
pub(crate) async fn failed_chain(store: &Store, runs: &[&str]) {
    import(store, runs[0], None).await;
    for pair in runs.windows(2) {
        try_retry(store, pair[0], pair[1]).await.unwrap();
        end(store, pair[1], RunStatus::Failure).await;
    }
}

pub(crate) async fn run(store: &Store, run: &str) -> Run {
    let found = store.run(&acme(), &id::<RunId>(run)).await.unwrap();
    found.unwrap_or_else(|| panic!("no run {run}"))
}

pub(crate) async fn retry_of(store: &Store, run: &str) -> Retry {
    store.retry_of_run(&id(run)).await.unwrap().unwrap()
}
