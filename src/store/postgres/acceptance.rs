//! What is asked before a request is accepted: its key, and how much its organisation has under way.

use sqlx::PgConnection;

use crate::domain::{OrganizationId, RunId};

use super::{
    super::{Earlier, IdempotencyKey, KEY_LIFE, StoreError, rows::read_earlier},
    PostgresStore, micros,
};

// Held to the end of the transaction: of two requests with one key the second finds the first under
// way, or its row.
const TRY_LOCK: &str = "select pg_try_advisory_xact_lock(hashtextextended($1 || ' ' || $2, 0))";

const EARLIER: &str = "
    select run_id, fingerprint
      from idempotency_keys
     where organization_id = $1
       and key = $2
       and created_at > clock_timestamp() - $3::bigint * interval '1 microsecond'";

// What is there is too old to count.
const KEEP: &str = "
    insert into idempotency_keys (organization_id, key, fingerprint, run_id, created_at)
    values ($1, $2, $3, $4, clock_timestamp())
    on conflict (organization_id, key) do update
       set fingerprint = excluded.fingerprint, run_id = excluded.run_id,
           created_at = excluded.created_at";

// One at a time counts, so that the last place is given once.
const LOCK_LIVE: &str = "select pg_advisory_xact_lock(hashtextextended('live ' || $1, 0))";

// No further than it matters.
const LIVE_RUNS: &str = "
    select count(*)
      from (select 1
              from runs
             where organization_id = $1 and status in ('waiting', 'running')
             limit $2) as live";

const FORGET: &str = "
    delete from idempotency_keys
     where (organization_id, key) in (
           select organization_id, key
             from idempotency_keys
            where created_at <= clock_timestamp() - $1::bigint * interval '1 microsecond'
            order by created_at
            limit $2
              for update skip locked)";

/// Keeps others from deciding the same request; false if somebody does so.
pub(super) async fn try_lock(
    db: &mut PgConnection,
    key: &IdempotencyKey,
) -> Result<bool, StoreError> {
    Ok(sqlx::query_scalar(TRY_LOCK)
        .bind(key.organization_id.as_str())
        .bind(&key.key)
        .fetch_one(db)
        .await?)
}

pub(super) async fn earlier(
    db: &mut PgConnection,
    key: &IdempotencyKey,
) -> Result<Option<Earlier>, StoreError> {
    let row: Option<(String, String)> = sqlx::query_as(EARLIER)
        .bind(key.organization_id.as_str())
        .bind(&key.key)
        .bind(micros(KEY_LIFE))
        .fetch_optional(db)
        .await?;
    row.map(read_earlier).transpose()
}

pub(super) async fn keep(
    db: &mut PgConnection,
    key: &IdempotencyKey,
    run: &RunId,
) -> Result<(), StoreError> {
    sqlx::query(KEEP)
        .bind(key.organization_id.as_str())
        .bind(&key.key)
        .bind(&key.fingerprint)
        .bind(run.as_str())
        .execute(db)
        .await?;
    Ok(())
}

pub(super) async fn live_runs(
    db: &mut PgConnection,
    organization: &OrganizationId,
    most: u32,
) -> Result<i64, StoreError> {
    sqlx::query(LOCK_LIVE)
        .bind(organization.as_str())
        .execute(&mut *db)
        .await?;
    Ok(sqlx::query_scalar(LIVE_RUNS)
        .bind(organization.as_str())
        .bind(i64::from(most))
        .fetch_one(db)
        .await?)
}

impl PostgresStore {
    pub(in crate::store) async fn earlier(
        &self,
        key: &IdempotencyKey,
    ) -> Result<Option<Earlier>, StoreError> {
        let mut db = self.pool.acquire().await?;
        earlier(&mut db, key).await
    }

    pub(in crate::store) async fn forget_keys(&self, most: u32) -> Result<u64, StoreError> {
        let forgotten = sqlx::query(FORGET)
            .bind(micros(KEY_LIFE))
            .bind(i64::from(most))
            .execute(&self.pool)
            .await?;
        Ok(forgotten.rows_affected())
    }
}
