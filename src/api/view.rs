//! What a run and a retry look like in JSON. Users' own JSON goes out as its text.

mod dead_letter;
mod level;
mod state;

use std::sync::Arc;

use serde::{Serialize, Serializer, ser::SerializeMap};
use serde_json::{Value, json};

use super::error::ApiError;
use crate::domain::{JsonText, NodeId, NodeRecord, Retry, Run, Timestamp, format_timestamp};
pub(super) use dead_letter::DeadLetterView;
use state::ExecutionState;

/// A run with everything that belongs to it.
#[derive(Debug)]
pub(super) struct RunView<'a> {
    /// Its header.
    pub(super) run: &'a Run,
    /// The retry that it is the outcome of: shown if known.
    pub(super) retry: Option<&'a Retry>,
    /// State and definition; a summary has neither.
    pub(super) detail: Option<Detail<'a>>,
}

/// The two members that can be long.
#[derive(Debug)]
pub(super) struct Detail<'a> {
    /// The definition as stored.
    pub(super) definition: Option<&'a JsonText>,
    /// The records of the nodes.
    pub(super) nodes: &'a [NodeRecord],
    /// Show only these nodes.
    pub(super) only: Option<&'a [NodeId]>,
}

impl Detail<'_> {
    /// `executionState` as a value.
    pub(super) fn state(&self, run: &Run) -> Result<Value, ApiError> {
        // Through text: stored numbers keep every digit.
        let text = serde_json::to_string(&ExecutionState::of(run, self));
        let value = text.and_then(|text| serde_json::from_str(&text));
        value.map_err(|error| ApiError::internal(Arc::new(error)))
    }
}

impl<'a> RunView<'a> {
    /// A run without state and definition.
    pub(super) fn summary(run: &'a Run, retry: Option<&'a Retry>) -> Self {
        Self {
            run,
            retry,
            detail: None,
        }
    }
}

impl Serialize for RunView<'_> {
    /// The members of the contract's page in its order, then ours.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let run = self.run;
        let mut map = serializer.serialize_map(None)?;
        if let Some(detail) = &self.detail {
            map.serialize_entry("executionState", &ExecutionState::of(run, detail))?;
        }
        map.serialize_entry("finishedAt", &run.finished_at)?;
        map.serialize_entry("id", &run.id)?;
        map.serialize_entry("isDustTest", &run.simulation.is_dust_test)?;
        map.serialize_entry("isSimulation", &run.simulation.is_simulation)?;
        map.serialize_entry("organizationId", &run.organization_id)?;
        map.serialize_entry("propValues", &run.prop_values)?;
        match &run.simulation.forks {
            Some(forks) => map.serialize_entry("simulationForks", forks)?,
            None => map.serialize_entry("simulationForks", &json!([]))?,
        }
        map.serialize_entry("simulationMode", &run.simulation.mode)?;
        map.serialize_entry("sourceRunId", &run.source_run_id)?;
        map.serialize_entry("startedAt", &run.started_at)?;
        map.serialize_entry("status", &run.status)?;
        map.serialize_entry("summary", &run.summary)?;
        map.serialize_entry("totalCu", &run.total_cu)?;
        map.serialize_entry("triggerNodeId", &run.trigger_node_id)?;
        map.serialize_entry("triggerSource", &run.trigger_source)?;
        map.serialize_entry("triggeredBy", &run.triggered_by)?;
        if let Some(detail) = &self.detail {
            map.serialize_entry("workflowDefinition", &detail.definition)?;
        }
        map.serialize_entry("workflowId", &run.workflow_id)?;
        map.serialize_entry("workflowOwnerUserId", &run.workflow_owner_user_id)?;
        map.serialize_entry("workflowVersion", &run.workflow_version)?;
        self.serialize_ours(&mut map)?;
        map.end()
    }
}

impl RunView<'_> {
    fn serialize_ours<M: SerializeMap>(&self, map: &mut M) -> Result<(), M::Error> {
        let run = self.run;
        map.serialize_entry("runId", &run.id)?;
        map.serialize_entry("rootRunId", &run.root_run_id)?;
        map.serialize_entry("waitingFor", &run.waiting_for)?;
        map.serialize_entry("createdAt", &format_timestamp(run.created_at))?;
        let requested = run.cancel_requested_at.map(format_timestamp);
        map.serialize_entry("cancelRequestedAt", &requested)?;
        if let Some(retry) = self.retry {
            let retry = json!({"id": retry.id, "state": retry.state});
            map.serialize_entry("retry", &retry)?;
        }
        Ok(())
    }
}

/// What became of an accepted retry.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct RetryView<'a> {
    id: &'a str,
    state: &'static str,
    source_run_id: &'a str,
    run_id: Option<&'a str>,
    root_run_id: Option<&'a str>,
    organization_id: &'a str,
    ordinal: Option<i64>,
    lane: &'static str,
    reason: Option<&'a str>,
    triggered_by: Option<&'a str>,
    request: &'a JsonText,
    refusal: Option<RefusalView<'a>>,
    created_at: String,
    updated_at: String,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct RefusalView<'a> {
    reason: &'static str,
    message: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    run_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_id: Option<&'a str>,
}

impl<'a> RetryView<'a> {
    /// The view of `retry`.
    pub(super) fn of(retry: &'a Retry) -> Self {
        let shown = |at: Timestamp| format_timestamp(at);
        Self {
            id: retry.id.as_str(),
            state: retry.state.as_str(),
            source_run_id: retry.source_run_id.as_str(),
            run_id: retry.run_id.as_ref().map(AsRef::as_ref),
            root_run_id: retry.root_run_id.as_ref().map(AsRef::as_ref),
            organization_id: retry.organization_id.as_str(),
            ordinal: retry.ordinal,
            lane: retry.lane.as_str(),
            reason: retry.reason.as_deref(),
            triggered_by: retry.triggered_by.as_deref(),
            request: &retry.request,
            refusal: retry.refusal.as_ref().map(|refusal| RefusalView {
                reason: refusal.reason.as_str(),
                message: &refusal.message,
                run_id: refusal.run_id.as_ref().map(AsRef::as_ref),
                retry_id: refusal.retry_id.as_ref().map(AsRef::as_ref),
            }),
            created_at: shown(retry.created_at),
            updated_at: shown(retry.updated_at),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        api::tests::{a_retry, a_run},
        domain::{Refusal, WaitingFor},
    };

    fn shown(view: &impl Serialize) -> Value {
        serde_json::from_str(&serde_json::to_string(view).unwrap()).unwrap()
    }

    #[test]
    fn an_accepted_retry_shows_every_member_of_the_page() {
        let mut run = a_run("run_new");
        run.created = false;
        run.waiting_for = Some(WaitingFor::Queue);
        run.source_run_id = Some("run_old".parse().unwrap());
        run.root_run_id = "run_old".parse().unwrap();
        let retry = a_retry();
        let view = RunView {
            run: &run,
            retry: Some(&retry),
            detail: Some(Detail {
                definition: Some(&JsonText::trusted(r#"{"nodes": {"a": {"type": "log"}}}"#)),
                nodes: &[],
                only: None,
            }),
        };
        assert_eq!(
            serde_json::to_string(&view).unwrap(),
            concat!(
                r#"{"executionState":{},"finishedAt":null,"id":"run_new","isDustTest":false,"#,
                r#""isSimulation":false,"organizationId":"org_a","propValues":{},"#,
                r#""simulationForks":[],"simulationMode":null,"sourceRunId":"run_old","#,
                r#""startedAt":null,"status":"waiting","summary":null,"totalCu":0,"#,
                r#""triggerNodeId":null,"triggerSource":null,"triggeredBy":null,"#,
                r#""workflowDefinition":{"nodes": {"a": {"type": "log"}}},"workflowId":null,"#,
                r#""workflowOwnerUserId":null,"workflowVersion":null,"runId":"run_new","#,
                r#""rootRunId":"run_old","waitingFor":"queue","createdAt":"1970-01-01T00:00:00.000Z","#,
                r#""cancelRequestedAt":null,"retry":{"id":"rty_1","state":"queued"}}"#,
            )
        );
    }

    #[test]
    fn a_summary_has_neither_state_nor_definition() {
        let run = a_run("run_a");
        let view = shown(&RunView::summary(&run, None));
        assert_eq!(view["runId"], view["id"]);
        for absent in ["executionState", "workflowDefinition", "retry"] {
            assert!(view.get(absent).is_none(), "{absent}");
        }
    }

    #[test]
    fn promise_7_user_json_is_shown_digit_for_digit() {
        let mut run = a_run("run_a");
        let number =
            "115792089237316195423570985008687907853269984665640564039457584007913129639935";
        let props = format!(r#"{{"z": {number}, "a": 1E5, "m": null}}"#);
        run.prop_values = JsonText::trusted(props.as_str());
        run.simulation.forks = Some(JsonText::trusted(r#"[{"forkId":"f", "chainId":1.0}]"#));
        run.total_cu = JsonText::trusted("12.50");
        let text = serde_json::to_string(&RunView::summary(&run, None)).unwrap();
        for part in [
            props.as_str(),
            r#"[{"forkId":"f", "chainId":1.0}]"#,
            r#""totalCu":12.50,"#,
        ] {
            assert!(text.contains(part), "{part} is not in {text}");
        }
    }

    #[test]
    fn a_refused_retry_says_why() {
        let mut retry = a_retry();
        retry.refusal = Some(Refusal::already_retried(
            &retry.source_run_id,
            &"run_b".parse().unwrap(),
        ));
        let view = shown(&RetryView::of(&retry));
        assert_eq!(view["refusal"]["reason"], "already_retried");
        assert_eq!(view["refusal"]["runId"], "run_b");
        assert_eq!(view["sourceRunId"], "run_old");
        assert_eq!(view["request"], json!({}));
        assert_eq!(view["reason"], Value::Null);
    }
}
