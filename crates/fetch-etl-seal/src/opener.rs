//! Opening bodies: for those who hold the private key.

use std::fmt;

use fetch_etl_core::{MessageKey, Pii};

use crate::aad::Aad;
use crate::envelope::{Encrypted, ParsedPrefix, Place};
use crate::unwrapped::{UnwrappedKeys, decrypt};
use crate::{OpenError, PrivateKey, Purpose};

/// Data keys that are kept unwrapped, the newest of them: more than there are workers, whose bodies come mixed.
const KEPT_DATA_KEYS: usize = 64;

/// Opens sealed bodies with a [`PrivateKey`].
///
/// It keeps the latest data keys, because many bodies share one: a KMS is asked once for each data key, not for
/// each body. They are zeroized when they make room for others, and on drop.
pub struct Opener {
    keys: UnwrappedKeys,
}

impl Opener {
    /// Opens with this key.
    pub fn new(key: impl PrivateKey + 'static) -> Self {
        Self { keys: UnwrappedKeys::new(key, KEPT_DATA_KEYS) }
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
        let (prefix, rest) = ParsedPrefix::parse(Place::BesideBody, sealed)?;
        let encrypted = Encrypted::parse(rest)?;
        let cipher = self.keys.cipher(purpose, &prefix)?;
        let aad = Aad::new(prefix.header).message_key(message.as_str());
        let mut body = decrypt(&cipher, &encrypted, aad)?;
        Ok(Pii::new(std::mem::take(&mut *body)))
    }
}

impl fmt::Debug for Opener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Opener({})", self.keys.recipient_id())
    }
}
