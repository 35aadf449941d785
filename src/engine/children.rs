//! `trigger-workflow`: a node that the engine itself executes, as the run it starts is there exactly
//! when the node's outcome is.
//!
//! It starts a run of a registered workflow of the same organisation and goes on, or waits for what
//! becomes of it. Runs that start each other go only so deep.

use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::{
    awaited::awaiting,
    drive::{Drive, EngineError, Stopped},
    loops::started,
};
use crate::{
    domain::{
        ErrorClass, JsonText, Lane, NodeError, NodePath, NodeRecord, NodeStatus, Run, RunId,
        Timestamp, Workflow, format_timestamp,
    },
    faults,
    store::{NewChild, NewStart, StoredDefinition},
    workflow::{At, Definition, Lifetime, misfit},
};

/// The type of these nodes.
pub(super) const TRIGGER_WORKFLOW: &str = "trigger-workflow";

/// How a run that a node started came to be.
const SOURCE: &str = "workflow";

/// The type of the trigger that is fired where a workflow has several.
const MANUAL: &str = "manual";

impl Drive<'_> {
    /// Starts the run, or fails the node; one that waits for its child looks what became of it.
    pub(super) async fn step_child(&mut self, at: At) -> Result<Option<Stopped>, EngineError> {
        if let Some(child) = self.state.blank(at).child_run_id() {
            return self.follow(at, &child).await;
        }
        let resolved = self.state.resolve(at).map_err(|error| *error);
        let input = match resolved.and_then(|input| Ok((self.checked_input(&input)?, input))) {
            Ok(input) => input,
            Err(error) => {
                self.fail_unstarted(at, &error);
                return Ok(None);
            }
        };
        let now = self.engine.clock.now();
        let (text, input) = input;
        let mut record = started(self.state.blank(at), text, now);
        match self.child(&record, &input).await? {
            Ok(made) => {
                if made.waits {
                    record = awaiting(record, &made.child.start.run.id);
                } else {
                    record.result = Some(going_on(&made, now));
                    self.close(&mut record, NodeStatus::Success, None);
                }
                self.recorder.add_child(made.child);
                self.put(at, record, !made.waits);
                // Somebody may wait for what it does.
                let is_durable = self.flush().await?;
                faults::point("child.started");
                Ok((!is_durable).then_some(Stopped::LeaseLost))
            }
            Err(error) => {
                self.close(&mut record, NodeStatus::Failure, Some(error));
                self.put(at, record, true);
                Ok(None)
            }
        }
    }

    async fn child(
        &self,
        record: &NodeRecord,
        input: &Value,
    ) -> Result<Result<Made, NodeError>, EngineError> {
        let asked = match read(input) {
            Ok(asked) => asked,
            Err(error) => return Ok(Err(error)),
        };
        let (organization, id) = (&self.context.organization_id, asked.workflow_id);
        let store = &self.engine.store;
        let depth = self
            .recorder
            .insist(|| store.child_depth(&self.context.run_id))
            .await?
            + 1;
        let limit = i64::from(self.engine.limits.child_depth);
        if depth > limit {
            let message = format!(
                "runs that start each other may be at most {limit} deep (limits.child_depth)"
            );
            return Ok(Err(refused("too_deep", message)));
        }
        let workflow = self
            .recorder
            .insist(|| store.workflow(organization, &id))
            .await?;
        let Some(workflow) = workflow else {
            let message = format!("there is no workflow `{id}`: register it first");
            return Ok(Err(refused("workflow_not_found", message)));
        };
        let (definition, text) = match self.definition_of_workflow(&workflow).await? {
            Ok(definition) => definition,
            Err(error) => return Ok(Err(error)),
        };
        let kept = self
            .recorder
            .insist(|| store.workflow_variables(organization, &id))
            .await?;
        let made = self
            .start_of(&workflow, (&definition, text), asked.payload)
            .map(|mut start| {
                let lasting = kept.iter().filter_map(|variable| {
                    Some((variable.name.clone(), variable.value.value().ok()?))
                });
                start.run.variables = captured(&definition, lasting.collect());
                let child = NewChild {
                    start,
                    parent_path: record.path.clone(),
                    depth,
                };
                Made {
                    child,
                    workflow,
                    waits: asked.waits,
                }
            });
        Ok(made)
    }

    /// The newest definition of a workflow, read and as it is stored.
    async fn definition_of_workflow(
        &self,
        workflow: &Workflow,
    ) -> Result<Result<(Arc<Definition>, JsonText), NodeError>, EngineError> {
        let (store, hash) = (&self.engine.store, &workflow.definition_hash);
        let read = self.recorder.insist(|| store.executable(hash)).await?;
        let text = self.recorder.insist(|| store.definition(hash)).await?;
        let unfit = |why| Ok(Err(refused("invalid_workflow", why)));
        match (read, text) {
            (Some(Ok(definition)), Some(text)) => Ok(Ok((definition, text))),
            (Some(Err(why)), _) => unfit(why),
            (None, _) | (_, None) => unfit("its definition is missing".to_owned()),
        }
    }

    fn start_of(
        &self,
        workflow: &Workflow,
        (definition, text): (&Definition, JsonText),
        payload: Map<String, Value>,
    ) -> Result<NewStart, NodeError> {
        let is_manual = |ix: &&usize| definition.node(**ix).kind == MANUAL;
        let manual = definition.triggers().iter().find(is_manual).copied();
        let trigger = match manual {
            Some(trigger) => trigger,
            None => definition
                .firing_trigger(None)
                .map_err(|error| refused("invalid_workflow", error.to_string()))?,
        };
        if let Some(why) = misfit(&definition.input_schema(trigger), &payload) {
            return Err(refused("invalid_payload", why));
        }
        let now = self.engine.clock.now();
        let node = definition.node(trigger);
        let path = NodePath::of(node.id.clone());
        let fresh = Run::fresh(
            RunId::generate(now),
            self.context.organization_id.clone(),
            now,
        );
        Ok(NewStart {
            run: Run {
                definition_hash: Some(workflow.definition_hash.clone()),
                trigger_node_id: Some(node.id.clone()),
                trigger_source: Some(SOURCE.to_owned()),
                triggered_by: Some(self.context.run_id.to_string()),
                workflow_id: Some(workflow.id.clone()),
                workflow_version: Some(workflow.version),
                workflow_owner_user_id: workflow.owner_user_id.clone(),
                simulation: self.context.simulation.clone(),
                ..fresh
            },
            trigger: NodeRecord::fired(path, node.kind.clone(), payload, now),
            definition: StoredDefinition {
                hash: workflow.definition_hash.clone(),
                text,
            },
            lane: Lane::Interactive,
            traceparent: None,
        })
    }
}

/// A run that a node starts.
struct Made {
    child: NewChild,
    workflow: Workflow,
    waits: bool,
}

/// What a node says of the run that it starts when it does not wait for it.
fn going_on(made: &Made, now: Timestamp) -> JsonText {
    JsonText::of(&json!({
        "triggeredWorkflowId": made.workflow.id,
        "triggeredWorkflowName": made.workflow.name,
        "runStatus": made.child.start.run.status,
        "triggeredAt": format_timestamp(now),
        "runId": made.child.start.run.id,
    }))
}

/// What a node asks for.
struct Asked {
    workflow_id: String,
    payload: Map<String, Value>,
    waits: bool,
}

fn read(input: &Value) -> Result<Asked, NodeError> {
    let wrong = |member: &str, takes: &str| {
        let message = format!("{TRIGGER_WORKFLOW}: `{member}` takes {takes}");
        refused("invalid_payload", message)
    };
    let given = |name: &str| input.get(name).filter(|value| !value.is_null());
    let id = given("workflowId").and_then(Value::as_str);
    let id = id.ok_or_else(|| wrong("workflowId", "the id of a workflow"))?;
    let payload = match given("payload") {
        None => Map::new(),
        Some(Value::Object(payload)) => payload.clone(),
        Some(_) => return Err(wrong("payload", "an object")),
    };
    let waits = given("wait").map_or(Some(false), Value::as_bool);
    Ok(Asked {
        workflow_id: id.to_owned(),
        payload,
        waits: waits.ok_or_else(|| wrong("wait", "true or false"))?,
    })
}

/// The values that live on the workflow and that its definition declares so.
fn captured(definition: &Definition, mut kept: Map<String, Value>) -> JsonText {
    kept.retain(|name, _| {
        let declared = definition.variable(name);
        declared.is_some_and(|declared| declared.lifetime == Lifetime::Persist)
    });
    JsonText::of(&Value::Object(kept))
}

fn refused(code: &str, message: String) -> NodeError {
    NodeError::new(ErrorClass::Definition, code, message)
}
