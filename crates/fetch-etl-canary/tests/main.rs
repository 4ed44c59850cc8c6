//! What is planted is found, and nothing else is.

// A test crate is all test; clippy knows it by this attribute only.
#[cfg(test)]
mod directories;
#[cfg(test)]
mod encodings;
#[cfg(test)]
mod measure;
#[cfg(test)]
mod messages;
#[cfg(test)]
mod scanning;
