//! The ledger as the dead left it, read behind the program's back.

use std::{
    collections::{HashMap, HashSet},
    path::Path,
};

use sqlx::{Connection, SqliteConnection, sqlite::SqliteRow};

use super::process;

/// What is durable.
pub(super) struct Ledger(SqliteConnection);

/// What was durable when a process died.
#[derive(Debug, Default)]
pub(super) struct Durable {
    /// The new run of each source.
    pub(super) retries: HashMap<String, String>,
    /// The recorded successes that a run executed itself: run and node.
    pub(super) successes: HashSet<(String, String)>,
}

impl Ledger {
    pub(super) async fn open(file: &Path) -> Self {
        let url = format!("sqlite:{}", file.display());
        Self(SqliteConnection::connect(&url).await.unwrap())
    }

    pub(super) async fn count(&mut self, sql: &'static str) -> i64 {
        let counted = sqlx::query_scalar(sql).fetch_one(&mut self.0).await;
        counted.unwrap()
    }

    pub(super) async fn text(&mut self, sql: &'static str) -> String {
        let text = sqlx::query_scalar(sql).fetch_one(&mut self.0).await;
        text.unwrap()
    }

    async fn pairs<T: FromIterator<(String, String)>>(&mut self, sql: &'static str) -> T {
        let rows: Vec<SqliteRow> = sqlx::query(sql).fetch_all(&mut self.0).await.unwrap();
        let pair = |row: SqliteRow| {
            use sqlx::Row;
            (row.get::<String, _>(0), row.get::<String, _>(1))
        };
        rows.into_iter().map(pair).collect()
    }
}

impl Durable {
    /// What a copy of the file holds, so that the next process meets the log of the dead one.
    pub(super) async fn left_in(file: &Path) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut ledger = Ledger::open(&process::copy(file, folder.path())).await;
        Self {
            retries: ledger
                .pairs("select source_run_id, run_id from retries")
                .await,
            successes: ledger
                .pairs(
                    "select nodes.run_id, nodes.path from nodes
                       join retries on retries.run_id = nodes.run_id
                      where nodes.status = 'success' and nodes.origin_run_id is null",
                )
                .await,
        }
    }
}
