//! The staging step: deliveries become masked rows or rejects, and their personal data ends here.

use std::sync::Arc;

use tracing::warn;

use crate::lease::{LeaseGroup, Leased};
use crate::vault::Keeping;
use crate::{
    Batch, Decoded, Delivery, EventSchema, Held, KeyOrigin, Masked, Masker, MessageKey, Pii, Reject,
    RejectReason, Rejected, SealedBody, Sealer, UnixMillis, Vault, VaultEntry,
};

/// Largest body in bytes that is looked at: what SQS accepts. A larger one, from whichever source, is a reject.
pub const MAX_BODY_BYTES: usize = 1024 * 1024;

/// Decodes and masks deliveries: the only maker of [`Masked`] rows.
pub struct Stager<S> {
    schema: S,
    masker: Arc<dyn Masker>,
    sealer: Option<Arc<dyn Sealer>>,
    vault: Option<Arc<dyn Vault>>,
}

/// What staging a receive's deliveries gave.
#[derive(Debug)]
pub struct Staged<R> {
    /// Rows and rejects, to be written together.
    pub batch: Batch<R>,
    /// Fields that the schema does not know, dropped.
    pub unknown_fields: u64,
    /// Values that were masked as text because they are not what their field's name says.
    pub non_canonical: u64,
    pub(crate) group: Arc<LeaseGroup>,
}

impl<R> Staged<R> {
    /// The holds on all messages, in the order of the deliveries.
    pub fn held(&self) -> Vec<Held> {
        Held::all(&self.group).collect()
    }
}

/// A delivery without what its lease needs.
struct Message {
    id: Box<str>,
    key: Option<Box<str>>,
    attempt: u32,
    sent_at: UnixMillis,
    sent_at_known: bool,
    body: Pii<Vec<u8>>,
}

impl Message {
    fn split(delivery: Delivery) -> (Self, Leased) {
        let Delivery { id, key, attempt, sent_at, trace, body, receipt } = delivery;
        let sent_at_known = sent_at.is_some();
        let sent_at = sent_at.unwrap_or_else(UnixMillis::now);
        (Self { id, key, attempt, sent_at, sent_at_known, body }, Leased { receipt, sent_at, trace })
    }
}

impl<S: EventSchema> Stager<S> {
    /// A stager for a schema and a masker.
    pub fn new(schema: S, masker: Arc<dyn Masker>) -> Self {
        Self { schema, masker, sealer: None, vault: None }
    }

    /// Seals the bodies of rejects, so that they can be kept with the reject and deleted from the queue.
    #[must_use]
    pub fn with_sealer(mut self, sealer: Option<Arc<dyn Sealer>>) -> Self {
        self.sealer = sealer;
        self
    }

    /// Keeps first-seen values in a vault.
    #[must_use]
    pub fn with_vault(mut self, vault: Option<Arc<dyn Vault>>) -> Self {
        self.vault = vault;
        self
    }

    pub(crate) fn vault(&self) -> Option<&dyn Vault> {
        self.vault.as_deref()
    }

    pub(crate) fn sealer(&self) -> Option<&dyn Sealer> {
        self.sealer.as_deref()
    }

    /// Decodes and masks the deliveries of one receive.
    pub fn stage(&self, deliveries: Vec<Delivery>) -> Staged<S::Row> {
        let (messages, leased): (Vec<_>, Vec<_>) = deliveries.into_iter().map(Message::split).unzip();
        let group = LeaseGroup::new(leased);
        let mut staged = Staged { batch: Batch::empty(), unknown_fields: 0, non_canonical: 0, group };
        staged.batch.rows.reserve_exact(messages.len());
        for (index, message) in messages.into_iter().enumerate() {
            self.stage_one(message, index, &mut staged);
        }
        staged
    }

    fn decode(&self, body: &Pii<[u8]>) -> Result<(Decoded<S::Row>, Vec<VaultEntry>), Reject> {
        let Some(vault) = self.vault() else {
            return Ok((self.schema.decode_and_mask(body, &*self.masker)?, Vec::new()));
        };
        let keeping = Keeping::new(&*self.masker, vault);
        let decoded = self.schema.decode_and_mask(body, &keeping)?;
        Ok((decoded, keeping.into_entries()))
    }

    fn stage_one(&self, message: Message, index: usize, staged: &mut Staged<S::Row>) {
        let Message { id, key, attempt, sent_at, sent_at_known, body } = message;
        let held = Held::nth(&staged.group, index);
        let body_bytes = u32::try_from(body.expose().len()).unwrap_or(u32::MAX);
        let decoded = match key.as_deref().and_then(unusable_key) {
            Some(reject) => Err(reject),
            None if body.expose().len() > MAX_BODY_BYTES => {
                Err(Reject::of_message(RejectReason::InvalidJson).with_length(body.expose().len()))
            }
            None => self.decode(body.as_bytes()),
        };
        let (key, id) = match key {
            Some(text) if unusable_key(&text).is_none() => {
                (MessageKey::new(text, KeyOrigin::Attribute), Some(id))
            }
            // The queue's own id identifies a reject whose key cannot be stored.
            _ => (MessageKey::new(id, KeyOrigin::MessageId), None),
        };
        let queued_at = (sent_at_known && key.origin() == KeyOrigin::MessageId).then_some(sent_at);
        match decoded {
            Ok((decoded, vault)) => {
                staged.unknown_fields += u64::from(decoded.unknown_fields);
                staged.non_canonical += u64::from(decoded.non_canonical);
                // Kept for the case that the sink refuses the row: only a sealer can make use of it then.
                let body = if self.sealer.is_some() {
                    Some(body)
                } else {
                    body.wipe();
                    None
                };
                staged.batch.rows.push(Masked {
                    row: decoded.row,
                    key,
                    id,
                    attempt,
                    sent_at,
                    queued_at,
                    body_bytes,
                    body,
                    vault,
                    held,
                });
            }
            Err(reject) => {
                let sealed = seal(self.sealer(), &key, body.as_bytes());
                let rejected = Rejected {
                    reject,
                    code: None,
                    key,
                    id,
                    attempt,
                    sent_at,
                    queued_at,
                    body_bytes,
                    sealed,
                    held,
                };
                staged.batch.rejects.push(rejected);
            }
        }
    }
}

/// Seals a body where there is a sealer. A failure leaves the message in the queue, as if there were none.
pub(crate) fn seal(sealer: Option<&dyn Sealer>, key: &MessageKey, body: &Pii<[u8]>) -> Option<SealedBody> {
    match sealer?.seal(key, body) {
        Ok(sealed) => Some(sealed),
        Err(error) => {
            warn!(event = "seal_failed", error = %error, "a rejected message stays in the queue");
            None
        }
    }
}

/// Why a key cannot be stored. Falling back to the queue's id, where it is the producer's, would quietly give up what the key is
/// for.
pub(crate) fn unusable_key(key: &str) -> Option<Reject> {
    const FIELD: &str = Reject::MESSAGE_KEY;
    // A text never has more characters than bytes, so most need no counting.
    let too_long = || Some(key.chars().count()).filter(|chars| *chars > MessageKey::MAX_CHARS);
    if key.is_empty() {
        Some(Reject::of_field(RejectReason::EmptyField, FIELD))
    } else if key.len() > MessageKey::MAX_CHARS
        && let Some(chars) = too_long()
    {
        Some(Reject::of_field(RejectReason::TooLong, FIELD).with_length(chars))
    } else if key.contains('\0') {
        Some(Reject::of_field(RejectReason::NulCharacter, FIELD))
    } else {
        None
    }
}

impl<S> std::fmt::Debug for Stager<S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Stager")
    }
}
