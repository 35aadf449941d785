//! Statements that are shared by whoever asks at the same time.
//!
//! Under load the database is busy with statements and round trips, not with rows. So whoever asks
//! while both lanes of a kind are busy waits, and the next statement is for all who wait. When a lane
//! is free, a statement goes at once.

use std::{
    collections::{HashSet, VecDeque},
    fmt, mem,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use sqlx::{Connection, PgConnection, PgPool, Postgres, pool::PoolConnection};
use tokio::sync::oneshot;

use super::super::StoreError;

/// What one statement does for many who ask.
pub(super) trait Together: Send + Sync + Sized + 'static {
    /// What each of them hears.
    type Answer: Send + 'static;

    /// Whether it writes. What becomes of a write whose answer is lost is not known.
    const WRITES: bool;

    /// What it is about. No two writes of one statement have it in common.
    fn id(&self) -> &str;

    /// How many of them make a statement at most.
    const MOST: usize = 32;

    /// How many bytes it binds, roughly.
    fn bytes(&self) -> usize {
        0
    }

    /// Asks for all of them: written or not as a whole. None: alone, by other statements, it may be
    /// another matter. An error of a write is [in doubt](StoreError::InDoubt) unless it is sure that
    /// nothing was written. Dropped, it leaves a connection that can't be used any more.
    fn ask(
        db: &mut PgConnection,
        all: &[Self],
    ) -> impl Future<Output = Result<Vec<Option<Self::Answer>>, StoreError>> + Send;
}

/// The bytes after which a statement takes no more questions.
const MOST_BYTES: usize = 1024 * 1024;

/// How long an answer may take. The server itself refuses what takes it ten seconds; a wire that went
/// silent never says so.
const PATIENCE: Duration = Duration::from_secs(15);

/// Statements of a kind that are under way at once: while one waits for the disk, another one is
/// executed.
const LANES: usize = 2;

type Answered<Q> = Result<Option<<Q as Together>::Answer>, StoreError>;

struct Asked<Q: Together> {
    question: Q,
    since: Instant,
    answer: oneshot::Sender<Answered<Q>>,
}

struct Queue<Q: Together> {
    /// How long somebody may wait here.
    patience: Duration,
    waiting: VecDeque<Asked<Q>>,
    /// What the writes under way are about.
    written: HashSet<String>,
    lanes: usize,
}

impl<Q: Together> Queue<Q> {
    /// The next ones. Writes that are about the same come one after the other.
    fn take(&mut self) -> Vec<Asked<Q>> {
        let (mut batch, mut later) = (Vec::<Asked<Q>>::new(), VecDeque::new());
        let mut bytes = 0;
        while batch.len() < Q::MOST && bytes < MOST_BYTES {
            let Some(asked) = self.waiting.pop_front() else {
                break;
            };
            if asked.since.elapsed() > self.patience {
                asked.tell(Err(unavailable("too many wait for the database")));
            } else if !Q::WRITES && asked.answer.is_closed() {
                // Nobody wants to know any more.
            } else if !Q::WRITES || self.written.insert(asked.question.id().to_owned()) {
                bytes += asked.question.bytes();
                batch.push(asked);
            } else {
                later.push_back(asked);
            }
        }
        later.append(&mut self.waiting);
        self.waiting = later;
        batch
    }
}

/// Who asks for one kind of statement. Cheap to clone; all clones are one.
pub(super) struct Counter<Q: Together> {
    pool: PgPool,
    queue: Arc<Mutex<Queue<Q>>>,
}

impl<Q: Together> Clone for Counter<Q> {
    fn clone(&self) -> Self {
        Self {
            pool: self.pool.clone(),
            queue: Arc::clone(&self.queue),
        }
    }
}

impl<Q: Together> fmt::Debug for Counter<Q> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Counter").finish_non_exhaustive()
    }
}

impl<Q: Together> Counter<Q> {
    pub(super) fn new(pool: PgPool) -> Self {
        let queue = Queue {
            waiting: VecDeque::new(),
            written: HashSet::new(),
            lanes: LANES,
            patience: pool.options().get_acquire_timeout(),
        };
        Self {
            pool,
            queue: Arc::new(Mutex::new(queue)),
        }
    }

    /// Asks with whoever else does. None: ask alone. What is asked is done even if the future is
    /// dropped.
    ///
    /// # Errors
    /// The database is away, or too many wait for it. Where the answer to a write was lost it is
    /// [in doubt](StoreError::InDoubt).
    pub(super) async fn ask(&self, question: Q) -> Answered<Q> {
        let (answer, answered) = oneshot::channel();
        let since = Instant::now();
        if self.queue(|queue| {
            queue.waiting.push_back(Asked {
                question,
                since,
                answer,
            });
            let is_free = queue.lanes > 0;
            queue.lanes -= usize::from(is_free);
            is_free
        }) {
            tokio::spawn(self.clone().serve());
        }
        answered
            .await
            .unwrap_or_else(|_| Err(silent::<Q>("the task that asked has ended")))
    }

    /// Asks with whoever else does, or else alone.
    ///
    /// # Errors
    /// The database did not answer.
    pub(super) async fn read(&self, question: Q) -> Result<Q::Answer, StoreError>
    where
        Q: Clone,
    {
        if let Some(answer) = self.ask(question.clone()).await? {
            return Ok(answer);
        }
        let mut db = self.pool.acquire().await?;
        alone(&mut db, question).await
    }

    fn queue<T>(&self, with: impl FnOnce(&mut Queue<Q>) -> T) -> T {
        with(&mut self.queue.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Answers until nobody waits but for those whom another lane answers next.
    async fn serve(self) {
        let lane = Lane(&self);
        loop {
            let batch = self.queue(|queue| {
                let batch = queue.take();
                queue.lanes += usize::from(batch.is_empty());
                batch
            });
            if batch.is_empty() {
                break;
            }
            self.answer(batch).await;
        }
        mem::forget(lane);
    }

    async fn answer(&self, batch: Vec<Asked<Q>>) {
        let (questions, waiting): (Vec<_>, Vec<_>) = batch
            .into_iter()
            .map(|asked| (asked.question, asked.answer))
            .unzip();
        let done = {
            let _underway = Underway(self, &questions);
            match self.pool.acquire().await {
                Ok(db) => in_time(db, &questions).await,
                Err(error) => {
                    let error = StoreError::from(error);
                    // So it is for whoever waits behind them.
                    let behind = self.queue(|queue| mem::take(&mut queue.waiting));
                    for asked in behind {
                        asked.tell(Err(again(&error)));
                    }
                    Err(error)
                }
            }
        };
        match done {
            Ok(done) => {
                for (waiting, done) in waiting.into_iter().zip(done) {
                    // Whoever asked may be gone.
                    let _ = waiting.send(Ok(done));
                }
            }
            Err(error) => {
                let is_answered = error.is_answered();
                if is_answered {
                    tracing::debug!(%error, "a statement for many was refused: each goes alone");
                }
                for waiting in waiting {
                    let _ = waiting.send(if is_answered {
                        Ok(None)
                    } else {
                        Err(again(&error))
                    });
                }
            }
        }
    }
}

/// Asks, as long as that may take.
async fn in_time<Q: Together>(
    mut db: PoolConnection<Postgres>,
    questions: &[Q],
) -> Result<Vec<Option<Q::Answer>>, StoreError> {
    let asking = async {
        let done = Q::ask(&mut db, questions).await;
        if done.is_err() {
            // A refusal comes before its locks are gone, and whoever goes alone would meet them.
            let _ = db.ping().await;
        }
        done
    };
    if let Ok(done) = tokio::time::timeout(PATIENCE, asking).await {
        return done;
    }
    // Whatever is on its way is not for whoever comes next.
    db.close_on_drop();
    Err(silent::<Q>("no answer came"))
}

/// The answer to one question.
pub(super) async fn alone<Q: Together>(
    db: &mut PgConnection,
    question: Q,
) -> Result<Q::Answer, StoreError> {
    let answer = Q::ask(db, &[question]).await?.pop().flatten();
    answer.ok_or(StoreError::Driver(sqlx::Error::RowNotFound))
}

/// Dropped when whoever serves it panics, or the runtime ends.
struct Lane<'a, Q: Together>(&'a Counter<Q>);

impl<Q: Together> Drop for Lane<'_, Q> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            tokio::spawn(self.0.clone().serve());
        }
    }
}

/// Writes under way; others about the same may follow when it is dropped.
struct Underway<'a, Q: Together>(&'a Counter<Q>, &'a [Q]);

impl<Q: Together> Drop for Underway<'_, Q> {
    fn drop(&mut self) {
        if !Q::WRITES {
            return;
        }
        self.0.queue(|queue| {
            for question in self.1 {
                queue.written.remove(question.id());
            }
        });
    }
}

impl<Q: Together> Asked<Q> {
    fn tell(self, answer: Answered<Q>) {
        let _ = self.answer.send(answer);
    }
}

fn unavailable(why: &str) -> StoreError {
    StoreError::Unavailable(sqlx::Error::Protocol(why.to_owned()))
}

/// What an answer that never came means.
fn silent<Q: Together>(why: &str) -> StoreError {
    if Q::WRITES {
        StoreError::InDoubt(sqlx::Error::Protocol(why.to_owned()))
    } else {
        unavailable(why)
    }
}

/// The same error for one more of them.
fn again(error: &StoreError) -> StoreError {
    let cause = std::error::Error::source(error);
    let cause = sqlx::Error::Protocol(cause.map_or_else(|| error.to_string(), ToString::to_string));
    if matches!(error, StoreError::InDoubt(_)) {
        StoreError::InDoubt(cause)
    } else if error.is_unavailable() {
        StoreError::Unavailable(cause)
    } else {
        StoreError::Driver(cause)
    }
}
