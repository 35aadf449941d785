//! Statements that are shared by whoever asks at the same time.
//!
//! Under load the database is busy with statements and round trips, not with rows. So whoever asks
//! while others of the same kind are being answered waits for them, and the next statement is for
//! all who wait. When nobody is asked for, a statement goes at once.

use std::{
    collections::{HashSet, VecDeque},
    fmt, mem,
    sync::{Arc, Mutex, PoisonError},
};

use sqlx::{PgConnection, PgPool};
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

    /// How many bytes it binds, roughly.
    fn bytes(&self) -> usize {
        self.id().len()
    }

    /// Asks for all of them: one statement, written or not as a whole. None: alone, by other
    /// statements, it may be another matter. Never dropped before it is done.
    fn ask(
        db: &mut PgConnection,
        all: &[Self],
    ) -> impl Future<Output = Result<Vec<Option<Self::Answer>>, StoreError>> + Send;
}

/// The most questions of a statement, and the bytes after which it takes no more of them.
const MOST: usize = 32;
const MOST_BYTES: usize = 1024 * 1024;

/// Statements of a kind that are under way at once: while one waits for the disk, another one is
/// executed.
const LANES: usize = 2;

type Answered<Q> = Result<Option<<Q as Together>::Answer>, StoreError>;

struct Asked<Q: Together> {
    question: Q,
    answer: oneshot::Sender<Answered<Q>>,
}

struct Queue<Q: Together> {
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
        while batch.len() < MOST && bytes < MOST_BYTES {
            let Some(asked) = self.waiting.pop_front() else {
                break;
            };
            if !Q::WRITES || self.written.insert(asked.question.id().to_owned()) {
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
    /// The database is away. Where the answer to a write was lost it is
    /// [in doubt](StoreError::InDoubt).
    pub(super) async fn ask(&self, question: Q) -> Answered<Q> {
        let (answer, answered) = oneshot::channel();
        if self.queue(|queue| {
            queue.waiting.push_back(Asked { question, answer });
            let is_free = queue.lanes > 0;
            queue.lanes -= usize::from(is_free);
            is_free
        }) {
            tokio::spawn(self.clone().serve());
        }
        answered
            .await
            .unwrap_or_else(|_| Err(lost::<Q>("its task ended before the answer came")))
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
        let (questions, answers): (Vec<_>, Vec<_>) = batch
            .into_iter()
            .map(|asked| (asked.question, asked.answer))
            .unzip();
        let asked = {
            let _underway = Underway(self, &questions);
            match self.pool.acquire().await {
                Ok(mut db) => Ok(Q::ask(&mut db, &questions).await),
                Err(error) => Err(error.to_string()),
            }
        };
        let done = match asked {
            Ok(done) => done,
            Err(text) => return tell(answers, || Err(unavailable(&text))),
        };
        match done {
            Ok(done) => {
                for (answer, done) in answers.into_iter().zip(done) {
                    // Whoever asked may be gone.
                    let _ = answer.send(Ok(done));
                }
            }
            Err(error) if error.is_answered() => {
                tracing::debug!(%error, "a statement for many was refused: each goes alone");
                tell(answers, || Ok(None));
            }
            Err(error) => {
                let text = error.to_string();
                tell(answers, || Err(lost::<Q>(&text)));
            }
        }
    }
}

/// The answer to one question.
pub(super) async fn alone<Q: Together>(
    db: &mut PgConnection,
    question: Q,
) -> Result<Q::Answer, StoreError> {
    let answer = Q::ask(db, &[question]).await?.pop().flatten();
    answer.ok_or(StoreError::Driver(sqlx::Error::RowNotFound))
}

/// Given back when whoever serves it panics.
struct Lane<'a, Q: Together>(&'a Counter<Q>);

impl<Q: Together> Drop for Lane<'_, Q> {
    fn drop(&mut self) {
        self.0.queue(|queue| queue.lanes += 1);
    }
}

/// Writes under way; others about the same may follow when it is dropped.
struct Underway<'a, Q: Together>(&'a Counter<Q>, &'a [Q]);

impl<Q: Together> Drop for Underway<'_, Q> {
    fn drop(&mut self) {
        self.0.queue(|queue| {
            for question in self.1 {
                queue.written.remove(question.id());
            }
        });
    }
}

fn tell<A>(answers: Vec<oneshot::Sender<A>>, what: impl Fn() -> A) {
    for answer in answers {
        let _ = answer.send(what());
    }
}

fn unavailable(why: &str) -> StoreError {
    StoreError::Unavailable(sqlx::Error::Protocol(why.to_owned()))
}

fn lost<Q: Together>(why: &str) -> StoreError {
    if Q::WRITES {
        StoreError::InDoubt(sqlx::Error::Protocol(why.to_owned()))
    } else {
        unavailable(why)
    }
}
