//! What staging makes of messages, good, bad and made of noise.

mod fixtures;
mod messages;
mod noise;
mod objects;
mod secrecy;
mod support;
