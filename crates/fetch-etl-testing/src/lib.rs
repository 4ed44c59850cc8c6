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
//! ```text
//!  InMemorySource ──▶ the pipeline, or a part of yours ──▶ InMemorySink
//!     ▲ faults, outages, doubles        ▲ Gate                ▲ faults, outages, refused rows
//!     └───────────────────────── your test ───────────────────┘
//! ```
//!
//! ```
//! use std::sync::Arc;
//!
//! use fetch_etl_core::login::{LoginRow, LoginSchema};
//! use fetch_etl_core::pipeline::{Pipeline, PipelineConfig};
//! use fetch_etl_testing::{FakeMasker, InMemorySink, InMemorySource};
//! use tokio_util::sync::CancellationToken;
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() {
//! let (source, sink) = (Arc::new(InMemorySource::new()), Arc::new(InMemorySink::<LoginRow>::new()));
//! let login = r#"{"user_id":"u","app_version":"2","device_type":"ios","ip":null,"locale":null,"device_id":"1"}"#;
//! source.send(login);
//! source.deliver_twice(1); // as SQS may
//! let config = PipelineConfig { until_empty: true, ..PipelineConfig::default() };
//! let pipeline = Pipeline::new(config, source.clone(), LoginSchema, Arc::new(FakeMasker), sink.clone());
//! let summary = pipeline.run(CancellationToken::new()).await.unwrap();
//! assert_eq!((summary.received, summary.inserted, summary.duplicates), (2, 1, 1));
//! assert_eq!((sink.len(), source.left()), (1, 0));
//! # }
//! ```
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
pub mod scripted;
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
