//! Tests of the whole: the house rules of the source, and the product against real servers.
//!
//! `bash tests/run.sh` brings PostgreSQL and RabbitMQ and runs everything.
#![cfg(test)]

mod architecture;
mod bad_input;
mod bench;
mod broker_contract;
mod broker_faults;
mod chains;
mod chaos;
mod children;
mod choices;
mod cli;
mod clocks;
mod contract;
mod dead_letters;
mod doctor;
mod effects;
mod fidelity;
mod growth;
mod hints;
mod idempotency;
mod inputs;
mod intents;
mod kinds;
mod limits;
mod loops;
mod mixtures;
mod plain;
mod poison;
mod policies;
mod pool;
mod prefer;
mod reads;
mod resume;
mod services;
mod simulator;
mod states;
mod storage_gone;
mod store_contract;
mod store_pool;
mod store_sql;
mod support;
mod take_over;
mod tracing;
mod upgrades;
mod waits;
mod workflows;
