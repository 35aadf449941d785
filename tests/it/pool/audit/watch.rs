//! I4 under load: nobody ever sees two live retries of a chain.

use std::time::Duration;

use sqlx::{Connection, PgConnection};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::{Invariant, Verdict};

const EVERY: Duration = Duration::from_millis(50);

const TWO_LIVE: &str = "select count(*) from (select 1 from retries where live
                         group by root_run_id having count(*) > 1) as found";

/// Somebody who looks again and again, whoever restarts the database meanwhile.
pub(in crate::pool) struct LiveRetries {
    stop: CancellationToken,
    looking: JoinHandle<(usize, i64)>,
}

impl LiveRetries {
    pub(in crate::pool) fn watch(database: &str) -> Self {
        let (database, stop) = (database.to_owned(), CancellationToken::new());
        let stopped = stop.clone();
        let looking = tokio::spawn(async move {
            let (mut looks, mut most) = (0, 0);
            let mut connection = None;
            let mut pace = tokio::time::interval(EVERY);
            while !stopped.is_cancelled() {
                pace.tick().await;
                if connection.is_none() {
                    connection = PgConnection::connect(&database).await.ok();
                }
                let Some(db) = connection.as_mut() else {
                    continue;
                };
                match sqlx::query_scalar::<_, i64>(TWO_LIVE).fetch_one(db).await {
                    Ok(found) => (looks, most) = (looks + 1, most.max(found)),
                    Err(_) => connection = None,
                }
            }
            (looks, most)
        });
        Self { stop, looking }
    }

    /// How often it looked.
    pub(in crate::pool) async fn check(self, verdict: &mut Verdict) -> usize {
        self.stop.cancel();
        let (looks, most) = self.looking.await.unwrap();
        verdict.require(most == 0, Invariant::TwoLive, || {
            format!("{most} chains with two live retries")
        });
        looks
    }
}
