//! The trait of a queue.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use crate::{Committed, Delivery, Held, Returned, SourceError};

/// What a source can do at once, and for how long its messages are held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SourceLimits {
    /// Most messages of one receive.
    pub max_receive: usize,
    /// Most entries of one ack, nack or extend.
    pub max_batch: usize,
    /// For how long a received message is invisible to others (the visibility timeout), and what an extension sets
    /// it to anew; `None` where messages are never delivered to another receiver.
    pub lease: Option<Duration>,
    /// How long one delivery can be held in all, extensions included.
    pub max_hold: Option<Duration>,
}

/// What became of the wish to hold a message longer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExtendOutcome {
    /// It is ours for another lease.
    Extended,
    /// It is not ours any more: it was deleted, or the lease ran out and another receiver may have it.
    Lost,
    /// Not known; worth another try while the lease lasts.
    Failed,
}

/// How many messages a queue holds, as far as it tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct QueueDepth {
    /// Ready to be received.
    pub visible: u64,
    /// Received by somebody and neither deleted nor returned.
    pub in_flight: u64,
    /// Sent with a delay that has not passed yet.
    pub delayed: u64,
}

/// An ack that failed, in part or altogether: what could not be acked is given back to be tried again.
#[derive(Debug, thiserror::Error)]
#[error("{error}")]
pub struct AckFailure {
    /// Why; where entries failed for different reasons, one of them, a retryable one before others.
    pub error: SourceError,
    /// What is not acked.
    pub unacked: Vec<Committed>,
}

/// A queue that messages are received from, at least once each.
///
/// The pipeline calls `receive` from several tasks at once, and everything else concurrently with it.
///
/// **Cancel-safety.** The pipeline drops a `receive` future only at shutdown, and gives it a moment before. A source whose
/// receive is cancelled may leave messages invisible until their lease ends; it must not lose them. The other calls are
/// never cancelled before the shutdown's deadline.
#[cfg_attr(feature = "mock", mockall::automock)]
#[async_trait]
pub trait MessageSource: Send + Sync {
    /// What this source can do at once. Constant for the life of the source.
    fn limits(&self) -> SourceLimits;

    /// Waits for messages, as long as the source's long poll lasts, and returns at most `max` of them; none when
    /// there were none.
    ///
    /// # Errors
    /// Nothing was received. A retryable error is tried again with backoff; a fatal one ends the pipeline.
    async fn receive(&self, max: usize) -> Result<Vec<Delivery>, SourceError>;

    /// Holds messages for `lease` from now. One outcome for each, in the same order; at most
    /// [`max_batch`](SourceLimits::max_batch) of them.
    ///
    /// # Errors
    /// None of them is known to be extended.
    async fn extend(&self, held: &[Held], lease: Duration) -> Result<Vec<ExtendOutcome>, SourceError>;

    /// Removes messages for good; at most [`max_batch`](SourceLimits::max_batch) of them.
    ///
    /// # Errors
    /// Gives back what could not be removed. Acking is idempotent: what was removed before counts as removed.
    async fn ack(&self, committed: Vec<Committed>) -> Result<(), AckFailure>;

    /// Gives messages back, to be delivered again after `delay`; at most [`max_batch`](SourceLimits::max_batch) of them.
    ///
    /// # Errors
    /// Some may stay invisible until their lease ends; they are not lost.
    async fn nack(&self, returned: Vec<Returned>, delay: Duration) -> Result<(), SourceError>;

    /// How many messages there are, about; `None` where the source cannot tell or may not.
    ///
    /// # Errors
    /// The question failed; nothing else did.
    async fn depth(&self) -> Result<Option<QueueDepth>, SourceError> {
        Ok(None)
    }
}

macro_rules! forward {
    ($($wrapper:ident),*) => {$(
        #[async_trait]
        impl<T: MessageSource + ?Sized> MessageSource for $wrapper<T> {
            fn limits(&self) -> SourceLimits {
                (**self).limits()
            }
            async fn receive(&self, max: usize) -> Result<Vec<Delivery>, SourceError> {
                (**self).receive(max).await
            }
            async fn extend(&self, held: &[Held], lease: Duration) -> Result<Vec<ExtendOutcome>, SourceError> {
                (**self).extend(held, lease).await
            }
            async fn ack(&self, committed: Vec<Committed>) -> Result<(), AckFailure> {
                (**self).ack(committed).await
            }
            async fn nack(&self, returned: Vec<Returned>, delay: Duration) -> Result<(), SourceError> {
                (**self).nack(returned, delay).await
            }
            async fn depth(&self) -> Result<Option<QueueDepth>, SourceError> {
                (**self).depth().await
            }
        }
    )*};
}

forward!(Box, Arc);
