//! The quarantine as a source of messages, so that a replay is what the worker does with its queue: the same staging, the same
//! isolation of rows that the database refuses, the same patience with a database that is away.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use fetch_etl_core::{
    AckFailure, Committed, Delivery, ErrorClass, ExtendOutcome, Held, KeyOrigin, MessageSource, Quarantine,
    QuarantineFilter, Receipt, Returned, SealedMessage, SinkError, SourceError, SourceLimits,
};
use fetch_etl_seal::{OpenError, Opener, Purpose};

pub(super) const KEY_UNAVAILABLE: &str = "the private key cannot be asked";

/// Messages of one page. Their bodies may have a megabyte each.
pub(super) const PAGE: u32 = 64;

/// Keys of the messages whose bodies did not open, by why. An [`OpenError`] says nothing of a body.
pub(super) type Unopened = BTreeMap<String, Vec<String>>;

/// Why there is no next message.
#[derive(Debug)]
pub(super) enum Halt {
    Store(SinkError),
    /// The private key is elsewhere and cannot be asked: no message's fault, and every other one would fail, too.
    KeyUnavailable,
}

/// Hands out each open message once, in the order of the keys. What becomes a row is marked as replayed; everything else
/// stays as it is.
pub(super) struct QuarantineSource {
    quarantine: Arc<dyn Quarantine>,
    filter: QuarantineFilter,
    recipient_id: String,
    opener: Opener,
    /// Whether messages whose own key cannot be used are handed out, too.
    by_queue_id: bool,
    /// The last key that was handed out. Behind an asynchronous lock, for the next page is known only when this one came.
    place: tokio::sync::Mutex<String>,
    unopened: Mutex<Unopened>,
    without_key: AtomicU64,
}

impl QuarantineSource {
    pub(super) fn new(
        quarantine: Arc<dyn Quarantine>,
        filter: QuarantineFilter,
        recipient_id: String,
        opener: Opener,
        by_queue_id: bool,
    ) -> Self {
        Self {
            quarantine,
            filter,
            recipient_id,
            opener,
            by_queue_id,
            place: tokio::sync::Mutex::default(),
            unopened: Mutex::default(),
            without_key: AtomicU64::new(0),
        }
    }

    /// Messages whose bodies did not open.
    pub(super) fn unopened(&self) -> Unopened {
        // Whole at any time.
        self.unopened.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// How many messages were left alone because the producer's key of them cannot be used.
    pub(super) fn without_key(&self) -> u64 {
        self.without_key.load(Relaxed)
    }

    /// The next messages that open; none when there are no more.
    pub(super) async fn next(&self, max: u32) -> Result<Vec<Delivery>, Halt> {
        let mut after = self.place.lock().await;
        loop {
            let page = self.quarantine.sealed(&self.filter, &self.recipient_id, &after, max).await;
            let page = page.map_err(Halt::Store)?;
            let Some(last) = page.last() else { return Ok(Vec::new()) };
            let last = last.key.as_str().to_owned();
            let opened = page.into_iter().filter_map(|message| self.open(message).transpose());
            let deliveries = opened.collect::<Result<Vec<_>, _>>()?;
            *after = last;
            if !deliveries.is_empty() {
                return Ok(deliveries);
            }
        }
    }

    fn open(&self, message: SealedMessage) -> Result<Option<Delivery>, Halt> {
        // Under the queue's id, each sending of one event would become a row of its own.
        if message.has_unusable_key() && !self.by_queue_id {
            self.without_key.fetch_add(1, Relaxed);
            return Ok(None);
        }
        let SealedMessage { key, sent_at, attempt, body, .. } = message;
        let body = match self.opener.open(Purpose::Quarantine, &key, body.bytes()) {
            Ok(body) => body,
            Err(OpenError::KeyUnavailable(_)) => return Err(Halt::KeyUnavailable),
            Err(error) => {
                let mut unopened = self.unopened.lock().unwrap_or_else(PoisonError::into_inner);
                unopened.entry(error.to_string()).or_default().push(key.as_str().to_owned());
                return Ok(None);
            }
        };
        Ok(Some(Delivery {
            id: key.as_str().into(),
            // The ledger treats the two kinds of keys differently: it must stay of its kind.
            key: (key.origin() == KeyOrigin::Attribute).then(|| key.as_str().into()),
            attempt,
            sent_at: Some(sent_at),
            trace: None,
            body,
            receipt: Receipt::new(key.as_str()),
        }))
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
        self.next(max).await.map_err(|halt| match halt {
            Halt::Store(error) => source_error(&error),
            Halt::KeyUnavailable => SourceError::fatal(KEY_UNAVAILABLE),
        })
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

#[cfg(test)]
mod tests {
    use fetch_etl_core::{
        MessageKey, Pii, QuarantineCount, QuarantineEntry, SealedBody, Sealer as _, UnixMillis,
    };
    use fetch_etl_seal::{
        DataKey, EnvelopeSealer, KeyPair, PrivateKey, RecipientId, UnwrapError, WrappedKey,
    };

    use super::*;

    /// A private key in a KMS that does not answer.
    struct Away(RecipientId);

    impl PrivateKey for Away {
        fn recipient_id(&self) -> RecipientId {
            self.0
        }

        fn unwrap_data_key(&self, _: &WrappedKey<'_>) -> Result<DataKey, UnwrapError> {
            Err(UnwrapError::Unavailable("no answer".into()))
        }
    }

    /// Messages with these sealed bodies, on one page.
    struct Page(Vec<(&'static str, Vec<u8>)>);

    #[async_trait]
    impl Quarantine for Page {
        async fn list(&self, _: &QuarantineFilter, _: u32) -> Result<Vec<QuarantineEntry>, SinkError> {
            unreachable!("a replay does not list")
        }
        async fn count(&self, _: &QuarantineFilter) -> Result<QuarantineCount, SinkError> {
            unreachable!("a source does not count")
        }
        async fn sealed(
            &self,
            _: &QuarantineFilter,
            recipient_id: &str,
            after: &str,
            _: u32,
        ) -> Result<Vec<SealedMessage>, SinkError> {
            let later = self.0.iter().filter(|(key, _)| *key > after);
            let messages = later.map(|(key, body)| SealedMessage {
                key: MessageKey::new(*key, KeyOrigin::Attribute),
                sent_at: UnixMillis::new(0),
                attempt: 1,
                field: None,
                body: SealedBody::new(recipient_id, body.clone()),
            });
            Ok(messages.collect())
        }
        async fn mark_replayed(&self, _: &[&str]) -> Result<u64, SinkError> {
            unreachable!("nothing was stored")
        }
        async fn discard(&self, _: &QuarantineFilter, _: u32) -> Result<u64, SinkError> {
            unreachable!("a replay gives nothing up")
        }
    }

    fn sealed(pair: &KeyPair, key: &str) -> Vec<u8> {
        let sealer = EnvelopeSealer::new(pair.recipient().clone(), Purpose::Quarantine);
        let key = MessageKey::new(key, KeyOrigin::Attribute);
        sealer.seal(&key, Pii::wrap(b"{}".as_slice())).unwrap().bytes().to_vec()
    }

    fn source(page: Page, recipient: String, opener: Opener) -> QuarantineSource {
        QuarantineSource::new(Arc::new(page), QuarantineFilter::default(), recipient, opener, false)
    }

    #[tokio::test]
    async fn a_body_that_does_not_open_is_told_with_its_own_cause() {
        let pair = KeyPair::generate().unwrap();
        let mut newer = sealed(&pair, "newer");
        newer[0] = 9;
        let mut cut = sealed(&pair, "cut");
        cut.truncate(20);
        let page = Page(vec![("a", sealed(&pair, "b")), ("cut", cut), ("newer", newer)]);
        let source = source(page, pair.recipient().id().to_string(), Opener::new(pair));
        assert!(source.next(PAGE).await.unwrap().is_empty());
        let told: Vec<_> =
            source.unopened().into_iter().map(|(why, keys)| format!("{why}: {keys:?}")).collect();
        assert_eq!(
            told,
            [
                r#"not authentic: it belongs elsewhere, or was changed after sealing: ["a"]"#,
                r#"sealed in format version 9, which this program does not know (it knows 1): ["newer"]"#,
                r#"the end is missing: ["cut"]"#,
            ]
        );
    }

    #[tokio::test]
    async fn a_key_that_cannot_be_asked_ends_the_replay() {
        let pair = KeyPair::generate().unwrap();
        let recipient = pair.recipient().id();
        let page = Page(vec![("a", sealed(&pair, "a"))]);
        let source = source(page, recipient.to_string(), Opener::new(Away(recipient)));
        let error = source.receive(10).await.unwrap_err();
        assert_eq!((error.class(), error.to_string().as_str()), (ErrorClass::Fatal, KEY_UNAVAILABLE));
        assert!(source.unopened().is_empty(), "no message is to blame");
    }
}
