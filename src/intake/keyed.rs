//! Requests that carry a key: what was accepted is answered again, as it was answered then.

use super::{Caller, Intake, IntakeError, Request};
use crate::{
    domain::{JsonText, Retry, RetryState, Run, RunId, RunStatus, WaitingFor},
    store::{Earlier, StoreError},
};

impl Intake {
    /// The request that was accepted under the caller's key, if one was. It is looked for before
    /// anything else is: what was accepted once may be refused by now.
    pub(super) async fn earlier(&self, caller: &Caller) -> Result<Option<Earlier>, IntakeError> {
        match &caller.key {
            Some(key) => Ok(self.store.earlier(key).await?),
            None => Ok(None),
        }
    }

    /// The start that was accepted before.
    pub(super) async fn start_again(
        &self,
        caller: &Caller,
        earlier: Earlier,
    ) -> Result<Run, IntakeError> {
        let run = self.run_of(caller, earlier).await?;
        Ok(as_accepted(run, WaitingFor::Queue))
    }

    /// The import that was accepted before: an imported run stays as it is.
    pub(super) async fn import_again(
        &self,
        caller: &Caller,
        earlier: Earlier,
    ) -> Result<Run, IntakeError> {
        self.run_of(caller, earlier).await
    }

    /// The retry that was accepted before.
    pub(super) async fn retry_again(
        &self,
        caller: &Caller,
        earlier: Earlier,
    ) -> Result<(Run, Retry), IntakeError> {
        let run = self.run_of(caller, earlier).await?;
        let retry = self.store.retry_of_run(&run.id).await?;
        let retry = retry.ok_or_else(|| missing(&run.id))?;
        let not_before = Request::stored(&retry.request)?.not_before;
        let is_later = not_before.is_some_and(|time| time > retry.created_at);
        let (state, waiting_for) = if is_later {
            (RetryState::Scheduled, WaitingFor::Schedule)
        } else {
            (RetryState::Queued, WaitingFor::Queue)
        };
        let run = Run {
            created: false,
            ..as_accepted(run, waiting_for)
        };
        let retry = Retry {
            state,
            refusal: None,
            updated_at: retry.created_at,
            ..retry
        };
        Ok((run, retry))
    }

    /// The run that the same request made.
    async fn run_of(&self, caller: &Caller, earlier: Earlier) -> Result<Run, IntakeError> {
        let Earlier::Accepted {
            run_id,
            fingerprint,
        } = earlier
        else {
            return Err(IntakeError::KeyInFlight);
        };
        let is_same = caller
            .key
            .as_ref()
            .is_some_and(|key| key.fingerprint == fingerprint);
        if !is_same {
            return Err(IntakeError::KeyReused);
        }
        let run = self.store.run(&caller.organization_id, &run_id).await?;
        Ok(run.ok_or_else(|| missing(&run_id))?)
    }
}

/// A run as its acceptance was answered, whatever has become of it.
fn as_accepted(run: Run, waiting_for: WaitingFor) -> Run {
    Run {
        status: RunStatus::Waiting,
        waiting_for: Some(waiting_for),
        summary: None,
        total_cu: JsonText::trusted("0"),
        started_at: None,
        finished_at: None,
        cancel_requested_at: None,
        ..run
    }
}

fn missing(run: &RunId) -> StoreError {
    StoreError::Inconsistent {
        table: "idempotency_keys",
        column: "run_id",
        row: run.to_string(),
        why: "what the request made is not there".into(),
    }
}
