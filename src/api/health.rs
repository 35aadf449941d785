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
use crate::store::{Store, StoreError};

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

/// One thing that has to be right.
#[derive(Debug, Serialize)]
struct Check {
    name: &'static str,
    ok: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<String>,
}

impl Check {
    fn new(name: &'static str, problem: Option<String>) -> Self {
        Self {
            name,
            ok: problem.is_none(),
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
    checks: Option<&'a [Check]>,
}

/// `GET /livez`.
pub(super) async fn livez() -> Response {
    let health = Health {
        status: "ok",
        missing: None,
        checks: None,
    };
    json(StatusCode::OK, &health)
}

/// `GET /readyz`: 503 names what is missing; `?verbose` lists every check.
pub(super) async fn readyz(State(api): State<Api>, call: Call) -> Result<Response, ApiError> {
    let draining = api.readiness.is_draining();
    let mut checks = vec![Check::new(
        "serving",
        draining.then(|| "the process is about to stop".into()),
    )];
    checks.extend(database(&api.store).await);
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
    let failed: Vec<_> = checks.iter().filter(|c| !c.ok).map(|c| c.name).collect();
    let checks = (verbose || !failed.is_empty()).then_some(checks);
    if failed.is_empty() {
        let health = Health {
            status: "ready",
            missing: None,
            checks,
        };
        return json(StatusCode::OK, &health);
    }
    let health = Health {
        status: "not ready",
        missing: Some(failed),
        checks,
    };
    json(StatusCode::SERVICE_UNAVAILABLE, &health)
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

    #[test]
    fn clones_drain_together() {
        let readiness = Readiness::new();
        let other = readiness.clone();
        assert!(!other.is_draining());
        readiness.set_draining();
        assert!(other.is_draining());
    }
}
