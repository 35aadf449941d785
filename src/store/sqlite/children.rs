//! Runs that nodes of other runs started.

use sqlx::SqliteConnection;

use crate::domain::{NodePath, RunId};

use super::{super::StoreError, SqliteStore};

const INSERT_CHILD: &str = "
    insert into children (run_id, parent_run_id, parent_path, depth) values ($1, $2, $3, $4)";

// A retry is as deep as the first run of its chain.
const CHILD_DEPTH: &str = "
    select children.depth
      from runs
      join children on children.run_id = runs.root_run_id
     where runs.id = $1";

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

impl SqliteStore {
    pub(in crate::store) async fn child_depth(&self, run: &RunId) -> Result<i64, StoreError> {
        let depth: Option<i64> = sqlx::query_scalar(CHILD_DEPTH)
            .bind(run.as_str())
            .fetch_optional(&self.reader)
            .await?;
        Ok(depth.unwrap_or(0))
    }
}
