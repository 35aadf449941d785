//! Accepted retries.

use crate::domain::{JsonText, Lane, Refusal, RefusalReason, Retry, RetryState, Run, Timestamp};

use super::{
    super::{Claim, Fence, StoreError},
    Place, RunRow,
};

/// An accepted retry.
#[derive(sqlx::FromRow)]
pub(in crate::store) struct RetryRow {
    id: String,
    organization_id: String,
    source_run_id: String,
    run_id: Option<String>,
    root_run_id: Option<String>,
    ordinal: Option<i64>,
    state: String,
    lane: String,
    request: String,
    reason: Option<String>,
    triggered_by: Option<String>,
    refusal_reason: Option<String>,
    refusal_message: Option<String>,
    refusal_run_id: Option<String>,
    refusal_retry_id: Option<String>,
    created_at: Timestamp,
    updated_at: Timestamp,
}

impl TryFrom<RetryRow> for Retry {
    type Error = StoreError;

    fn try_from(row: RetryRow) -> Result<Self, StoreError> {
        let place = Place {
            table: "retries",
            row: &row.id,
        };
        let refusal = match (row.refusal_reason, row.refusal_message) {
            (Some(reason), Some(message)) => Some(Refusal {
                reason: place.word("refusal_reason", &reason, RefusalReason::parse)?,
                message,
                run_id: place.optional_id("refusal_run_id", row.refusal_run_id.as_deref())?,
                retry_id: place.optional_id("refusal_retry_id", row.refusal_retry_id.as_deref())?,
                // The message names them.
                paths: Vec::new(),
                differences: Vec::new(),
                plan_hash: None,
            }),
            _ => None,
        };
        Ok(Self {
            id: place.id("id", &row.id)?,
            organization_id: place.id("organization_id", &row.organization_id)?,
            source_run_id: place.id("source_run_id", &row.source_run_id)?,
            run_id: place.optional_id("run_id", row.run_id.as_deref())?,
            root_run_id: place.optional_id("root_run_id", row.root_run_id.as_deref())?,
            ordinal: row.ordinal,
            state: place.word("state", &row.state, RetryState::parse)?,
            lane: place.word("lane", &row.lane, Lane::parse)?,
            request: JsonText::trusted(row.request),
            reason: row.reason,
            triggered_by: row.triggered_by,
            refusal,
            created_at: row.created_at,
            updated_at: row.updated_at,
        })
    }
}

/// A retry's run that was just claimed for the first time, and the retry.
#[derive(sqlx::FromRow)]
pub(in crate::store) struct ClaimedRow {
    #[sqlx(flatten)]
    run: RunRow,
    lease_epoch: i64,
    retry_id: String,
    retry_source_run_id: String,
    ordinal: Option<i64>,
    state: String,
    lane: String,
    request: String,
    reason: Option<String>,
    retry_triggered_by: Option<String>,
    retry_created_at: Timestamp,
    updated_at: Timestamp,
}

impl TryFrom<ClaimedRow> for Claim {
    type Error = StoreError;

    fn try_from(row: ClaimedRow) -> Result<Self, StoreError> {
        let run = Run::try_from(row.run)?;
        let retry = RetryRow {
            id: row.retry_id,
            organization_id: run.organization_id.to_string(),
            source_run_id: row.retry_source_run_id,
            run_id: Some(run.id.to_string()),
            root_run_id: Some(run.root_run_id.to_string()),
            ordinal: row.ordinal,
            state: row.state,
            lane: row.lane,
            request: row.request,
            reason: row.reason,
            triggered_by: row.retry_triggered_by,
            refusal_reason: None,
            refusal_message: None,
            refusal_run_id: None,
            refusal_retry_id: None,
            created_at: row.retry_created_at,
            updated_at: row.updated_at,
        };
        Ok(Self {
            fence: Fence {
                run_id: run.id.clone(),
                epoch: row.lease_epoch,
            },
            retry: Some(retry.try_into()?),
            lost_leases: 0,
            run,
        })
    }
}
