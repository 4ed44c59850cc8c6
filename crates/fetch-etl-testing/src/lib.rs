//! Everything that tests of fetch-etl, and of what is built on it, need: parts in memory, faults on request, and the
//! contract suites.
//!
//! | what | for |
//! |---|---|
//! | [`InMemorySource`] | a queue with true visibility timeouts on tokio's clock, and scripted faults |
//! | [`InMemorySink`] | a sink with ledger, rows and quarantine, and scripted faults |
//! | [`FakeMasker`] | a masker without cryptography |
//! | [`Gate`] | holds a fake up until the test opens it, so that no test needs to sleep |
//! | [`pages`] | the commands that stand in Markdown pages, for tests of documentation |
//! | [`proxy`] | a Postgres fault proxy: cuts, delays and resets, before and after a COMMIT is forwarded |
//! | [`sink_contract`] | what every [`Sink`](fetch_etl_core::Sink) must do, as one suite |
//! | [`source_contract`] | what every [`MessageSource`](fetch_etl_core::MessageSource) must do, as one suite |
//!
//! Depend on it in `[dev-dependencies]` only. Unlike the rest of the workspace its suites panic: that is how a test fails.

mod contract;
mod faults;
mod gate;
mod masker;
pub mod pages;
#[cfg(feature = "postgres")]
pub mod postgres;
pub mod proxy;
mod sink;
pub mod sink_contract;
mod source;
pub mod source_contract;

pub use contract::Violation;
pub use faults::Fault;
pub use gate::Gate;
pub use masker::FakeMasker;
pub use sink::{BatchSize, InMemorySink, SinkRow};
pub use source::{InMemorySource, Outgoing, SourceOp, SourceSettings};
