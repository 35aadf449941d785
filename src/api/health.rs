//! `/livez` (`/healthz`): the process answers. `/readyz`: it can do its work. Neither needs a
//! token, and neither has the envelope: their readers are machines that look at the status.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use axum::{
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::Serialize;
use tokio::time::timeout;

use super::{Api, call::Call, error::ApiError};
use crate::{
    broker::{Broker, Link},
    store::{Store, StoreError},
};

/// How long a check may take before it counts as failed.
const CHECK_TIMEOUT: Duration = Duration::from_secs(2);

/// Whether this process wants requests. Cheap to clone; all clones are one.
#[derive(Debug, Clone, Default)]
pub struct Readiness(Arc<AtomicBool>);

impl Readiness {
    /// A process that wants requests.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// From now on `/readyz` is 503: the process is about to stop.
    pub fn set_draining(&self) {
        self.0.store(true, Ordering::SeqCst);
    }

    /// Whether the process is about to stop.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }
}

/// The broker, and what this process does with it. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Links {
    /// The broker.
    pub broker: Broker,
    /// Whether this process publishes to it.
    pub publishes: bool,
    /// Whether this process consumes from it.
    pub consumes: bool,
    /// Whether this process serves the API, which accepts retries with or without a broker.
    pub serves_api: bool,
}

impl Links {
    /// The connections that this process uses, and whether each works; none without `RabbitMQ`.
    pub(super) fn up(&self) -> Vec<(&'static str, bool)> {
        let Broker::RabbitMq(rabbit) = &self.broker else {
            return Vec::new();
        };
        let status = rabbit.status();
        let links = [
            ("publish", self.publishes, status.publish),
            ("consume", self.consumes, status.consume),
        ];
        let used = links.into_iter().filter(|(_, used, _)| *used);
        used.map(|(name, _, link)| (name, trouble(&link).is_none()))
            .collect()
    }

    /// What is wrong with a connection that this process needs; none when it needs none.
    fn check(&self) -> Option<Check> {
        let Broker::RabbitMq(rabbit) = &self.broker else {
            return None;
        };
        let status = rabbit.status();
        let needed = [
            ("publishing", self.publishes, status.publish),
            ("consuming", self.consumes, status.consume),
        ];
        let used: Vec<_> = needed.into_iter().filter(|(_, used, _)| *used).collect();
        let problem = used
            .iter()
            .find_map(|(what, _, link)| trouble(link).map(|why| format!("{what}: {why}")));
        (!used.is_empty()).then(|| Check {
            degrades: self.serves_api,
            ..Check::new("broker", problem)
        })
    }
}

fn trouble(link: &Link) -> Option<String> {
    match link {
        Link::Up => None,
        Link::Unused => Some("not connected yet".to_owned()),
        Link::Blocked => {
            Some("RabbitMQ takes nothing now: it is short of memory or disk".to_owned())
        }
        Link::Paused => Some("stopped while the database is away".to_owned()),
        Link::Down(why) => Some(why.clone()),
    }
}

/// One thing that has to be right.
#[derive(Debug, Serialize)]
struct Check {
    name: &'static str,
    ok: bool,
    /// Whether the process does its work without it, if not as well.
    #[serde(skip)]
    degrades: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<String>,
}

impl Check {
    fn new(name: &'static str, problem: Option<String>) -> Self {
        Self {
            name,
            ok: problem.is_none(),
            degrades: false,
            message: problem,
        }
    }
}

#[derive(Serialize)]
struct Health<'a> {
    status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    missing: Option<Vec<&'a str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    degraded: Option<Vec<&'a str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    checks: Option<&'a [Check]>,
}

/// `GET /livez`.
pub(super) async fn livez() -> Response {
    let health = Health {
        status: "ok",
        missing: None,
        degraded: None,
        checks: None,
    };
    json(StatusCode::OK, &health)
}

/// `GET /readyz`: 503 names what is missing; 200 may name what it does without; `?verbose` lists every
/// check.
pub(super) async fn readyz(State(api): State<Api>, call: Call) -> Result<Response, ApiError> {
    let draining = api.readiness.is_draining();
    let mut checks = vec![Check::new(
        "serving",
        draining.then(|| "the process is about to stop".into()),
    )];
    checks.extend(database(&api.store).await);
    checks.extend(api.links.check());
    // `?verbose` has no value, as with the probes of Kubernetes.
    let verbose = call.has_parameter("verbose");
    Ok(report(&checks, verbose))
}

async fn database(store: &Store) -> [Check; 2] {
    let ping = problem(timeout(CHECK_TIMEOUT, store.ping()).await, |()| None);
    if ping.is_some() {
        let unknown = Some("unknown without the database".into());
        return [
            Check::new("database", ping),
            Check::new("migrations", unknown),
        ];
    }
    let missing = timeout(CHECK_TIMEOUT, store.missing_migrations()).await;
    let missing = problem(missing, |missing| {
        (missing > 0).then(|| format!("{missing} to apply: run `redrive migrate`"))
    });
    [
        Check::new("database", None),
        Check::new("migrations", missing),
    ]
}

/// What is wrong, in a sentence that holds no detail of the connection.
fn problem<T>(
    answer: Result<Result<T, StoreError>, tokio::time::error::Elapsed>,
    judge: impl FnOnce(T) -> Option<String>,
) -> Option<String> {
    match answer {
        Ok(Ok(value)) => judge(value),
        Ok(Err(error)) => Some(error.to_string()),
        Err(_) => Some("no answer within 2 s".into()),
    }
}

fn report(checks: &[Check], verbose: bool) -> Response {
    let named = |degrades: bool| {
        let failed = checks.iter().filter(|c| !c.ok && c.degrades == degrades);
        let names: Vec<_> = failed.map(|c| c.name).collect();
        (!names.is_empty()).then_some(names)
    };
    let (missing, degraded) = (named(false), named(true));
    let (status, word) = if missing.is_none() {
        (StatusCode::OK, "ready")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "not ready")
    };
    let shows_checks = verbose || missing.is_some() || degraded.is_some();
    let health = Health {
        status: word,
        missing,
        degraded,
        checks: shows_checks.then_some(checks),
    };
    json(status, &health)
}

fn json(status: StatusCode, health: &Health<'_>) -> Response {
    let body = serde_json::to_string(health).unwrap_or_default();
    let headers = [
        (header::CONTENT_TYPE, "application/json"),
        (header::CACHE_CONTROL, "no-store"),
    ];
    (status, headers, body).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::tests::body_text;

    #[tokio::test]
    async fn readiness_names_what_is_missing() {
        let good = || Check::new("serving", None);
        let response = report(&[good()], false);
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(body_text(response).await, r#"{"status":"ready"}"#);
        let verbose = body_text(report(&[good()], true)).await;
        assert_eq!(
            verbose,
            r#"{"status":"ready","checks":[{"name":"serving","ok":true}]}"#
        );
        let bad = Check::new("migrations", Some("2 to apply".into()));
        let response = report(&[good(), bad], false);
        assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
        let text = body_text(response).await;
        assert!(text.contains(r#""missing":["migrations"]"#), "{text}");
        assert!(text.contains("2 to apply"), "{text}");
    }

    #[tokio::test]
    async fn only_connections_that_are_used_are_up_or_down() {
        let config = crate::config::BrokerConfig {
            url: Some(crate::config::Secret::new("amqp://127.0.0.1:1")),
            ..crate::config::BrokerConfig::default()
        };
        let rabbit = crate::broker::RabbitMq::new(&config).unwrap();
        let mut links = Links {
            broker: Broker::RabbitMq(rabbit),
            publishes: true,
            consumes: false,
            serves_api: true,
        };
        assert_eq!(links.up(), [("publish", false)]);
        links.consumes = true;
        assert_eq!(links.up(), [("publish", false), ("consume", false)]);
        links.broker = Broker::InProcess(crate::broker::InProcess::new(1));
        assert_eq!(links.up(), []);
    }

    #[test]
    fn clones_drain_together() {
        let readiness = Readiness::new();
        let other = readiness.clone();
        assert!(!other.is_draining());
        readiness.set_draining();
        assert!(other.is_draining());
    }
}
