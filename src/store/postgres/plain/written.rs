//! What the fenced writes have in common.

use std::collections::HashMap;

use sqlx::{FromRow, postgres::PgRow};

use super::super::{
    super::{StoreError, Written},
    progress::column,
    together::Together,
};
use crate::domain::{JsonText, NodeRecord};

/// The records of many runs, as they are bound.
pub(super) struct Records<'a> {
    /// The run of each.
    pub(super) run_ids: Vec<&'a str>,
    pub(super) records: Vec<&'a NodeRecord>,
}

impl<'a> Records<'a> {
    pub(super) fn of(runs: impl Iterator<Item = (&'a str, &'a [NodeRecord])>) -> Self {
        let rows = runs.flat_map(|(run, records)| records.iter().map(move |record| (run, record)));
        let (run_ids, records) = rows.unzip();
        Self { run_ids, records }
    }

    /// How many bytes records are, roughly.
    pub(super) fn bytes(records: &[NodeRecord]) -> usize {
        let length = |text: &Option<JsonText>| text.as_ref().map_or(0, |t| t.as_str().len());
        let record = |r: &NodeRecord| {
            256 + length(&r.input) + length(&r.result) + length(&r.error) + length(&r.extra)
        };
        records.iter().map(record).sum()
    }
}

/// The answers to those whose rows these are: the run, and whether its cancellation was asked for.
pub(super) fn written<Q: Together>(
    rows: &[PgRow],
    all: &[Q],
) -> Result<Vec<Option<Written>>, StoreError> {
    let written: HashMap<String, bool> = rows
        .iter()
        .map(<(String, bool)>::from_row)
        .collect::<Result<_, _>>()?;
    Ok(column(all, |one| {
        written.get(one.id()).map(|cancel_requested| Written::Done {
            cancel_requested: *cancel_requested,
        })
    }))
}
