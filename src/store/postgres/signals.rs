//! What comes from outside to nodes that wait.

use sqlx::PgConnection;

use crate::domain::{JsonText, NodePath, RunId, Timestamp};

use super::{
    super::{
        Signal, SignalKind, StoreError,
        rows::{SignalRow, read_run_id},
    },
    PostgresStore,
    read::texts,
};

// Of a resume and a time-out the first one counts.
const INSERT_SIGNAL: &str = "
    insert into signals (run_id, path, kind, body, created_at)
    values ($1, $2, $3, $4, $5)
    on conflict (run_id, path) do nothing";

const SIGNAL: &str = "
    select run_id, path, kind, body from signals where run_id = $1 and path = $2";

const SIGNALS: &str = "
    select run_id, path, kind, body
      from signals
     where run_id = $1 and not applied
     order by created_at, path";

const HAS_SIGNALS: &str = "
    select exists (select 1 from signals where run_id = $1 and not applied)";

const SIGNALLED: &str = "
    select distinct run_id from signals where run_id = any ($1::text[]) and not applied";

const APPLY_SIGNALS: &str = "
    update signals set applied = true where run_id = $1 and path = any ($2::text[])";

/// Adds a signal, unless the node has one; whether it was added.
pub(super) async fn insert_signal(
    db: &mut PgConnection,
    run: &RunId,
    path: &NodePath,
    kind: SignalKind,
    body: &JsonText,
    at: Timestamp,
) -> Result<bool, StoreError> {
    let done = sqlx::query(INSERT_SIGNAL)
        .bind(run.as_str())
        .bind(path.to_string())
        .bind(kind.as_str())
        .bind(body.as_str())
        .bind(at)
        .execute(db)
        .await?;
    Ok(done.rows_affected() == 1)
}

/// The signal of a node.
pub(super) async fn signal(
    db: &mut PgConnection,
    run: &RunId,
    path: &NodePath,
) -> Result<Option<Signal>, StoreError> {
    let row: Option<SignalRow> = sqlx::query_as(SIGNAL)
        .bind(run.as_str())
        .bind(path.to_string())
        .fetch_optional(db)
        .await?;
    row.map(Signal::try_from).transpose()
}

/// Whether a run has signals that no record has yet.
pub(super) async fn has_signals(db: &mut PgConnection, run: &RunId) -> Result<bool, StoreError> {
    Ok(sqlx::query_scalar(HAS_SIGNALS)
        .bind(run.as_str())
        .fetch_one(db)
        .await?)
}

/// Notes that the records of these nodes have their signals.
pub(super) async fn apply_signals(
    db: &mut PgConnection,
    run: &RunId,
    paths: &[NodePath],
) -> Result<(), StoreError> {
    if !paths.is_empty() {
        sqlx::query(APPLY_SIGNALS)
            .bind(run.as_str())
            .bind(texts(paths))
            .execute(db)
            .await?;
    }
    Ok(())
}

impl PostgresStore {
    pub(in crate::store) async fn signals(&self, run: &RunId) -> Result<Vec<Signal>, StoreError> {
        let rows: Vec<SignalRow> = sqlx::query_as(SIGNALS)
            .bind(run.as_str())
            .fetch_all(&self.pool)
            .await?;
        rows.into_iter().map(Signal::try_from).collect()
    }

    pub(in crate::store) async fn signalled(
        &self,
        runs: &[RunId],
    ) -> Result<Vec<RunId>, StoreError> {
        let ids: Vec<String> = sqlx::query_scalar(SIGNALLED)
            .bind(texts(runs))
            .fetch_all(&self.lease_pool)
            .await?;
        ids.iter().map(|id| read_run_id("signals", id)).collect()
    }
}
