//! The ledger in a `SQLite` file: one serving process, nothing to install.
//!
//! All writes go over one connection, each transaction `begin immediate`: an upgrade from reading
//! to writing would fail at once when another process has written, whatever the busy time-out.

mod acceptance;
mod children;
mod dead_letters;
mod intents;
mod lease;
mod lock;
mod outbox;
mod progress;
mod read;
mod signals;
mod time;
mod tokens;
mod transaction;
mod workers;
mod workflows;

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    str::FromStr,
    sync::{Arc, LazyLock},
    time::Duration,
};

use sqlx::{
    Connection, SqliteConnection, SqlitePool,
    migrate::Migrator,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous},
};

use crate::{
    config::DatabaseConfig,
    domain::{Clock, SystemClock, Timestamp},
    faults,
};

use super::{
    StoreError,
    definitions::Definitions,
    schema,
    statements::{Engine, Plain},
};
pub use lock::ServingLock;
use transaction::SqliteTransaction;

/// A database that has had more of them is one that a newer version shares with this one.
static MIGRATOR: LazyLock<Migrator> = LazyLock::new(|| {
    let mut migrator = sqlx::migrate!("./migrations/sqlite");
    migrator.set_ignore_missing(true);
    migrator
});

/// How many migrations this version has.
pub(super) fn migrations() -> usize {
    MIGRATOR.iter().count()
}

const IMMEDIATE: &str = "begin immediate";
const PING: &str = "select 1";
const HAS_MIGRATIONS_TABLE: &str = "
    select exists (select 1 from sqlite_master where name = '_sqlx_migrations')";
const APPLIED_MIGRATIONS: &str = "select version from _sqlx_migrations where success";
const OLDEST_SCHEMA: &str = "select oldest_schema from compatibility";

const READERS: u32 = 4;
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// A `SQLite` file. Cheap to clone.
#[derive(Debug, Clone)]
pub struct SqliteStore {
    writer: SqlitePool,
    reader: SqlitePool,
    path: PathBuf,
    /// One process, one clock: its own decides leases.
    clock: Arc<dyn Clock>,
    pub(super) definitions: Definitions,
}

impl SqliteStore {
    /// Opens the file, and creates it and its folder if need be, without touching the schema.
    ///
    /// # Errors
    /// The file can't be opened.
    pub async fn connect(config: &DatabaseConfig) -> Result<Self, StoreError> {
        let options = connect_options(config)?
            .busy_timeout(BUSY_TIMEOUT)
            .foreign_keys(true)
            .synchronous(SqliteSynchronous::Full);
        let path = options.get_filename().to_path_buf();
        create_privately(&path).await?;
        let acquire_timeout = Duration::from_millis(config.acquire_timeout_ms);
        // Deferring would harm nobody with one of them.
        let writers = if faults::planted("deferred_begin") {
            8
        } else {
            1
        };
        let writer = SqlitePoolOptions::new()
            .max_connections(writers)
            .after_release(|connection, _| Box::pin(is_out_of_transaction(connection)))
            .acquire_timeout(acquire_timeout)
            .idle_timeout(None)
            .max_lifetime(None)
            .connect_with(
                options
                    .clone()
                    .create_if_missing(true)
                    .journal_mode(SqliteJournalMode::Wal),
            )
            .await?;
        let reader = SqlitePoolOptions::new()
            .max_connections(READERS)
            .acquire_timeout(acquire_timeout)
            .connect_lazy_with(options.read_only(true));
        Ok(Self {
            writer,
            reader,
            path,
            clock: Arc::new(SystemClock),
            definitions: Definitions::default(),
        })
    }

    /// The same ledger by another clock: with it, leases expire and rows become due when whoever owns
    /// the clock says so.
    #[must_use]
    pub fn with_clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// The file that the URL names, there or not.
    pub(super) fn file(config: &DatabaseConfig) -> Result<PathBuf, StoreError> {
        Ok(connect_options(config)?.get_filename().to_path_buf())
    }

    pub(super) async fn migrate(&self) -> Result<(), StoreError> {
        // One transaction around all of it, so that several processes take turns.
        let mut tx = self.writer.begin_with(IMMEDIATE).await?;
        MIGRATOR
            .run(&mut *tx)
            .await
            .map_err(StoreError::Migration)?;
        tx.commit().await.map_err(StoreError::at_commit)
    }

    pub(super) async fn missing_migrations(&self) -> Result<usize, StoreError> {
        let exists: bool = sqlx::query_scalar(HAS_MIGRATIONS_TABLE)
            .fetch_one(&self.reader)
            .await?;
        let applied: BTreeSet<i64> = if exists {
            let versions: Vec<i64> = sqlx::query_scalar(APPLIED_MIGRATIONS)
                .fetch_all(&self.reader)
                .await?;
            versions.into_iter().collect()
        } else {
            BTreeSet::new()
        };
        let oldest = if applied.contains(&schema::COMPATIBILITY) {
            let oldest = sqlx::query_scalar(OLDEST_SCHEMA);
            Some(oldest.fetch_one(&self.reader).await?)
        } else {
            None
        };
        schema::missing(&MIGRATOR, &applied, oldest)
    }

    pub(super) async fn ping(&self) -> Result<(), StoreError> {
        let _: i64 = sqlx::query_scalar(PING).fetch_one(&self.reader).await?;
        Ok(())
    }
}

// A statement costs no round trip here: the flows are as good.
impl Plain for SqliteStore {}

impl Engine for SqliteStore {
    type Transaction = SqliteTransaction;

    async fn begin(&self) -> Result<SqliteTransaction, StoreError> {
        let inner = if faults::planted("deferred_begin") {
            self.writer.begin().await?
        } else {
            self.writer.begin_with(IMMEDIATE).await?
        };
        Ok(SqliteTransaction {
            inner,
            clock: Arc::clone(&self.clock),
        })
    }
}

/// A full disk makes `SQLite` roll back by itself. The driver's own rollback then fails, and it
/// would take the connection for one inside a transaction for ever: such a connection is closed.
async fn is_out_of_transaction(connection: &mut SqliteConnection) -> Result<bool, sqlx::Error> {
    // A rollback may be on its way to the connection's thread.
    connection.ping().await?;
    Ok(!connection.is_in_transaction())
}

fn connect_options(config: &DatabaseConfig) -> Result<SqliteConnectOptions, StoreError> {
    let url = config.url.expose();
    if is_in_memory(url) {
        let why = "a ledger in memory keeps nothing: name a file";
        return Err(StoreError::Driver(sqlx::Error::Configuration(why.into())));
    }
    // A reader of ten thousand rows wakes the thread that reads them ten times, not two hundred.
    Ok(SqliteConnectOptions::from_str(url)?.row_buffer_size(1024))
}

fn is_in_memory(url: &str) -> bool {
    url.contains(":memory:") || url.contains("mode=memory")
}

/// Creates the file, and its folder if need be, for its owner only: payloads are in it.
async fn create_privately(file: &Path) -> Result<(), StoreError> {
    let created = async {
        if let Some(folder) = file
            .parent()
            .filter(|folder| !folder.as_os_str().is_empty())
        {
            tokio::fs::create_dir_all(folder).await?;
        }
        let mut options = tokio::fs::OpenOptions::new();
        options
            .create(true)
            .append(true)
            .mode(0o600)
            .open(file)
            .await
    };
    match created.await {
        Ok(_) => Ok(()),
        Err(error) => Err(StoreError::Unavailable(sqlx::Error::Io(error))),
    }
}
