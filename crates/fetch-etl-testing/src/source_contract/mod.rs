//! The contract of [`MessageSource`] as a suite that runs on any source.
//!
//! Implement [`SourceHarness`] and [`Queue`] for the source and call [`run`] in a test:
//!
//! ```
//! use std::sync::Arc;
//!
//! use async_trait::async_trait;
//! use fetch_etl_core::MessageSource;
//! use fetch_etl_testing::source_contract::{self, Queue, Setup, SourceHarness};
//! use fetch_etl_testing::{InMemorySource, SourceSettings};
//!
//! struct Harness;
//!
//! #[async_trait]
//! impl SourceHarness for Harness {
//!     type Queue = OneQueue;
//!     async fn open(&self, Setup { lease, wait }: Setup) -> OneQueue {
//!         let settings = SourceSettings { lease, wait, ..SourceSettings::default() };
//!         OneQueue(Arc::new(InMemorySource::with(settings))) // a real one: CreateQueue
//!     }
//! }
//!
//! struct OneQueue(Arc<InMemorySource>);
//!
//! #[async_trait]
//! impl Queue for OneQueue {
//!     fn source(&self) -> Arc<dyn MessageSource> {
//!         self.0.clone()
//!     }
//!     async fn send(&self, body: &str) {
//!         self.0.send(body); // a real one: SendMessage
//!     }
//!     async fn left(&self) -> u64 {
//!         self.0.left() as u64 // a real one: all three ApproximateNumberOf… together
//!     }
//! }
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() {
//! # tokio::time::pause();
//! source_contract::run(&Harness).await;
//! # }
//! ```
//!
//! The checks run concurrently, each on a [`Queue`] of its own, and let leases of a few seconds pass: a source on a real
//! clock takes about ten seconds in all, one on tokio's paused clock takes no time.

mod checks;
mod hands;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use fetch_etl_core::MessageSource;

use crate::Violation;
use crate::contract::assert_none;

/// What a check wants of its queue. All times are whole seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Setup {
    /// The visibility timeout.
    pub lease: Duration,
    /// How long a receive of the source waits for messages.
    pub wait: Duration,
}

/// How the suite gets at a source.
#[async_trait]
pub trait SourceHarness: Send + Sync {
    /// What the source under test receives from.
    type Queue: Queue;

    /// An empty queue, independent of every other, and a source for it.
    async fn open(&self, setup: Setup) -> Self::Queue;
}

/// A queue and the source under test.
#[async_trait]
pub trait Queue: Send + Sync {
    /// The source under test.
    fn source(&self) -> Arc<dyn MessageSource>;

    /// Puts a message into the queue. Bodies are texts of characters that XML 1.0 allows, as SQS demands.
    async fn send(&self, body: &str);

    /// How many messages the queue holds, visible or not.
    async fn left(&self) -> u64;

    /// Lets time pass. The default sleeps: on a paused tokio clock that takes no time.
    async fn pass(&self, time: Duration) {
        tokio::time::sleep(time).await;
    }
}

/// Runs the whole suite.
///
/// # Panics
/// When a rule is broken: the message lists every broken rule and what was seen instead.
pub async fn run<H: SourceHarness>(harness: &H) {
    assert_none("source", &violations(harness).await);
}

/// Runs the whole suite and returns what is broken, for those who test the suite itself.
pub async fn violations<H: SourceHarness>(harness: &H) -> Vec<Violation> {
    checks::all(harness).await
}
