//! The state that a claimed run is executed from, or its end if there is none.

use std::time::Duration;

use super::{
    drive::{Engine, EngineError, Stopped},
    recorder::Recorder,
    signals::Signals,
    state::RunState,
};
use crate::{
    domain::{Jitter, RetryDelay, RunStatus},
    store::{Checkpoint, Claim, Finish, Finished},
    workflow::ExpressionLimits,
};

impl Engine {
    /// Reads again while the ledger is away and the lease is good: given up now, the run would wait
    /// for its lease to expire.
    pub(super) async fn insist_on_load(
        &self,
        claim: &Claim,
        signals: &Signals,
    ) -> Result<Result<RunState, String>, EngineError> {
        let mut delay = RetryDelay::new(
            Duration::from_millis(50),
            Duration::from_secs(2),
            Jitter::Half,
        );
        loop {
            let error = match self.load(claim).await {
                Err(EngineError::Store(error)) if error.is_unavailable() => error,
                done => return done,
            };
            tracing::warn!(run_id = %claim.run.id, %error, "reading again");
            tokio::select! {
                () = signals.lost.cancelled() => return Err(error.into()),
                () = signals.abort.cancelled() => return Err(error.into()),
                () = tokio::time::sleep(delay.next_delay()) => {}
            }
        }
    }

    /// The state, or why there is none.
    async fn load(&self, claim: &Claim) -> Result<Result<RunState, String>, EngineError> {
        let run = &claim.run;
        let Some(hash) = &run.definition_hash else {
            return Ok(Err("it has no definition".into()));
        };
        let definition = match self.store.executable(hash).await? {
            Some(Ok(definition)) => definition,
            Some(Err(why)) => return Ok(Err(why)),
            None => return Ok(Err("its definition is missing".into())),
        };
        let trigger = run
            .trigger_node_id
            .as_ref()
            .and_then(|id| definition.find(id.as_str()));
        let Some(trigger) = trigger else {
            return Ok(Err("its trigger is missing".into()));
        };
        let (records, writes) = tokio::try_join!(
            self.store.nodes(&run.id, None),
            self.store.line_writes(&run.id)
        )?;
        let limits = ExpressionLimits::from(&self.limits);
        let state = RunState::new(definition, trigger, run, records, &writes, limits)?;
        Ok(Ok(state))
    }

    /// Ends a run that can't be executed; as cancelled, if that was asked for.
    pub(super) async fn end_unreadable(
        &self,
        claim: &Claim,
        mut recorder: Recorder<'_>,
        why: &str,
    ) -> Result<Stopped, EngineError> {
        let now = self.clock.now();
        for status in [RunStatus::Failure, RunStatus::Cancelled] {
            let finish = |checkpoint: Checkpoint| Finish {
                checkpoint: Checkpoint {
                    total_cu: claim.run.total_cu.clone(),
                    ..checkpoint
                },
                status,
                summary: format!("The run can't be executed: {why}."),
                now,
                may_have_signals: true,
            };
            match recorder.finish(finish).await? {
                Finished::Ended => return Ok(Stopped::Ended(status)),
                Finished::LeaseLost => break,
                // A state that can't be read has no place for a signal.
                Finished::SignalsPending => recorder.apply_all().await?,
                Finished::CancelRequested => {}
            }
        }
        Ok(Stopped::LeaseLost)
    }
}
