//! Which migrations a database has, and whether this program may work on it.

use std::collections::BTreeSet;

use sqlx::migrate::Migrator;

use super::StoreError;

/// The migration from which on a database says which programs may work on it.
pub(super) const COMPATIBILITY: i64 = 7;

/// How many of its migrations a database lacks, given those it has had and the oldest schema whose
/// programs may work on it, where it says so.
pub(super) fn missing(
    migrator: &Migrator,
    applied: &BTreeSet<i64>,
    oldest: Option<i64>,
) -> Result<usize, StoreError> {
    let newest = migrator.iter().map(|known| known.version).max();
    let newest = newest.unwrap_or_default();
    if let Some(needed) = oldest
        && needed > newest
    {
        return Err(StoreError::ProgramTooOld { needed, newest });
    }
    let lacks = |version| !applied.contains(&version);
    Ok(migrator.iter().filter(|known| lacks(known.version)).count())
}
