//! What is asked before a request is accepted: its key, and how much its organisation has under way.

use sqlx::SqliteConnection;

use crate::domain::{OrganizationId, RunId, Timestamp};

use super::{
    super::{Earlier, IdempotencyKey, KEY_LIFE, StoreError, rows::read_earlier},
    SqliteStore,
    time::text,
};

const EARLIER: &str = "
    select run_id, fingerprint
      from idempotency_keys
     where organization_id = $1
       and key = $2
       and created_at > $3";

// What is there is too old to count.
const KEEP: &str = "
    insert into idempotency_keys (organization_id, key, fingerprint, run_id, created_at)
    values ($1, $2, $3, $4, $5)
    on conflict (organization_id, key) do update
       set fingerprint = excluded.fingerprint, run_id = excluded.run_id,
           created_at = excluded.created_at";

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
            where created_at <= $1
            order by created_at
            limit $2)";

/// The time before which a key no longer counts.
fn oldest(now: Timestamp) -> String {
    text(now - KEY_LIFE)
}

pub(super) async fn earlier(
    db: &mut SqliteConnection,
    key: &IdempotencyKey,
    now: Timestamp,
) -> Result<Option<Earlier>, StoreError> {
    let row: Option<(String, String)> = sqlx::query_as(EARLIER)
        .bind(key.organization_id.as_str())
        .bind(&key.key)
        .bind(oldest(now))
        .fetch_optional(db)
        .await?;
    row.map(read_earlier).transpose()
}

pub(super) async fn keep(
    db: &mut SqliteConnection,
    key: &IdempotencyKey,
    run: &RunId,
    now: Timestamp,
) -> Result<(), StoreError> {
    sqlx::query(KEEP)
        .bind(key.organization_id.as_str())
        .bind(&key.key)
        .bind(&key.fingerprint)
        .bind(run.as_str())
        .bind(text(now))
        .execute(db)
        .await?;
    Ok(())
}

pub(super) async fn live_runs(
    db: &mut SqliteConnection,
    organization: &OrganizationId,
    most: u32,
) -> Result<i64, StoreError> {
    Ok(sqlx::query_scalar(LIVE_RUNS)
        .bind(organization.as_str())
        .bind(i64::from(most))
        .fetch_one(db)
        .await?)
}

impl SqliteStore {
    pub(in crate::store) async fn earlier(
        &self,
        key: &IdempotencyKey,
    ) -> Result<Option<Earlier>, StoreError> {
        let mut db = self.reader.acquire().await?;
        earlier(&mut db, key, self.now()).await
    }

    pub(in crate::store) async fn forget_keys(&self, most: u32) -> Result<u64, StoreError> {
        let forgotten = sqlx::query(FORGET)
            .bind(oldest(self.now()))
            .bind(i64::from(most))
            .execute(&self.writer)
            .await?;
        Ok(forgotten.rows_affected())
    }
}
