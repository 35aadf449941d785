//! What the tests of this room share.

use axum::response::Response;

use crate::domain::{JsonText, Lane, Retry, RetryState, Run, RunStatus, Simulation, Timestamp};

#[test]
fn the_routes_do_not_contradict_each_other() {
    // Building panics on a path that is malformed or taken.
    assert!(super::routes().has_routes());
}

/// A response's body as text.
pub(super) async fn body_text(response: Response) -> String {
    let bytes = axum::body::to_bytes(response.into_body(), usize::MAX).await;
    String::from_utf8(bytes.unwrap().into()).unwrap()
}

/// A created, waiting run of `org_a` with nothing else known about it.
pub(super) fn a_run(id: &str) -> Run {
    Run {
        id: id.parse().unwrap(),
        organization_id: "org_a".parse().unwrap(),
        root_run_id: id.parse().unwrap(),
        source_run_id: None,
        status: RunStatus::Waiting,
        waiting_for: None,
        created: true,
        definition_hash: None,
        trigger_node_id: None,
        trigger_source: None,
        triggered_by: None,
        workflow_id: None,
        workflow_version: None,
        workflow_owner_user_id: None,
        prop_values: JsonText::trusted("{}"),
        variables: JsonText::trusted("{}"),
        simulation: Simulation::default(),
        summary: None,
        total_cu: JsonText::trusted("0"),
        created_at: Timestamp::UNIX_EPOCH,
        started_at: None,
        finished_at: None,
        cancel_requested_at: None,
    }
}

/// A queued retry of `run_old`, `run_new`.
pub(super) fn a_retry() -> Retry {
    Retry {
        id: "rty_1".parse().unwrap(),
        organization_id: "org_a".parse().unwrap(),
        source_run_id: "run_old".parse().unwrap(),
        run_id: "run_new".parse().ok(),
        root_run_id: "run_old".parse().ok(),
        ordinal: Some(1),
        state: RetryState::Queued,
        lane: Lane::Interactive,
        request: JsonText::trusted("{}"),
        reason: None,
        triggered_by: None,
        refusal: None,
        created_at: Timestamp::UNIX_EPOCH,
        updated_at: Timestamp::UNIX_EPOCH,
    }
}
