//! What a source hands over: deliveries, their keys and their receipts.

use std::fmt;

use crate::{Pii, TraceParent, UnixMillis};

/// Proof, in the source's own words, that one delivery was received; the source asks for it back to ack, nack or extend.
///
/// A source makes receipts; nobody can act on a raw one. It turns into a [`Committed`](crate::Committed) or a
/// [`Returned`](crate::Returned) inside this crate, once the outcome of its message is known:
///
/// ```compile_fail,E0308
/// # use fetch_etl_core::{MessageSource, Receipt};
/// async fn ack_what_was_never_written(source: &dyn MessageSource, receipt: Receipt) {
///     let _ = source.ack(vec![receipt]).await;
/// }
/// ```
#[must_use = "a receipt that is dropped leaves its message to come back after the visibility timeout"]
pub struct Receipt(Box<str>);

impl Receipt {
    /// Wraps a source's handle.
    pub fn new(handle: impl Into<Box<str>>) -> Self {
        Self(handle.into())
    }

    /// The source's handle.
    pub fn handle(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Receipt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Receipt")
    }
}

/// Where a message's key came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum KeyOrigin {
    /// The queue's own id of the message: a second `send` of the same event has another one.
    MessageId,
    /// An attribute that the producer (or our own replay) set: the same event has the same key however often it is sent.
    Attribute,
}

/// What makes a message the same message: the ledger holds it, and a row is written once for each.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct MessageKey {
    text: Box<str>,
    origin: KeyOrigin,
}

impl MessageKey {
    /// Longest key in characters that the ledger and `user_logins.message_id` hold.
    pub const MAX_CHARS: usize = 128;

    /// A key and where it came from.
    pub fn new(text: impl Into<Box<str>>, origin: KeyOrigin) -> Self {
        Self { text: text.into(), origin }
    }

    /// The key's text.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Where the key came from.
    pub fn origin(&self) -> KeyOrigin {
        self.origin
    }
}

impl fmt::Debug for MessageKey {
    // A producer's event id is the producer's text: it may hold anything, so it stays out of logs.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.origin {
            KeyOrigin::MessageId => write!(f, "MessageKey({})", self.text),
            KeyOrigin::Attribute => f.write_str("MessageKey([attribute])"),
        }
    }
}

/// One message, received once.
///
/// Its `Debug` shows neither body nor receipt.
pub struct Delivery {
    /// The queue's id of the message: the same at every delivery, from one to [`MessageKey::MAX_CHARS`] characters, none of
    /// them NUL, for it is the key where there is no other. A pipeline ends with an error over an id that is not so.
    pub id: Box<str>,
    /// The key that an attribute of the message states; `None` means that [`id`](Self::id) is the key.
    pub key: Option<Box<str>>,
    /// How many times the queue has delivered this message, this time included; 1 where the source does not know.
    pub attempt: u32,
    /// When the message was sent, to the millisecond the same at every delivery: a ledger may tell by it and the id that a message was
    /// there before. `None` where the source does not know; the time of receipt stands in then for what is shown.
    pub sent_at: Option<UnixMillis>,
    /// The trace that its sender keeps of it, where there is one.
    pub trace: Option<TraceParent>,
    /// The message itself.
    pub body: Pii<Vec<u8>>,
    /// What the source wants back.
    pub receipt: Receipt,
}

impl fmt::Debug for Delivery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Delivery")
            .field("id", &self.id)
            .field("attempt", &self.attempt)
            .field("sent_at", &self.sent_at)
            .field("body_bytes", &self.body.expose().len())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_shows_no_value() {
        let delivery = Delivery {
            id: "m-1".into(),
            key: Some("person@example.org".into()),
            attempt: 2,
            sent_at: Some(UnixMillis::new(5)),
            trace: None,
            body: Pii::new(b"203.0.113.7".to_vec()),
            receipt: Receipt::new("secret-handle"),
        };
        let shown = format!("{delivery:?} {:?}", MessageKey::new("person@example.org", KeyOrigin::Attribute));
        for value in ["203.0.113.7", "person@example.org", "secret-handle"] {
            assert!(!shown.contains(value), "{shown}");
        }
        assert!(shown.contains("body_bytes: 11"));
    }
}
