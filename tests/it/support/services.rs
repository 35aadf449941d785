//! Where the servers are. A test that needs one and has none fails; it never skips.

/// A superuser URL of a PostgreSQL server in which a test makes a database of its own.
pub(crate) fn database_url() -> String {
    required("DATABASE_URL")
}

/// The URL of a RabbitMQ virtual host in which a test makes queues of its own.
pub(crate) fn amqp_url() -> String {
    required("AMQP_URL")
}

#[expect(
    clippy::disallowed_methods,
    reason = "the servers of a test run are not the product's configuration"
)]
fn required(name: &str) -> String {
    match std::env::var(name) {
        Ok(url) if !url.is_empty() => url,
        Ok(_) | Err(_) => panic!("{name} is not set: run `bash tests/run.sh`"),
    }
}
