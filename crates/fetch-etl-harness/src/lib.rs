//! The real binaries as processes, and a second opinion on every row: what end-to-end, fault and speed tests stand on.
//!
//! Everything here panics when something is wrong: that is how a test fails.

#![expect(clippy::expect_used, reason = "a test harness fails by panicking")]

mod binaries;
mod conservation;
mod control;
mod database;
mod masking;
mod opinion;
mod process;
mod queue;
pub mod torture;

pub use binaries::{beside, binary};
pub use conservation::Conservation;
pub use database::{StoredReject, StoredRow, rejects, rows};
pub use masking::Masking;
pub use opinion::{ExpectedRow, Opinion, python};
pub use process::{Ended, Running};
pub use queue::{LocalQueue, Sent};
