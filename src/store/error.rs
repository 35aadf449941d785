//! What can go wrong with the ledger.

/// Why the ledger did not answer.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The URL names no engine that is known.
    #[error("the database URL must begin with sqlite: or postgres:")]
    UnknownScheme,
    /// The engine can't be reached now, or is overloaded: try again later.
    #[error("the database is not available")]
    Unavailable(#[source] sqlx::Error),
    /// The connection was lost during COMMIT: whether it is durable is unknown. Read again.
    #[error("the connection was lost during commit: the outcome is unknown")]
    InDoubt(#[source] sqlx::Error),
    /// The engine refused a statement: a fault of this program or of its schema.
    #[error("the database refused a statement")]
    Driver(#[source] sqlx::Error),
    /// A stored value can't be read.
    #[error("unreadable value in {table}.{column} of {row}: {why}")]
    Inconsistent {
        /// The table.
        table: &'static str,
        /// The column.
        column: &'static str,
        /// The row's id.
        row: String,
        /// What is wrong with it.
        why: String,
    },
    /// The schema can't be brought up to date.
    #[error("the migrations did not apply")]
    Migration(#[source] sqlx::migrate::MigrateError),
}
