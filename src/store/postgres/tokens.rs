//! API tokens.

use crate::domain::{Timestamp, TokenId};

use super::{
    super::{
        NewToken, StoreError, Token,
        rows::{TokenRow, read_all},
    },
    PostgresStore,
    many::TokenOf,
};

const INSERT_TOKEN: &str = "
    insert into tokens (id, organization_id, name, secret_hash, scopes, created_at)
    values ($1, $2, $3, $4, $5, $6)";

const TOKENS: &str = "
    select id, organization_id, name, secret_hash, scopes, created_at, revoked_at
      from tokens
     order by created_at desc, id desc";

const REVOKE_TOKEN: &str = "
    update tokens set revoked_at = $2 where id = $1 and revoked_at is null";

impl PostgresStore {
    pub(in crate::store) async fn insert_token(&self, token: &NewToken) -> Result<(), StoreError> {
        sqlx::query(INSERT_TOKEN)
            .bind(token.id.as_str())
            .bind(token.organization_id.as_str())
            .bind(token.name.as_deref())
            .bind(&token.secret_hash)
            .bind(&token.scopes)
            .bind(token.created_at)
            .execute(&self.pool)
            .await?;
        Ok(())
    }

    pub(in crate::store) async fn token(&self, id: &TokenId) -> Result<Option<Token>, StoreError> {
        self.reads.token.read(TokenOf(id.clone())).await
    }

    pub(in crate::store) async fn tokens(&self) -> Result<Vec<Token>, StoreError> {
        read_all::<TokenRow, _>(sqlx::query_as(TOKENS).fetch_all(&self.pool).await?)
    }

    pub(in crate::store) async fn revoke_token(
        &self,
        id: &TokenId,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let done = sqlx::query(REVOKE_TOKEN)
            .bind(id.as_str())
            .bind(now)
            .execute(&self.pool)
            .await?;
        Ok(done.rows_affected() > 0)
    }
}
