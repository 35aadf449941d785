//! Rows as both engines return them, and their way into the domain's types.
//!
//! A value that can't be read is reported with its table, column and row.

mod node;
mod retry;
mod run;
mod signal;
mod workflow;

pub(super) use node::{NodeRow, VariableWriteRow, history};
pub(super) use retry::{ClaimedRow, RetryRow};
pub(super) use run::{LockedRow, LockedRun, RunRow};
pub(super) use signal::SignalRow;
pub(super) use workflow::{WorkflowRow, WorkflowVariableRow};

use std::str::FromStr;

use crate::domain::{JsonText, Lane, PerLane, RetryId, RunId, Timestamp};

use super::{DeadLetter, DueRow, Earlier, Renewed, StoreError, Token, WorkKind};

/// Names the place of a value, to say where an unreadable one is.
#[derive(Clone, Copy)]
struct Place<'a> {
    table: &'static str,
    row: &'a str,
}

impl Place<'_> {
    fn unreadable(self, column: &'static str, why: &impl ToString) -> StoreError {
        StoreError::Inconsistent {
            table: self.table,
            column,
            row: self.row.to_owned(),
            why: why.to_string(),
        }
    }

    fn id<T: FromStr<Err: ToString>>(
        self,
        column: &'static str,
        text: &str,
    ) -> Result<T, StoreError> {
        text.parse()
            .map_err(|e: T::Err| self.unreadable(column, &e))
    }

    fn optional_id<T: FromStr<Err: ToString>>(
        self,
        column: &'static str,
        text: Option<&str>,
    ) -> Result<Option<T>, StoreError> {
        text.map(|text| self.id(column, text)).transpose()
    }

    fn word<T>(
        self,
        column: &'static str,
        word: &str,
        parse: fn(&str) -> Option<T>,
    ) -> Result<T, StoreError> {
        parse(word).ok_or_else(|| self.unreadable(column, &format!("unknown word {word:?}")))
    }

    fn json<T: serde::de::DeserializeOwned>(
        self,
        column: &'static str,
        text: &str,
    ) -> Result<T, StoreError> {
        serde_json::from_str(text).map_err(|e| self.unreadable(column, &e))
    }
}

/// A due row of the outbox, with what a message says about its run.
#[derive(sqlx::FromRow)]
pub(super) struct OutboxRow {
    run_id: String,
    created: bool,
    retry_id: Option<String>,
    organization_id: String,
    lane: String,
    traceparent: Option<String>,
}

impl TryFrom<OutboxRow> for DueRow {
    type Error = StoreError;

    fn try_from(row: OutboxRow) -> Result<Self, StoreError> {
        let place = Place {
            table: "runs",
            row: &row.run_id,
        };
        let retry_id = place.optional_id("retry_id", row.retry_id.as_deref())?;
        Ok(Self {
            run_id: place.id("id", &row.run_id)?,
            kind: if row.created {
                WorkKind::Run
            } else {
                WorkKind::Retry
            },
            retry_id: retry_id.filter(|_| !row.created),
            organization_id: place.id("organization_id", &row.organization_id)?,
            lane: place.word("lane", &row.lane, Lane::parse)?,
            traceparent: row.traceparent,
        })
    }
}

/// A lease that was renewed.
#[derive(sqlx::FromRow)]
pub(super) struct RenewedRow {
    run_id: String,
    cancel_requested: bool,
    extended: bool,
}

impl TryFrom<RenewedRow> for Renewed {
    type Error = StoreError;

    fn try_from(row: RenewedRow) -> Result<Self, StoreError> {
        let place = Place {
            table: "runs",
            row: &row.run_id,
        };
        Ok(Self {
            run_id: place.id("id", &row.run_id)?,
            cancel_requested: row.cancel_requested,
            extended: row.extended,
        })
    }
}

/// A stored token.
#[derive(sqlx::FromRow)]
pub(super) struct TokenRow {
    id: String,
    organization_id: String,
    name: Option<String>,
    secret_hash: String,
    scopes: String,
    created_at: Timestamp,
    revoked_at: Option<Timestamp>,
}

impl TryFrom<TokenRow> for Token {
    type Error = StoreError;

    fn try_from(row: TokenRow) -> Result<Self, StoreError> {
        let place = Place {
            table: "tokens",
            row: &row.id,
        };
        Ok(Self {
            id: place.id("id", &row.id)?,
            organization_id: place.id("organization_id", &row.organization_id)?,
            name: row.name,
            secret_hash: row.secret_hash,
            scopes: row.scopes,
            created_at: row.created_at,
            revoked_at: row.revoked_at,
        })
    }
}

/// A message that could not be used.
#[derive(sqlx::FromRow)]
pub(super) struct DeadLetterRow {
    id: String,
    reason: String,
    message: String,
    queue: Option<String>,
    body: Vec<u8>,
    body_bytes: i64,
    headers: String,
    received_at: Timestamp,
}

impl TryFrom<DeadLetterRow> for DeadLetter {
    type Error = StoreError;

    fn try_from(row: DeadLetterRow) -> Result<Self, StoreError> {
        let place = Place {
            table: "dead_letters",
            row: &row.id,
        };
        Ok(Self {
            id: place.id("id", &row.id)?,
            reason: row.reason,
            message: row.message,
            queue: row.queue,
            body: row.body,
            body_bytes: row.body_bytes,
            headers: JsonText::trusted(row.headers),
            received_at: row.received_at,
        })
    }
}

/// How many rows of each lane were sent and not claimed.
pub(super) fn read_window(rows: &[(String, i64)]) -> Result<PerLane<u32>, StoreError> {
    let mut sent = PerLane::default();
    for (lane, count) in rows {
        let place = Place {
            table: "outbox",
            row: "sent",
        };
        let lane = place.word("lane", lane, Lane::parse)?;
        *sent.of_mut(lane) = u32::try_from(*count).unwrap_or(u32::MAX);
    }
    Ok(sent)
}

/// Reads many rows at once.
pub(super) fn read_all<Row, T>(rows: Vec<Row>) -> Result<Vec<T>, StoreError>
where
    T: TryFrom<Row, Error = StoreError>,
{
    rows.into_iter().map(T::try_from).collect()
}

/// A run's id that a statement about `table` gave.
pub(super) fn read_run_id(table: &'static str, id: &str) -> Result<RunId, StoreError> {
    Place { table, row: id }.id("run_id", id)
}

/// A request that was accepted: its run, and what it stood for.
pub(super) fn read_earlier((run, fingerprint): (String, String)) -> Result<Earlier, StoreError> {
    Ok(Earlier::Accepted {
        run_id: read_run_id("idempotency_keys", &run)?,
        fingerprint,
    })
}

/// A retry's id and its run's.
pub(super) fn read_live_retry(
    (id, run_id): (String, String),
) -> Result<(RetryId, RunId), StoreError> {
    let place = Place {
        table: "retries",
        row: &id,
    };
    Ok((place.id("id", &id)?, place.id("run_id", &run_id)?))
}
