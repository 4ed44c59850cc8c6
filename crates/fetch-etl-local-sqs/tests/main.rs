//! The server over the real wire, with the clients that people use.

#![expect(
    clippy::unwrap_used,
    reason = "the helpers of a test fail it by panicking, as the test itself does"
)]

mod clients;
mod concurrency;
mod conformance;
mod control;
mod errors;
mod faults;
mod long_poll;
mod messages;
mod process;
mod queues;
mod raw;
mod redrive;
mod support;
