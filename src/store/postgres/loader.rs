//! Reads that share a statement.
//!
//! A read that comes while others of its kind are under way waits for them, and the next statement
//! reads for all that wait. When none is under way it goes at once. A statement that fails tells
//! nobody anything: everybody reads again alone, and hears what is wrong with their own.

use std::{
    fmt, mem,
    sync::{Arc, Mutex, PoisonError},
};

use sqlx::{PgConnection, PgPool};
use tokio::sync::{Semaphore, oneshot};

use super::super::StoreError;

/// A kind of read that one statement does for many keys.
pub(super) trait Grouped: Send + Sync + 'static {
    /// What is read.
    type Key: Send + Sync + 'static;
    /// What is there.
    type Value: Send + 'static;
    /// The most keys of a statement.
    const MOST: usize = 64;

    /// Reads for all keys, in their order.
    fn read(
        db: &mut PgConnection,
        keys: &[Self::Key],
    ) -> impl Future<Output = Result<Vec<Self::Value>, StoreError>> + Send;
}

/// One key, and where its answer goes.
type Waiting<K> = (
    <K as Grouped>::Key,
    oneshot::Sender<Result<<K as Grouped>::Value, StoreError>>,
);

/// The reads of one kind. Cheap to clone; all clones are one.
pub(super) struct Loader<K: Grouped>(Arc<Inner<K>>);

struct Inner<K: Grouped> {
    pool: PgPool,
    /// One statement at a time: while it is answered, the next one fills.
    lane: Arc<Semaphore>,
    waiting: Mutex<Vec<Waiting<K>>>,
}

impl<K: Grouped> Clone for Loader<K> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<K: Grouped> fmt::Debug for Loader<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Loader").finish_non_exhaustive()
    }
}

impl<K: Grouped> Loader<K> {
    pub(super) fn new(pool: PgPool) -> Self {
        Self(Arc::new(Inner {
            pool,
            lane: Arc::new(Semaphore::new(1)),
            waiting: Mutex::default(),
        }))
    }

    /// Reads for one key; none where it has to be read alone.
    pub(super) async fn load(&self, key: K::Key) -> Result<Option<K::Value>, StoreError> {
        let (answer, answered) = oneshot::channel();
        self.waiting().push((key, answer));
        self.next();
        answered.await.ok().transpose()
    }

    fn waiting(&self) -> std::sync::MutexGuard<'_, Vec<Waiting<K>>> {
        self.0
            .waiting
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn next(&self) {
        while !self.waiting().is_empty() {
            let Ok(permit) = Arc::clone(&self.0.lane).try_acquire_owned() else {
                // Whoever has it looks again.
                return;
            };
            let batch = self.take();
            if batch.is_empty() {
                continue;
            }
            let loader = self.clone();
            tokio::spawn(async move {
                answer::<K>(&loader.0.pool, batch).await;
                drop(permit);
                loader.next();
            });
        }
    }

    fn take(&self) -> Vec<Waiting<K>> {
        let mut waiting = self.waiting();
        if waiting.len() <= K::MOST {
            return mem::take(&mut *waiting);
        }
        waiting.drain(..K::MOST).collect()
    }
}

async fn answer<K: Grouped>(pool: &PgPool, batch: Vec<Waiting<K>>) {
    let (keys, answers): (Vec<_>, Vec<_>) = batch.into_iter().unzip();
    let mut db = match pool.acquire().await {
        Ok(db) => db,
        Err(error) => {
            // Alone they would only wait for it again.
            let text = error.to_string();
            for answer in answers {
                let error = sqlx::Error::Protocol(text.clone());
                let _ = answer.send(Err(StoreError::Unavailable(error)));
            }
            return;
        }
    };
    match K::read(&mut db, &keys).await {
        Ok(values) => {
            for (answer, value) in answers.into_iter().zip(values) {
                let _ = answer.send(Ok(value));
            }
        }
        Err(error) => tracing::debug!(%error, "reading for many has failed"),
    }
}
