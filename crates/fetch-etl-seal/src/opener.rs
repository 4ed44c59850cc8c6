//! Opening: for those who hold the private key.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use aws_lc_rs::aead::{Aad as AeadData, Nonce, RandomizedNonceKey};
use fetch_etl_core::{MessageKey, Pii};
use zeroize::Zeroizing;

use crate::aad::Aad;
use crate::data_key::WrappedKey;
use crate::envelope::{Envelope, TAG_BYTES};
use crate::{OpenError, PrivateKey, Purpose};

/// Data keys that are kept unwrapped, the newest of them: more than there are workers, whose bodies come mixed.
const KEPT_DATA_KEYS: usize = 64;

/// Opens sealed bodies with a [`PrivateKey`].
///
/// It keeps the latest data keys, because many bodies share one: a KMS is asked once for each data key, not for
/// each body. They are zeroized when they make room for others, and on drop.
pub struct Opener {
    key: Box<dyn PrivateKey>,
    kept: Mutex<VecDeque<Kept>>,
}

struct Kept {
    purpose: Purpose,
    wrapped: Box<[u8]>,
    cipher: Arc<RandomizedNonceKey>,
}

impl Opener {
    /// Opens with this key.
    pub fn new(key: impl PrivateKey + 'static) -> Self {
        Self { key: Box::new(key), kept: Mutex::new(VecDeque::new()) }
    }

    /// Opens what was sealed for this purpose and this message. Only the key's text counts, not where it came from.
    ///
    /// That it opens does **not** say who sealed it: whoever has the public key can. Treat the body like one that
    /// came from the queue.
    ///
    /// # Errors
    /// See [`OpenError`]. No input makes it panic.
    pub fn open(
        &self,
        purpose: Purpose,
        message: &MessageKey,
        sealed: &[u8],
    ) -> Result<Pii<Vec<u8>>, OpenError> {
        let envelope = Envelope::parse(sealed)?;
        let sealed_for = envelope.wrapped.purpose();
        if sealed_for != purpose {
            return Err(OpenError::OtherPurpose { sealed_for, asked_for: purpose });
        }
        let given = self.key.recipient_id();
        if envelope.recipient != given {
            return Err(OpenError::NotForThisKey { wanted: envelope.recipient, given });
        }
        decrypt(&*self.cipher(&envelope.wrapped)?, &envelope, message)
    }

    /// The cipher of a data key: a kept one, or one unwrapped now. The lock is not held while a KMS answers.
    fn cipher(&self, wrapped: &WrappedKey<'_>) -> Result<Arc<RandomizedNonceKey>, OpenError> {
        if let Some(kept) = self.lock().iter().find(|kept| kept.is(wrapped)) {
            return Ok(Arc::clone(&kept.cipher));
        }
        let cipher = self.key.unwrap_data_key(wrapped)?.cipher().ok_or(OpenError::NotAuthentic)?;
        let cipher = Arc::new(cipher);
        let mut kept = self.lock();
        if kept.len() == KEPT_DATA_KEYS {
            kept.pop_front();
        }
        kept.push_back(Kept {
            purpose: wrapped.purpose(),
            wrapped: wrapped.bytes().into(),
            cipher: Arc::clone(&cipher),
        });
        Ok(cipher)
    }

    /// The lock guards nothing that a panic could leave half-done.
    fn lock(&self) -> MutexGuard<'_, VecDeque<Kept>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    fn is(&self, wrapped: &WrappedKey<'_>) -> bool {
        self.purpose == wrapped.purpose() && *self.wrapped == *wrapped.bytes()
    }
}

fn decrypt(
    cipher: &RandomizedNonceKey,
    envelope: &Envelope<'_>,
    message: &MessageKey,
) -> Result<Pii<Vec<u8>>, OpenError> {
    let aad = Aad::new(envelope.header).message_key(message.as_str());
    // Decrypted in place, before it is known to be authentic: zeroized unless it is.
    let mut body = Zeroizing::new(envelope.sealed.to_vec());
    cipher
        .open_in_place(Nonce::assume_unique_for_key(envelope.nonce), AeadData::from(aad), &mut body)
        .map_err(|_| OpenError::NotAuthentic)?;
    let length = body.len() - TAG_BYTES;
    body.truncate(length);
    Ok(Pii::new(std::mem::take(&mut *body)))
}

impl fmt::Debug for Opener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Opener({})", self.key.recipient_id())
    }
}
