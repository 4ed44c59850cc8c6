//! The sink on a real Postgres: each test makes a database of its own, see `fetch_etl_testing::postgres`.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail like tests")]

mod audit;
mod bisection;
mod contract;
mod erase;
mod errors;
mod ledger;
mod migrations;
mod partitions;
mod policy;
mod posture;
mod prune;
mod reading;
mod reveal;
mod roles;
mod rotation;
mod schema;
mod support;
mod takeover;
mod vault;
