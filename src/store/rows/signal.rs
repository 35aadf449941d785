//! What came from outside to a node that waits.

use crate::domain::JsonText;

use super::{
    super::{Signal, SignalKind, StoreError},
    Place,
};

/// A signal.
#[derive(sqlx::FromRow)]
pub(in crate::store) struct SignalRow {
    run_id: String,
    path: String,
    kind: String,
    body: String,
}

impl TryFrom<SignalRow> for Signal {
    type Error = StoreError;

    fn try_from(row: SignalRow) -> Result<Self, StoreError> {
        let place = Place {
            table: "signals",
            row: &row.run_id,
        };
        Ok(Self {
            path: place.id("path", &row.path)?,
            kind: place.word("kind", &row.kind, SignalKind::parse)?,
            body: JsonText::trusted(row.body),
        })
    }
}
