//! What the fuzz targets check. Each module has one `check`, which panics where a promise does not hold.
//!
//! They are plain functions so that `cargo test` runs the seeds through them without libFuzzer's driver, on stable.
//!
//! All of it is a test: what fails, panics.

#![forbid(unsafe_code)]

pub mod canonical_ip;
#[cfg(feature = "worker")]
pub mod config;
pub mod decode;
pub mod keys;
pub mod open_sealed;
mod oracle;
pub mod seeds;
mod vectors;
mod words;
