//! The quarantine as a source of messages, so that a replay is what the worker does with its queue: the same staging, the same
//! isolation of rows that the database refuses, the same patience with a database that is away.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use fetch_etl_core::{
    AckFailure, Committed, Delivery, ErrorClass, ExtendOutcome, Held, KeyOrigin, MessageSource, Quarantine,
    QuarantineFilter, Receipt, Returned, SealedMessage, SinkError, SourceError, SourceLimits,
};
use fetch_etl_seal::{Opener, Purpose};

/// Messages of one page. Their bodies may have a megabyte each.
pub(super) const PAGE: u32 = 64;

/// Hands out each open message once, in the order of the keys. What becomes a row is marked as replayed; everything else
/// stays as it is.
pub(super) struct QuarantineSource {
    quarantine: Arc<dyn Quarantine>,
    filter: QuarantineFilter,
    recipient_id: String,
    opener: Opener,
    /// The last key that was handed out. Behind an asynchronous lock, for the next page is known only when this one came.
    place: tokio::sync::Mutex<String>,
    unopened: Mutex<Vec<String>>,
}

impl QuarantineSource {
    pub(super) fn new(
        quarantine: Arc<dyn Quarantine>,
        filter: QuarantineFilter,
        recipient_id: String,
        opener: Opener,
    ) -> Self {
        Self {
            quarantine,
            filter,
            recipient_id,
            opener,
            place: tokio::sync::Mutex::default(),
            unopened: Mutex::default(),
        }
    }

    /// Keys of the messages whose bodies did not open.
    pub(super) fn unopened(&self) -> Vec<String> {
        // Whole at any time.
        self.unopened.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The next messages that open; none when there are no more.
    pub(super) async fn next(&self, max: u32) -> Result<Vec<Delivery>, SinkError> {
        let mut after = self.place.lock().await;
        loop {
            let page = self.quarantine.sealed(&self.filter, &self.recipient_id, &after, max).await?;
            let Some(last) = page.last() else { return Ok(Vec::new()) };
            *after = last.key.as_str().to_owned();
            let deliveries: Vec<_> = page.into_iter().filter_map(|message| self.open(message)).collect();
            if !deliveries.is_empty() {
                return Ok(deliveries);
            }
        }
    }

    fn open(&self, message: SealedMessage) -> Option<Delivery> {
        let SealedMessage { key, sent_at, attempt, body } = message;
        let Ok(body) = self.opener.open(Purpose::Quarantine, &key, body.bytes()) else {
            self.unopened.lock().unwrap_or_else(PoisonError::into_inner).push(key.as_str().to_owned());
            return None;
        };
        Some(Delivery {
            id: key.as_str().into(),
            // The ledger treats the two kinds of keys differently: it must stay of its kind.
            key: (key.origin() == KeyOrigin::Attribute).then(|| key.as_str().into()),
            attempt,
            sent_at: Some(sent_at),
            body,
            receipt: Receipt::new(key.as_str()),
        })
    }
}

fn source_error(error: &SinkError) -> SourceError {
    match error.class() {
        ErrorClass::Retryable => SourceError::retryable(error.to_string()),
        _ => SourceError::fatal(error.to_string()),
    }
}

#[async_trait]
impl MessageSource for QuarantineSource {
    fn limits(&self) -> SourceLimits {
        // Nobody else is given what we hold, as far as this run is concerned; the ledger settles the rest.
        SourceLimits { max_receive: PAGE as usize, max_batch: 1_000, lease: None, max_hold: None }
    }

    async fn receive(&self, max: usize) -> Result<Vec<Delivery>, SourceError> {
        let max = u32::try_from(max).unwrap_or(PAGE).min(PAGE);
        self.next(max).await.map_err(|error| source_error(&error))
    }

    async fn extend(&self, held: &[Held], _: Duration) -> Result<Vec<ExtendOutcome>, SourceError> {
        Ok(vec![ExtendOutcome::Extended; held.len()])
    }

    async fn ack(&self, committed: Vec<Committed>) -> Result<(), AckFailure> {
        let keys: Vec<_> = committed.iter().map(|token| token.receipt().handle()).collect();
        match self.quarantine.mark_replayed(&keys).await {
            Ok(_) => Ok(()),
            Err(error) => Err(AckFailure { error: source_error(&error), unacked: committed }),
        }
    }

    async fn nack(&self, _: Vec<Returned>, _: Duration) -> Result<(), SourceError> {
        // Nothing was taken away.
        Ok(())
    }
}
