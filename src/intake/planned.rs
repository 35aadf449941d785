//! A source, checked and planned: the same for the plan endpoint, at acceptance and in the worker.

use std::sync::Arc;

use sha2::{Digest, Sha256};

use super::Request;
use crate::{
    domain::{
        DefinitionHash, NodePath, NodeRecord, NodeStatus, OrganizationId, Refusal, Run, RunId,
        RunStatus,
    },
    plan::{Plan, PlanNode, Report, State, compatibility, plan},
    store::{Store, StoreError},
    workflow::{At, Definition, TOP},
};

/// A source with the plan of its retry.
#[derive(Debug)]
pub struct Planned {
    /// The source's header.
    pub source: Run,
    /// Its nodes' records.
    pub records: Vec<NodeRecord>,
    /// The definition that the retry executes, by content.
    pub definition_hash: DefinitionHash,
    /// The version of the workflow that it is.
    pub workflow_version: Option<i64>,
    /// The definition that the retry executes.
    pub definition: Arc<Definition>,
    /// What the retry will do.
    pub plan: Plan,
    /// What the latest definition changes, if it is asked for and another one.
    pub report: Option<Report>,
    /// What was asked.
    pub request: Request,
}

/// What the plan endpoint shows.
#[derive(Debug)]
pub struct Inspected {
    /// The plan; none where none can be made.
    pub planned: Option<Planned>,
    /// What a retry would be refused with.
    pub refusal: Option<Refusal>,
}

impl Planned {
    /// Reads, checks and plans a source; `None` if the organisation has no such run. `frozen` is
    /// the header of the retry's run once it is accepted: what was chosen then holds.
    ///
    /// # Errors
    /// The ledger did not answer.
    pub async fn load(
        store: &Store,
        organization: &OrganizationId,
        id: &RunId,
        request: &Request,
        frozen: Option<&Run>,
    ) -> Result<Option<Result<Self, Refusal>>, StoreError> {
        let inspected = Self::inspect(store, organization, id, request, frozen).await?;
        Ok(inspected.map(|inspected| match inspected {
            Inspected {
                refusal: Some(refusal),
                ..
            } => Err(refusal),
            Inspected {
                planned: Some(planned),
                ..
            } => Ok(planned),
            Inspected { .. } => Err(Refusal::missing_state(id, "state that can be planned")),
        }))
    }

    /// The same, with the plan of a run that would be refused too.
    ///
    /// # Errors
    /// The ledger did not answer.
    pub async fn inspect(
        store: &Store,
        organization: &OrganizationId,
        id: &RunId,
        request: &Request,
        frozen: Option<&Run>,
    ) -> Result<Option<Inspected>, StoreError> {
        let Some(source) = store.run(organization, id).await? else {
            return Ok(None);
        };
        let unfit = unfit(&source, request);
        if !source.status.is_ended() || !source.created {
            return Ok(Some(Inspected {
                planned: None,
                refusal: unfit,
            }));
        }
        let loaded = Self::plan_source(store, source, request, frozen).await?;
        Ok(Some(match loaded {
            Ok(planned) => Inspected {
                // What was frozen at acceptance fitted then.
                refusal: unfit
                    .or_else(|| planned.incompatible().filter(|_| frozen.is_none()))
                    .or_else(|| planned.unconfirmed()),
                planned: Some(planned),
            },
            Err(refusal) => Inspected {
                planned: None,
                refusal: Some(unfit.unwrap_or(refusal)),
            },
        }))
    }

    async fn plan_source(
        store: &Store,
        source: Run,
        request: &Request,
        frozen: Option<&Run>,
    ) -> Result<Result<Self, Refusal>, StoreError> {
        let chosen = match frozen {
            Some(run) => Some((run.definition_hash.clone(), run.workflow_version)),
            None if request.latest => latest(store, &source).await?,
            None => Some((source.definition_hash.clone(), source.workflow_version)),
        };
        let Some((hash, workflow_version)) = chosen else {
            return Ok(Err(Refusal::workflow_not_found(&source.id)));
        };
        let Some(hash) = hash else {
            return Ok(Err(Refusal::missing_state(&source.id, "definition")));
        };
        let Some(definition) = definition(store, &hash).await? else {
            let what = "definition that can be read";
            return Ok(Err(Refusal::missing_state(&source.id, what)));
        };
        let is_another = source.definition_hash.as_ref() != Some(&hash);
        if is_another && let Some(gone) = lost_trigger(&source, &definition) {
            let refusal = Refusal::definition_incompatible(&source.id, vec![gone]);
            return Ok(Err(refusal));
        }
        let records = store.nodes(&source.id, None).await?;
        let plan = match planned(&source, &definition, &records, request) {
            Ok(plan) => plan,
            Err(refusal) => return Ok(Err(refusal)),
        };
        let mut report = None;
        if is_another {
            let latest = (definition.as_ref(), &plan);
            report = Some(compare(store, &source, &records, request, latest).await?);
        }
        Ok(Ok(Self {
            source,
            records,
            definition_hash: hash,
            workflow_version,
            definition,
            plan,
            report,
            request: request.clone(),
        }))
    }

    /// What the latest definition lacks, if it lacks anything that the run needs.
    fn incompatible(&self) -> Option<Refusal> {
        let blocking = &self.report.as_ref()?.blocking;
        let refusal = || Refusal::definition_incompatible(&self.source.id, blocking.clone());
        (!blocking.is_empty()).then(refusal)
    }

    /// What needs somebody's word, if anything does.
    fn unconfirmed(&self) -> Option<Refusal> {
        let paths = &self.plan.unconfirmed;
        let refusal = || Refusal::confirmation_required(&self.source.id, paths.clone());
        (!paths.is_empty()).then(refusal)
    }

    /// Every line of the plan with the source's record of its node, if there is one.
    pub fn lines(&self) -> impl Iterator<Item = (&PlanNode, Option<&NodeRecord>)> {
        let state = State::new(&self.definition, &self.records);
        self.plan.nodes.iter().map(move |line| {
            let path = line.path.node();
            let at = path.and_then(|path| state.find(&self.definition, path));
            (line, at.and_then(|at| state.get(&self.definition, at)))
        })
    }

    /// The name of the plan: the definition, the choices and the lines, sixteen hexadecimal digits
    /// of the SHA-256 of each.
    #[must_use]
    pub fn plan_hash(&self) -> String {
        self.hash_parts().join("-")
    }

    fn hash_parts(&self) -> [String; 3] {
        let digest = |text: &str| {
            let bytes = Sha256::digest(text.as_bytes());
            let first = bytes.iter().take(8);
            let first = first.fold(0, |number: u64, byte| number << 8 | u64::from(*byte));
            format!("{first:016x}")
        };
        let plan = if self.plan.unconfirmed.is_empty() {
            self.plan.to_text()
        } else {
            self.plan.acknowledged().to_text()
        };
        [
            digest(self.definition_hash.as_str()),
            digest(&self.request.plan_choices()),
            digest(plan.as_str()),
        ]
    }

    /// Whether the plan is the one that the requester was shown, if it was.
    ///
    /// # Errors
    /// `plan_changed`, with what differs.
    pub fn check_hash(&self) -> Result<(), Refusal> {
        let Some(shown) = &self.request.plan_hash else {
            return Ok(());
        };
        let parts = self.hash_parts();
        let mut shown = shown.split('-');
        let names = ["definition", "request", "plan"];
        let differs: Vec<_> = names
            .into_iter()
            .zip(&parts)
            .filter(|(_, part)| shown.next() != Some(part.as_str()))
            .map(|(name, _)| name.to_owned())
            .collect();
        if differs.is_empty() && shown.next().is_none() {
            return Ok(());
        }
        Err(Refusal::plan_changed(
            &self.source.id,
            differs,
            parts.join("-"),
        ))
    }

    /// The records of the source at or below a path.
    pub fn below<'a>(&'a self, path: &'a NodePath) -> impl Iterator<Item = &'a NodeRecord> {
        let records = self.records.iter();
        records.filter(move |record| record.path.is_at_or_in(path))
    }
}

async fn definition(
    store: &Store,
    hash: &DefinitionHash,
) -> Result<Option<Arc<Definition>>, StoreError> {
    Ok(store.executable(hash).await?.and_then(Result::ok))
}

/// The newest definition of the run's workflow, and its version; none if it is not registered.
async fn latest(
    store: &Store,
    source: &Run,
) -> Result<Option<(Option<DefinitionHash>, Option<i64>)>, StoreError> {
    let Some(id) = &source.workflow_id else {
        return Ok(None);
    };
    let workflow = store.workflow(&source.organization_id, id).await?;
    Ok(workflow.map(|workflow| (Some(workflow.definition_hash), Some(workflow.version))))
}

/// Whether another definition goes with what the run did by its own.
async fn compare(
    store: &Store,
    source: &Run,
    records: &[NodeRecord],
    request: &Request,
    latest: (&Definition, &Plan),
) -> Result<Report, StoreError> {
    let own = match &source.definition_hash {
        Some(hash) => definition(store, hash).await?,
        None => None,
    };
    let fired = source.trigger_node_id.as_ref().map_or("", |id| id.as_str());
    let planned = own.and_then(|own| {
        // What the request names is not reused; a node that is new names nothing here.
        let plan = planned(source, &own, records, &request.naming())
            .or_else(|_| planned(source, &own, records, &Request::default()));
        Some((own, plan.ok()?))
    });
    // Without a readable definition of its own there is nothing to compare with.
    Ok(planned.map_or_else(Report::default, |(own, own_plan)| {
        let state = State::new(&own, records);
        compatibility((&own, &own_plan), &state, latest, fired)
    }))
}

/// What to say of another definition that does not have the trigger that fired.
fn lost_trigger(source: &Run, latest: &Definition) -> Option<String> {
    let fired = source.trigger_node_id.as_ref()?.as_str();
    let is_there = latest
        .find(fired)
        .is_some_and(|at| latest.node(at).is_trigger);
    (!is_there).then(|| format!("the trigger that fired, `{fired}`, is gone"))
}

/// The plan of a source whose trigger has fired.
fn planned(
    source: &Run,
    definition: &Definition,
    records: &[NodeRecord],
    request: &Request,
) -> Result<Plan, Refusal> {
    let missing = || Refusal::missing_state(&source.id, "record of the trigger that fired");
    let fired = source.trigger_node_id.as_ref().ok_or_else(missing)?;
    let trigger = definition.find(fired.as_str()).ok_or_else(missing)?;
    let state = State::new(definition, records);
    let at = At {
        frame: TOP,
        node: trigger,
    };
    // Everything below reads the trigger's result: without one there is nothing to resume.
    if state
        .get(definition, at)
        .is_none_or(|record| record.status != NodeStatus::Success)
    {
        return Err(missing());
    }
    if let Some(unknown) = request.unknown_variable(source, definition) {
        return Err(Refusal::invalid_request(unknown));
    }
    plan(definition, trigger, &state, &request.choices(source))
        .map_err(|error| Refusal::invalid_request(error.to_string()))
}

fn unfit(source: &Run, request: &Request) -> Option<Refusal> {
    match source.status {
        RunStatus::Waiting | RunStatus::Running => {
            Some(Refusal::still_active(&source.id, source.status))
        }
        RunStatus::Partial if request.include_partial => None,
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
