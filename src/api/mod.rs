//! HTTP under `/v1`: authentication, one file per endpoint, the contract's envelope.
//!
//! A request passes `edge` first, which gives it an id, fences panics and measures. Its handler
//! reads top down: who asks (`call::Call::caller`), about what, with which body; one call of
//! `intake` or a read of the store; a view. Handlers return a `envelope::Reply` or an
//! `error::ApiError` without a body: the edge writes the envelope, because it knows the
//! request's id.
//!
//! To add an endpoint: a file with its handler and its tests, a line in `router`.

pub mod auth;
mod call;
mod dead_letters;
mod edge;
mod envelope;
mod error;
mod health;
mod idempotency;
mod metrics;
mod prefer;
mod query;
mod reason;
mod retries;
mod runs;
mod view;
mod workflows;

pub use health::{Links, Readiness};
pub use metrics::Metrics;
pub use reason::Reason;

use std::sync::Arc;

use axum::{
    Router,
    routing::{get, post},
};

use crate::{broker::Hints, config::LimitsConfig, domain::Clock, intake::Intake, store::Store};

/// What the handlers work with. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Api {
    /// The ledger, to read from.
    pub store: Store,
    /// The one way in.
    pub intake: Intake,
    /// The present.
    pub clock: Arc<dyn Clock>,
    /// Sizes of request bodies.
    pub limits: LimitsConfig,
    /// Hints that runs have ended.
    pub hints: Hints,
    /// Whether this process wants requests.
    pub readiness: Readiness,
    /// The broker, and what this process does with it.
    pub links: Links,
    /// What `/metrics` shows.
    pub metrics: Metrics,
}

/// Every route of the API.
pub fn router(api: Api) -> Router {
    edge::around(routes(), api.clock.clone()).with_state(api)
}

/// What a process without the API answers: whether it lives and works, and what it measures.
pub fn health_router(api: Api) -> Router {
    edge::around(health_routes(), api.clock.clone()).with_state(api)
}

fn health_routes() -> Router<Api> {
    Router::new()
        .route("/livez", get(health::livez))
        .route("/healthz", get(health::livez))
        .route("/readyz", get(health::readyz))
        .route("/metrics", get(metrics::scrape))
}

fn workflow_routes() -> Router<Api> {
    let variable = get(workflows::variable)
        .put(workflows::set)
        .delete(workflows::unset);
    Router::new()
        .route("/v1/workflows", get(workflows::list))
        .route(
            "/v1/workflows/{id}",
            get(workflows::get).put(workflows::put),
        )
        .route("/v1/workflows/{id}/run", post(workflows::run))
        .route("/v1/workflows/{id}/runs", get(workflows::runs))
        .route("/v1/workflows/{id}/variables", get(workflows::variables))
        .route("/v1/workflows/{id}/variables/{name}", variable)
}

fn routes() -> Router<Api> {
    health_routes()
        .route("/v1/runs", get(runs::list).post(runs::start))
        .route("/v1/runs/import", post(runs::import))
        .route("/v1/runs/sync", post(runs::sync))
        .route("/v1/runs/{id}", get(runs::get))
        .route("/v1/runs/{id}/retry", post(runs::retry))
        .route("/v1/runs/{id}/retry-plan", post(runs::retry_plan))
        .route("/v1/runs/{id}/chain", get(runs::chain))
        .route("/v1/runs/{id}/cancel", post(runs::cancel))
        .route("/v1/runs/{id}/nodes/{nodeId}/resume", post(runs::resume))
        .route("/v1/runs/{id}/variable-writes", get(runs::variable_writes))
        .merge(workflow_routes())
        .route("/v1/retries", get(retries::list))
        .route("/v1/retries/{id}", get(retries::get))
        .route("/v1/dead-letters", get(dead_letters::list))
        .route(
            "/v1/dead-letters/{id}",
            get(dead_letters::get).delete(dead_letters::remove),
        )
}

#[cfg(test)]
mod tests;
