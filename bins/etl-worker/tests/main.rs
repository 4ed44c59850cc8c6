//! The real binary, from the outside.

// A test crate is all test; clippy knows it by this attribute only.
#[cfg(test)]
mod check;
#[cfg(test)]
mod cli;
#[cfg(test)]
mod configuration;
#[cfg(test)]
mod demo;
#[cfg(test)]
mod deploy;
#[cfg(test)]
mod health;
#[cfg(test)]
mod leak_test;
#[cfg(test)]
mod logs;
#[cfg(test)]
mod masking;
#[cfg(test)]
mod otlp;
#[cfg(test)]
mod panics;
#[cfg(test)]
mod sealing;
#[cfg(test)]
mod start;
#[cfg(test)]
mod support;
#[cfg(test)]
mod telemetry;
