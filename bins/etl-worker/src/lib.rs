//! The parts of `etl-worker`; `main.rs` wires them.
//!
//! A library only so that its integration tests and the documentation's generator can look inside. It promises no API.

pub mod cli;
pub mod commands;
pub mod failure;
pub mod hardening;
mod masking;
mod patience;
mod progress;
mod queue;
mod report;
pub mod settings;
mod signals;
mod sinks;
pub mod telemetry;
