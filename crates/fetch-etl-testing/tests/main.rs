//! The fakes of this crate, and the suites on them and on parts that are broken on purpose.

// A test crate is all test; clippy knows it by this attribute only.
#[cfg(test)]
mod fakes;
#[cfg(test)]
mod policies;
#[cfg(test)]
#[cfg(feature = "postgres")]
mod proxy;
#[cfg(test)]
mod sinks;
#[cfg(test)]
mod sources;
