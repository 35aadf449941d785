//! Accepting one start.

use serde_json::{Map, Value};

use super::{
    Caller, Intake, IntakeError,
    body::{invalid, object, only, text, user_json, user_object},
    stored,
};
use crate::{
    domain::{
        JsonText, Lane, NodePath, NodeRecord, NodeStatus, Run, RunId, RunStatus, Simulation,
        Timestamp, WaitingFor, format_timestamp,
    },
    store::{AcceptedStart, NewStart},
    workflow::{Definition, ExpressionLimits, Node, misfit},
};

/// The type of a trigger that a start fires.
const MANUAL: &str = "manual";

impl Intake {
    pub(super) async fn accept_start(
        &self,
        caller: &Caller,
        body: Value,
    ) -> Result<Run, IntakeError> {
        let members = object(body)?;
        only(&members, &["definition", "payload", "propValues", "runId"])?;
        let value = members
            .get("definition")
            .ok_or_else(|| invalid("definition is missing: send the workflow's definition"))?;
        let definition = Definition::parse(value, &self.definition_limits())?;
        let trigger = manual_trigger(&definition)?;
        definition.validate_for_start(&ExpressionLimits::default())?;
        let now = self.clock.now();
        let id = run_id(&members, now)?;
        let payload = user_object(&members, "payload")?;
        let fired = definition.find(trigger.id.as_str()).unwrap_or_default();
        if let Some(why) = misfit(&definition.input_schema(fired), &payload) {
            return Err(invalid(why));
        }
        let prop_values = user_object(&members, "propValues")?;
        let stored = stored(value)?;
        let start = NewStart {
            definition: stored.clone(),
            trigger: self.fired(trigger, payload, now)?,
            lane: Lane::Interactive,
            traceparent: caller.traceparent.clone(),
            run: Run {
                definition_hash: Some(stored.hash),
                trigger_node_id: Some(trigger.id.clone()),
                prop_values: JsonText::of(&Value::Object(prop_values)),
                ..header(id, caller, now)
            },
        };
        match self.store.accept_start(&start).await? {
            AcceptedStart::RunExists => Err(IntakeError::StartExists(start.run.id)),
            AcceptedStart::Accepted => {
                self.hints.something_is_due();
                Ok(start.run)
            }
        }
    }

    /// The record of the trigger: its result is the payload with `triggeredAt` merged in.
    fn fired(
        &self,
        trigger: &Node,
        payload: Map<String, Value>,
        now: Timestamp,
    ) -> Result<NodeRecord, IntakeError> {
        let at = format_timestamp(now);
        let payload = Value::Object(payload);
        let input = user_json(&payload, "payload")?;
        let limit = self.limits.result_bytes;
        if input.as_str().len() > limit {
            return Err(invalid(format!("payload must be at most {limit} bytes")));
        }
        let mut result = payload;
        if let Value::Object(members) = &mut result {
            members.insert("triggeredAt".to_owned(), Value::String(at.clone()));
        }
        let path = NodePath::of(trigger.id.clone());
        Ok(NodeRecord {
            input: Some(input),
            result: Some(JsonText::of(&result)),
            started_at: Some(at.clone()),
            finished_at: Some(at),
            ..NodeRecord::new(path, trigger.kind.clone(), NodeStatus::Success)
        })
    }
}

/// The one manual trigger.
fn manual_trigger(definition: &Definition) -> Result<&Node, IntakeError> {
    let triggers = definition.triggers().iter().map(|ix| definition.node(*ix));
    let mut manual = triggers.clone().filter(|node| node.kind == MANUAL);
    match (manual.next(), manual.next()) {
        (Some(trigger), None) => Ok(trigger),
        (Some(one), Some(other)) => Err(IntakeError::InvalidDefinition(format!(
            "the triggers `{}` and `{}` are both manual: a start fires exactly one",
            one.id, other.id
        ))),
        (None, _) => {
            let kinds: Vec<_> = triggers.map(|node| format!("`{}`", node.kind)).collect();
            Err(IntakeError::NotManualTrigger(format!(
                "only a `{MANUAL}` trigger can be fired by hand; the definition has {}",
                kinds.join(", ")
            )))
        }
    }
}

fn run_id(members: &Map<String, Value>, now: Timestamp) -> Result<RunId, IntakeError> {
    match text(members, "runId")? {
        None => Ok(RunId::generate(now)),
        Some(id) => id
            .parse()
            .map_err(|error| IntakeError::InvalidRunId(format!("runId is invalid: {error}"))),
    }
}

fn header(id: RunId, caller: &Caller, now: Timestamp) -> Run {
    Run {
        root_run_id: id.clone(),
        id,
        organization_id: caller.organization_id.clone(),
        source_run_id: None,
        status: RunStatus::Waiting,
        waiting_for: Some(WaitingFor::Queue),
        created: true,
        definition_hash: None,
        trigger_node_id: None,
        trigger_source: Some("api".to_owned()),
        triggered_by: caller.actor.clone(),
        workflow_id: None,
        workflow_version: None,
        workflow_owner_user_id: None,
        prop_values: JsonText::trusted("{}"),
        variables: JsonText::trusted("{}"),
        simulation: Simulation::default(),
        summary: None,
        total_cu: JsonText::trusted("0"),
        created_at: now,
        started_at: None,
        finished_at: None,
        cancel_requested_at: None,
    }
}
