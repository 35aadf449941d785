//! STUB, replaced by the real engine.
#![allow(missing_docs, clippy::all, clippy::pedantic, unused)]
use super::*;
#[derive(Debug, Clone)]
pub struct SqliteStore;
impl SqliteStore {
    pub async fn connect(_c: &DatabaseConfig) -> Result<Self, StoreError> {
        todo!()
    }
    pub async fn migrate(&self) -> Result<(), StoreError> {
        todo!()
    }
    pub async fn missing_migrations(&self) -> Result<usize, StoreError> {
        todo!()
    }
    pub async fn ping(&self) -> Result<(), StoreError> {
        todo!()
    }
    pub async fn accept_start(&self, start: &NewStart) -> Result<AcceptedStart, StoreError> {
        todo!()
    }
    pub async fn import(&self, import: &NewImport) -> Result<ImportOutcome, StoreError> {
        todo!()
    }
    pub async fn accept_retry(
        &self,
        retry: &NewRetry,
    ) -> Result<Result<(Run, Retry), Refusal>, StoreError> {
        todo!()
    }
    pub async fn run(
        &self,
        organization: &OrganizationId,
        id: &RunId,
    ) -> Result<Option<Run>, StoreError> {
        todo!()
    }
    pub async fn runs(
        &self,
        organization: &OrganizationId,
        filter: &RunFilter,
    ) -> Result<Vec<Run>, StoreError> {
        todo!()
    }
    pub async fn definition(&self, hash: &DefinitionHash) -> Result<Option<JsonText>, StoreError> {
        todo!()
    }
    pub async fn nodes(
        &self,
        run: &RunId,
        paths: Option<&[NodePath]>,
    ) -> Result<Vec<NodeRecord>, StoreError> {
        todo!()
    }
    pub async fn variable_writes(
        &self,
        runs: &[RunId],
    ) -> Result<Vec<(RunId, VariableWrite)>, StoreError> {
        todo!()
    }
    pub async fn retry(
        &self,
        organization: &OrganizationId,
        id: &RetryId,
    ) -> Result<Option<Retry>, StoreError> {
        todo!()
    }
    pub async fn retry_of_run(&self, run: &RunId) -> Result<Option<Retry>, StoreError> {
        todo!()
    }
    pub async fn retries(
        &self,
        organization: &OrganizationId,
        filter: &RetryFilter,
    ) -> Result<Vec<Retry>, StoreError> {
        todo!()
    }
    pub async fn request_cancel(
        &self,
        organization: &OrganizationId,
        run: &RunId,
        now: Timestamp,
    ) -> Result<CancelOutcome, StoreError> {
        todo!()
    }
    pub async fn lease_due(&self, limit: u32, lease: Duration) -> Result<Vec<DueRow>, StoreError> {
        todo!()
    }
    pub async fn mark_sent(&self, runs: &[RunId]) -> Result<(), StoreError> {
        todo!()
    }
    pub async fn unmark_sent(&self, run: &RunId) -> Result<(), StoreError> {
        todo!()
    }
    pub async fn claim(
        &self,
        run: &RunId,
        owner: &str,
        ttl: Duration,
    ) -> Result<Option<Claim>, StoreError> {
        todo!()
    }
    pub async fn create(&self, fence: &Fence, creation: &Creation) -> Result<Written, StoreError> {
        todo!()
    }
    pub async fn refuse(
        &self,
        fence: &Fence,
        refusal: &Refusal,
        now: Timestamp,
    ) -> Result<Written, StoreError> {
        todo!()
    }
    pub async fn checkpoint(
        &self,
        fence: &Fence,
        checkpoint: &Checkpoint,
    ) -> Result<Written, StoreError> {
        todo!()
    }
    pub async fn park(&self, fence: &Fence, parking: &Parking) -> Result<Written, StoreError> {
        todo!()
    }
    pub async fn finish(&self, fence: &Fence, finish: &Finish) -> Result<Finished, StoreError> {
        todo!()
    }
    pub async fn release(&self, fence: &Fence) -> Result<Written, StoreError> {
        todo!()
    }
    pub async fn renew(&self, fences: &[Fence], ttl: Duration) -> Result<Vec<Renewed>, StoreError> {
        todo!()
    }
    pub async fn rescue(&self) -> Result<Rescued, StoreError> {
        todo!()
    }
    pub async fn expire_leases(&self) -> Result<u64, StoreError> {
        todo!()
    }
    pub async fn backlog(&self) -> Result<Backlog, StoreError> {
        todo!()
    }
    pub async fn insert_token(&self, token: &NewToken) -> Result<(), StoreError> {
        todo!()
    }
    pub async fn token(&self, id: &TokenId) -> Result<Option<Token>, StoreError> {
        todo!()
    }
    pub async fn tokens(&self) -> Result<Vec<Token>, StoreError> {
        todo!()
    }
    pub async fn revoke_token(&self, id: &TokenId, now: Timestamp) -> Result<bool, StoreError> {
        todo!()
    }
}
