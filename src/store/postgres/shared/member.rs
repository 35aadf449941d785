//! A flow's place in a round: it looks like a transaction of its own.

use std::{fmt, sync::Arc};

use futures_util::future::BoxFuture;
use tokio::sync::oneshot;

use super::{
    ask::{Answering, Ask, Copies, Job, NewRun},
    round::{Answer, Round},
};
use crate::{
    domain::{
        JsonText, Lane, NodePath, NodeRecord, OrganizationId, Retry, RetryId, Run, RunId,
        Timestamp, VariableWrite,
    },
    store::{
        Earlier, IdempotencyKey, Signal, SignalKind, StoreError, StoredDefinition,
        postgres::transaction::PostgresTransaction,
        rows::LockedRun,
        statements::{Cancellation, Statements},
    },
};

/// One flow of a round. Dropped before its commit it leaves the round, and undoes it if it has
/// written.
pub(in crate::store) struct Member {
    round: Arc<Round>,
    place: usize,
}

impl fmt::Debug for Member {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Member({})", self.place)
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        self.round.leave(self.place);
    }
}

/// The answer of a statement that follows others, to be given later.
type Rare<'a, T> = BoxFuture<'a, Result<T, StoreError>>;

impl Member {
    pub(super) fn new(round: Arc<Round>, place: usize) -> Self {
        Self { round, place }
    }

    async fn ask<T>(&self, ask: impl FnOnce(Answer<T>) -> Ask) -> Result<T, StoreError> {
        self.round.ask(self.place, ask).await
    }

    /// Reads with a statement that few ask for.
    async fn read<T: Send + 'static>(
        &self,
        read: impl for<'a> FnOnce(&'a mut PostgresTransaction) -> Rare<'a, T> + Send + 'static,
    ) -> Result<T, StoreError> {
        let job = |answer| Ask::Other {
            writes: false,
            job: job(read, answer),
        };
        self.ask(job).await
    }

    /// Writes with a statement that few ask for.
    async fn write<T: Send + 'static>(
        &self,
        write: impl for<'a> FnOnce(&'a mut PostgresTransaction) -> Rare<'a, T> + Send + 'static,
    ) -> Result<T, StoreError> {
        let job = |answer| Ask::Other {
            writes: true,
            job: job(write, answer),
        };
        self.ask(job).await
    }
}

fn job<T: Send + 'static>(
    statement: impl for<'a> FnOnce(&'a mut PostgresTransaction) -> Rare<'a, T> + Send + 'static,
    answer: oneshot::Sender<Result<T, StoreError>>,
) -> Job {
    Box::new(move |transaction| {
        Box::pin(async move {
            let done = statement(transaction).await?;
            let answering: Answering = Box::new(move || answer.send(Ok(done)).is_ok());
            Ok(answering)
        })
    })
}

impl Statements for Member {
    async fn commit(self) -> Result<(), StoreError> {
        self.round.commit(self.place).await
    }

    async fn run(
        &mut self,
        organization: &OrganizationId,
        id: &RunId,
    ) -> Result<Option<Run>, StoreError> {
        self.ask(|answer| Ask::Run(organization.clone(), id.clone(), answer))
            .await
    }

    async fn lock_run(&mut self, id: &RunId) -> Result<Option<LockedRun>, StoreError> {
        self.ask(|answer| Ask::LockRun(id.clone(), answer)).await
    }

    async fn update_run(&mut self, locked: &LockedRun) -> Result<(), StoreError> {
        self.ask(|answer| Ask::UpdateRun(Box::new(locked.clone()), answer))
            .await
    }

    async fn insert_run(
        &mut self,
        run: &Run,
        lane: Lane,
        traceparent: Option<&str>,
    ) -> Result<bool, StoreError> {
        let new = NewRun {
            run: run.clone(),
            lane,
            traceparent: traceparent.map(str::to_owned),
        };
        self.ask(|answer| Ask::InsertRun(Box::new(new), answer))
            .await
    }

    async fn put_definition(&mut self, definition: &StoredDefinition) -> Result<(), StoreError> {
        let definition = definition.clone();
        self.write(move |tx| Box::pin(async move { tx.put_definition(&definition).await }))
            .await
    }

    async fn put_nodes(&mut self, run: &RunId, records: &[NodeRecord]) -> Result<(), StoreError> {
        if records.is_empty() {
            return Ok(());
        }
        self.ask(|answer| Ask::PutNodes(run.clone(), records.to_vec(), answer))
            .await
    }

    async fn copy_nodes(
        &mut self,
        from: &RunId,
        to: &RunId,
        paths: &[NodePath],
    ) -> Result<u64, StoreError> {
        let copies = Copies {
            from: from.clone(),
            to: to.clone(),
            paths: paths.to_vec(),
        };
        self.ask(|answer| Ask::CopyNodes(copies, answer)).await
    }

    async fn cancel_nodes(&mut self, run: &RunId, how: &Cancellation) -> Result<(), StoreError> {
        let (run, how) = (run.clone(), how.clone());
        self.write(move |tx| Box::pin(async move { tx.cancel_nodes(&run, &how).await }))
            .await
    }

    async fn node(
        &mut self,
        run: &RunId,
        path: &NodePath,
    ) -> Result<Option<NodeRecord>, StoreError> {
        let (run, path) = (run.clone(), path.clone());
        self.read(move |tx| Box::pin(async move { tx.node(&run, &path).await }))
            .await
    }

    async fn insert_child(
        &mut self,
        run: &RunId,
        parent: &RunId,
        path: &NodePath,
        depth: i64,
    ) -> Result<(), StoreError> {
        let (run, parent, path) = (run.clone(), parent.clone(), path.clone());
        self.write(move |tx| {
            Box::pin(async move { tx.insert_child(&run, &parent, &path, depth).await })
        })
        .await
    }

    async fn waits_for_child(&mut self, run: &RunId) -> Result<bool, StoreError> {
        let run = run.clone();
        self.read(move |tx| Box::pin(async move { tx.waits_for_child(&run).await }))
            .await
    }

    async fn waiting_parents(&mut self, child: &RunId) -> Result<Vec<RunId>, StoreError> {
        self.ask(|answer| Ask::WaitingParents(child.clone(), answer))
            .await
    }

    async fn insert_signal(
        &mut self,
        run: &RunId,
        path: &NodePath,
        kind: SignalKind,
        body: &JsonText,
        at: Timestamp,
    ) -> Result<bool, StoreError> {
        let (run, path, body) = (run.clone(), path.clone(), body.clone());
        self.write(move |tx| {
            Box::pin(async move { tx.insert_signal(&run, &path, kind, &body, at).await })
        })
        .await
    }

    async fn signal(&mut self, run: &RunId, path: &NodePath) -> Result<Option<Signal>, StoreError> {
        let (run, path) = (run.clone(), path.clone());
        self.read(move |tx| Box::pin(async move { tx.signal(&run, &path).await }))
            .await
    }

    async fn has_signals(&mut self, run: &RunId) -> Result<bool, StoreError> {
        self.ask(|answer| Ask::HasSignals(run.clone(), answer))
            .await
    }

    async fn apply_signals(&mut self, run: &RunId, paths: &[NodePath]) -> Result<(), StoreError> {
        if paths.is_empty() {
            return Ok(());
        }
        let (run, paths) = (run.clone(), paths.to_vec());
        self.write(move |tx| Box::pin(async move { tx.apply_signals(&run, &paths).await }))
            .await
    }

    async fn log_variable_writes(
        &mut self,
        run: &RunId,
        writes: &[VariableWrite],
    ) -> Result<(), StoreError> {
        if writes.is_empty() {
            return Ok(());
        }
        let (run, writes) = (run.clone(), writes.to_vec());
        self.write(move |tx| Box::pin(async move { tx.log_variable_writes(&run, &writes).await }))
            .await
    }

    async fn persist_variables(
        &mut self,
        run: &Run,
        writes: &[VariableWrite],
    ) -> Result<(), StoreError> {
        if writes.is_empty() {
            return Ok(());
        }
        let (run, writes) = (run.clone(), writes.to_vec());
        self.write(move |tx| Box::pin(async move { tx.persist_variables(&run, &writes).await }))
            .await
    }

    async fn put_outbox(
        &mut self,
        run: &RunId,
        due_at: Option<Timestamp>,
    ) -> Result<(), StoreError> {
        self.ask(|answer| Ask::PutOutbox(run.clone(), due_at, answer))
            .await
    }

    async fn take_due(&mut self, run: &RunId) -> Result<bool, StoreError> {
        self.ask(|answer| Ask::TakeDue(run.clone(), answer)).await
    }

    async fn delete_outbox(&mut self, run: &RunId) -> Result<(), StoreError> {
        self.ask(|answer| Ask::DeleteOutbox(run.clone(), answer))
            .await
    }

    async fn insert_retry(
        &mut self,
        retry: &Retry,
        live: bool,
        intent: Option<&JsonText>,
    ) -> Result<(), StoreError> {
        let new = (retry.clone(), live, intent.cloned());
        self.ask(|answer| Ask::InsertRetry(Box::new(new), answer))
            .await
    }

    async fn intent(
        &mut self,
        organization: &OrganizationId,
        id: &RetryId,
    ) -> Result<Option<Option<JsonText>>, StoreError> {
        let (organization, id) = (organization.clone(), id.clone());
        self.read(move |tx| Box::pin(async move { tx.intent(&organization, &id).await }))
            .await
    }

    async fn retry_of_run(&mut self, run: &RunId) -> Result<Option<Retry>, StoreError> {
        self.ask(|answer| Ask::RetryOfRun(run.clone(), answer))
            .await
    }

    async fn update_retry(&mut self, retry: &Retry, live: bool) -> Result<(), StoreError> {
        let new = (retry.clone(), live);
        self.ask(|answer| Ask::UpdateRetry(Box::new(new), answer))
            .await
    }

    async fn live_retry(&mut self, root: &RunId) -> Result<Option<(RetryId, RunId)>, StoreError> {
        self.ask(|answer| Ask::LiveRetry(root.clone(), answer))
            .await
    }

    async fn head(&mut self, run: &RunId) -> Result<Option<RunId>, StoreError> {
        self.ask(|answer| Ask::Head(run.clone(), answer)).await
    }

    async fn earlier(&mut self, key: &IdempotencyKey) -> Result<Option<Earlier>, StoreError> {
        let (known, key) = (key.clone(), key.clone());
        let ask = |answer| {
            Ask::Key(
                known,
                job(
                    move |tx| Box::pin(async move { tx.earlier(&key).await }),
                    answer,
                ),
            )
        };
        self.ask(ask).await
    }

    async fn keep_key(&mut self, key: &IdempotencyKey, run: &RunId) -> Result<(), StoreError> {
        let (key, run) = (key.clone(), run.clone());
        self.write(move |tx| Box::pin(async move { tx.keep_key(&key, &run).await }))
            .await
    }

    async fn live_runs(
        &mut self,
        organization: &OrganizationId,
        most: u32,
    ) -> Result<i64, StoreError> {
        self.ask(|answer| Ask::LiveRuns(organization.clone(), most, answer))
            .await
    }

    async fn next_ordinal(&mut self, source: &RunId) -> Result<i64, StoreError> {
        self.ask(|answer| Ask::NextOrdinal(source.clone(), answer))
            .await
    }

    async fn chain_length(&mut self, run: &RunId) -> Result<i64, StoreError> {
        self.ask(|answer| Ask::ChainLength(run.clone(), answer))
            .await
    }
}
