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
//! `examples/embed.rs` runs a whole pipeline on parts in memory; with the feature `mock`, `examples/swap_in_a_mock.rs` tests
//! with mockall's mocks of source, masker and sink.

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
