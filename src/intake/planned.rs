//! A source, checked and planned: the same at acceptance and in the worker.

use crate::{
    domain::{NodeRecord, NodeStatus, OrganizationId, Refusal, Run, RunId, RunStatus},
    plan::{Choices, Plan, PlanNode, State, plan},
    store::{Store, StoreError},
    workflow::{At, Definition, DefinitionLimits, TOP},
};

/// A source that may be retried, and what the retry will do.
#[derive(Debug)]
pub struct Planned {
    /// The source's header.
    pub source: Run,
    /// Its nodes' records.
    pub records: Vec<NodeRecord>,
    /// Its definition.
    pub definition: Definition,
    /// What the retry will do.
    pub plan: Plan,
}

impl Planned {
    /// Reads, checks and plans a source; `None` if the organisation has no such run.
    ///
    /// # Errors
    /// The ledger did not answer.
    pub async fn load(
        store: &Store,
        organization: &OrganizationId,
        id: &RunId,
    ) -> Result<Option<Result<Self, Refusal>>, StoreError> {
        let Some(source) = store.run(organization, id).await? else {
            return Ok(None);
        };
        if let Some(refusal) = unfit(&source) {
            return Ok(Some(Err(refusal)));
        }
        let text = match &source.definition_hash {
            Some(hash) => store.definition(hash).await?,
            None => None,
        };
        let Some(text) = text else {
            return Ok(Some(Err(Refusal::missing_state(id, "definition"))));
        };
        let read = text
            .value()
            .ok()
            .and_then(|value| Definition::parse(&value, &DefinitionLimits::STORED).ok());
        let Some(definition) = read else {
            return Ok(Some(Err(Refusal::missing_state(
                id,
                "definition that can be read",
            ))));
        };
        let records = store.nodes(id, None).await?;
        Ok(Some(Self::new(source, definition, records)))
    }

    fn new(source: Run, definition: Definition, records: Vec<NodeRecord>) -> Result<Self, Refusal> {
        let missing = || Refusal::missing_state(&source.id, "record of the trigger that fired");
        let fired = source.trigger_node_id.as_ref().ok_or_else(missing)?;
        let trigger = definition.find(fired.as_str()).ok_or_else(missing)?;
        let state = State::new(&definition, &records);
        // Everything below reads the trigger's result: without one there is nothing to resume.
        if state
            .get(
                &definition,
                At {
                    frame: TOP,
                    node: trigger,
                },
            )
            .is_none_or(|record| record.status != NodeStatus::Success)
        {
            return Err(missing());
        }
        let planned = plan(&definition, trigger, &state, &Choices::default());
        let plan =
            planned.map_err(|error| Refusal::missing_state(&source.id, &error.to_string()))?;
        let unconfirmed = plan.unconfirmed();
        if !unconfirmed.is_empty() {
            return Err(Refusal::confirmation_required(&source.id, unconfirmed));
        }
        Ok(Self {
            source,
            records,
            definition,
            plan,
        })
    }

    /// Every line of the plan with the source's record of its node, if there is one.
    pub fn lines(&self) -> impl Iterator<Item = (&PlanNode, Option<&NodeRecord>)> {
        let state = State::new(&self.definition, &self.records);
        self.plan.nodes.iter().map(move |line| {
            let at = line
                .path
                .node()
                .and_then(|path| state.find(&self.definition, path));
            (line, at.and_then(|at| state.get(&self.definition, at)))
        })
    }
}

fn unfit(source: &Run) -> Option<Refusal> {
    match source.status {
        RunStatus::Waiting | RunStatus::Running => {
            Some(Refusal::still_active(&source.id, source.status))
        }
        RunStatus::Success | RunStatus::Partial => {
            Some(Refusal::not_retryable(&source.id, source.status))
        }
        RunStatus::Failure | RunStatus::Cancelled if source.created => None,
        RunStatus::Failure | RunStatus::Cancelled => {
            let instead = source.source_run_id.as_ref().unwrap_or(&source.id);
            Some(Refusal::never_created(&source.id, instead))
        }
    }
}
