//! The parts of `etl-worker`; `main.rs` wires them.
//!
//! A library only so that its integration tests, the documentation's generator and `etl-admin`, which shares its
//! configuration, can look inside. It promises no API.

pub mod cli;
pub mod commands;
pub mod failure;
pub mod hardening;
pub mod masking;
mod monitoring;
mod patience;
pub mod policy;
pub mod progress;
pub mod queue;
mod recipients;
pub mod report;
pub mod sealing;
mod secrets;
pub mod settings;
pub mod signals;
pub mod sinks;
pub mod telemetry;
