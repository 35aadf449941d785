//! Headers of runs.

use crate::domain::{JsonText, Run, RunStatus, Simulation, Timestamp, WaitingFor};

use super::{super::StoreError, Place};

/// A run's header.
#[derive(sqlx::FromRow)]
pub(in crate::store) struct RunRow {
    id: String,
    organization_id: String,
    root_run_id: String,
    source_run_id: Option<String>,
    status: String,
    waiting_for: Option<String>,
    created: bool,
    definition_hash: Option<String>,
    trigger_node_id: Option<String>,
    trigger_source: Option<String>,
    triggered_by: Option<String>,
    workflow_id: Option<String>,
    workflow_version: Option<i64>,
    workflow_owner_user_id: Option<String>,
    prop_values: String,
    variables: String,
    simulation_forks: Option<String>,
    simulation_mode: Option<String>,
    is_simulation: bool,
    is_dust_test: bool,
    summary: Option<String>,
    total_cu: String,
    created_at: Timestamp,
    started_at: Option<String>,
    finished_at: Option<String>,
    cancel_requested_at: Option<Timestamp>,
}

impl TryFrom<RunRow> for Run {
    type Error = StoreError;

    fn try_from(row: RunRow) -> Result<Self, StoreError> {
        let place = Place {
            table: "runs",
            row: &row.id,
        };
        let waiting_for = row.waiting_for.as_deref();
        Ok(Self {
            id: place.id("id", &row.id)?,
            organization_id: place.id("organization_id", &row.organization_id)?,
            root_run_id: place.id("root_run_id", &row.root_run_id)?,
            source_run_id: place.optional_id("source_run_id", row.source_run_id.as_deref())?,
            status: place.word("status", &row.status, RunStatus::parse)?,
            waiting_for: waiting_for
                .map(|word| place.word("waiting_for", word, WaitingFor::parse))
                .transpose()?,
            created: row.created,
            definition_hash: place
                .optional_id("definition_hash", row.definition_hash.as_deref())?,
            trigger_node_id: place
                .optional_id("trigger_node_id", row.trigger_node_id.as_deref())?,
            trigger_source: row.trigger_source,
            triggered_by: row.triggered_by,
            workflow_id: row.workflow_id,
            workflow_version: row.workflow_version,
            workflow_owner_user_id: row.workflow_owner_user_id,
            prop_values: JsonText::trusted(row.prop_values),
            variables: JsonText::trusted(row.variables),
            simulation: Simulation {
                forks: row.simulation_forks.map(JsonText::trusted),
                mode: row.simulation_mode,
                is_simulation: row.is_simulation,
                is_dust_test: row.is_dust_test,
            },
            summary: row.summary,
            total_cu: JsonText::trusted(row.total_cu),
            created_at: row.created_at,
            started_at: row.started_at,
            finished_at: row.finished_at,
            cancel_requested_at: row.cancel_requested_at,
        })
    }
}

/// A run with its lease, read under its lock.
#[derive(sqlx::FromRow)]
pub(in crate::store) struct LockedRow {
    #[sqlx(flatten)]
    run: RunRow,
    lease_owner: Option<String>,
    lease_epoch: i64,
    lease_until: Option<Timestamp>,
    lost_leases: i64,
}

/// What a transaction may change of a run. It is read under the run's lock, changed, and written
/// back whole.
#[derive(Debug)]
pub(in crate::store) struct LockedRun {
    pub(in crate::store) run: Run,
    pub(in crate::store) owner: Option<String>,
    pub(in crate::store) epoch: i64,
    pub(in crate::store) until: Option<Timestamp>,
    pub(in crate::store) lost_leases: i64,
    /// The plan that the run was created by, to be noted; what is noted stays.
    pub(in crate::store) plan: Option<JsonText>,
    /// The time by the clock that decides leases.
    pub(in crate::store) now: Timestamp,
}

impl LockedRow {
    pub(in crate::store) fn at(self, now: Timestamp) -> Result<LockedRun, StoreError> {
        Ok(LockedRun {
            run: self.run.try_into()?,
            owner: self.lease_owner,
            epoch: self.lease_epoch,
            until: self.lease_until,
            lost_leases: self.lost_leases,
            plan: None,
            now,
        })
    }
}

impl LockedRun {
    /// Whether a worker holds it.
    pub(in crate::store) fn is_held(&self) -> bool {
        self.until.is_some_and(|until| until > self.now)
    }

    /// Whether its last worker never came back.
    pub(in crate::store) fn has_lost_its_worker(&self) -> bool {
        self.until.is_some_and(|until| until <= self.now)
    }

    /// Takes the lease from whoever had it.
    pub(in crate::store) fn clear_lease(&mut self) {
        self.owner = None;
        self.until = None;
    }
}
