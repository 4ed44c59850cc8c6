//! The real binary, from the outside, on real databases: each test makes one of its own.

// A test crate is all test; clippy knows it by this attribute only.
#[cfg(test)]
mod audit;
#[cfg(test)]
mod erase;
#[cfg(test)]
mod keygen;
#[cfg(test)]
mod policy;
#[cfg(test)]
mod quarantine;
#[cfg(test)]
mod races;
#[cfg(test)]
mod redrive;
#[cfg(test)]
mod replay;
#[cfg(test)]
mod reveal;
#[cfg(test)]
mod sqlite;
#[cfg(test)]
mod support;
#[cfg(test)]
mod vault;
