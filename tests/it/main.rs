//! Tests of the whole, in one binary.
#![cfg(test)]

mod store_contract;
mod store_pool;
mod store_sql;
mod support;
