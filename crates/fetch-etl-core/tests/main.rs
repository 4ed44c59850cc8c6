//! Integration tests of the core.

// A test crate is all test; clippy knows it by this attribute only.
#[cfg(test)]
mod models;
#[cfg(test)]
mod pipeline;
#[cfg(test)]
mod staging;
