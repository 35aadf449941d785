//! Retries that somebody else published.

use crate::domain::{JsonText, OrganizationId, Retry, RetryId};

use super::{super::StoreError, PostgresStore, read, transaction::insert_retry};

impl PostgresStore {
    pub(in crate::store) async fn refuse_intent(
        &self,
        retry: &Retry,
        intent: &JsonText,
    ) -> Result<bool, StoreError> {
        let mut db = self.pool.acquire().await?;
        let inserted = insert_retry(&mut db, retry, false, Some(intent)).await;
        match inserted {
            Ok(()) => Ok(true),
            Err(error) if error.is_conflict() => {
                let there = read::intent(&mut *db, &retry.organization_id, &retry.id).await?;
                there.map_or(Err(error), |_| Ok(false))
            }
            Err(error) => Err(error),
        }
    }

    pub(in crate::store) async fn intent(
        &self,
        organization: &OrganizationId,
        id: &RetryId,
    ) -> Result<Option<Option<JsonText>>, StoreError> {
        read::intent(&self.pool, organization, id).await
    }
}
