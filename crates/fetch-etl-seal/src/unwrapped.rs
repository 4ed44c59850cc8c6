//! Data keys that a private key has unwrapped, kept for a while.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use aws_lc_rs::aead::{Aad as AeadData, Nonce, RandomizedNonceKey};
use zeroize::Zeroizing;

use crate::aad::Aad;
use crate::data_key::WrappedKey;
use crate::envelope::{Encrypted, ParsedPrefix, TAG_BYTES};
use crate::{OpenError, PrivateKey, Purpose, RecipientId};

/// A private key, and the latest data keys that it unwrapped: a KMS is asked once for each data key, not for each thing that
/// was sealed with it. They are zeroized when they make room for others, and on drop.
pub(crate) struct UnwrappedKeys {
    key: Box<dyn PrivateKey>,
    room: usize,
    kept: Mutex<VecDeque<Kept>>,
}

struct Kept {
    purpose: Purpose,
    wrapped: Box<[u8]>,
    cipher: Arc<RandomizedNonceKey>,
}

impl UnwrappedKeys {
    /// With room for so many.
    pub(crate) fn new(key: impl PrivateKey + 'static, room: usize) -> Self {
        Self { key: Box::new(key), room, kept: Mutex::default() }
    }

    pub(crate) fn recipient_id(&self) -> RecipientId {
        self.key.recipient_id()
    }

    /// The cipher of a data key, for this purpose only: a kept one, or one unwrapped now. The lock is not held while a KMS
    /// answers.
    pub(crate) fn cipher(
        &self,
        asked_for: Purpose,
        prefix: &ParsedPrefix<'_>,
    ) -> Result<Arc<RandomizedNonceKey>, OpenError> {
        let wrapped = &prefix.wrapped;
        let sealed_for = wrapped.purpose();
        if sealed_for != asked_for {
            return Err(OpenError::OtherPurpose { sealed_for, asked_for });
        }
        let given = self.recipient_id();
        if prefix.recipient != given {
            return Err(OpenError::NotForThisKey { wanted: prefix.recipient, given });
        }
        if let Some(kept) = self.lock().iter().find(|kept| kept.is(wrapped)) {
            return Ok(Arc::clone(&kept.cipher));
        }
        let cipher = self.key.unwrap_data_key(wrapped)?.cipher().ok_or(OpenError::NotAuthentic)?;
        let cipher = Arc::new(cipher);
        let mut kept = self.lock();
        if kept.len() >= self.room {
            kept.pop_front();
        }
        kept.push_back(Kept {
            purpose: sealed_for,
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

/// Decrypts in place, before it is known to be authentic: zeroized unless it is.
pub(crate) fn decrypt(
    cipher: &RandomizedNonceKey,
    encrypted: &Encrypted<'_>,
    aad: Aad,
) -> Result<Zeroizing<Vec<u8>>, OpenError> {
    let mut plain = Zeroizing::new(encrypted.sealed.to_vec());
    cipher
        .open_in_place(Nonce::assume_unique_for_key(encrypted.nonce), AeadData::from(aad), &mut plain)
        .map_err(|_| OpenError::NotAuthentic)?;
    let length = plain.len().saturating_sub(TAG_BYTES);
    plain.truncate(length);
    Ok(plain)
}
