//! What one process does.

use anyhow::bail;

use crate::config::Config;

/// A part of the work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Answers HTTP.
    Api,
    /// Executes runs.
    Worker,
    /// Brings accepted work to the workers, and keeps what could not be used.
    Relay,
    /// Makes due what waits for a time, and finds what was forgotten.
    Scheduler,
}

impl Role {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Api, Self::Worker, Self::Relay, Self::Scheduler];
}

/// The parts that one process does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "a set of four")]
pub struct Roles {
    pub(super) api: bool,
    pub(super) worker: bool,
    pub(super) relay: bool,
    pub(super) scheduler: bool,
}

impl Default for Roles {
    fn default() -> Self {
        Self::of(&Role::ALL)
    }
}

impl Roles {
    /// These, named once or more often.
    #[must_use]
    pub fn of(roles: &[Role]) -> Self {
        Self {
            api: roles.contains(&Role::Api),
            worker: roles.contains(&Role::Worker),
            relay: roles.contains(&Role::Relay),
            scheduler: roles.contains(&Role::Scheduler),
        }
    }

    fn are_all(self) -> bool {
        self == Self::default()
    }

    /// Whether processes with these roles, and others with the rest, can share their work.
    ///
    /// # Errors
    /// What they would need, in a sentence.
    pub(super) fn check(self, config: &Config) -> anyhow::Result<()> {
        if self == Self::of(&[]) {
            bail!("a process needs at least one role");
        }
        if self.are_all() {
            return Ok(());
        }
        if config.database.url.expose().starts_with("sqlite:") {
            bail!(
                "a process with some of the roles needs a database that others can share: set \
                 DATABASE_URL to a postgres: URL, or leave --roles out"
            );
        }
        if (self.worker || self.relay) && config.broker.url.is_none() {
            bail!(
                "a worker or a relay of its own needs RabbitMQ to meet the others: set AMQP_URL, \
                 or leave --roles out"
            );
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Secret;

    fn config(database: &str, broker: Option<&str>) -> Config {
        let mut config = Config::default();
        config.database.url = Secret::new(database);
        config.broker.url = broker.map(Secret::new);
        config
    }

    fn refusal(roles: &[Role], config: &Config) -> Option<String> {
        let refused = Roles::of(roles).check(config).err();
        refused.map(|error| error.to_string())
    }

    #[test]
    fn a_subset_needs_what_processes_can_share() {
        let embedded = config("sqlite:x.db", None);
        assert_eq!(refusal(&Role::ALL, &embedded), None);
        let message = refusal(&[Role::Api, Role::Relay], &embedded).unwrap();
        assert!(message.contains("postgres:"), "{message}");
        let alone = config("postgres://x", None);
        assert_eq!(refusal(&Role::ALL, &alone), None);
        assert_eq!(
            refusal(&[Role::Api], &alone),
            None,
            "the API only writes rows"
        );
        assert_eq!(refusal(&[Role::Scheduler], &alone), None);
        for role in [Role::Worker, Role::Relay] {
            let message = refusal(&[role], &alone).unwrap();
            assert!(message.contains("AMQP_URL"), "{message}");
            let shared = config("postgres://x", Some("amqp://x"));
            assert_eq!(refusal(&[role], &shared), None);
        }
        assert!(refusal(&[], &alone).unwrap().contains("at least one"));
    }
}
