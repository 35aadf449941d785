//! Whether the broker is there, and what has to be in it.

use super::check::{Check, all_skipped, within};
use crate::{broker::RabbitMq, config::BrokerConfig};

/// What is checked here.
pub(super) const NAMES: &[&str] = &["broker", "topology"];

pub(super) async fn checks(config: &BrokerConfig) -> Vec<Check> {
    if config.url.is_none() {
        let why = "no broker.url: the queue inside the process is used";
        return all_skipped(NAMES, why).collect();
    }
    let looked = within(async { RabbitMq::new(config)?.look().await }).await;
    let missing = match looked {
        Ok(missing) => missing,
        Err(why) => {
            let message = format!("{why}: check broker.url, and that RabbitMQ runs");
            return vec![
                Check::failed("broker", message),
                Check::skipped("topology", "unknown without the broker"),
            ];
        }
    };
    let topology = if missing.is_empty() {
        Check::ok("topology", "every exchange and queue is there")
    } else {
        let message = format!(
            "missing: {}; the first relay or worker that starts makes them, if its user may",
            missing.join(", ")
        );
        Check::failed("topology", message)
    };
    vec![Check::ok("broker", "it answers"), topology]
}
