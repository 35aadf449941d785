//! The reads of the hot path, each for many at once.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use sqlx::{PgConnection, PgPool};

use super::loader::{Grouped, Loader};
use crate::{
    domain::{
        DefinitionHash, JsonText, NodeRecord, OrganizationId, Retry, Run, RunId, TokenId,
        VariableWrite,
    },
    store::{
        Signal, StoreError, Token,
        rows::{NodeRow, RetryRow, RunRow, SignalRow, TokenRow, VariableWriteRow, read_run_id},
    },
};

const RUNS_OF: &str = "
    select runs.id, runs.organization_id, root_run_id, source_run_id, status, waiting_for, created,
           definition_hash, trigger_node_id, trigger_source, triggered_by, workflow_id,
           workflow_version, workflow_owner_user_id, prop_values, variables, simulation_forks,
           simulation_mode, is_simulation, is_dust_test, summary, total_cu, created_at,
           started_at, finished_at, cancel_requested_at
      from unnest($1::text[], $2::text[]) as wanted (organization_id, id)
      join runs on runs.id = wanted.id and runs.organization_id = wanted.organization_id";

const RETRIES_OF_RUNS: &str = "
    select id, organization_id, source_run_id, run_id, root_run_id, ordinal, state, lane, request,
           reason, triggered_by, refusal_reason, refusal_message, refusal_run_id,
           refusal_retry_id, created_at, updated_at
      from retries
     where run_id = any ($1::text[])";

const NODES_OF: &str = "
    select run_id, path, type, status, input, result, error, started_at, finished_at, due_at,
           branch, attempts, effect, origin_run_id, extra
      from nodes
     where run_id = any ($1::text[])
     order by run_id, position";

// Up the sources of each, to the run that is its own root.
const LINES_OF: &str = "
    select wanted.run_id, chain.run_id
      from unnest($1::text[]) as wanted (run_id)
     cross join lateral (
           with recursive line (run_id, height) as (
               select wanted.run_id collate \"C\", 0
               union all
               select retries.source_run_id, line.height + 1
                 from line
                 join retries on retries.run_id = line.run_id
           )
           select run_id, height from line) as chain
     order by wanted.run_id, chain.height desc";

const VARIABLE_WRITES_OF: &str = "
    select run_id, name, old_value, new_value, written_by_node, written_at, lasts
      from variable_writes
     where run_id = any ($1::text[])
     order by run_id, position";

const SIGNALS_OF: &str = "
    select run_id, path, kind, body
      from signals
     where run_id = any ($1::text[]) and not applied
     order by created_at, path";

const LOST_LEASES_OF: &str = "
    select id,
           lost_leases
           + (lease_owner is not null and lease_until <= clock_timestamp())::int::bigint
      from runs
     where id = any ($1::text[])";

const TOKENS_OF: &str = "
    select id, organization_id, name, secret_hash, scopes, created_at, revoked_at
      from tokens
     where id = any ($1::text[]) and revoked_at is null";

const DEFINITIONS_OF: &str = "select hash, body from definitions where hash = any ($1::text[])";

/// All of them.
#[derive(Debug, Clone)]
pub(super) struct Loads {
    pub(super) runs: Loader<Runs>,
    pub(super) retries: Loader<RetriesOfRuns>,
    pub(super) nodes: Loader<Nodes>,
    pub(super) lines: Loader<Lines>,
    pub(super) writes: Loader<VariableWrites>,
    pub(super) signals: Loader<Signals>,
    pub(super) lost_leases: Loader<LostLeases>,
    pub(super) tokens: Loader<Tokens>,
    pub(super) definitions: Loader<Definitions>,
}

impl Loads {
    pub(super) fn new(pool: &PgPool) -> Self {
        Self {
            runs: Loader::new(pool.clone()),
            retries: Loader::new(pool.clone()),
            nodes: Loader::new(pool.clone()),
            lines: Loader::new(pool.clone()),
            writes: Loader::new(pool.clone()),
            signals: Loader::new(pool.clone()),
            lost_leases: Loader::new(pool.clone()),
            tokens: Loader::new(pool.clone()),
            definitions: Loader::new(pool.clone()),
        }
    }
}

/// Each key once: what two ask for is one row.
fn once<'a, T: AsRef<str> + 'a>(keys: impl IntoIterator<Item = &'a T>) -> Vec<&'a str> {
    let keys: BTreeSet<&str> = keys.into_iter().map(AsRef::as_ref).collect();
    keys.into_iter().collect()
}

/// Headers of runs of organisations.
pub(super) struct Runs;

impl Grouped for Runs {
    type Key = (OrganizationId, RunId);
    type Value = Option<Run>;

    async fn read(
        db: &mut PgConnection,
        keys: &[Self::Key],
    ) -> Result<Vec<Option<Run>>, StoreError> {
        let found = runs(db, keys).await?;
        let of = |(organization, id): &Self::Key| {
            let run = found.get(id)?;
            (run.organization_id == *organization).then(|| run.clone())
        };
        Ok(keys.iter().map(of).collect())
    }
}

/// Runs by their ids, where they are of the organisation that is asked for.
pub(super) async fn runs(
    db: &mut PgConnection,
    keys: &[(OrganizationId, RunId)],
) -> Result<HashMap<RunId, Run>, StoreError> {
    let wanted: BTreeSet<(&str, &str)> = keys
        .iter()
        .map(|(organization, id)| (organization.as_str(), id.as_str()))
        .collect();
    let (organizations, ids): (Vec<_>, Vec<_>) = wanted.into_iter().unzip();
    let rows: Vec<RunRow> = sqlx::query_as(RUNS_OF)
        .bind(organizations)
        .bind(ids)
        .fetch_all(db)
        .await?;
    let runs = rows.into_iter().map(|row| {
        let run = Run::try_from(row)?;
        Ok((run.id.clone(), run))
    });
    runs.collect()
}

/// The retries that runs are the outcomes of.
pub(super) struct RetriesOfRuns;

impl Grouped for RetriesOfRuns {
    type Key = RunId;
    type Value = Option<Retry>;

    async fn read(db: &mut PgConnection, keys: &[RunId]) -> Result<Vec<Option<Retry>>, StoreError> {
        let found = retries_of_runs(db, keys).await?;
        Ok(keys.iter().map(|run| found.get(run).cloned()).collect())
    }
}

/// Retries by their runs.
pub(super) async fn retries_of_runs(
    db: &mut PgConnection,
    keys: &[RunId],
) -> Result<HashMap<RunId, Retry>, StoreError> {
    let rows: Vec<RetryRow> = sqlx::query_as(RETRIES_OF_RUNS)
        .bind(once(keys))
        .fetch_all(db)
        .await?;
    let mut found = HashMap::with_capacity(rows.len());
    for row in rows {
        let retry = Retry::try_from(row)?;
        if let Some(run) = retry.run_id.clone() {
            found.insert(run, retry);
        }
    }
    Ok(found)
}

/// The records of runs.
pub(super) struct Nodes;

impl Grouped for Nodes {
    type Key = RunId;
    type Value = Vec<NodeRecord>;
    /// They may be large, and all of a statement's are here at once.
    const MOST: usize = 16;

    async fn read(
        db: &mut PgConnection,
        keys: &[RunId],
    ) -> Result<Vec<Vec<NodeRecord>>, StoreError> {
        let rows: Vec<NodeRow> = sqlx::query_as(NODES_OF)
            .bind(once(keys))
            .fetch_all(db)
            .await?;
        let mut found: BTreeMap<String, Vec<NodeRecord>> = BTreeMap::new();
        for row in rows {
            let run = row.run_id.clone();
            found.entry(run).or_default().push(row.try_into()?);
        }
        let of = |run: &RunId| found.get(run.as_str()).cloned().unwrap_or_default();
        Ok(keys.iter().map(of).collect())
    }
}

/// The runs from the roots of chains down to runs.
pub(super) struct Lines;

impl Grouped for Lines {
    type Key = RunId;
    type Value = Vec<RunId>;

    async fn read(db: &mut PgConnection, keys: &[RunId]) -> Result<Vec<Vec<RunId>>, StoreError> {
        let rows: Vec<(String, String)> = sqlx::query_as(LINES_OF)
            .bind(once(keys))
            .fetch_all(db)
            .await?;
        let mut found: HashMap<String, Vec<RunId>> = HashMap::new();
        for (run, above) in rows {
            let above = read_run_id("retries", &above)?;
            found.entry(run).or_default().push(above);
        }
        let of = |run: &RunId| found.get(run.as_str()).cloned().unwrap_or_default();
        Ok(keys.iter().map(of).collect())
    }
}

/// The logged writes of several runs, run by run.
pub(super) struct VariableWrites;

impl Grouped for VariableWrites {
    type Key = Vec<RunId>;
    type Value = Vec<(RunId, VariableWrite)>;

    async fn read(
        db: &mut PgConnection,
        keys: &[Vec<RunId>],
    ) -> Result<Vec<Vec<(RunId, VariableWrite)>>, StoreError> {
        let rows: Vec<VariableWriteRow> = sqlx::query_as(VARIABLE_WRITES_OF)
            .bind(once(keys.iter().flatten()))
            .fetch_all(db)
            .await?;
        let mut found: HashMap<RunId, Vec<VariableWrite>> = HashMap::new();
        for row in rows {
            let (run, write) = row.try_into()?;
            found.entry(run).or_default().push(write);
        }
        let of_run = |run: &RunId| {
            let writes = found.get(run).into_iter().flatten();
            writes
                .map(|write| (run.clone(), write.clone()))
                .collect::<Vec<_>>()
        };
        let of = |runs: &Vec<RunId>| runs.iter().flat_map(of_run).collect();
        Ok(keys.iter().map(of).collect())
    }
}

/// The signals that no record of runs has yet.
pub(super) struct Signals;

impl Grouped for Signals {
    type Key = RunId;
    type Value = Vec<Signal>;

    async fn read(db: &mut PgConnection, keys: &[RunId]) -> Result<Vec<Vec<Signal>>, StoreError> {
        let rows: Vec<SignalRow> = sqlx::query_as(SIGNALS_OF)
            .bind(once(keys))
            .fetch_all(db)
            .await?;
        let mut found: HashMap<String, Vec<Signal>> = HashMap::new();
        for row in rows {
            let run = row.run_id.clone();
            found.entry(run).or_default().push(row.try_into()?);
        }
        let of = |run: &RunId| found.get(run.as_str()).cloned().unwrap_or_default();
        Ok(keys.iter().map(of).collect())
    }
}

/// How many leases runs have lost.
pub(super) struct LostLeases;

impl Grouped for LostLeases {
    type Key = RunId;
    type Value = i64;

    async fn read(db: &mut PgConnection, keys: &[RunId]) -> Result<Vec<i64>, StoreError> {
        let rows: Vec<(String, i64)> = sqlx::query_as(LOST_LEASES_OF)
            .bind(once(keys))
            .fetch_all(db)
            .await?;
        let found: HashMap<String, i64> = rows.into_iter().collect();
        let of = |run: &RunId| found.get(run.as_str()).copied().unwrap_or(0);
        Ok(keys.iter().map(of).collect())
    }
}

/// Tokens that are not revoked.
pub(super) struct Tokens;

impl Grouped for Tokens {
    type Key = TokenId;
    type Value = Option<Token>;

    async fn read(
        db: &mut PgConnection,
        keys: &[TokenId],
    ) -> Result<Vec<Option<Token>>, StoreError> {
        let rows: Vec<TokenRow> = sqlx::query_as(TOKENS_OF)
            .bind(once(keys))
            .fetch_all(db)
            .await?;
        let tokens = rows.into_iter().map(Token::try_from);
        let tokens: Vec<Token> = tokens.collect::<Result<_, _>>()?;
        let of = |id: &TokenId| tokens.iter().find(|token| token.id == *id).cloned();
        Ok(keys.iter().map(of).collect())
    }
}

/// Texts of definitions.
pub(super) struct Definitions;

impl Grouped for Definitions {
    type Key = DefinitionHash;
    type Value = Option<JsonText>;

    async fn read(
        db: &mut PgConnection,
        keys: &[DefinitionHash],
    ) -> Result<Vec<Option<JsonText>>, StoreError> {
        let rows: Vec<(String, String)> = sqlx::query_as(DEFINITIONS_OF)
            .bind(once(keys))
            .fetch_all(db)
            .await?;
        let texts = rows
            .into_iter()
            .map(|(hash, text)| (hash, JsonText::trusted(text)));
        let found: HashMap<String, JsonText> = texts.collect();
        let of = |hash: &DefinitionHash| found.get(hash.as_str()).cloned();
        Ok(keys.iter().map(of).collect())
    }
}
