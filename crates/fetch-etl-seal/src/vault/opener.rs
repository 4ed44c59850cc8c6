//! Opening values: for those who hold the private key.

use std::fmt;

use fetch_etl_core::{KeyId, Pii, SealedDataKey};

use super::value;
use crate::aad::ValueId;
use crate::envelope::{ParsedPrefix, Place};
use crate::unwrapped::UnwrappedKeys;
use crate::{OpenError, PrivateKey, Purpose};

/// Data keys that are kept unwrapped, the newest of them: seven days of one worker, or an hour of 170. Each takes about a
/// kilobyte.
const KEPT_DATA_KEYS: usize = 1024;

/// Opens values of the vault with a [`PrivateKey`].
///
/// It keeps the latest data keys, because many values share one: a KMS is asked once for each data key, not for each
/// value. They are zeroized when they make room for others, and on drop.
pub struct VaultOpener {
    keys: UnwrappedKeys,
}

impl VaultOpener {
    /// Opens with this key.
    pub fn new(key: impl PrivateKey + 'static) -> Self {
        Self { keys: UnwrappedKeys::new(key, KEPT_DATA_KEYS) }
    }

    /// Opens the value with this field, mask and key of the mask: those that it was sealed with, whatever became of its row
    /// since. Of the data key, the id and the bytes count.
    ///
    /// That it opens does **not** say that it is the value behind the mask: whoever can write to the vault and has the public
    /// key can seal another one there. Who has the mask's key can mask it again and compare.
    ///
    /// # Errors
    /// See [`OpenError`]. No input makes it panic.
    pub fn open(
        &self,
        data_key: &SealedDataKey,
        field: &str,
        mask: &[u8; 64],
        mask_key_id: KeyId,
        ciphertext: &[u8],
    ) -> Result<Pii<String>, OpenError> {
        let (prefix, rest) = ParsedPrefix::parse(Place::Alone, &data_key.bytes)?;
        if !rest.is_empty() {
            return Err(OpenError::UnknownHeader);
        }
        let encrypted = value::parse(ciphertext)?;
        let cipher = self.keys.cipher(Purpose::Vault, &prefix)?;
        value::open(&cipher, ValueId { field, mask, mask_key_id, data_key_id: &data_key.id }, &encrypted)
    }
}

impl fmt::Debug for VaultOpener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "VaultOpener({})", self.keys.recipient_id())
    }
}
