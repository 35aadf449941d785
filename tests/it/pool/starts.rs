//! What processes need to start, and what they say about themselves.

use serde_json::Value;

use super::members::{Pool, stop_all};
use crate::support::{ledger::Ledger, process::redrive};

/// Nothing listens there.
const NOBODY: &str = "amqp://guest:guest@127.0.0.1:1/%2f";

async fn refusal(roles: &str, settings: &[(&str, &str)]) -> String {
    let folder = tempfile::tempdir().unwrap();
    let mut command = redrive(&["serve", "--roles", roles, "--listen", "127.0.0.1:0"]);
    command.current_dir(folder.path());
    command.envs(settings.iter().copied());
    let ended = tokio::time::timeout(super::PATIENCE, command.output()).await;
    let ended = ended.expect("it serves").unwrap();
    let said = String::from_utf8(ended.stderr).unwrap();
    assert_eq!(ended.status.code(), Some(1), "{said}");
    assert_eq!(said.lines().count(), 1, "{said}");
    said
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pool_a_process_that_can_share_nothing_is_refused() {
    let ledger = Ledger::postgres().await;
    let alone = [("DATABASE_URL", ledger.url.as_str())];
    for roles in ["worker", "relay", "worker,relay,scheduler"] {
        let said = refusal(roles, &alone).await;
        assert!(said.contains("AMQP_URL"), "{said}");
        let said = refusal(roles, &[("AMQP_URL", NOBODY)]).await;
        assert!(said.contains("postgres:"), "{said}");
    }
    ledger.remove().await;
}

/// Status, and the names under a member.
async fn readiness(member: &super::members::Member, names: &str) -> (u16, Vec<String>) {
    let (status, body) = member.ask("/readyz").await;
    let body: Value = serde_json::from_str(&body).unwrap();
    let names = body[names].as_array().cloned().unwrap_or_default();
    let names = names.iter().map(|name| name.as_str().unwrap().to_owned());
    (status, names.collect())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pool_readiness_without_a_broker() {
    let pool = Pool::on(Ledger::postgres().await, NOBODY.to_owned(), &[]).await;
    let api = pool.start("api").await;
    assert_eq!(readiness(&api, "degraded").await, (200, vec![]));
    for roles in ["worker", "relay"] {
        let member = pool.start(roles).await;
        let expected = (503, vec!["broker".to_owned()]);
        assert_eq!(readiness(&member, "missing").await, expected, "{roles}");
        stop_all([member]).await;
    }
    let scheduler = pool.start("scheduler").await;
    assert_eq!(readiness(&scheduler, "missing").await, (200, vec![]));
    let everything = pool.start("api,worker,relay,scheduler").await;
    let expected = (200, vec!["broker".to_owned()]);
    assert_eq!(readiness(&everything, "degraded").await, expected);
    stop_all([api, scheduler, everything]).await;
    pool.ledger.remove().await;
}
