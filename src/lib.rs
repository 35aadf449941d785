//! redrive retries a failed or cancelled workflow run **from its failure point**.
//!
//! ```text
//! POST /v1/runs/{id}/retry -> api -> intake (plan) -> store.accept    header + retry + outbox, one transaction
//!             outbox.relay -> broker.publish (confirmed) -> store.mark_sent
//!             broker delivery -> worker -> store.claim -> validate again -> store.create -> ack
//!                             -> engine.execute -> checkpoint ... -> finish
//!             outbox.rescuer  -> expired lease or lost message -> due again
//! ```
//!
//! A room imports only from rooms on lower floors; rooms on one floor do not import each other.
//! `tests/it/architecture.rs` reads the imports and holds this table.
//!
//! | floor | room | what lives there |
//! |---|---|---|
//! | 6 | [`cli`] | subcommands, the HTTP client they use, the demo |
//! | 5 | [`app`] | composition root: builds store, broker and roles; start, drain, stop; telemetry |
//! | 4 | [`api`] | HTTP: one file per endpoint, envelope, errors, authentication |
//! | 4 | [`worker`] | delivery, claim, engine, settle; slots, leases, panic fence |
//! | 4 | [`outbox`] | relay (row to broker), rescuer (expired leases, lost messages) |
//! | 3 | [`intake`] | accept one retry, start or import: existence, status, plan; one transaction |
//! | 3 | [`engine`] | execute a plan node by node; node kinds |
//! | 2 | [`plan`] | the planner: pure |
//! | 2 | [`store`] | the ledger on `SQLite` or PostgreSQL; every method one whole transaction |
//! | 2 | [`broker`] | distribution of work: envelope, delivery |
//! | 1 | [`workflow`] | definition, graph, expressions: pure |
//! | 0 | [`domain`] | ids, statuses, records, retry delays, clock, JSON values, trace context; no I/O |
//! | 0 | [`config`] | plain section structs; file and environment |
//! | 0 | `faults` | for tests: points to die at, bugs to plant; nothing without the feature `faults` |

#![forbid(unsafe_code)]

pub mod api;
pub mod app;
pub mod broker;
pub mod cli;
pub mod config;
pub mod domain;
pub mod engine;
mod faults;
pub mod intake;
pub mod outbox;
pub mod plan;
pub mod store;
pub mod worker;
pub mod workflow;
