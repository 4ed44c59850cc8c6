//! What the crate tells, from the outside; and what is written about it.

// A test crate is all test; clippy knows it by this attribute only.
#[cfg(test)]
mod documents;
#[cfg(test)]
mod health;
#[cfg(test)]
mod http;
#[cfg(test)]
mod metrics;
#[cfg(test)]
mod queries;
#[cfg(test)]
mod support;
