//! The sink on real files, each test with a directory of its own.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail like tests")]

mod bisection;
mod contract;
mod errors;
mod ledger;
mod reading;
mod schema;
mod support;
