//! The quarantine as an operator works on it: looking, replaying, giving up.

use std::fmt;

use async_trait::async_trait;

use crate::{MessageKey, Reject, RejectReason, SealedBody, SinkError, UnixMillis};

/// What became of a quarantined message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum QuarantineState {
    /// Nothing yet.
    Open,
    /// It is a row now, or was one already; its body is not kept any more.
    Replayed,
    /// It was given up; its body is not kept any more.
    Discarded,
}

impl QuarantineState {
    /// All states.
    pub const ALL: [Self; 3] = [Self::Open, Self::Replayed, Self::Discarded];

    /// The name that the stores use.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Replayed => "replayed",
            Self::Discarded => "discarded",
        }
    }
}

impl fmt::Display for QuarantineState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Which quarantined messages are meant: those that fit everything that is set.
#[derive(Clone, Default)]
pub struct QuarantineFilter {
    /// With one of these keys; any where there is none.
    pub keys: Vec<String>,
    /// Rejected for one of these reasons at last; any where there is none.
    pub reasons: Vec<RejectReason>,
    /// In one of these states; any where there is none.
    pub states: Vec<QuarantineState>,
    /// Quarantined for the first time at this moment or later.
    pub since: Option<UnixMillis>,
    /// Quarantined for the first time before this moment.
    pub until: Option<UnixMillis>,
}

impl fmt::Debug for QuarantineFilter {
    // Keys may be the producer's text.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { keys, reasons, states, since, until } = self;
        f.debug_struct("QuarantineFilter")
            .field("keys", &keys.len())
            .field("reasons", reasons)
            .field("states", states)
            .field("since", since)
            .field("until", until)
            .finish()
    }
}

/// What the quarantine knows of a message, without its body. Times are RFC 3339 in UTC, with milliseconds.
#[derive(Clone)]
pub struct QuarantineEntry {
    /// The message's key.
    pub key: String,
    /// Whether the key is the producer's.
    pub by_producer: bool,
    /// Why the message was rejected at last.
    pub reason: String,
    /// The field concerned.
    pub field: Option<String>,
    /// Line of a JSON error.
    pub line: Option<i64>,
    /// Column of a JSON error.
    pub column_number: Option<i64>,
    /// Characters of the field, or bytes of the body.
    pub length: Option<i64>,
    /// The code with which the store refused the row.
    pub sink_code: Option<String>,
    /// Length of the whole message.
    pub body_bytes: i64,
    /// How often the queue had delivered it.
    pub receive_count: i64,
    /// Who can open the sealed body; `None` where none is kept.
    pub recipient_id: Option<String>,
    /// What became of it.
    pub state: String,
    /// When it was sent.
    pub sent_at: String,
    /// When it was quarantined for the first time.
    pub first_seen_at: String,
    /// When it was rejected at last.
    pub last_seen_at: String,
    /// When it was replayed or discarded.
    pub closed_at: Option<String>,
    /// As whom the store knew the one who replayed or discarded it, where it knows its users.
    pub closed_by: Option<String>,
}

impl fmt::Debug for QuarantineEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("QuarantineEntry")
            .field("reason", &self.reason)
            .field("state", &self.state)
            .finish_non_exhaustive()
    }
}

/// A quarantined message with its sealed body: what a replay needs.
#[derive(Debug)]
pub struct SealedMessage {
    /// The message's key, as the ledger knows it.
    pub key: MessageKey,
    /// When it was sent.
    pub sent_at: UnixMillis,
    /// How often the queue had delivered it.
    pub attempt: u32,
    /// The field for which it was rejected at last.
    pub field: Option<String>,
    /// The body.
    pub body: SealedBody,
}

impl SealedMessage {
    /// Whether the producer's key of the message could not be used, and [`key`](Self::key) is the queue's id in its place: by
    /// that, the ledger does not know the same event that was sent again.
    pub fn has_unusable_key(&self) -> bool {
        self.field.as_deref() == Some(Reject::MESSAGE_KEY)
    }
}

/// How many messages a filter means, and what is kept of them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct QuarantineCount {
    /// All of them.
    pub messages: u64,
    /// Of these, those without a body.
    pub without_body: u64,
    /// Of these, those with a body, by who can open it, the most frequent first.
    pub by_recipient: Vec<(String, u64)>,
}

impl FromIterator<(Option<String>, u64)> for QuarantineCount {
    /// From how many messages there are for each recipient.
    fn from_iter<I: IntoIterator<Item = (Option<String>, u64)>>(groups: I) -> Self {
        let mut counted = Self::default();
        for (recipient, messages) in groups {
            counted.messages += messages;
            match recipient {
                Some(recipient) => counted.by_recipient.push((recipient, messages)),
                None => counted.without_body += messages,
            }
        }
        counted
    }
}

/// The quarantine that a [`Sink`](crate::Sink) fills, for an operator's tool.
///
/// The contract suite in `fetch-etl-testing` checks what is said here.
#[async_trait]
pub trait Quarantine: Send + Sync {
    /// What is known of the messages that a filter means, the newest first.
    ///
    /// # Errors
    /// Nothing could be read.
    async fn list(&self, filter: &QuarantineFilter, limit: u32) -> Result<Vec<QuarantineEntry>, SinkError>;

    /// How many messages a filter means.
    ///
    /// # Errors
    /// Nothing could be read.
    async fn count(&self, filter: &QuarantineFilter) -> Result<QuarantineCount, SinkError>;

    /// Messages that a filter means whose body was sealed to this recipient, in the order of their keys' bytes, from behind the
    /// key `after` on.
    ///
    /// # Errors
    /// Nothing could be read.
    async fn sealed(
        &self,
        filter: &QuarantineFilter,
        recipient_id: &str,
        after: &str,
        limit: u32,
    ) -> Result<Vec<SealedMessage>, SinkError>;

    /// Notes that these messages are rows now, and deletes their bodies: they have done their work, as a message that is
    /// deleted from its queue. Says how many were not noted before.
    ///
    /// # Errors
    /// Nothing is known to be noted.
    async fn mark_replayed(&self, keys: &[&str]) -> Result<u64, SinkError>;

    /// Gives up at most `limit` of the open messages that a filter means, and deletes their bodies. Says how many they were:
    /// where it is fewer than `limit`, there are no more.
    ///
    /// # Errors
    /// Nothing is known to be given up.
    async fn discard(&self, filter: &QuarantineFilter, limit: u32) -> Result<u64, SinkError>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_shows_no_key() {
        let filter = QuarantineFilter { keys: vec!["person@example.org".to_owned()], ..Default::default() };
        let shown = format!("{filter:?}");
        assert!(shown.contains("keys: 1") && !shown.contains("person"), "{shown}");
    }

    #[test]
    fn counts_are_told_apart_by_who_can_open_what() {
        let counted: QuarantineCount =
            [(Some("a".to_owned()), 3), (None, 2), (Some("b".to_owned()), 1)].into_iter().collect();
        assert_eq!((counted.messages, counted.without_body), (6, 2));
        assert_eq!(counted.by_recipient, [("a".to_owned(), 3), ("b".to_owned(), 1)]);
    }
}
