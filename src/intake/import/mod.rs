//! Accepting one run from elsewhere, as `GET /v1/runs/{id}` of such a platform shows it.

mod attempts;
mod effect;
mod node;
mod variables;

use serde_json::{Map, Value};

use super::{
    Caller, Intake, IntakeError,
    body::{flag, integer, invalid, object, text, user_json, user_object},
    stored,
};
use crate::{
    domain::{
        JsonText, NodeId, NodePath, NodeRecord, NodeStatus, RetryId, Run, RunId, RunStatus,
        Simulation, Timestamp,
    },
    store::{ImportOutcome, NewImport, StoredDefinition},
    workflow::Definition,
};

impl Intake {
    pub(super) async fn accept_import(
        &self,
        caller: &Caller,
        body: Value,
    ) -> Result<Run, IntakeError> {
        let members = bare(object(body)?);
        let now = self.clock.now();
        let (definition, stored) = self.definition(&members)?;
        let mut nodes = records(&members, definition.as_ref(), self.limits.nodes)?;
        let mut run = header(&members, caller, now)?;
        run.definition_hash = stored.as_ref().map(|stored| stored.hash.clone());
        run.trigger_node_id = fired(&members, definition.as_ref(), &nodes)?;
        if let (Some(definition), Some(fired)) = (&definition, &run.trigger_node_id) {
            name_trigger(definition, fired, &mut nodes);
        }
        let variable_writes = variables::writes(&nodes, &run, now);
        let retry_id = RetryId::generate(now);
        let import = NewImport {
            run,
            definition: stored,
            nodes,
            variable_writes,
            retry_id,
        };
        let imported = match self.store.import(&import, caller.key.as_ref()).await? {
            Ok(imported) => imported,
            Err(earlier) => return self.import_again(caller, earlier).await,
        };
        match imported {
            ImportOutcome::Imported(run) => Ok(*run),
            ImportOutcome::RunExists => Err(IntakeError::ImportExists(import.run.id)),
        }
    }

    fn definition(
        &self,
        members: &Map<String, Value>,
    ) -> Result<(Option<Definition>, Option<StoredDefinition>), IntakeError> {
        match members.get("workflowDefinition") {
            None | Some(Value::Null) => Ok((None, None)),
            Some(value) => {
                let definition = Definition::parse(value, &self.definition_limits())?;
                Ok((Some(definition), Some(stored(value)?)))
            }
        }
    }
}

/// The run itself, taken out of its envelope.
fn bare(mut members: Map<String, Value>) -> Map<String, Value> {
    let is_envelope = members.contains_key("code") || members.contains_key("requestId");
    match members.get_mut("data") {
        Some(Value::Object(run)) if is_envelope => std::mem::take(run),
        _ => members,
    }
}

fn header(
    members: &Map<String, Value>,
    caller: &Caller,
    now: Timestamp,
) -> Result<Run, IntakeError> {
    let id = id(members)?;
    let source_run_id = optional_id(members, "sourceRunId")?;
    if source_run_id.as_ref() == Some(&id) {
        return Err(invalid("sourceRunId must name another run"));
    }
    let variables = Value::Object(user_object(members, "variables")?);
    Ok(Run {
        root_run_id: id.clone(),
        id,
        organization_id: caller.organization_id.clone(),
        source_run_id,
        status: status(members)?,
        waiting_for: None,
        created: true,
        definition_hash: None,
        trigger_node_id: None,
        trigger_source: text(members, "triggerSource")?,
        triggered_by: text(members, "triggeredBy")?,
        workflow_id: text(members, "workflowId")?,
        workflow_version: integer(members, "workflowVersion")?,
        workflow_owner_user_id: text(members, "workflowOwnerUserId")?,
        prop_values: JsonText::of(&Value::Object(user_object(members, "propValues")?)),
        variables: JsonText::of(&variables),
        simulation: simulation(members)?,
        summary: text(members, "summary")?,
        total_cu: total_cu(members)?,
        created_at: now,
        started_at: text(members, "startedAt")?,
        finished_at: text(members, "finishedAt")?,
        cancel_requested_at: None,
    })
}

/// `id` or `runId`; one of them, or both with the same value.
fn id(members: &Map<String, Value>) -> Result<RunId, IntakeError> {
    let (id, run_id) = (text(members, "id")?, text(members, "runId")?);
    let id = match (id, run_id) {
        (Some(id), Some(run_id)) if id != run_id => {
            return Err(invalid("id and runId must be the same"));
        }
        (Some(id), _) | (None, Some(id)) => id,
        (None, None) => return Err(invalid("id is missing: send the run's own id")),
    };
    id.parse()
        .map_err(|error| IntakeError::InvalidRunId(format!("id is invalid: {error}")))
}

fn optional_id(members: &Map<String, Value>, name: &str) -> Result<Option<RunId>, IntakeError> {
    match text(members, name)? {
        // Go clients of the contract write a missing text as an empty one.
        None => Ok(None),
        Some(id) if id.is_empty() => Ok(None),
        Some(id) => match id.parse() {
            Ok(id) => Ok(Some(id)),
            Err(error) => Err(invalid(format!("{name} is invalid: {error}"))),
        },
    }
}

fn status(members: &Map<String, Value>) -> Result<RunStatus, IntakeError> {
    let word = text(members, "status")?.unwrap_or_default();
    RunStatus::parse(&word)
        .filter(|status| status.is_ended())
        .ok_or_else(|| {
            invalid(format!(
                "status is {word:?}: only a run that has ended (success, partial, failure, \
             cancelled) can be imported"
            ))
        })
}

fn simulation(members: &Map<String, Value>) -> Result<Simulation, IntakeError> {
    let forks = match members.get("simulationForks") {
        None | Some(Value::Null) => None,
        Some(forks @ Value::Array(_)) => Some(user_json(forks, "simulationForks")?),
        Some(_) => return Err(invalid("simulationForks must be an array")),
    };
    Ok(Simulation {
        forks,
        mode: text(members, "simulationMode")?,
        is_simulation: flag(members, "isSimulation")?,
        is_dust_test: flag(members, "isDustTest")?,
    })
}

fn total_cu(members: &Map<String, Value>) -> Result<JsonText, IntakeError> {
    match members.get("totalCu") {
        None | Some(Value::Null) => Ok(JsonText::trusted("0")),
        Some(number @ Value::Number(_)) => Ok(JsonText::of(number)),
        Some(_) => Err(invalid("totalCu must be a number")),
    }
}

fn records(
    members: &Map<String, Value>,
    definition: Option<&Definition>,
    most: usize,
) -> Result<Vec<NodeRecord>, IntakeError> {
    let state = match members.get("executionState") {
        None | Some(Value::Null) => return Ok(Vec::new()),
        Some(Value::Object(state)) => state,
        Some(_) => return Err(invalid("executionState must be an object of nodes")),
    };
    let mut records = Vec::with_capacity(state.len());
    for (id, value) in state {
        node::read_records(&mut records, None, id, value, definition)?;
    }
    let count = records
        .iter()
        .filter(|record| record.path.segments().len() == 1);
    let count = count.count();
    if count > most {
        return Err(invalid(format!(
            "executionState has {count} nodes, more than {most} (limits.nodes)"
        )));
    }
    Ok(records)
}

/// The record of the trigger that fired may stand under its other name, `root`.
fn name_trigger(definition: &Definition, fired: &NodeId, records: &mut [NodeRecord]) {
    let own = NodePath::of(fired.clone());
    if records.iter().any(|record| record.path == own) {
        return;
    }
    let alias = records.iter_mut().find(|record| {
        let id = record.path.to_string();
        definition.is_root_alias(&id)
    });
    if let Some(record) = alias {
        record.path = own;
    }
}

/// The trigger that fired: as named, else the only one, else the only one with a success.
fn fired(
    members: &Map<String, Value>,
    definition: Option<&Definition>,
    records: &[NodeRecord],
) -> Result<Option<NodeId>, IntakeError> {
    let named = text(members, "triggerNodeId")?.filter(|id| !id.is_empty());
    if let Some(named) = &named {
        let id: NodeId = match named.parse() {
            Ok(id) => id,
            Err(error) => return Err(invalid(format!("triggerNodeId is invalid: {error}"))),
        };
        let known = definition.is_some_and(|definition| definition.find(named).is_some());
        let alias = definition.and_then(|definition| {
            let ix = definition.firing_trigger(Some(named)).ok()?;
            Some(definition.node(ix).id.clone())
        });
        return Ok(Some(if known { id } else { alias.unwrap_or(id) }));
    }
    let Some(definition) = definition else {
        return Ok(None);
    };
    if let Ok(only) = definition.firing_trigger(None) {
        return Ok(Some(definition.node(only).id.clone()));
    }
    let succeeded = |ix: &&usize| {
        let id = definition.node(**ix).id.as_str();
        records
            .iter()
            .any(|record| record.status == NodeStatus::Success && record.path.to_string() == id)
    };
    let mut fired = definition.triggers().iter().filter(succeeded);
    let first = fired.next().filter(|_| fired.next().is_none());
    Ok(first.map(|ix| definition.node(*ix).id.clone()))
}
