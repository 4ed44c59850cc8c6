//! The trait by which a masked value is kept for those who may have it back, and for nobody else.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use tracing::warn;

use crate::{KeyId, MaskedValue, Masker, Pii, SealError};

/// A data key that only the holder of the recipient's private key can use; many entries share one.
#[derive(Clone, PartialEq, Eq)]
pub struct SealedDataKey {
    /// Names it; random.
    pub id: [u8; 16],
    /// Which recipient can open it: a fingerprint of the public key.
    pub recipient_id: Box<str>,
    /// The sealed key.
    pub bytes: Box<[u8]>,
}

impl fmt::Debug for SealedDataKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SealedDataKey({} bytes)", self.bytes.len())
    }
}

/// A value on its way to the vault: its mask, and the value as only the recipient can read it.
#[derive(Clone)]
pub struct VaultEntry {
    /// The field.
    pub field: Box<str>,
    /// The mask by which it is found.
    pub mask: MaskedValue,
    /// The key of the mask.
    pub mask_key_id: KeyId,
    /// The key under which the value is encrypted.
    pub data_key: Arc<SealedDataKey>,
    /// The value, encrypted.
    pub ciphertext: Box<[u8]>,
}

impl fmt::Debug for VaultEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VaultEntry").field("field", &self.field).finish_non_exhaustive()
    }
}

/// Seals first-seen values to a public key that this process cannot open itself.
///
/// Runs for every masked value: it must neither block on I/O nor panic, and be fast for a value that it knows.
pub trait Vault: Send + Sync {
    /// Seals a value, bound to its field and mask; `None` where it is known to be kept already, or has a mask that does not
    /// identify it.
    ///
    /// # Errors
    /// The value could not be sealed, and must not be stored.
    fn seal(
        &self,
        field: &str,
        value: &Pii<str>,
        mask: &MaskedValue,
        mask_key_id: KeyId,
    ) -> Result<Option<VaultEntry>, SealError>;

    /// Says that these entries are durable now, so that they need not be sealed again.
    fn stored(&self, entries: &[&VaultEntry]);
}

/// The masker of one message that keeps what the vault makes of its values.
pub(crate) struct Keeping<'a> {
    masker: &'a dyn Masker,
    vault: &'a dyn Vault,
    // A masker may be called from anywhere; here it is one thread, and the lock is free.
    entries: Mutex<Vec<VaultEntry>>,
}

impl<'a> Keeping<'a> {
    pub(crate) fn new(masker: &'a dyn Masker, vault: &'a dyn Vault) -> Self {
        Self { masker, vault, entries: Mutex::default() }
    }

    pub(crate) fn into_entries(self) -> Vec<VaultEntry> {
        self.entries.into_inner().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Masker for Keeping<'_> {
    fn mask(&self, field: &str, value: &Pii<str>) -> Option<MaskedValue> {
        let mask = self.masker.mask(field, value)?;
        match self.vault.seal(field, value, &mask, self.masker.key_id()) {
            Ok(None) => {}
            Ok(Some(entry)) => self.entries.lock().unwrap_or_else(PoisonError::into_inner).push(entry),
            // The row is worth more than the way back from its mask.
            Err(error) => {
                warn!(event = "vault_seal_failed", error = %error, "a value cannot be revealed later");
            }
        }
        Some(mask)
    }

    fn key_id(&self) -> KeyId {
        self.masker.key_id()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_shows_neither_mask_nor_ciphertext() {
        let data_key = SealedDataKey { id: [7; 16], recipient_id: "r".into(), bytes: [1, 2, 3].into() };
        let entry = VaultEntry {
            field: "ip".into(),
            mask: MaskedValue::from_masked_text("the mask"),
            mask_key_id: KeyId::new(1),
            data_key: Arc::new(data_key),
            ciphertext: [9; 5].into(),
        };
        assert_eq!(format!("{entry:?}"), r#"VaultEntry { field: "ip", .. }"#);
        assert_eq!(format!("{:?}", entry.data_key), "SealedDataKey(3 bytes)");
    }
}
