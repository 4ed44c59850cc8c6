//! Messages that cannot become a row.

use std::borrow::Cow;
use std::fmt;

use crate::{Held, MessageKey, SealedBody, SinkCode, UnixMillis};

/// Why a message cannot become a row. Closed: a reason never holds a value of the message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum RejectReason {
    /// Not one JSON text: also bad UTF-8, too deep, empty, trailing bytes, a byte-order mark, over 1 MiB.
    InvalidJson,
    /// JSON, but not an object.
    NotAnObject,
    /// A field stands twice.
    DuplicateField,
    /// A field is missing.
    MissingField,
    /// A field that must have a value is null.
    NullField,
    /// A field that must have a value is the empty string.
    EmptyField,
    /// A field is no string.
    WrongType,
    /// A field has more characters than its column.
    TooLong,
    /// A stored field has a NUL character, which Postgres cannot hold.
    NulCharacter,
    /// `app_version` is not made of numbers and dots.
    InvalidVersion,
    /// The sink refused the row, alone, with a data error that no check above foresaw.
    RefusedBySink,
}

impl RejectReason {
    /// All reasons, in order.
    pub const ALL: [Self; 11] = [
        Self::InvalidJson,
        Self::NotAnObject,
        Self::DuplicateField,
        Self::MissingField,
        Self::NullField,
        Self::EmptyField,
        Self::WrongType,
        Self::TooLong,
        Self::NulCharacter,
        Self::InvalidVersion,
        Self::RefusedBySink,
    ];

    /// The name that the quarantine, logs and metrics use.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::InvalidJson => "invalid_json",
            Self::NotAnObject => "not_an_object",
            Self::DuplicateField => "duplicate_field",
            Self::MissingField => "missing_field",
            Self::NullField => "null_field",
            Self::EmptyField => "empty_field",
            Self::WrongType => "wrong_type",
            Self::TooLong => "too_long",
            Self::NulCharacter => "nul_character",
            Self::InvalidVersion => "invalid_version",
            Self::RefusedBySink => "refused_by_sink",
        }
    }

    /// Its place in [`ALL`](Self::ALL).
    pub const fn index(self) -> usize {
        self as usize
    }
}

impl fmt::Display for RejectReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What a schema says of a message that it cannot decode: where and why, never what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reject {
    /// Why.
    pub reason: RejectReason,
    /// The schema's name of the field concerned (never a name that came with the message).
    pub field: Option<Cow<'static, str>>,
    /// Line and column, both from 1, of a JSON error.
    pub position: Option<(u32, u32)>,
    /// The length concerned: characters of a field, or bytes of the whole body where no field is named.
    pub length: Option<u32>,
}

impl Reject {
    /// What stands in [`field`](Self::field) where the key is to blame that the producer gave the message. Such a message is
    /// quarantined under the queue's id, which is not its key: the same event, sent again, has another one.
    pub const MESSAGE_KEY: &'static str = "message key";

    /// A reject that concerns the message as a whole.
    pub const fn of_message(reason: RejectReason) -> Self {
        Self { reason, field: None, position: None, length: None }
    }

    /// A reject that concerns one field of the schema.
    pub const fn of_field(reason: RejectReason, field: &'static str) -> Self {
        Self { reason, field: Some(Cow::Borrowed(field)), position: None, length: None }
    }

    /// Adds a length; one that does not fit is stated as the largest that does.
    #[must_use]
    pub fn with_length(mut self, length: usize) -> Self {
        self.length = Some(u32::try_from(length).unwrap_or(u32::MAX));
        self
    }
}

impl fmt::Display for Reject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.reason.as_str())?;
        if let Some(field) = &self.field {
            write!(f, " in {field}")?;
        }
        if let Some((line, column)) = self.position {
            write!(f, " at line {line} column {column}")?;
        }
        if let Some(length) = self.length {
            write!(f, " (length {length})")?;
        }
        Ok(())
    }
}

/// A rejected message on its way to the quarantine: everything that may be kept of it, and no value.
#[derive(Debug)]
pub struct Rejected {
    pub(crate) reject: Reject,
    pub(crate) code: Option<SinkCode>,
    pub(crate) key: MessageKey,
    /// The queue's id of the message, where that is not the key.
    pub(crate) id: Option<Box<str>>,
    pub(crate) attempt: u32,
    pub(crate) sent_at: UnixMillis,
    pub(crate) queued_at: Option<UnixMillis>,
    pub(crate) body_bytes: u32,
    pub(crate) sealed: Option<SealedBody>,
    pub(crate) held: Held,
}

impl Rejected {
    /// Why and where.
    pub fn reject(&self) -> &Reject {
        &self.reject
    }
    /// The sink's code, where the sink refused the row.
    pub fn code(&self) -> Option<SinkCode> {
        self.code
    }
    /// The message's key.
    pub fn key(&self) -> &MessageKey {
        &self.key
    }
    /// The queue's id of the message: several messages can have one key.
    pub(crate) fn message_id(&self) -> &str {
        self.id.as_deref().unwrap_or(self.key.as_str())
    }
    /// How many times the queue has delivered the message.
    pub fn attempt(&self) -> u32 {
        self.attempt
    }
    /// When it was sent (or received, where the source does not know).
    pub fn sent_at(&self) -> UnixMillis {
        self.sent_at
    }
    /// When the queue says that it was sent; see [`Masked::queued_at`](crate::Masked::queued_at).
    pub fn queued_at(&self) -> Option<UnixMillis> {
        self.queued_at
    }
    /// Length of the whole body in bytes.
    pub fn body_bytes(&self) -> u32 {
        self.body_bytes
    }
    /// The sealed body, where there is a recipient for it: the sink stores it, and the message is deleted from the queue.
    /// Without it the message stays in the queue.
    pub fn sealed(&self) -> Option<&SealedBody> {
        self.sealed.as_ref()
    }
    /// The hold on the message.
    pub fn held(&self) -> &Held {
        &self.held
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_are_listed_in_order_and_named_once() {
        let names: std::collections::BTreeSet<_> = RejectReason::ALL.iter().map(|r| r.as_str()).collect();
        assert_eq!(names.len(), RejectReason::ALL.len());
        for (index, reason) in RejectReason::ALL.iter().enumerate() {
            assert_eq!(reason.index(), index);
        }
    }
}
