//! The sink on a real Postgres: each test makes a database of its own, see `fetch_etl_testing::postgres`.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail like tests")]

mod bisection;
mod contract;
mod errors;
mod ledger;
mod migrations;
mod partitions;
mod policy;
mod reading;
mod roles;
mod rotation;
mod schema;
mod support;
mod takeover;
mod vault;
