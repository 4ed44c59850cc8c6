//! The trait of an event's shape.

use crate::{Masker, Pii, Reject};

/// A decoded and masked event, and what was noticed on the way.
#[derive(Debug)]
pub struct Decoded<R> {
    /// The row.
    pub row: R,
    /// How many fields the schema does not know; they are dropped.
    pub unknown_fields: u32,
    /// Values that were masked as text because they are not what their field's name says, such as an `ip` that is no address.
    pub non_canonical: u32,
}

/// How a message's bytes become a row whose personal fields are masked.
///
/// An instance with state rather than a bare type, so that a schema can be declared in configuration. It runs for every
/// message: it must neither block nor panic, whatever the bytes are, and must keep every personal value in [`Pii`] until
/// the masker has it.
pub trait EventSchema: Send + Sync {
    /// What the sink stores; its personal columns are of type [`MaskedValue`](crate::MaskedValue).
    type Row: Send + Sync + 'static;

    /// Decodes one message and masks its personal fields.
    ///
    /// # Errors
    /// Why the message cannot become a row, without any value of it.
    fn decode_and_mask(&self, body: &Pii<[u8]>, masker: &dyn Masker) -> Result<Decoded<Self::Row>, Reject>;
}
