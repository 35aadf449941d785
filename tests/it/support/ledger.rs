//! A fresh, migrated ledger per test, on either engine.

use std::path::Path;

use redrive::{
    config::{DatabaseConfig, Secret},
    store::Store,
};
use sqlx::{Connection, Executor, PgConnection, SqliteConnection};
use tempfile::TempDir;

/// A ledger of its own for one test.
pub(crate) struct Ledger {
    pub(crate) store: Store,
    pub(crate) url: String,
    home: Home,
}

enum Home {
    Folder(TempDir),
    Database { server: String, name: String },
}

/// How tests connect.
pub(crate) fn config(url: &str) -> DatabaseConfig {
    DatabaseConfig {
        url: Secret::new(url),
        max_connections: 10,
        acquire_timeout_ms: 20_000,
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "tests are told where the services are"
)]
fn server() -> String {
    std::env::var("DATABASE_URL").expect("DATABASE_URL is not set: run bash tests/run.sh")
}

/// The URL of another database on the same server.
fn with_database(server: &str, name: &str) -> String {
    let (base, query) = server.split_once('?').unwrap_or((server, ""));
    let authority = base.find("://").map_or(0, |at| at + 3);
    let end = base[authority..]
        .find('/')
        .map_or(base.len(), |at| authority + at);
    let question = if query.is_empty() { "" } else { "?" };
    format!("{}/{name}{question}{query}", &base[..end])
}

/// A new, empty database.
async fn created(server: String) -> (String, Home) {
    let name = format!("redrive_{}", uuid::Uuid::new_v4().simple());
    administer(&server, format!("create database {name}")).await;
    let url = with_database(&server, &name);
    (url, Home::Database { server, name })
}

impl Ledger {
    pub(crate) async fn sqlite() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite:{}", folder.path().join("new/redrive.db").display());
        Self::migrated(url, Home::Folder(folder)).await
    }

    /// In a folder of a place of the test's own.
    pub(crate) async fn sqlite_in(place: &Path) -> Self {
        let folder = tempfile::tempdir_in(place).unwrap();
        let url = format!("sqlite:{}", folder.path().join("redrive.db").display());
        Self::migrated(url, Home::Folder(folder)).await
    }

    /// What a script makes, not migrated.
    pub(crate) async fn sqlite_of(sql: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("redrive.db");
        let made = format!("sqlite:{}?mode=rwc", file.display());
        let mut connection = SqliteConnection::connect(&made).await.unwrap();
        let script = sqlx::AssertSqlSafe(sql.to_owned());
        connection.execute(sqlx::raw_sql(script)).await.unwrap();
        connection.close().await.unwrap();
        let url = format!("sqlite:{}", file.display());
        let store = Store::connect(&config(&url)).await.unwrap();
        Self {
            store,
            url,
            home: Home::Folder(folder),
        }
    }

    /// A file that no disk has to keep, for tests that never lose the machine.
    pub(crate) async fn sqlite_in_memory() -> Self {
        let memory = std::path::Path::new("/dev/shm");
        let folder = if memory.is_dir() {
            tempfile::tempdir_in(memory).unwrap()
        } else {
            tempfile::tempdir().unwrap()
        };
        let url = format!("sqlite:{}", folder.path().join("redrive.db").display());
        Self::migrated(url, Home::Folder(folder)).await
    }

    pub(crate) async fn postgres() -> Self {
        Self::postgres_at(server()).await
    }

    /// On a server of the test's own.
    pub(crate) async fn postgres_at(server: String) -> Self {
        let (url, home) = created(server).await;
        Self::migrated(url, home).await
    }

    /// What a script makes, not migrated.
    pub(crate) async fn postgres_of(sql: &str) -> Self {
        let (url, home) = created(server()).await;
        let mut connection = PgConnection::connect(&url).await.unwrap();
        let script = sqlx::AssertSqlSafe(sql.to_owned());
        connection.execute(sqlx::raw_sql(script)).await.unwrap();
        connection.close().await.unwrap();
        let store = Store::connect(&config(&url)).await.unwrap();
        Self { store, url, home }
    }

    async fn migrated(url: String, home: Home) -> Self {
        let store = Store::connect(&config(&url)).await.unwrap();
        store.migrate().await.unwrap();
        Self { store, url, home }
    }

    /// A second connection pool to the same ledger, as another process has it.
    pub(crate) async fn another(&self) -> Store {
        Store::connect(&config(&self.url)).await.unwrap()
    }

    /// Runs a statement behind the store's back.
    pub(crate) async fn execute(&self, sql: &str) {
        self.try_execute(sql).await.unwrap();
    }

    /// Runs a statement that the schema may refuse.
    pub(crate) async fn try_execute(&self, sql: &str) -> Result<u64, sqlx::Error> {
        execute_at(&self.url, sql).await
    }

    /// Counts with a statement behind the store's back.
    pub(crate) async fn count(&self, sql: &str) -> i64 {
        count_at(&self.url, sql).await
    }

    /// Reads a column of texts of a PostgreSQL ledger behind the store's back.
    pub(crate) async fn texts(&self, sql: &'static str) -> Vec<String> {
        let mut db = PgConnection::connect(&self.url).await.unwrap();
        let texts = sqlx::query_scalar(sql).fetch_all(&mut db).await;
        texts.unwrap()
    }

    /// Removes what the test left. A test that fails leaves its database, for a look.
    pub(crate) async fn remove(self) {
        drop(self.store);
        match self.home {
            Home::Folder(folder) => folder.close().unwrap(),
            Home::Database { server, name } => {
                administer(&server, format!("drop database {name} with (force)")).await;
            }
        }
    }
}

async fn administer(server: &str, sql: String) {
    let mut db = PgConnection::connect(server).await.unwrap();
    db.execute(sqlx::AssertSqlSafe(sql)).await.unwrap();
}

/// Runs a statement on any ledger that a URL names.
pub(crate) async fn execute_at(url: &str, sql: &str) -> Result<u64, sqlx::Error> {
    let sql = sqlx::AssertSqlSafe(sql.to_owned());
    if url.starts_with("sqlite:") {
        let mut db = SqliteConnection::connect(url).await.unwrap();
        return Ok(db.execute(sql).await?.rows_affected());
    }
    let mut db = PgConnection::connect(url).await.unwrap();
    Ok(db.execute(sql).await?.rows_affected())
}

/// Counts on any ledger that a URL names.
pub(crate) async fn count_at(url: &str, sql: &str) -> i64 {
    if url.starts_with("sqlite:") {
        let query = sqlx::query_scalar(sqlx::AssertSqlSafe(sql.to_owned()));
        let mut db = SqliteConnection::connect(url).await.unwrap();
        return query.fetch_one(&mut db).await.unwrap();
    }
    let query = sqlx::query_scalar(sqlx::AssertSqlSafe(sql.to_owned()));
    let mut db = PgConnection::connect(url).await.unwrap();
    query.fetch_one(&mut db).await.unwrap()
}
