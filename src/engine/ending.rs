//! How a run ends, and what becomes of the nodes that are under way then.

use super::{
    drive::{Drive, EngineError, Stopped, error_text},
    settle::{end_attempt, is_open},
    summary::summary,
};
use crate::{
    domain::{
        ErrorClass, LastAttempt, NodeError, NodeRecord, NodeStatus, RunStatus, format_timestamp,
    },
    store::{Finish, Finished},
    workflow::At,
};

/// Why a run that keeps losing its workers ends.
const WORKERS_LOST: &str = "five workers were lost while they executed this run";

impl Drive<'_> {
    /// Ends the run, unless something came meanwhile that its end must know of.
    pub(super) async fn end(&mut self, status: RunStatus) -> Result<Stopped, EngineError> {
        self.end_because(status, None).await
    }

    async fn end_because(
        &mut self,
        status: RunStatus,
        why: Option<&'static str>,
    ) -> Result<Stopped, EngineError> {
        let summary = summary(status, why, &self.state);
        let now = self.engine.clock.now();
        let may_have_signals = self.state.has_waits();
        match self
            .recorder
            .finish(|checkpoint| Finish {
                checkpoint,
                status,
                summary,
                now,
                may_have_signals,
            })
            .await?
        {
            Finished::Ended => Ok(Stopped::Ended(status)),
            Finished::LeaseLost => Ok(Stopped::LeaseLost),
            Finished::CancelRequested => Box::pin(self.cancel()).await,
            Finished::SignalsPending => {
                self.apply_signals().await?;
                Box::pin(self.end_because(status, why)).await
            }
        }
    }

    /// Ends the run `cancelled`, and the children that it waits for before it; what waits for a time
    /// no longer does. A wait that somebody was told is over has its result first.
    pub(super) async fn cancel(&mut self) -> Result<Stopped, EngineError> {
        self.apply_signals().await?;
        self.cancel_children().await?;
        let open = self.state.records().filter(|(_, record)| {
            matches!(
                record.status,
                NodeStatus::Running | NodeStatus::Waiting | NodeStatus::Scheduled
            )
        });
        let open = open.map(|(at, _)| at).collect();
        let error = NodeError::new(
            ErrorClass::Cancelled,
            "interrupted",
            "the run was cancelled",
        );
        self.settle_open(open, NodeStatus::Cancelled, &error);
        self.end(RunStatus::Cancelled).await
    }

    /// Ends a run that keeps losing its workers. A loop under way stays so: a retry goes on with it,
    /// also where its failure would be tolerated.
    pub(super) async fn give_up(&mut self) -> Result<Stopped, EngineError> {
        let open = self.state.records().filter(|(at, record)| {
            record.status == NodeStatus::Running && self.state.node(*at).loop_body.is_none()
        });
        let open = open.map(|(at, _)| at).collect();
        let error = NodeError::new(ErrorClass::Internal, "interrupted", WORKERS_LOST);
        self.settle_open(open, NodeStatus::Failure, &error);
        self.end_because(RunStatus::Failure, Some(WORKERS_LOST))
            .await
    }

    /// Gives started nodes an end. One with an effect may have had it: it is in doubt.
    fn settle_open(&mut self, open: Vec<At>, status: NodeStatus, error: &NodeError) {
        let now = format_timestamp(self.engine.clock.now());
        for at in open {
            let goes_on = self.state.goes_on(at);
            let mut record = self.state.blank(at);
            let error = doubting(&mut record, error);
            record.error = Some(error_text(&error));
            record.status = status;
            record.due_at = None;
            record.finished_at = Some(now.clone());
            // One that has ended, and waited to be followed by another, stays as it ended.
            if is_open(&record) {
                end_attempt(&mut record, Some(error));
                // That of a lost call has been charged.
                if goes_on {
                    self.recorder.charge(&record.kind, 1);
                }
            }
            self.put(at, record, true);
        }
    }
}

/// The error, of class `in_doubt` if the record's effect is.
pub(super) fn doubting(record: &mut NodeRecord, error: &NodeError) -> NodeError {
    let mut error = error.clone();
    let in_doubt = record.effect.take_if(|effect| effect.is_in_doubt());
    if let Some(effect) = in_doubt {
        record.effect = Some(effect.settled(LastAttempt::InDoubt));
        error.class = ErrorClass::InDoubt;
    }
    error
}
