//! Wires of a process, or of several, to the two servers.

use super::members::{Member, Pool};
use crate::support::proxy::{Proxy, server_of};

/// A proxy before each server.
pub(super) struct Wires {
    pub(super) database: Proxy,
    pub(super) broker: Proxy,
}

impl Wires {
    pub(super) fn of(pool: &Pool) -> Self {
        Self {
            database: Proxy::to(server_of(&pool.ledger.url)),
            broker: Proxy::to(server_of(&pool.amqp)),
        }
    }

    /// Starts a process under a name behind them; none if it ended before it listened.
    pub(super) async fn try_start(
        &self,
        pool: &Pool,
        name: &str,
        (address, role): (&str, &str),
    ) -> Option<Member> {
        let database = self.database.instead_of_server(&pool.database(name));
        let broker = self.broker.instead_of_server(&pool.amqp);
        let variables = [("DATABASE_URL", database), ("AMQP_URL", broker)];
        pool.try_start(name, address, role, &variables).await
    }

    /// Starts a process behind them.
    pub(super) async fn start(&self, pool: &Pool, role: &str) -> Member {
        let name = pool.next_name(role);
        let started = self.try_start(pool, &name, ("127.0.0.1:0", role)).await;
        started.unwrap_or_else(|| panic!("{:#?}", pool.said()))
    }
}
