//! Hands the retries that waiting parents ask for to the intake.

use crate::{
    engine::{ChildRetries, ChildRetry, ChildRetryFuture},
    intake::Intake,
};

/// Accepts retries of children as if somebody had requested them.
#[derive(Debug, Clone)]
pub struct AcceptsChildren(Intake);

impl AcceptsChildren {
    /// Accepts them here.
    #[must_use]
    pub fn new(intake: Intake) -> Self {
        Self(intake)
    }
}

impl ChildRetries for AcceptsChildren {
    fn retry(&self, child: ChildRetry) -> ChildRetryFuture<'_> {
        Box::pin(async move {
            let ChildRetry {
                retry_id,
                organization_id,
                source_run_id,
                parent_run_id,
            } = child;
            self.0
                .child_retry(retry_id, organization_id, source_run_id, &parent_run_id)
                .await
        })
    }
}
