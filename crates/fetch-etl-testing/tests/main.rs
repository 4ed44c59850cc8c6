//! The suites on the parts of this crate, and on parts that are broken on purpose.

// A test crate is all test; clippy knows it by this attribute only.
#[cfg(test)]
mod sinks;
#[cfg(test)]
mod sources;
