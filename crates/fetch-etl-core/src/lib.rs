//! The core of fetch-etl: traits, type-states and the pipeline.
mod batch;
mod delivery;
mod error;
mod lease;
pub mod login;
mod mask;
mod pii;
pub mod pipeline;
mod reject;
mod schema;
mod sink;
mod source;
mod stage;
mod time;

pub use batch::{Batch, Masked, Settled, SettledReject, WriteFailure, write};
pub use delivery::{Delivery, KeyOrigin, MessageKey, Receipt};
pub use error::{ErrorClass, SinkCode, SinkError, SourceError};
pub use lease::{Committed, Held, Returned};
pub use mask::{KeyId, MaskedValue, Masker};
#[cfg(feature = "mock")]
pub use mask::MockMasker;
pub use pii::Pii;
pub use reject::{Reject, RejectReason, Rejected};
pub use schema::{Decoded, EventSchema};
#[cfg(feature = "mock")]
pub use sink::MockSink;
pub use sink::{Sink, WriteReport};
#[cfg(feature = "mock")]
pub use source::MockMessageSource;
pub use source::{AckFailure, ExtendOutcome, MessageSource, QueueDepth, SourceLimits};
pub use stage::{MAX_BODY_BYTES, Staged, Stager};
pub use time::UnixMillis;
