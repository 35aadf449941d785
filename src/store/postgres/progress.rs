//! Definitions, nodes and writes of variables, many rows per statement.

use sqlx::{PgConnection, Postgres, postgres::PgArguments, query::Query};

use crate::domain::{JsonText, NodePath, NodeRecord, RunId, VariableWrite};

use super::{
    super::{StoreError, StoredDefinition, rows::history, statements::Cancellation},
    read::texts,
};

const PUT_DEFINITION: &str = "
    insert into definitions (hash, body) values ($1, $2) on conflict (hash) do nothing";

// A record that is there keeps its position.
const PUT_NODES: &str = "
    insert into nodes (
        run_id, position, path, type, status, input, result, error, started_at, finished_at,
        due_at, branch, attempts, effect, origin_run_id, extra)
    select $1, last.position + n.ordinality, n.path, n.type, n.status, n.input, n.result, n.error,
           n.started_at, n.finished_at, n.due_at, n.branch, n.attempts, n.effect, n.origin_run_id,
           n.extra
      from unnest($2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[],
                  $8::text[], $9::text[], $10::text[], $11::text[], $12::text[], $13::text[],
                  $14::text[], $15::text[])
           with ordinality as n (path, type, status, input, result, error, started_at,
                                 finished_at, due_at, branch, attempts, effect, origin_run_id,
                                 extra, ordinality),
           (select coalesce(max(position), 0) as position from nodes where run_id = $1) as last
    on conflict (run_id, path) do update
       set type = excluded.type, status = excluded.status, input = excluded.input,
           result = excluded.result, error = excluded.error, started_at = excluded.started_at,
           finished_at = excluded.finished_at, due_at = excluded.due_at,
           branch = excluded.branch, attempts = excluded.attempts, effect = excluded.effect,
           origin_run_id = excluded.origin_run_id, extra = excluded.extra";

// The records never leave the database. Who executed them stays known over any number of copies.
const COPY_NODES: &str = "
    insert into nodes (
        run_id, position, path, type, status, input, result, error, started_at, finished_at,
        due_at, branch, attempts, effect, origin_run_id, extra)
    select $2, row_number() over (order by position), path, type, status, input, result, error,
           started_at, finished_at, due_at, branch, '[]', effect, coalesce(origin_run_id, run_id),
           extra
      from nodes
     where run_id = $1 and path = any ($3::text[])";

// A loop sends nothing itself: what is known of its effect is where those of its body begin.
const CANCEL_NODES: &str = "
    update nodes
       set status = 'cancelled', finished_at = $2, due_at = null,
           error = case when effect is not null and type <> 'for-each'
                             and (status = 'running' or (effect::json ->> 'doubted')::boolean
                                  or effect::json ->> 'last' = 'in_flight')
                        then $3 else $4 end
     where run_id = $1 and status in ('running', 'waiting', 'scheduled')";

const LOG_VARIABLE_WRITES: &str = "
    insert into variable_writes (
        run_id, position, name, old_value, new_value, written_by_node, written_at, lasts)
    select $1, last.position + w.ordinality, w.name, w.old_value, w.new_value, w.written_by_node,
           w.written_at, w.lasts
      from unnest($2::text[], $3::text[], $4::text[], $5::text[], $6::timestamptz[],
                  $7::boolean[])
           with ordinality as w (name, old_value, new_value, written_by_node, written_at, lasts,
                                 ordinality),
           (select coalesce(max(position), 0) as position
              from variable_writes where run_id = $1) as last
     -- The same checkpoint may come again, when the answer to its commit was lost.
     where not exists (
        select 1 from variable_writes as known
         where known.run_id = $1 and known.written_by_node is not distinct from w.written_by_node
           and known.name = w.name and known.written_at = w.written_at)";

/// Adds a definition, unless it is there.
pub(super) async fn put_definition(
    db: &mut PgConnection,
    definition: &StoredDefinition,
) -> Result<(), StoreError> {
    sqlx::query(PUT_DEFINITION)
        .bind(definition.hash.as_str())
        .bind(definition.text.as_str())
        .execute(db)
        .await?;
    Ok(())
}

/// One column of many rows.
pub(super) fn column<'a, R, T>(rows: &'a [R], of: impl FnMut(&'a R) -> T) -> Vec<T> {
    rows.iter().map(of).collect()
}

pub(super) fn text(json: Option<&JsonText>) -> Option<&str> {
    json.map(JsonText::as_str)
}

/// Adds or replaces records.
pub(super) async fn put_nodes(
    db: &mut PgConnection,
    run: &RunId,
    records: &[NodeRecord],
) -> Result<(), StoreError> {
    if records.is_empty() {
        return Ok(());
    }
    let query = sqlx::query(PUT_NODES).bind(run.as_str());
    let records: Vec<_> = records.iter().collect();
    bind_records(query, &records)?.execute(db).await?;
    Ok(())
}

/// Binds what the table `nodes` says of records, a column each: path, type, status, input, result,
/// error, times, branch, attempts, effect, origin, extra.
pub(super) fn bind_records<'q>(
    query: Query<'q, Postgres, PgArguments>,
    records: &[&'q NodeRecord],
) -> Result<Query<'q, Postgres, PgArguments>, StoreError> {
    let histories: Vec<_> = records
        .iter()
        .map(|record| history(record))
        .collect::<Result<_, _>>()?;
    let (attempts, effects): (Vec<_>, Vec<_>) = histories.into_iter().unzip();
    let origin = |r: &&NodeRecord| r.origin_run_id.as_ref().map(ToString::to_string);
    Ok(query
        .bind(column(records, |r| r.path.to_string()))
        .bind(column(records, |r| r.kind.as_str()))
        .bind(column(records, |r| r.status.as_str()))
        .bind(column(records, |r| text(r.input.as_ref())))
        .bind(column(records, |r| text(r.result.as_ref())))
        .bind(column(records, |r| text(r.error.as_ref())))
        .bind(column(records, |r| r.started_at.as_deref()))
        .bind(column(records, |r| r.finished_at.as_deref()))
        .bind(column(records, |r| r.due_at.as_deref()))
        .bind(column(records, |r| r.branch.as_deref()))
        .bind(attempts)
        .bind(effects)
        .bind(column(records, origin))
        .bind(column(records, |r| text(r.extra.as_ref()))))
}

/// Copies records without their attempts; how many there were.
pub(super) async fn copy_nodes(
    db: &mut PgConnection,
    from: &RunId,
    to: &RunId,
    paths: &[NodePath],
) -> Result<u64, StoreError> {
    let done = sqlx::query(COPY_NODES)
        .bind(from.as_str())
        .bind(to.as_str())
        .bind(texts(paths))
        .execute(db)
        .await?;
    Ok(done.rows_affected())
}

/// Ends the nodes that are under way.
pub(super) async fn cancel_nodes(
    db: &mut PgConnection,
    run: &RunId,
    how: &Cancellation,
) -> Result<(), StoreError> {
    sqlx::query(CANCEL_NODES)
        .bind(run.as_str())
        .bind(&how.finished_at)
        .bind(how.in_doubt.as_str())
        .bind(how.cancelled.as_str())
        .execute(db)
        .await?;
    Ok(())
}

/// Adds writes of variables to the log.
pub(super) async fn log_variable_writes(
    db: &mut PgConnection,
    run: &RunId,
    writes: &[VariableWrite],
) -> Result<(), StoreError> {
    if writes.is_empty() {
        return Ok(());
    }
    let node = |w: &VariableWrite| w.written_by_node.as_ref().map(ToString::to_string);
    sqlx::query(LOG_VARIABLE_WRITES)
        .bind(run.as_str())
        .bind(column(writes, |w| w.name.as_str()))
        .bind(column(writes, |w| w.old_value.as_str()))
        .bind(column(writes, |w| w.new_value.as_str()))
        .bind(column(writes, node))
        .bind(column(writes, |w| w.written_at))
        .bind(column(writes, |w| w.lasts))
        .execute(db)
        .await?;
    Ok(())
}
