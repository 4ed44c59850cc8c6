//! Masks against vectors that another implementation computed, and the properties that every value must have.

// A test crate is all test; clippy knows it by this attribute only.
#[cfg(test)]
mod guessing;
#[cfg(test)]
mod plan;
#[cfg(test)]
mod properties;
#[cfg(test)]
mod vectors;
