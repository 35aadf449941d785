//! Definitions, nodes and writes of variables.

use sqlx::SqliteConnection;

use crate::domain::{JsonText, NodePath, NodeRecord, RunId, VariableWrite};

use super::{
    super::{StoreError, StoredDefinition, rows::history, statements::Cancellation},
    read::texts,
    time::text,
};

const PUT_DEFINITION: &str = "
    insert into definitions (hash, body) values ($1, $2) on conflict (hash) do nothing";

// A record that is there keeps its position.
const PUT_NODE: &str = "
    insert into nodes (
        run_id, position, path, type, status, input, result, error, started_at, finished_at,
        due_at, branch, attempts, effect, origin_run_id, extra)
    values ($1, (select coalesce(max(position), 0) + 1 from nodes where run_id = $1), $2, $3, $4,
            $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15)
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
     where run_id = $1 and path in (select value from json_each($3))";

// A loop sends nothing itself: what is known of its effect is where those of its body begin.
const CANCEL_NODES: &str = "
    update nodes
       set status = 'cancelled', finished_at = $2, due_at = null,
           error = case when effect is not null and type <> 'for-each'
                             and (status = 'running' or effect ->> 'doubted' = 1
                                  or effect ->> 'last' = 'in_flight')
                        then $3 else $4 end
     where run_id = $1 and status in ('running', 'waiting', 'scheduled')";

const LOG_VARIABLE_WRITE: &str = "
    insert into variable_writes (
        run_id, position, name, old_value, new_value, written_by_node, written_at, lasts)
    select $1, (select coalesce(max(position), 0) + 1 from variable_writes where run_id = $1),
           $2, $3, $4, $5, $6, $7
     -- The same checkpoint may come again, when the answer to its commit was lost.
     where not exists (
        select 1 from variable_writes
         where run_id = $1 and written_by_node is $5 and name = $2 and written_at = $6)";

/// Adds a definition, unless it is there.
pub(super) async fn put_definition(
    db: &mut SqliteConnection,
    definition: &StoredDefinition,
) -> Result<(), StoreError> {
    sqlx::query(PUT_DEFINITION)
        .bind(definition.hash.as_str())
        .bind(definition.text.as_str())
        .execute(db)
        .await?;
    Ok(())
}

fn json(value: Option<&JsonText>) -> Option<&str> {
    value.map(JsonText::as_str)
}

/// Adds or replaces records. The engine is in the process: a statement per row costs no journey.
pub(super) async fn put_nodes(
    db: &mut SqliteConnection,
    run: &RunId,
    records: &[NodeRecord],
) -> Result<(), StoreError> {
    for record in records {
        let (attempts, effect) = history(record)?;
        sqlx::query(PUT_NODE)
            .bind(run.as_str())
            .bind(record.path.to_string())
            .bind(&record.kind)
            .bind(record.status.as_str())
            .bind(json(record.input.as_ref()))
            .bind(json(record.result.as_ref()))
            .bind(json(record.error.as_ref()))
            .bind(record.started_at.as_deref())
            .bind(record.finished_at.as_deref())
            .bind(record.due_at.as_deref())
            .bind(record.branch.as_deref())
            .bind(attempts)
            .bind(effect)
            .bind(record.origin_run_id.as_ref().map(RunId::as_str))
            .bind(json(record.extra.as_ref()))
            .execute(&mut *db)
            .await?;
    }
    Ok(())
}

/// Copies records without their attempts; how many there were.
pub(super) async fn copy_nodes(
    db: &mut SqliteConnection,
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
    db: &mut SqliteConnection,
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
    db: &mut SqliteConnection,
    run: &RunId,
    writes: &[VariableWrite],
) -> Result<(), StoreError> {
    for write in writes {
        sqlx::query(LOG_VARIABLE_WRITE)
            .bind(run.as_str())
            .bind(&write.name)
            .bind(write.old_value.as_str())
            .bind(write.new_value.as_str())
            .bind(write.written_by_node.as_ref().map(ToString::to_string))
            .bind(text(write.written_at))
            .bind(write.lasts)
            .execute(&mut *db)
            .await?;
    }
    Ok(())
}
