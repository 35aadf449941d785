//! The ledger on PostgreSQL: any number of processes.
//!
//! Whether a lease has expired is decided by the database's clock. Scans compare with
//! `statement_timestamp()`, which an index can serve, everything else with `clock_timestamp()`.

mod acceptance;
mod children;
mod dead_letters;
mod intents;
mod lease;
mod many;
mod outbox;
mod plain;
mod progress;
mod read;
mod signals;
mod together;
mod tokens;
mod transaction;
mod workers;
mod workflows;

use std::{collections::BTreeSet, str::FromStr, sync::LazyLock, time::Duration};

use sqlx::{
    Connection, PgConnection, PgPool, Postgres, Transaction,
    migrate::Migrator,
    postgres::{PgConnectOptions, PgPoolOptions},
};

use crate::config::{DatabaseConfig, Secret};

use super::{StoreError, definitions::Definitions, schema, statements::Engine};
use transaction::PostgresTransaction;

/// A database that has had more of them is one that a newer version shares with this one.
static MIGRATOR: LazyLock<Migrator> = LazyLock::new(|| {
    let mut migrator = sqlx::migrate!("./migrations/postgres");
    migrator.set_ignore_missing(true);
    migrator
});

/// A connection that was idle for longer is asked for a sign of life before it is used.
const IDLE: Duration = Duration::from_secs(1);

const PING: &str = "select 1::bigint";
const HAS_MIGRATIONS_TABLE: &str = "select to_regclass('_sqlx_migrations') is not null";
const APPLIED_MIGRATIONS: &str = "select version from _sqlx_migrations where success";
const OLDEST_SCHEMA: &str = "select oldest_schema from compatibility";

/// A PostgreSQL database. Cheap to clone.
#[derive(Debug, Clone)]
pub struct PostgresStore {
    pool: PgPool,
    /// Leases are renewed even when the pool is exhausted.
    lease_pool: PgPool,
    /// What migrations connect with; it may hold a password, and so is never printed.
    url: Secret,
    pub(super) definitions: Definitions,
    plain: plain::Counters,
    reads: many::Reads,
}

impl PostgresStore {
    /// What every session is set to.
    ///
    /// Nothing waits for ever, and a process that stands still in a transaction keeps its locks for
    /// seconds only: between two statements lies a round trip. Since statements touch few rows and
    /// find them by an index, the planner is kept from reading or hashing whole tables, whatever it
    /// believes of their sizes, and from compiling plans that then look expensive.
    pub const SESSION: [(&'static str, &'static str); 7] = [
        ("idle_in_transaction_session_timeout", "5s"),
        ("statement_timeout", "10s"),
        ("lock_timeout", "5s"),
        ("enable_seqscan", "off"),
        ("enable_hashjoin", "off"),
        ("enable_mergejoin", "off"),
        ("jit", "off"),
    ];

    /// Connects, without touching the schema.
    ///
    /// # Errors
    /// The server can't be reached.
    pub async fn connect(config: &DatabaseConfig) -> Result<Self, StoreError> {
        let bounded = connect_options(&config.url)?.options(Self::SESSION);
        let acquire_timeout = Duration::from_millis(config.acquire_timeout_ms);
        let pool = pool_options(config.max_connections, acquire_timeout)
            .connect_with(bounded.clone())
            .await?;
        let lease_pool = pool_options(2, acquire_timeout).connect_lazy_with(bounded);
        Ok(Self {
            plain: plain::Counters::new(&pool),
            reads: many::Reads::new(&pool),
            pool,
            lease_pool,
            url: config.url.clone(),
            definitions: Definitions::default(),
        })
    }

    pub(super) async fn migrate(&self) -> Result<(), StoreError> {
        // A connection of its own: waiting for another process's migration has no time limit.
        let mut connection = PgConnection::connect_with(&connect_options(&self.url)?).await?;
        MIGRATOR
            .run(&mut connection)
            .await
            .map_err(StoreError::Migration)?;
        connection.close().await?;
        Ok(())
    }

    pub(super) async fn missing_migrations(&self) -> Result<usize, StoreError> {
        let exists: bool = sqlx::query_scalar(HAS_MIGRATIONS_TABLE)
            .fetch_one(&self.pool)
            .await?;
        let applied: BTreeSet<i64> = if exists {
            let versions: Vec<i64> = sqlx::query_scalar(APPLIED_MIGRATIONS)
                .fetch_all(&self.pool)
                .await?;
            versions.into_iter().collect()
        } else {
            BTreeSet::new()
        };
        let oldest = if applied.contains(&schema::COMPATIBILITY) {
            let oldest = sqlx::query_scalar(OLDEST_SCHEMA);
            Some(oldest.fetch_one(&self.pool).await?)
        } else {
            None
        };
        schema::missing(&MIGRATOR, &applied, oldest)
    }

    pub(super) async fn ping(&self) -> Result<(), StoreError> {
        let _: i64 = sqlx::query_scalar(PING).fetch_one(&self.pool).await?;
        Ok(())
    }
}

impl Engine for PostgresStore {
    type Transaction = PostgresTransaction;

    async fn begin(&self) -> Result<PostgresTransaction, StoreError> {
        begin(&self.pool).await.map(PostgresTransaction)
    }
}

/// Begins a transaction, in a task of its own: a `begin()` that is dropped while it waits may leave
/// its session inside a transaction that nobody knows of, and the next borrower's writes would be
/// acknowledged and never committed. One that has begun is rolled back when it is dropped.
async fn begin(pool: &PgPool) -> Result<Transaction<'static, Postgres>, StoreError> {
    let pool = pool.clone();
    match tokio::spawn(async move { pool.begin().await }).await {
        Ok(begun) => Ok(begun?),
        Err(_) => Err(StoreError::Unavailable(sqlx::Error::WorkerCrashed)),
    }
}

fn connect_options(url: &Secret) -> Result<PgConnectOptions, StoreError> {
    Ok(PgConnectOptions::from_str(url.expose())?
        .application_name("redrive")
        .options([("client_min_messages", "error")]))
}

fn pool_options(connections: u32, acquire_timeout: Duration) -> PgPoolOptions {
    PgPoolOptions::new()
        .max_connections(connections.max(1))
        .acquire_timeout(acquire_timeout)
        .test_before_acquire(false)
        .before_acquire(|connection, use_of_it| {
            Box::pin(async move {
                if use_of_it.idle_for > IDLE {
                    connection.ping().await?;
                }
                Ok(true)
            })
        })
}

/// A duration as the databases count it.
fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}
