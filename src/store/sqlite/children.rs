//! Runs that nodes of other runs started.

use sqlx::SqliteConnection;

use crate::domain::{NodePath, RunId};

use super::{
    super::{StoreError, rows::read_run_id},
    SqliteStore,
    transaction::HEAD,
};

const INSERT_CHILD: &str = "
    insert into children (run_id, parent_run_id, parent_path, depth) values ($1, $2, $3, $4)";

// A retry is as deep as the first run of its chain.
const CHILD_DEPTH: &str = "
    select children.depth
      from runs
      join children on children.run_id = runs.root_run_id
     where runs.id = $1";

// One that is scheduled waits for its next attempt, which goes on with the same child.
const WAITS_FOR_CHILD: &str = "
    select exists (
        select 1 from nodes
         where run_id = $1 and status in ('waiting', 'scheduled')
           and type = 'trigger-workflow')";

// The node may be that of a retry of the run that started the child. Of a chain only its first run
// and the run of its live retry can be waiting.
const WAITING_PARENTS: &str = "
    select waiting.id
      from runs as child
      join children on children.run_id = child.root_run_id
      join runs as parent on parent.id = children.parent_run_id
      join runs as waiting
        on waiting.id = parent.root_run_id
        or waiting.id = (
           select retries.run_id
             from retries
            where retries.root_run_id = parent.root_run_id and retries.live)
     where child.id = $1
       and waiting.status = 'waiting'
       -- Whatever else it waits for first.
       and exists (
        select 1 from nodes
         where run_id = waiting.id and status = 'waiting' and type = 'trigger-workflow')";

/// Notes which node started a run.
pub(super) async fn insert_child(
    db: &mut SqliteConnection,
    run: &RunId,
    parent: &RunId,
    path: &NodePath,
    depth: i64,
) -> Result<(), StoreError> {
    sqlx::query(INSERT_CHILD)
        .bind(run.as_str())
        .bind(parent.as_str())
        .bind(path.to_string())
        .bind(depth)
        .execute(db)
        .await?;
    Ok(())
}

/// Whether a node of a run waits for the run that it started.
pub(super) async fn waits_for_child(
    db: &mut SqliteConnection,
    run: &RunId,
) -> Result<bool, StoreError> {
    Ok(sqlx::query_scalar(WAITS_FOR_CHILD)
        .bind(run.as_str())
        .fetch_one(db)
        .await?)
}

/// Runs without a worker that wait for the chain of this one.
pub(super) async fn waiting_parents(
    db: &mut SqliteConnection,
    child: &RunId,
) -> Result<Vec<RunId>, StoreError> {
    let ids: Vec<String> = sqlx::query_scalar(WAITING_PARENTS)
        .bind(child.as_str())
        .fetch_all(db)
        .await?;
    ids.iter().map(|id| read_run_id("runs", id)).collect()
}

impl SqliteStore {
    pub(in crate::store) async fn head(&self, run: &RunId) -> Result<Option<RunId>, StoreError> {
        let head: Option<String> = sqlx::query_scalar(HEAD)
            .bind(run.as_str())
            .fetch_optional(&self.reader)
            .await?;
        head.map(|id| read_run_id("retries", &id)).transpose()
    }

    pub(in crate::store) async fn child_depth(&self, run: &RunId) -> Result<i64, StoreError> {
        let depth: Option<i64> = sqlx::query_scalar(CHILD_DEPTH)
            .bind(run.as_str())
            .fetch_optional(&self.reader)
            .await?;
        Ok(depth.unwrap_or(0))
    }
}
