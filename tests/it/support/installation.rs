//! One installation without servers: whoever plays in it is client, worker and time.

use std::{
    collections::BTreeMap, future::poll_fn, pin::pin, sync::Arc, task::Poll, time::Duration,
};

use redrive::{
    broker::Hints,
    config::LimitsConfig,
    domain::{Clock, JsonText, NodeRecord, RunId},
    engine::{Engine, Handlers, Signals, Stopped},
    intake::{Caller, Intake},
    store::{Claim, Resumed, Written},
    worker::{AcceptsChildren, create_run},
};

use super::{ledger::Ledger, rows::acme, virtual_clock::VirtualClock};

/// The real intake, engine and ledger, with a clock that only its owner moves.
pub(crate) struct Installation {
    pub(crate) ledger: Ledger,
    pub(crate) clock: Arc<VirtualClock>,
    pub(crate) intake: Intake,
    engine: Engine,
}

impl Installation {
    pub(crate) fn new(ledger: Ledger, handlers: Handlers) -> Self {
        let (clock, limits) = (Arc::new(VirtualClock::new()), LimitsConfig::default());
        let store = ledger.store.clone();
        let intake = Intake::new(
            store.clone(),
            clock.clone(),
            limits.clone(),
            Hints::default(),
        );
        let engine = Engine::new(
            store,
            handlers,
            clock.clone(),
            limits,
            BTreeMap::new(),
            Duration::from_secs(1),
            Arc::new(AcceptsChildren::new(intake.clone())),
        );
        Self {
            ledger,
            clock,
            intake,
            engine,
        }
    }

    /// Does what a worker does with a run that it has claimed. Dropped, the worker is killed.
    pub(crate) async fn work(&self, mut claim: Claim, signals: &Signals) -> Stopped {
        if let Some(retry) = claim.retry.clone().filter(|_| !claim.run.created) {
            let (store, now) = (&self.ledger.store, self.clock.now());
            let created = Box::pin(create_run(store, &claim, &retry, now))
                .await
                .unwrap();
            assert!(matches!(created, Some(Written::Done { .. })), "{created:?}");
            claim.run.created = true;
        }
        Box::pin(self.engine.execute(&claim, signals))
            .await
            .unwrap()
    }

    pub(crate) async fn records(&self, run: &RunId) -> Vec<NodeRecord> {
        self.ledger.store.nodes(run, None).await.unwrap()
    }

    /// Somebody comes for a node that waits. Whether it did.
    pub(crate) async fn resume(&self, run: &RunId, record: &NodeRecord, data: &str) -> bool {
        let (organization, data) = (acme(), JsonText::trusted(data));
        let (store, now) = (&self.ledger.store, self.clock.now());
        let resumed = store.resume(&organization, run, &record.path, &data, now);
        resumed.await.unwrap() == Resumed::Resumed
    }
}

/// What comes of it, unless it waits for something more often than it may: then it is dropped. What
/// it has used up is taken from `left`.
pub(crate) async fn within_points<T>(
    work: impl Future<Output = T>,
    left: &mut Option<usize>,
) -> Option<T> {
    let mut work = pin!(work);
    let until_killed = poll_fn(|context| {
        if let Some(left) = left {
            match left.checked_sub(1) {
                Some(less) => *left = less,
                None => return Poll::Ready(None),
            }
        }
        work.as_mut().poll(context).map(Some)
    });
    until_killed.await
}

pub(crate) fn caller() -> Caller {
    Caller {
        organization_id: acme(),
        actor: Some("ann".to_owned()),
        traceparent: None,
        key: None,
    }
}
