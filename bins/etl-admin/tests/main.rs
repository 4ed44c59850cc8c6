//! The real binary, from the outside, on a real Postgres: each test makes a database of its own.

// A test crate is all test; clippy knows it by this attribute only.
#[cfg(test)]
mod keygen;
#[cfg(test)]
mod quarantine;
#[cfg(test)]
mod redrive;
#[cfg(test)]
mod replay;
#[cfg(test)]
mod support;
