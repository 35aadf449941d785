//! Rows of many members in one statement.

use std::collections::HashSet;

use sqlx::PgConnection;

use super::{
    ask::{Answers, Asked, NewRetryRow, NewRun},
    batch::{Records, text},
};
use crate::{
    domain::{JsonText, NodeRecord, Retry, RetryId, RunId, WaitingFor},
    store::{
        StoreError,
        postgres::progress,
        rows::{LockedRun, history},
    },
};

const UPDATE_RUNS: &str = "
    update runs
       set status = new.status, waiting_for = new.waiting_for, created = new.created,
           summary = new.summary, total_cu = new.total_cu, started_at = new.started_at,
           finished_at = new.finished_at, cancel_requested_at = new.cancel_requested_at,
           lease_owner = new.lease_owner, lease_epoch = new.lease_epoch,
           lease_until = new.lease_until, lost_leases = new.lost_leases,
           plan = coalesce(new.plan, runs.plan)
      from unnest($1::text[], $2::text[], $3::text[], $4::boolean[], $5::text[], $6::text[],
                  $7::text[], $8::text[], $9::timestamptz[], $10::text[], $11::bigint[],
                  $12::timestamptz[], $13::bigint[], $14::text[])
           as new (id, status, waiting_for, created, summary, total_cu, started_at, finished_at,
                   cancel_requested_at, lease_owner, lease_epoch, lease_until, lost_leases, plan)
     where runs.id = new.id";

const INSERT_RUNS: &str = "
    insert into runs (
        id, organization_id, root_run_id, source_run_id, status, waiting_for, created,
        definition_hash, trigger_node_id, trigger_source, triggered_by, workflow_id,
        workflow_version, workflow_owner_user_id, prop_values, variables, simulation_forks,
        simulation_mode, is_simulation, is_dust_test, summary, total_cu, created_at, started_at,
        finished_at, cancel_requested_at, lane, traceparent)
    select *
      from unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[],
                  $7::boolean[], $8::text[], $9::text[], $10::text[], $11::text[], $12::text[],
                  $13::bigint[], $14::text[], $15::text[], $16::text[], $17::text[], $18::text[],
                  $19::boolean[], $20::boolean[], $21::text[], $22::text[], $23::timestamptz[],
                  $24::text[], $25::text[], $26::timestamptz[], $27::text[], $28::text[])
    on conflict (id) do nothing
    returning id";

const INSERT_RETRIES: &str = "
    insert into retries (
        id, organization_id, source_run_id, run_id, root_run_id, ordinal, state, live, lane,
        request, reason, triggered_by, refusal_reason, refusal_message, refusal_run_id,
        refusal_retry_id, created_at, updated_at, intent)
    select *
      from unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::bigint[],
                  $7::text[], $8::boolean[], $9::text[], $10::text[], $11::text[], $12::text[],
                  $13::text[], $14::text[], $15::text[], $16::text[], $17::timestamptz[],
                  $18::timestamptz[], $19::text[])";

const UPDATE_RETRIES: &str = "
    update retries
       set state = new.state, ordinal = new.ordinal, live = new.live,
           refusal_reason = new.refusal_reason, refusal_message = new.refusal_message,
           refusal_run_id = new.refusal_run_id, refusal_retry_id = new.refusal_retry_id,
           updated_at = new.updated_at
      from unnest($1::text[], $2::text[], $3::text[], $4::bigint[], $5::boolean[], $6::text[],
                  $7::text[], $8::text[], $9::text[], $10::timestamptz[])
           as new (organization_id, id, state, ordinal, live, refusal_reason, refusal_message,
                   refusal_run_id, refusal_retry_id, updated_at)
     where retries.organization_id = new.organization_id and retries.id = new.id";

// A record that is there keeps its position.
const PUT_NODES_OF: &str = "
    insert into nodes (
        run_id, position, path, type, status, input, result, error, started_at, finished_at,
        due_at, branch, attempts, effect, origin_run_id, extra)
    select n.run_id, last.position + n.place, n.path, n.type, n.status, n.input, n.result, n.error,
           n.started_at, n.finished_at, n.due_at, n.branch, n.attempts, n.effect, n.origin_run_id,
           n.extra
      from unnest($1::text[], $2::bigint[], $3::text[], $4::text[], $5::text[], $6::text[],
                  $7::text[], $8::text[], $9::text[], $10::text[], $11::text[], $12::text[],
                  $13::text[], $14::text[], $15::text[], $16::text[])
           as n (run_id, place, path, type, status, input, result, error, started_at, finished_at,
                 due_at, branch, attempts, effect, origin_run_id, extra)
     cross join lateral (
           select coalesce(max(position), 0) as position
             from nodes
            where nodes.run_id = n.run_id) as last
    on conflict (run_id, path) do update
       set type = excluded.type, status = excluded.status, input = excluded.input,
           result = excluded.result, error = excluded.error, started_at = excluded.started_at,
           finished_at = excluded.finished_at, due_at = excluded.due_at,
           branch = excluded.branch, attempts = excluded.attempts, effect = excluded.effect,
           origin_run_id = excluded.origin_run_id, extra = excluded.extra";

/// One column of many rows.
fn column<'a, R, T>(rows: &[&'a R], of: impl Fn(&'a R) -> T) -> Vec<T> {
    rows.iter().map(|row| of(row)).collect()
}

/// Tells everybody that it is done.
fn done<Q>(asked: Vec<Asked<Q, ()>>, out: &mut Answers) {
    for one in asked {
        one.is((), out);
    }
}

pub(in super::super) async fn update_runs(
    db: &mut PgConnection,
    asked: Vec<Asked<Box<LockedRun>, ()>>,
    out: &mut Answers,
) -> Result<(), StoreError> {
    if asked.is_empty() {
        return Ok(());
    }
    let rows: Vec<&LockedRun> = asked.iter().map(|one| &*one.what).collect();
    sqlx::query(UPDATE_RUNS)
        .bind(column(&rows, |l| l.run.id.as_str()))
        .bind(column(&rows, |l| l.run.status.as_str()))
        .bind(column(&rows, |l| l.run.waiting_for.map(WaitingFor::as_str)))
        .bind(column(&rows, |l| l.run.created))
        .bind(column(&rows, |l| l.run.summary.as_deref()))
        .bind(column(&rows, |l| l.run.total_cu.as_str()))
        .bind(column(&rows, |l| l.run.started_at.as_deref()))
        .bind(column(&rows, |l| l.run.finished_at.as_deref()))
        .bind(column(&rows, |l| l.run.cancel_requested_at))
        .bind(column(&rows, |l| l.owner.as_deref()))
        .bind(column(&rows, |l| l.epoch))
        .bind(column(&rows, |l| l.until))
        .bind(column(&rows, |l| l.lost_leases))
        .bind(column(&rows, |l| text(l.plan.as_ref())))
        .execute(db)
        .await?;
    done(asked, out);
    Ok(())
}

pub(in super::super) async fn insert_runs(
    db: &mut PgConnection,
    asked: Vec<Asked<Box<NewRun>, bool>>,
    out: &mut Answers,
) -> Result<(), StoreError> {
    if asked.is_empty() {
        return Ok(());
    }
    let rows: Vec<&NewRun> = asked.iter().map(|one| &*one.what).collect();
    let inserted: Vec<String> = sqlx::query_scalar(INSERT_RUNS)
        .bind(column(&rows, |n| n.run.id.as_str()))
        .bind(column(&rows, |n| n.run.organization_id.as_str()))
        .bind(column(&rows, |n| n.run.root_run_id.as_str()))
        .bind(column(&rows, |n| {
            n.run.source_run_id.as_ref().map(RunId::as_str)
        }))
        .bind(column(&rows, |n| n.run.status.as_str()))
        .bind(column(&rows, |n| n.run.waiting_for.map(WaitingFor::as_str)))
        .bind(column(&rows, |n| n.run.created))
        .bind(column(&rows, |n| {
            n.run.definition_hash.as_ref().map(AsRef::<str>::as_ref)
        }))
        .bind(column(&rows, |n| {
            n.run.trigger_node_id.as_ref().map(AsRef::<str>::as_ref)
        }))
        .bind(column(&rows, |n| n.run.trigger_source.as_deref()))
        .bind(column(&rows, |n| n.run.triggered_by.as_deref()))
        .bind(column(&rows, |n| n.run.workflow_id.as_deref()))
        .bind(column(&rows, |n| n.run.workflow_version))
        .bind(column(&rows, |n| n.run.workflow_owner_user_id.as_deref()))
        .bind(column(&rows, |n| n.run.prop_values.as_str()))
        .bind(column(&rows, |n| n.run.variables.as_str()))
        .bind(column(&rows, |n| text(n.run.simulation.forks.as_ref())))
        .bind(column(&rows, |n| n.run.simulation.mode.as_deref()))
        .bind(column(&rows, |n| n.run.simulation.is_simulation))
        .bind(column(&rows, |n| n.run.simulation.is_dust_test))
        .bind(column(&rows, |n| n.run.summary.as_deref()))
        .bind(column(&rows, |n| n.run.total_cu.as_str()))
        .bind(column(&rows, |n| n.run.created_at))
        .bind(column(&rows, |n| n.run.started_at.as_deref()))
        .bind(column(&rows, |n| n.run.finished_at.as_deref()))
        .bind(column(&rows, |n| n.run.cancel_requested_at))
        .bind(column(&rows, |n| n.lane.as_str()))
        .bind(column(&rows, |n| n.traceparent.as_deref()))
        .fetch_all(db)
        .await?;
    let mut inserted: HashSet<String> = inserted.into_iter().collect();
    for one in asked {
        // Of two with one id only one is there.
        let is_new = inserted.remove(one.what.run.id.as_str());
        one.is(is_new, out);
    }
    Ok(())
}

pub(in super::super) async fn insert_retries(
    db: &mut PgConnection,
    asked: Vec<Asked<Box<NewRetryRow>, ()>>,
    out: &mut Answers,
) -> Result<(), StoreError> {
    if asked.is_empty() {
        return Ok(());
    }
    let rows: Vec<_> = asked.iter().map(|one| &*one.what).collect();
    sqlx::query(INSERT_RETRIES)
        .bind(column(&rows, |(r, ..)| r.id.as_str()))
        .bind(column(&rows, |(r, ..)| r.organization_id.as_str()))
        .bind(column(&rows, |(r, ..)| r.source_run_id.as_str()))
        .bind(column(&rows, |(r, ..)| {
            r.run_id.as_ref().map(RunId::as_str)
        }))
        .bind(column(&rows, |(r, ..)| {
            r.root_run_id.as_ref().map(RunId::as_str)
        }))
        .bind(column(&rows, |(r, ..)| r.ordinal))
        .bind(column(&rows, |(r, ..)| r.state.as_str()))
        .bind(column(&rows, |(_, live, _)| *live))
        .bind(column(&rows, |(r, ..)| r.lane.as_str()))
        .bind(column(&rows, |(r, ..)| r.request.as_str()))
        .bind(column(&rows, |(r, ..)| r.reason.as_deref()))
        .bind(column(&rows, |(r, ..)| r.triggered_by.as_deref()))
        .bind(column(&rows, |(r, ..)| refusal(r).map(|refusal| refusal.0)))
        .bind(column(&rows, |(r, ..)| refusal(r).map(|refusal| refusal.1)))
        .bind(column(&rows, |(r, ..)| {
            refusal(r).and_then(|refusal| refusal.2)
        }))
        .bind(column(&rows, |(r, ..)| {
            refusal(r).and_then(|refusal| refusal.3)
        }))
        .bind(column(&rows, |(r, ..)| r.created_at))
        .bind(column(&rows, |(r, ..)| r.updated_at))
        .bind(column(&rows, |(_, _, intent)| text(intent.as_ref())))
        .execute(db)
        .await?;
    done(asked, out);
    Ok(())
}

pub(in super::super) async fn update_retries(
    db: &mut PgConnection,
    asked: Vec<Asked<Box<(Retry, bool)>, ()>>,
    out: &mut Answers,
) -> Result<(), StoreError> {
    if asked.is_empty() {
        return Ok(());
    }
    let rows: Vec<_> = asked.iter().map(|one| &*one.what).collect();
    sqlx::query(UPDATE_RETRIES)
        .bind(column(&rows, |(r, _)| r.organization_id.as_str()))
        .bind(column(&rows, |(r, _)| r.id.as_str()))
        .bind(column(&rows, |(r, _)| r.state.as_str()))
        .bind(column(&rows, |(r, _)| r.ordinal))
        .bind(column(&rows, |(_, live)| *live))
        .bind(column(&rows, |(r, _)| refusal(r).map(|refusal| refusal.0)))
        .bind(column(&rows, |(r, _)| refusal(r).map(|refusal| refusal.1)))
        .bind(column(&rows, |(r, _)| {
            refusal(r).and_then(|refusal| refusal.2)
        }))
        .bind(column(&rows, |(r, _)| {
            refusal(r).and_then(|refusal| refusal.3)
        }))
        .bind(column(&rows, |(r, _)| r.updated_at))
        .execute(db)
        .await?;
    done(asked, out);
    Ok(())
}

/// The columns of a refusal: reason, message, run, retry.
fn refusal(retry: &Retry) -> Option<(&str, &str, Option<&str>, Option<&str>)> {
    let refusal = retry.refusal.as_ref()?;
    Some((
        refusal.reason.as_str(),
        refusal.message.as_str(),
        refusal.run_id.as_ref().map(RunId::as_str),
        refusal.retry_id.as_ref().map(RetryId::as_str),
    ))
}

/// Bytes of records up to which they share a statement.
const MOST_BYTES: usize = 1 << 16;

pub(in super::super) async fn put_nodes(
    db: &mut PgConnection,
    asked: Vec<Asked<Records, ()>>,
    out: &mut Answers,
) -> Result<(), StoreError> {
    let (large, small): (Vec<_>, Vec<_>) = asked
        .into_iter()
        .partition(|one| bytes(&one.what.1) > MOST_BYTES);
    for one in &large {
        progress::put_nodes(db, &one.what.0, &one.what.1).await?;
    }
    done(large, out);
    if small.is_empty() {
        return Ok(());
    }
    let mut rows: Vec<(&RunId, i64, &NodeRecord)> = Vec::new();
    for (run, records) in small.iter().map(|one| &one.what) {
        rows.extend(
            (1..)
                .zip(records)
                .map(|(place, record)| (run, place, record)),
        );
    }
    let histories = rows.iter().map(|(_, _, record)| history(record));
    let histories: Vec<_> = histories.collect::<Result<_, _>>()?;
    let rows: Vec<_> = rows.iter().collect();
    let origin = |r: &NodeRecord| r.origin_run_id.as_ref().map(ToString::to_string);
    sqlx::query(PUT_NODES_OF)
        .bind(column(&rows, |(run, ..)| run.as_str()))
        .bind(column(&rows, |(_, place, _)| *place))
        .bind(column(&rows, |(_, _, r)| r.path.to_string()))
        .bind(column(&rows, |(_, _, r)| r.kind.as_str()))
        .bind(column(&rows, |(_, _, r)| r.status.as_str()))
        .bind(column(&rows, |(_, _, r)| text(r.input.as_ref())))
        .bind(column(&rows, |(_, _, r)| text(r.result.as_ref())))
        .bind(column(&rows, |(_, _, r)| text(r.error.as_ref())))
        .bind(column(&rows, |(_, _, r)| r.started_at.as_deref()))
        .bind(column(&rows, |(_, _, r)| r.finished_at.as_deref()))
        .bind(column(&rows, |(_, _, r)| r.due_at.as_deref()))
        .bind(column(&rows, |(_, _, r)| r.branch.as_deref()))
        .bind(
            histories
                .iter()
                .map(|(attempts, _)| attempts.as_str())
                .collect::<Vec<_>>(),
        )
        .bind(
            histories
                .iter()
                .map(|(_, effect)| effect.as_deref())
                .collect::<Vec<_>>(),
        )
        .bind(column(&rows, |(_, _, r)| origin(r)))
        .bind(column(&rows, |(_, _, r)| text(r.extra.as_ref())))
        .execute(db)
        .await?;
    done(small, out);
    Ok(())
}

fn bytes(records: &[NodeRecord]) -> usize {
    let length = |text: Option<&JsonText>| text.map_or(0, |text| text.as_str().len());
    let of = |record: &NodeRecord| {
        length(record.input.as_ref())
            + length(record.result.as_ref())
            + length(record.extra.as_ref())
    };
    records.iter().map(of).sum()
}
