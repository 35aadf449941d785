//! Messages that could not be used.

use crate::domain::DeadLetterId;

use super::{
    super::{
        DeadLetter, StoreError,
        rows::{DeadLetterRow, read_all},
    },
    SqliteStore,
    time::text,
};

const INSERT_DEAD_LETTER: &str = "
    insert into dead_letters (
        id, reason, message, queue, body, body_bytes, headers, received_at)
    values ($1, $2, $3, $4, $5, $6, $7, $8)
    on conflict (id) do nothing";

const DEAD_LETTERS: &str = "
    select id, reason, message, queue, body, body_bytes, headers, received_at
      from dead_letters
     order by received_at desc, id desc
     limit $1 offset $2";

const DEAD_LETTER: &str = "
    select id, reason, message, queue, body, body_bytes, headers, received_at
      from dead_letters
     where id = $1";

const DROP_DEAD_LETTER: &str = "
    delete from dead_letters
     where id = $1
    returning id, reason, message, queue, body, body_bytes, headers, received_at";

const COUNT_DEAD_LETTERS: &str = "select count(*) from dead_letters";

impl SqliteStore {
    pub(in crate::store) async fn insert_dead_letter(
        &self,
        letter: &DeadLetter,
    ) -> Result<(), StoreError> {
        sqlx::query(INSERT_DEAD_LETTER)
            .bind(letter.id.as_str())
            .bind(&letter.reason)
            .bind(&letter.message)
            .bind(letter.queue.as_deref())
            .bind(&letter.body)
            .bind(letter.body_bytes)
            .bind(letter.headers.as_str())
            .bind(text(letter.received_at))
            .execute(&self.writer)
            .await?;
        Ok(())
    }

    pub(in crate::store) async fn dead_letters(
        &self,
        limit: u32,
        offset: u64,
    ) -> Result<Vec<DeadLetter>, StoreError> {
        let rows: Vec<DeadLetterRow> = sqlx::query_as(DEAD_LETTERS)
            .bind(i64::from(limit))
            .bind(i64::try_from(offset).unwrap_or(i64::MAX))
            .fetch_all(&self.reader)
            .await?;
        read_all(rows)
    }

    pub(in crate::store) async fn dead_letter(
        &self,
        id: &DeadLetterId,
    ) -> Result<Option<DeadLetter>, StoreError> {
        let row: Option<DeadLetterRow> = sqlx::query_as(DEAD_LETTER)
            .bind(id.as_str())
            .fetch_optional(&self.reader)
            .await?;
        row.map(DeadLetter::try_from).transpose()
    }

    pub(in crate::store) async fn drop_dead_letter(
        &self,
        id: &DeadLetterId,
    ) -> Result<Option<DeadLetter>, StoreError> {
        let row: Option<DeadLetterRow> = sqlx::query_as(DROP_DEAD_LETTER)
            .bind(id.as_str())
            .fetch_optional(&self.writer)
            .await?;
        row.map(DeadLetter::try_from).transpose()
    }

    /// How many are kept.
    pub(super) async fn count_dead_letters(&self) -> Result<i64, StoreError> {
        Ok(sqlx::query_scalar(COUNT_DEAD_LETTERS)
            .fetch_one(&self.reader)
            .await?)
    }
}
