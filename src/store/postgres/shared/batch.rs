//! One statement for all that ask for it.

use std::collections::{BTreeMap, HashMap, HashSet};

use sqlx::{FromRow, PgConnection, Postgres, postgres::PgArguments, query::QueryAs};

use super::{
    ask::{Answers, Asked, Copies},
    round::Known,
    rows,
};
use crate::{
    domain::{
        JsonText, NodePath, NodeRecord, OrganizationId, Retry, RetryId, Run, RunId, Timestamp,
    },
    store::{
        StoreError,
        postgres::{
            acceptance::{LIVE_RUNS, TRY_LOCK_LIVE},
            loads, progress,
            signals::SIGNALLED,
        },
        rows::{LockedRow, LockedRun, read_live_retry, read_run_id},
    },
};

pub(super) use rows::{insert_retries, insert_runs, put_nodes, update_retries, update_runs};

// Who would have to wait comes again alone. The clock is read after the lock is there.
const LOCK_RUNS: &str = "
    with locked as materialized (
        select id, organization_id, root_run_id, source_run_id, status, waiting_for, created,
               definition_hash, trigger_node_id, trigger_source, triggered_by, workflow_id,
               workflow_version, workflow_owner_user_id, prop_values, variables,
               simulation_forks, simulation_mode, is_simulation, is_dust_test, summary, total_cu,
               created_at, started_at, finished_at, cancel_requested_at, lease_owner, lease_epoch,
               lease_until, lost_leases
          from runs
         where id = any ($1::text[])
           for no key update skip locked)
    select locked.*, clock_timestamp() as now from locked";

const LIVE_RETRIES: &str = "
    select root_run_id, id, run_id from retries where root_run_id = any ($1::text[]) and live";

// As of one run: see the statement of a transaction alone.
const HEADS: &str = "
    select wanted.run_id, head.run_id
      from unnest($1::text[]) as wanted (run_id)
     cross join lateral (
           with recursive line (run_id, depth) as (
               select wanted.run_id collate \"C\", 0
               union all
               select retries.run_id, line.depth + 1
                 from line
                 join retries on retries.source_run_id = line.run_id
                where retries.ordinal = (
                      select max(newest.ordinal)
                        from retries as newest
                       where newest.source_run_id = line.run_id)
           )
           select run_id from line where depth > 0 order by depth desc limit 1) as head";

const NEXT_ORDINALS: &str = "
    select wanted.run_id,
           (select coalesce(max(ordinal), 0) + 1
              from retries
             where retries.source_run_id = wanted.run_id)
      from unnest($1::text[]) as wanted (run_id)";

const CHAIN_LENGTHS: &str = "
    select wanted.run_id, chain.length
      from unnest($1::text[]) as wanted (run_id)
     cross join lateral (
           with recursive line (run_id) as (
               select wanted.run_id collate \"C\"
               union all
               select retries.source_run_id
                 from line
                 join retries on retries.run_id = line.run_id
           )
           select count(*) as length from line) as chain";

const WAITING_PARENTS_OF: &str = "
    select wanted.run_id, waiting.id
      from unnest($1::text[]) as wanted (run_id)
     cross join lateral (
           select waiting.id
             from runs as child
             join children on children.run_id = child.root_run_id
             join runs as parent on parent.id = children.parent_run_id
            cross join lateral (
                  select parent.root_run_id as id
                  union all
                  select retries.run_id
                    from retries
                   where retries.root_run_id = parent.root_run_id and retries.live) as of_chain
             join runs as waiting on waiting.id = of_chain.id
            where child.id = wanted.run_id
              and waiting.status = 'waiting'
              and exists (
               select 1 from nodes
                where run_id = waiting.id and status = 'waiting' and type = 'trigger-workflow')
            -- One look for each, whatever the planner believes of the sizes.
            offset 0) as waiting";

const COPY_NODES_OF: &str = "
    with copied as (
        insert into nodes (
            run_id, position, path, type, status, input, result, error, started_at, finished_at,
            due_at, branch, attempts, effect, origin_run_id, extra)
        select wanted.to_run_id,
               row_number() over (partition by wanted.to_run_id order by nodes.position),
               nodes.path, type, status, input, result, error, started_at, finished_at, due_at,
               branch, '[]', effect, coalesce(origin_run_id, nodes.run_id), extra
          from unnest($1::text[], $2::text[], $3::text[]) as wanted (run_id, to_run_id, path)
          join nodes on nodes.run_id = wanted.run_id and nodes.path = wanted.path
        returning run_id)
    select run_id, count(*) from copied group by run_id";

const PUT_OUTBOX_OF: &str = "
    insert into outbox (run_id, organization_id, lane, due_at)
    select runs.id, runs.organization_id, runs.lane, coalesce(due.at, clock_timestamp())
      from unnest($1::text[], $2::timestamptz[]) as due (run_id, at)
      join runs on runs.id = due.run_id
    on conflict (run_id) do update
       set due_at = excluded.due_at, sent_at = null, sends = 0, locked_until = null";

const TAKE_DUE_OF: &str = "
    delete from outbox
     where run_id = any ($1::text[]) and due_at <= clock_timestamp()
    returning run_id";

const DELETE_OUTBOX_OF: &str = "delete from outbox where run_id = any ($1::text[])";

/// A run under its lock, with the time when it was there.
#[derive(FromRow)]
struct LockedNow {
    #[sqlx(flatten)]
    row: LockedRow,
    now: Timestamp,
}

/// A query whose rows are read as `T`.
type Query<'q, T> = QueryAs<'q, Postgres, T, PgArguments>;

fn ids<A>(asked: &[Asked<RunId, A>]) -> Vec<&str> {
    asked.iter().map(|one| one.what.as_str()).collect()
}

/// Rows that begin with a run's id, by that id.
async fn by_id<T>(
    db: &mut PgConnection,
    query: Query<'_, (String, T)>,
) -> Result<HashMap<String, T>, StoreError>
where
    (String, T): for<'r> FromRow<'r, sqlx::postgres::PgRow> + Send + Unpin,
{
    Ok(query.fetch_all(db).await?.into_iter().collect())
}

/// A number for each run.
async fn numbers(
    db: &mut PgConnection,
    query: Query<'_, (String, i64)>,
    asked: Vec<Asked<RunId, i64>>,
    otherwise: i64,
    out: &mut Answers,
) -> Result<(), StoreError> {
    if asked.is_empty() {
        return Ok(());
    }
    let wanted: Vec<String> = asked.iter().map(|one| one.what.to_string()).collect();
    let found = by_id(db, query.bind(wanted)).await?;
    for one in asked {
        let number = found.get(one.what.as_str()).copied().unwrap_or(otherwise);
        one.is(number, out);
    }
    Ok(())
}

pub(super) async fn lock_runs(
    db: &mut PgConnection,
    asked: Vec<Asked<RunId, Option<LockedRun>>>,
    known: &mut Known,
    out: &mut Answers,
) -> Result<(), StoreError> {
    let mut wanted = Vec::with_capacity(asked.len());
    for one in asked {
        if known.locks(&one.what, one.place) {
            wanted.push(one);
        } else {
            one.send_away(out);
        }
    }
    if wanted.is_empty() {
        return Ok(());
    }
    let found: Vec<LockedNow> = sqlx::query_as(LOCK_RUNS)
        .bind(ids(&wanted))
        .fetch_all(db)
        .await?;
    let locked = found.into_iter().map(|found| found.row.at(found.now));
    let locked: Vec<LockedRun> = locked.collect::<Result<_, _>>()?;
    let mut locked: HashMap<RunId, LockedRun> = locked
        .into_iter()
        .map(|locked| (locked.run.id.clone(), locked))
        .collect();
    for one in wanted {
        match locked.remove(&one.what) {
            Some(run) => one.is(Some(run), out),
            // Somebody has it, or it is not there: alone, it finds out which.
            None => one.send_away(out),
        }
    }
    Ok(())
}

pub(super) async fn runs(
    db: &mut PgConnection,
    asked: Vec<Asked<(OrganizationId, RunId), Option<Run>>>,
    out: &mut Answers,
) -> Result<(), StoreError> {
    if asked.is_empty() {
        return Ok(());
    }
    let keys: Vec<_> = asked.iter().map(|one| one.what.clone()).collect();
    let found = loads::runs(db, &keys).await?;
    for one in asked {
        let run = found.get(&one.what.1);
        let run = run.filter(|run| run.organization_id == one.what.0).cloned();
        one.is(run, out);
    }
    Ok(())
}

pub(super) async fn retries_of_runs(
    db: &mut PgConnection,
    asked: Vec<Asked<RunId, Option<Retry>>>,
    out: &mut Answers,
) -> Result<(), StoreError> {
    if asked.is_empty() {
        return Ok(());
    }
    let keys: Vec<_> = asked.iter().map(|one| one.what.clone()).collect();
    let found = loads::retries_of_runs(db, &keys).await?;
    for one in asked {
        let retry = found.get(&one.what).cloned();
        one.is(retry, out);
    }
    Ok(())
}

pub(super) async fn live_retries(
    db: &mut PgConnection,
    asked: Vec<Asked<RunId, Option<(RetryId, RunId)>>>,
    out: &mut Answers,
) -> Result<(), StoreError> {
    if asked.is_empty() {
        return Ok(());
    }
    let rows: Vec<(String, String, String)> = sqlx::query_as(LIVE_RETRIES)
        .bind(ids(&asked))
        .fetch_all(db)
        .await?;
    let mut found = HashMap::with_capacity(rows.len());
    for (root, retry, run) in rows {
        found.insert(root, read_live_retry((retry, run))?);
    }
    for one in asked {
        let live = found.get(one.what.as_str()).cloned();
        one.is(live, out);
    }
    Ok(())
}

pub(super) async fn heads(
    db: &mut PgConnection,
    asked: Vec<Asked<RunId, Option<RunId>>>,
    out: &mut Answers,
) -> Result<(), StoreError> {
    if asked.is_empty() {
        return Ok(());
    }
    let found: HashMap<String, String> = by_id(db, sqlx::query_as(HEADS).bind(ids(&asked))).await?;
    for one in asked {
        let head = found.get(one.what.as_str());
        let head = head.map(|id| read_run_id("retries", id)).transpose()?;
        one.is(head, out);
    }
    Ok(())
}

pub(super) async fn ordinals(
    db: &mut PgConnection,
    asked: Vec<Asked<RunId, i64>>,
    out: &mut Answers,
) -> Result<(), StoreError> {
    numbers(db, sqlx::query_as(NEXT_ORDINALS), asked, 1, out).await
}

pub(super) async fn lengths(
    db: &mut PgConnection,
    asked: Vec<Asked<RunId, i64>>,
    out: &mut Answers,
) -> Result<(), StoreError> {
    numbers(db, sqlx::query_as(CHAIN_LENGTHS), asked, 1, out).await
}

/// Those of a round count each other: what one of them is about to add is a place that is taken.
pub(super) async fn live_runs(
    db: &mut PgConnection,
    asked: Vec<Asked<(OrganizationId, u32), i64>>,
    known: &mut Known,
    out: &mut Answers,
) -> Result<(), StoreError> {
    for one in asked {
        let (organization, most) = &one.what;
        if let Some(live) = known.live.get_mut(organization) {
            *live += 1;
            let live = *live;
            one.is(live, out);
            continue;
        }
        let is_ours: bool = sqlx::query_scalar(TRY_LOCK_LIVE)
            .bind(organization.as_str())
            .fetch_one(&mut *db)
            .await?;
        if !is_ours {
            one.send_away(out);
            continue;
        }
        let live: i64 = sqlx::query_scalar(LIVE_RUNS)
            .bind(organization.as_str())
            .bind(i64::from(*most))
            .fetch_one(&mut *db)
            .await?;
        known.live.insert(organization.clone(), live);
        one.is(live, out);
    }
    Ok(())
}

pub(super) async fn signals(
    db: &mut PgConnection,
    asked: Vec<Asked<RunId, bool>>,
    out: &mut Answers,
) -> Result<(), StoreError> {
    if asked.is_empty() {
        return Ok(());
    }
    let found: Vec<String> = sqlx::query_scalar(SIGNALLED)
        .bind(ids(&asked))
        .fetch_all(db)
        .await?;
    let found: HashSet<String> = found.into_iter().collect();
    for one in asked {
        let has_signals = found.contains(one.what.as_str());
        one.is(has_signals, out);
    }
    Ok(())
}

pub(super) async fn parents(
    db: &mut PgConnection,
    asked: Vec<Asked<RunId, Vec<RunId>>>,
    out: &mut Answers,
) -> Result<(), StoreError> {
    if asked.is_empty() {
        return Ok(());
    }
    let rows: Vec<(String, String)> = sqlx::query_as(WAITING_PARENTS_OF)
        .bind(ids(&asked))
        .fetch_all(db)
        .await?;
    for one in asked {
        let parents = rows.iter().filter(|(child, _)| child == one.what.as_str());
        let parents = parents.map(|(_, parent)| read_run_id("runs", parent));
        let parents = parents.collect::<Result<_, _>>()?;
        one.is(parents, out);
    }
    Ok(())
}

/// The most paths whose names go over three times.
const MOST_COPIES: usize = 256;

pub(super) async fn copy_nodes(
    db: &mut PgConnection,
    asked: Vec<Asked<Copies, u64>>,
    out: &mut Answers,
) -> Result<(), StoreError> {
    let (many, few): (Vec<_>, Vec<_>) = asked
        .into_iter()
        .partition(|one| one.what.paths.len() > MOST_COPIES);
    for one in many {
        let Copies { from, to, paths } = &one.what;
        let copied = progress::copy_nodes(db, from, to, paths).await?;
        one.is(copied, out);
    }
    let (mut from, mut to, mut paths) = (Vec::new(), Vec::new(), Vec::new());
    for Copies {
        from: source,
        to: run,
        paths: copied,
    } in few.iter().map(|one| &one.what)
    {
        from.extend(std::iter::repeat_n(source.as_str(), copied.len()));
        to.extend(std::iter::repeat_n(run.as_str(), copied.len()));
        paths.extend(copied.iter().map(NodePath::to_string));
    }
    let mut found: HashMap<String, i64> = HashMap::new();
    if !paths.is_empty() {
        let query = sqlx::query_as(COPY_NODES_OF)
            .bind(from)
            .bind(to)
            .bind(paths);
        found = by_id(db, query).await?;
    }
    for one in few {
        let copied = found.get(one.what.to.as_str()).copied().unwrap_or(0);
        one.is(u64::try_from(copied).unwrap_or(0), out);
    }
    Ok(())
}

pub(super) async fn put_outbox(
    db: &mut PgConnection,
    asked: Vec<Asked<(RunId, Option<Timestamp>), ()>>,
    out: &mut Answers,
) -> Result<(), StoreError> {
    if asked.is_empty() {
        return Ok(());
    }
    // Each once: two ends may wake one parent.
    let wanted: BTreeMap<&str, Option<Timestamp>> = asked
        .iter()
        .map(|one| (one.what.0.as_str(), one.what.1))
        .collect();
    let (ids, times): (Vec<_>, Vec<_>) = wanted.into_iter().unzip();
    sqlx::query(PUT_OUTBOX_OF)
        .bind(ids)
        .bind(times)
        .execute(db)
        .await?;
    for one in asked {
        one.is((), out);
    }
    Ok(())
}

pub(super) async fn take_due(
    db: &mut PgConnection,
    asked: Vec<Asked<RunId, bool>>,
    out: &mut Answers,
) -> Result<(), StoreError> {
    if asked.is_empty() {
        return Ok(());
    }
    let taken: Vec<String> = sqlx::query_scalar(TAKE_DUE_OF)
        .bind(ids(&asked))
        .fetch_all(db)
        .await?;
    let taken: HashSet<String> = taken.into_iter().collect();
    for one in asked {
        let is_taken = taken.contains(one.what.as_str());
        one.is(is_taken, out);
    }
    Ok(())
}

pub(super) async fn delete_outbox(
    db: &mut PgConnection,
    asked: Vec<Asked<RunId, ()>>,
    out: &mut Answers,
) -> Result<(), StoreError> {
    if asked.is_empty() {
        return Ok(());
    }
    sqlx::query(DELETE_OUTBOX_OF)
        .bind(ids(&asked))
        .execute(db)
        .await?;
    for one in asked {
        one.is((), out);
    }
    Ok(())
}

/// A text to bind, if there is one.
pub(super) fn text(json: Option<&JsonText>) -> Option<&str> {
    json.map(JsonText::as_str)
}

/// The records of one member.
pub(super) type Records = (RunId, Vec<NodeRecord>);
