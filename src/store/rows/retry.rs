//! Accepted retries.

use crate::domain::{JsonText, Lane, Refusal, RefusalReason, Retry, RetryState, Timestamp};

use super::{super::StoreError, Place};

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
