//! What can go wrong with the ledger.

use sqlx::{
    error::{DatabaseError, ErrorKind},
    postgres::PgDatabaseError,
    sqlite::SqliteError,
};

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
    /// A later version has taken away what this program needs.
    #[error(
        "the database needs a program that knows migration {needed:04}, and this one ends at \
         {newest:04}: run a newer version of redrive"
    )]
    ProgramTooOld {
        /// The migration that a program has to know.
        needed: i64,
        /// The last one that this program knows.
        newest: i64,
    },
    /// The file beside an embedded database can't be opened or locked.
    #[error("the lock file {path} can't be used")]
    LockFile {
        /// Where it is.
        path: String,
        /// What is wrong with it.
        #[source]
        source: std::io::Error,
    },
    /// Another process serves from this file.
    #[error("another process serves from this database: {path} is locked")]
    Locked {
        /// The lock file.
        path: String,
    },
}

impl StoreError {
    /// Whether the engine is away or went away, so that asking again later may well help.
    #[must_use]
    pub fn is_unavailable(&self) -> bool {
        matches!(self, Self::Unavailable(_) | Self::InDoubt(_))
    }

    /// An error at COMMIT: unless the engine itself said that it rolled back, nobody knows.
    pub(super) fn at_commit(error: sqlx::Error) -> Self {
        let answered = error
            .as_database_error()
            .is_some_and(|e| !is_connection_loss(e) && !is_io_error(e));
        if answered {
            return error.into();
        }
        Self::InDoubt(error)
    }

    /// Whether the engine said so itself, in good order, or what it gave can't be read. Before a commit,
    /// and in a statement that is its own: nothing was written.
    pub(super) fn is_answered(&self) -> bool {
        let (Self::Unavailable(error) | Self::Driver(error)) = self else {
            return matches!(self, Self::Inconsistent { .. });
        };
        let answer = error.as_database_error();
        answer.is_some_and(|e| !is_connection_loss(e))
    }

    /// Whether the same transaction may well pass when it is run again: it met another one.
    pub(super) fn is_conflict(&self) -> bool {
        let (Self::Unavailable(error) | Self::Driver(error)) = self else {
            return false;
        };
        error.as_database_error().is_some_and(|e| {
            e.kind() == ErrorKind::UniqueViolation
                || postgres_code(e).is_some_and(|code| matches!(code, "40001" | "40P01"))
        })
    }
}

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        // A server that hangs up instead of answering whether it speaks TLS is reported as a breach
        // of the protocol.
        let unavailable = matches!(
            error,
            sqlx::Error::Io(_)
                | sqlx::Error::Tls(_)
                | sqlx::Error::Protocol(_)
                | sqlx::Error::PoolTimedOut
                | sqlx::Error::PoolClosed
                | sqlx::Error::WorkerCrashed
        ) || error
            .as_database_error()
            .is_some_and(|e| is_connection_loss(e) || is_overload(e));
        if unavailable {
            Self::Unavailable(error)
        } else {
            Self::Driver(error)
        }
    }
}

fn postgres_code(error: &dyn DatabaseError) -> Option<&str> {
    error
        .try_downcast_ref::<PgDatabaseError>()
        .map(PgDatabaseError::code)
}

/// The server is going down, coming up, or gone.
fn is_connection_loss(error: &dyn DatabaseError) -> bool {
    postgres_code(error).is_some_and(|code| {
        code.starts_with("08") || matches!(code, "57P01" | "57P02" | "57P03" | "57P05" | "25P03")
    })
}

/// Too many connections, no space, a statement or a lock that took too long, a conflict, a disk that
/// gives errors: a full one does so wherever `SQLite` needs room for something else than its pages.
fn is_overload(error: &dyn DatabaseError) -> bool {
    const BUSY: i64 = 5;
    const LOCKED: i64 = 6;
    const FULL: i64 = 13;
    const CANNOT_OPEN: i64 = 14;
    if let Some(code) = postgres_code(error) {
        return code.starts_with("53")
            || matches!(code, "57014" | "55P03" | "40001" | "40P01" | "58030");
    }
    is_io_error(error)
        || sqlite_code(error).is_some_and(|code| matches!(code, BUSY | LOCKED | FULL | CANNOT_OPEN))
}

/// The disk gave an error. During COMMIT the log may have been written and only not synced, and then
/// a crash may bring the transaction back.
fn is_io_error(error: &dyn DatabaseError) -> bool {
    const IO_ERROR: i64 = 10;
    sqlite_code(error) == Some(IO_ERROR)
}

/// The primary result code: the low byte of an extended one.
fn sqlite_code(error: &dyn DatabaseError) -> Option<i64> {
    error.try_downcast_ref::<SqliteError>()?;
    let code: i64 = error.code()?.parse().ok()?;
    Some(code & 0xff)
}
