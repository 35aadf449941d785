//! Dead letters: taken from their queue into a table, with what can be said about them.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use serde_json::Value;

use crate::{
    broker::{Dead, DeadLetters, Message},
    domain::{Clock, DeadLetterId, JsonText, Lane},
    faults,
    intake::Intake,
    store::{DeadLetter, Store, StoreError},
};

/// The most bytes of a body that are kept.
const MOST_BODY: usize = 64 * 1024;

/// The broker's word for a message that was delivered too often.
const GIVEN_UP: &str = "delivery_limit";

/// Keeps what could not be used.
#[derive(Debug, Clone)]
pub struct DeadLetterKeeper {
    store: Store,
    intake: Intake,
    clock: Arc<dyn Clock>,
}

impl DeadLetterKeeper {
    /// A keeper that stores into this ledger, and asks this intake what is wrong.
    #[must_use]
    pub fn new(store: Store, intake: Intake, clock: Arc<dyn Clock>) -> Self {
        Self {
            store,
            intake,
            clock,
        }
    }

    /// Keeps one.
    ///
    /// # Errors
    /// The ledger did not answer.
    pub async fn keep_one(&self, dead: Dead) -> Result<(), StoreError> {
        let (reason, message) = self.explain(&dead).await?;
        let now = self.clock.now();
        let mut letter = DeadLetter {
            id: DeadLetterId::generate(now),
            reason,
            message,
            queue: dead.queue,
            body_bytes: i64::try_from(dead.body.len()).unwrap_or(i64::MAX),
            body: dead.body,
            headers: JsonText::of(&Value::Object(dead.headers)),
            received_at: now,
        };
        self.make_due(&letter).await?;
        letter.body.truncate(MOST_BODY);
        self.store.insert_dead_letter(&letter).await?;
        faults::point("dead_letter.kept");
        tracing::warn!(id = %letter.id, reason = letter.reason, "kept a dead letter");
        metrics::counter!("redrive_dead_letters_total").increment(1);
        Ok(())
    }

    async fn explain(&self, dead: &Dead) -> Result<(String, String), StoreError> {
        if let Some(unusable) = self.intake.examine(&dead.body).await? {
            return Ok((unusable.reason.to_owned(), unusable.message));
        }
        Ok(match dead.reason.as_deref() {
            Some(GIVEN_UP) => (
                GIVEN_UP.to_owned(),
                "workers that had it went away too often; its run is due all the same".to_owned(),
            ),
            word => (
                word.unwrap_or("unknown").to_owned(),
                "nothing is wrong with it now".to_owned(),
            ),
        })
    }

    /// The broker gives up on a message whose workers died, however healthy its run; the ledger
    /// does not. A published retry is stored now: its publisher relies on it.
    async fn make_due(&self, letter: &DeadLetter) -> Result<(), StoreError> {
        match Message::from_bytes(&letter.body) {
            Ok(Message::Dispatch(dispatch)) => self.store.unmark_sent(&dispatch.run_id).await,
            Ok(Message::Intent(intent)) if letter.reason == GIVEN_UP => {
                let lane = lane_of(letter.queue.as_deref().unwrap_or_default());
                self.intake.intent(&intent, lane, None).await.map(drop)
            }
            _ => Ok(()),
        }
    }
}

/// The lane whose queue this was.
fn lane_of(queue: &str) -> Lane {
    let is_named = |lane: &Lane| queue.split('.').any(|part| part == lane.as_str());
    Lane::ALL
        .into_iter()
        .find(is_named)
        .unwrap_or(Lane::Interactive)
}

impl DeadLetters for DeadLetterKeeper {
    fn keep(&self, dead: Dead) -> BoxFuture<'_, bool> {
        Box::pin(async move {
            let kept = self.keep_one(dead).await;
            if let Err(error) = &kept {
                tracing::warn!(%error, "a dead letter stays in its queue for now");
            }
            kept.is_ok()
        })
    }
}
