//! Accepting one start.

use serde_json::{Map, Value};

use super::{
    Caller, Intake, IntakeError,
    body::{flag, integer, invalid, object, only, text, user_json, user_object},
    stored,
};
use crate::{
    domain::{
        JsonText, Lane, NodePath, NodeRecord, Refusal, Run, RunId, Simulation, Timestamp, Workflow,
    },
    store::{AcceptedStart, NewStart, StoredDefinition},
    workflow::{Definition, DefinitionLimits, Lifetime, Node, misfit},
};

/// The type of a trigger that a start fires.
const MANUAL: &str = "manual";

/// A run to start: what differs between the ways to ask for one.
struct Launch<'a> {
    definition: &'a Definition,
    stored: StoredDefinition,
    trigger: usize,
    payload: Map<String, Value>,
    run: Run,
}

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
        definition.validate_for_start(&self.expression_limits())?;
        let now = self.clock.now();
        let prop_values = user_object(&members, "propValues")?;
        let run = Run {
            prop_values: JsonText::of(&Value::Object(prop_values)),
            ..header(run_id(&members, now)?, caller, now)
        };
        self.launch(
            caller,
            Launch {
                stored: stored(value)?,
                definition: &definition,
                trigger,
                payload: user_object(&members, "payload")?,
                run,
            },
        )
        .await
    }

    /// Starts a registered workflow: `{payload?, propValues?, runId?, version?, triggerNodeId?,
    /// simulate?, dustTest?}`. Any of its triggers may be fired by name.
    pub(super) async fn accept_workflow_run(
        &self,
        caller: &Caller,
        id: &str,
        body: Value,
    ) -> Result<Run, IntakeError> {
        let members = object(body)?;
        only(
            &members,
            &[
                "payload",
                "propValues",
                "runId",
                "version",
                "triggerNodeId",
                "simulate",
                "dustTest",
            ],
        )?;
        let organization = &caller.organization_id;
        let workflow = self.store.workflow(organization, id).await?;
        let workflow = workflow.ok_or(IntakeError::WorkflowNotFound)?;
        let version = integer(&members, "version")?.unwrap_or(workflow.version);
        let stored = self.version_of(&workflow, version).await?;
        let definition = Definition::parse(&readable(&stored)?, &DefinitionLimits::STORED)?;
        let named = text(&members, "triggerNodeId")?.filter(|id| !id.is_empty());
        let trigger = match (named, manual_trigger(&definition)) {
            (None, Ok(manual)) => manual,
            (named, _) => definition
                .firing_trigger(named.as_deref())
                .map_err(|error| invalid(format!("triggerNodeId: {}", error.message)))?,
        };
        let now = self.clock.now();
        let prop_values = user_object(&members, "propValues")?;
        let run = Run {
            prop_values: JsonText::of(&Value::Object(prop_values)),
            variables: self.captured(&workflow, &definition).await?,
            workflow_id: Some(workflow.id.clone()),
            workflow_version: Some(version),
            workflow_owner_user_id: workflow.owner_user_id,
            simulation: simulation(&members)?,
            ..header(run_id(&members, now)?, caller, now)
        };
        self.launch(
            caller,
            Launch {
                stored,
                definition: &definition,
                trigger,
                payload: user_object(&members, "payload")?,
                run,
            },
        )
        .await
    }

    async fn version_of(
        &self,
        workflow: &Workflow,
        version: i64,
    ) -> Result<StoredDefinition, IntakeError> {
        let (organization, id) = (&workflow.organization_id, &workflow.id);
        let hash = self
            .store
            .workflow_version(organization, id, version)
            .await?;
        let newest = workflow.version;
        let hash = hash.ok_or_else(|| {
            invalid(format!(
                "version: workflow {id} has no version {version}, its newest is {newest}"
            ))
        })?;
        let text = self.store.definition(&hash).await?;
        let text = text.ok_or_else(|| invalid("the workflow's definition is missing"))?;
        Ok(StoredDefinition { hash, text })
    }

    /// The present values of the variables that live on the workflow.
    async fn captured(
        &self,
        workflow: &Workflow,
        definition: &Definition,
    ) -> Result<JsonText, IntakeError> {
        let (organization, id) = (&workflow.organization_id, &workflow.id);
        let mut captured = Map::new();
        for variable in self.store.workflow_variables(organization, id).await? {
            let declared = definition.variable(&variable.name);
            if declared.is_some_and(|declared| declared.lifetime == Lifetime::Persist) {
                let value = variable.value.value();
                let value = value.map_err(|error| invalid(error.to_string()))?;
                captured.insert(variable.name, value);
            }
        }
        Ok(JsonText::of(&Value::Object(captured)))
    }

    async fn launch(&self, caller: &Caller, launch: Launch<'_>) -> Result<Run, IntakeError> {
        let Launch {
            definition,
            stored,
            trigger,
            payload,
            run,
        } = launch;
        if let Some(why) = misfit(&definition.input_schema(trigger), &payload) {
            return Err(invalid(why));
        }
        let trigger = definition.node(trigger);
        let start = NewStart {
            trigger: self.fired(trigger, payload, run.created_at)?,
            lane: Lane::Interactive,
            traceparent: caller.traceparent.clone(),
            run: Run {
                definition_hash: Some(stored.hash.clone()),
                trigger_node_id: Some(trigger.id.clone()),
                ..run
            },
            definition: stored,
        };
        let (key, limit) = (caller.key.as_ref(), self.limits.live_limit());
        let accepted = match self.store.accept_start(&start, key, limit).await? {
            Ok(accepted) => accepted,
            Err(earlier) => return self.start_again(caller, earlier).await,
        };
        match accepted {
            AcceptedStart::RunExists => Err(IntakeError::StartExists(start.run.id)),
            AcceptedStart::TooManyLive => {
                Err(Refusal::rate_limited(limit.unwrap_or_default()).into())
            }
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
        let payload = Value::Object(payload);
        let input = user_json(&payload, "payload")?;
        let limit = self.limits.result_bytes;
        if input.as_str().len() > limit {
            let message = format!("payload must be at most {limit} bytes (limits.result_bytes)");
            return Err(invalid(message));
        }
        let path = NodePath::of(trigger.id.clone());
        Ok(NodeRecord::fired(
            path,
            trigger.kind.clone(),
            object(payload)?,
            now,
        ))
    }
}

fn readable(stored: &StoredDefinition) -> Result<Value, IntakeError> {
    let value = stored.text.value();
    value.map_err(|error| invalid(format!("the workflow's definition can't be read: {error}")))
}

/// `simulate` and `dustTest`, which exclude each other.
fn simulation(members: &Map<String, Value>) -> Result<Simulation, IntakeError> {
    let (is_simulation, is_dust_test) = (flag(members, "simulate")?, flag(members, "dustTest")?);
    if is_simulation && is_dust_test {
        return Err(invalid("simulate and dustTest exclude each other"));
    }
    Ok(Simulation {
        is_simulation,
        is_dust_test,
        ..Simulation::default()
    })
}

/// The one manual trigger.
fn manual_trigger(definition: &Definition) -> Result<usize, IntakeError> {
    let triggers = definition.triggers().iter().map(|ix| definition.node(*ix));
    let is_manual = |ix: &&usize| definition.node(**ix).kind == MANUAL;
    let mut manual = definition.triggers().iter().filter(is_manual);
    match (manual.next(), manual.next()) {
        (Some(trigger), None) => Ok(*trigger),
        (Some(one), Some(other)) => Err(IntakeError::InvalidDefinition(format!(
            "the triggers `{}` and `{}` are both manual: a start fires exactly one",
            definition.node(*one).id,
            definition.node(*other).id
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
        trigger_source: Some("api".to_owned()),
        triggered_by: caller.actor.clone(),
        ..Run::fresh(id, caller.organization_id.clone(), now)
    }
}
