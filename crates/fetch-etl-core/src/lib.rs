//! The core of fetch-etl: moves events from a queue to a store, with the personal fields masked on the way.
//!
//! ```text
//!  MessageSource            Stager                          Sink
//!  ─────────────▶ Delivery ────────▶ Masked<Row> ─▶ Batch ─────────▶ Committed ──▶ MessageSource::ack
//!   (SQS, yours)   Pii body  schema   or Rejected           durable,
//!                            masker                         atomic,      Returned ───▶ MessageSource::nack
//!                                                           idempotent
//! ```
//!
//! Bring your own [`MessageSource`], [`Masker`], [`EventSchema`] or [`Sink`]; [`pipeline::Pipeline`] drives them with
//! backpressure, group-commit batches, lease renewal and a clean stop. This crate knows no vendor.
//!
//! # What the types rule out
//! - Personal data is only ever inside [`Pii`], which cannot be printed, serialised or cloned.
//! - A sink takes [`Masked`] rows only, and only the [`Stager`] makes them, from a [`Masker`]'s output.
//! - Only a write that the sink reported as durable makes a [`Committed`], and only a `Committed` can be acked, once.
//!
//! That a sink *has* committed when it says so cannot be proved by types: run the contract suite of `fetch-etl-testing`.
//!
//! # Promise
//! At-least-once in, exactly one row out, nothing personal in clear anywhere else, provided that the sink is durable and its
//! ledger remembers keys for longer than the queue keeps messages.
//!
//! # Example
//! A whole pipeline, on parts in memory. In production they are `SqsSource` and `PostgresSink`, or your own implementations of
//! [`MessageSource`] and [`Sink`]: nothing else changes.
//!
//! ```
//! use std::sync::Arc;
//!
//! use fetch_etl_core::KeyId;
//! use fetch_etl_core::login::{LoginRow, LoginSchema};
//! use fetch_etl_core::pipeline::{Pipeline, PipelineConfig};
//! use fetch_etl_mask::{HmacSha512Masker, MasterKey};
//! use fetch_etl_testing::{InMemorySink, InMemorySource};
//! use tokio_util::sync::CancellationToken;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let source = Arc::new(InMemorySource::new());
//! for ip in [r#""203.0.113.7""#, r#""::ffff:203.0.113.7""#] {
//!     source.send(format!(
//!         r#"{{"user_id":"ada","app_version":"2.3.0","device_type":"ios","ip":{ip},"locale":null,"device_id":"593-47-5928"}}"#
//!     ));
//! }
//! source.send(r#"{"user_id":"bob"}"#);
//!
//! // For an example only: a key is 32 random bytes (`openssl rand -base64 32`).
//! let key = MasterKey::from_base64("AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=")?;
//! let masker = HmacSha512Masker::new(&key, KeyId::new(1), "default")?.with_fields(["ip", "device_id"]);
//! let sink = Arc::new(InMemorySink::<LoginRow>::new());
//!
//! // Ends when the queue is empty; without it, cancelling the token is what ends a pipeline.
//! let config = PipelineConfig { until_empty: true, ..PipelineConfig::default() };
//! let pipeline = Pipeline::new(config, source.clone(), LoginSchema, Arc::new(masker), sink.clone());
//! let summary = pipeline.run(CancellationToken::new()).await?;
//!
//! assert_eq!((summary.received, summary.inserted, summary.returned), (3, 2, 1));
//! // One address in two spellings has one mask, and the message that is no login was left to the queue's dead-letter policy.
//! let rows = sink.rows();
//! assert_eq!(rows[0].row.masked_ip, rows[1].row.masked_ip);
//! assert_eq!(source.left(), 1);
//! # Ok(())
//! # }
//! ```
//!
//! `examples/embed.rs` shows more of what comes out; with the feature `mock`, `examples/swap_in_a_mock.rs` tests with mockall's mocks
//! of source, masker and sink.
//!
//! # The crates, in an order to read them in
//! | crate | what |
//! |---|---|
//! | this one | the traits between the parts, and what drives them: begin with [`MessageSource`], [`EventSchema`], [`Masker`], [`Sink`], then [`pipeline`] |
//! | [`fetch_etl_mask`](../fetch_etl_mask/index.html) | maskers, and what a fleet of workers agrees on |
//! | [`fetch_etl_sqs`](../fetch_etl_sqs/index.html) | SQS as a source |
//! | [`fetch_etl_postgres`](../fetch_etl_postgres/index.html), [`fetch_etl_sqlite`](../fetch_etl_sqlite/index.html) | the sinks |
//! | [`fetch_etl_testing`](../fetch_etl_testing/index.html) | parts in memory, and the contracts that parts of your own are held to |
//! | [`fetch_etl_seal`](../fetch_etl_seal/index.html) | what is kept so that only a private key opens it |
//! | [`fetch_etl_secrets`](../fetch_etl_secrets/index.html) | where keys come from |
//! | [`fetch_etl_telemetry`](../fetch_etl_telemetry/index.html) | metrics, liveness, readiness |
//! | [`fetch_etl_local_sqs`](../fetch_etl_local_sqs/index.html) | a queue for demos and tests |
//! | [`etl_worker`](../etl_worker/index.html) | the program that wires them |

mod batch;
mod delivery;
mod error;
mod lease;
pub mod login;
mod mask;
mod pii;
pub mod pipeline;
mod policy;
mod quarantine;
mod reject;
mod rotation;
mod schema;
mod seal;
mod sink;
mod source;
mod stage;
mod time;
mod trace;
mod vault;

pub use batch::{Batch, Masked, Settled, SettledReject, WriteFailure, write};
pub use delivery::{Delivery, KeyOrigin, MessageKey, Receipt};
pub use error::{ErrorClass, SinkCode, SinkError, SourceError};
pub use lease::{Committed, Held, Returned};
#[cfg(feature = "mock")]
pub use mask::MockMasker;
pub use mask::{KeyId, MaskedValue, Masker};
pub use pii::Pii;
pub use policy::{MaskPolicy, PolicyInForce, PolicyStore, policy_changed};
pub use quarantine::{
    Quarantine, QuarantineCount, QuarantineEntry, QuarantineFilter, QuarantineState, SealedMessage,
};
pub use reject::{Reject, RejectReason, Rejected};
pub use rotation::{KeyRows, Remask, Rotation, RotationProgress};
pub use schema::{Decoded, EventSchema};
#[cfg(feature = "mock")]
pub use seal::MockSealer;
pub use seal::{NewestRecipients, SealError, SealedBody, Sealer};
#[cfg(feature = "mock")]
pub use sink::MockSink;
pub use sink::{Sink, WriteReport};
#[cfg(feature = "mock")]
pub use source::MockMessageSource;
pub use source::{AckFailure, ExtendOutcome, MessageSource, QueueDepth, SourceLimits};
pub use stage::{MAX_BODY_BYTES, Staged, Stager};
pub use time::UnixMillis;
pub use trace::TraceParent;
pub use vault::{SealedDataKey, Vault, VaultEntry};
