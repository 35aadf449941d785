//! Reads that every retry asks for, each for as many runs as are asked for at once.

use std::collections::HashMap;

use sqlx::{PgConnection, PgPool};

use super::{
    super::{
        StoreError, Token,
        rows::{NodeRow, RetryRow, RunRow, TokenRow, VariableWriteRow, read_all},
    },
    progress::column,
    together::{Counter, Together},
};
use crate::domain::{NodeRecord, OrganizationId, Retry, Run, RunId, TokenId, VariableWrite};

/// Where each of them is asked for. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Reads {
    pub(super) run: Counter<RunOf>,
    pub(super) nodes: Counter<NodesOf>,
    pub(super) retry_of_run: Counter<RetryOf>,
    pub(super) line_writes: Counter<LineWritesOf>,
    pub(super) token: Counter<TokenOf>,
}

impl Reads {
    pub(super) fn new(pool: &PgPool) -> Self {
        Self {
            run: Counter::new(pool.clone()),
            nodes: Counter::new(pool.clone()),
            retry_of_run: Counter::new(pool.clone()),
            line_writes: Counter::new(pool.clone()),
            token: Counter::new(pool.clone()),
        }
    }
}

const RUN: &str = "
    select runs.id, runs.organization_id, root_run_id, source_run_id, status, waiting_for, created,
           definition_hash, trigger_node_id, trigger_source, triggered_by, workflow_id,
           workflow_version, workflow_owner_user_id, prop_values, variables, simulation_forks,
           simulation_mode, is_simulation, is_dust_test, summary, total_cu, created_at,
           started_at, finished_at, cancel_requested_at
      from unnest($1::text[], $2::text[]) as asked (organization_id, id)
      join runs on runs.organization_id = asked.organization_id and runs.id = asked.id";

const NODES: &str = "
    select run_id, path, type, status, input, result, error, started_at, finished_at, due_at,
           branch, attempts, effect, origin_run_id, extra
      from nodes
     where run_id = any ($1::text[])
     order by run_id, position";

const RETRY_OF_RUN: &str = "
    select id, organization_id, source_run_id, run_id, root_run_id, ordinal, state, lane, request,
           reason, triggered_by, refusal_reason, refusal_message, refusal_run_id,
           refusal_retry_id, created_at, updated_at
      from retries
     where run_id = any ($1::text[])";

// Up the sources, to the run that is its own root.
const LINE_WRITES: &str = "
    with recursive line (below, run_id, height) as (
        select id, id collate \"C\", 0 from (select distinct id from unnest($1::text[]) as asked (id)) as asked
        union all
        select line.below, retries.source_run_id, line.height + 1
          from line
          join retries on retries.run_id = line.run_id
    )
    select line.below, w.run_id, w.name, w.old_value, w.new_value, w.written_by_node,
           w.written_at, w.lasts
      from line
      join variable_writes as w on w.run_id = line.run_id
     order by line.below, line.height desc, w.position";

const TOKEN: &str = "
    select id, organization_id, name, secret_hash, scopes, created_at, revoked_at
      from tokens
     where id = any ($1::text[]) and revoked_at is null";

/// A run of an organisation.
#[derive(Debug, Clone)]
pub(super) struct RunOf(pub(super) OrganizationId, pub(super) RunId);

impl Together for RunOf {
    type Answer = Option<Run>;

    const WRITES: bool = false;

    fn id(&self) -> &str {
        self.1.as_str()
    }

    async fn ask(
        db: &mut PgConnection,
        all: &[Self],
    ) -> Result<Vec<Option<Option<Run>>>, StoreError> {
        let rows: Vec<RunRow> = sqlx::query_as(RUN)
            .bind(column(all, |one| one.0.as_str()))
            .bind(column(all, |one| one.1.as_str()))
            .fetch_all(db)
            .await?;
        let runs: Vec<Run> = read_all(rows)?;
        Ok(column(all, |one| {
            let is_it = |run: &&Run| run.id == one.1 && run.organization_id == one.0;
            Some(runs.iter().find(is_it).cloned())
        }))
    }
}

/// The records of a run.
#[derive(Debug, Clone)]
pub(super) struct NodesOf(pub(super) RunId);

impl Together for NodesOf {
    type Answer = Vec<NodeRecord>;

    const WRITES: bool = false;

    // Each may have megabytes of records.
    const MOST: usize = 8;

    fn id(&self) -> &str {
        self.0.as_str()
    }

    async fn ask(
        db: &mut PgConnection,
        all: &[Self],
    ) -> Result<Vec<Option<Vec<NodeRecord>>>, StoreError> {
        let rows: Vec<NodeRow> = sqlx::query_as(NODES)
            .bind(column(all, Self::id))
            .fetch_all(db)
            .await?;
        let runs = column(&rows, |row| row.run_id.clone());
        let records = by(runs, read_all(rows)?);
        Ok(each(all, records))
    }
}

/// The retry that a run is the outcome of.
#[derive(Debug, Clone)]
pub(super) struct RetryOf(pub(super) RunId);

impl Together for RetryOf {
    type Answer = Option<Retry>;

    const WRITES: bool = false;

    fn id(&self) -> &str {
        self.0.as_str()
    }

    async fn ask(
        db: &mut PgConnection,
        all: &[Self],
    ) -> Result<Vec<Option<Option<Retry>>>, StoreError> {
        let rows: Vec<RetryRow> = sqlx::query_as(RETRY_OF_RUN)
            .bind(column(all, Self::id))
            .fetch_all(db)
            .await?;
        let retries: Vec<Retry> = read_all(rows)?;
        Ok(column(all, |one| {
            let of_run = |retry: &&Retry| retry.run_id.as_ref() == Some(&one.0);
            Some(retries.iter().find(of_run).cloned())
        }))
    }
}

/// The writes of variables in the line of a run: those of the runs from the root of its chain to
/// itself, by their sources, in this order.
#[derive(Debug, Clone)]
pub(super) struct LineWritesOf(pub(super) RunId);

#[derive(sqlx::FromRow)]
struct LineWriteRow {
    below: String,
    #[sqlx(flatten)]
    write: VariableWriteRow,
}

impl Together for LineWritesOf {
    type Answer = Vec<(RunId, VariableWrite)>;

    const WRITES: bool = false;

    fn id(&self) -> &str {
        self.0.as_str()
    }

    async fn ask(
        db: &mut PgConnection,
        all: &[Self],
    ) -> Result<Vec<Option<Vec<(RunId, VariableWrite)>>>, StoreError> {
        let rows: Vec<LineWriteRow> = sqlx::query_as(LINE_WRITES)
            .bind(column(all, Self::id))
            .fetch_all(db)
            .await?;
        let (below, rows) = rows.into_iter().map(|row| (row.below, row.write)).unzip();
        let writes = by(below, read_all(rows)?);
        Ok(each(all, writes))
    }
}

/// A token that is not revoked.
#[derive(Debug, Clone)]
pub(super) struct TokenOf(pub(super) TokenId);

impl Together for TokenOf {
    type Answer = Option<Token>;

    const WRITES: bool = false;

    fn id(&self) -> &str {
        self.0.as_str()
    }

    async fn ask(
        db: &mut PgConnection,
        all: &[Self],
    ) -> Result<Vec<Option<Option<Token>>>, StoreError> {
        let rows: Vec<TokenRow> = sqlx::query_as(TOKEN)
            .bind(column(all, Self::id))
            .fetch_all(db)
            .await?;
        let tokens: Vec<Token> = read_all(rows)?;
        Ok(column(all, |one| {
            let of_id = |token: &&Token| token.id == one.0;
            Some(tokens.iter().find(of_id).cloned())
        }))
    }
}

/// What was read, by what it belongs to, in its order.
fn by<T>(keys: Vec<String>, values: Vec<T>) -> HashMap<String, Vec<T>> {
    let mut groups = HashMap::<String, Vec<T>>::new();
    for (key, value) in keys.into_iter().zip(values) {
        groups.entry(key).or_default().push(value);
    }
    groups
}

/// The group of each. It is copied only for those who ask for what others ask for as well.
fn each<Q: Together, T: Clone>(
    all: &[Q],
    mut groups: HashMap<String, Vec<T>>,
) -> Vec<Option<Vec<T>>> {
    let mut left = HashMap::<&str, usize>::new();
    for one in all {
        *left.entry(one.id()).or_default() += 1;
    }
    column(all, |one| {
        let left = left.entry(one.id()).or_default();
        *left = left.saturating_sub(1);
        let group = match *left {
            0 => groups.remove(one.id()),
            _ => groups.get(one.id()).cloned(),
        };
        Some(group.unwrap_or_default())
    })
}
