//! The sources as a program uses them; those of AWS over the real wire, against a server whose answers each test writes itself.

// A test crate is all test; clippy knows it by this attribute only, alone.
#[cfg(test)]
#[cfg(feature = "kms")]
mod kms;
#[cfg(test)]
mod local;
#[cfg(test)]
#[cfg(all(feature = "secrets-manager", feature = "kms"))]
mod logs;
#[cfg(test)]
#[cfg(any(feature = "secrets-manager", feature = "kms"))]
mod scripted;
#[cfg(test)]
#[cfg(feature = "secrets-manager")]
mod secrets_manager;
#[cfg(test)]
mod support;
