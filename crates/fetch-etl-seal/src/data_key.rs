//! Data keys: what encrypts bodies, and what a recipient unwraps.

use std::fmt;

use aws_lc_rs::aead::{AES_256_GCM, RandomizedNonceKey};
use aws_lc_rs::rand;
use zeroize::Zeroizing;

use crate::{Purpose, UnwrapError, WrapAlgorithm};

/// Bytes of a data key.
pub(crate) const DATA_KEY_BYTES: usize = 32;

/// A 256-bit key that encrypts bodies; zeroized on drop, and never shown.
pub struct DataKey(Zeroizing<[u8; DATA_KEY_BYTES]>);

impl DataKey {
    /// A new random key; `None` if the system gave no random numbers.
    pub(crate) fn generate() -> Option<Self> {
        let mut bytes = Zeroizing::new([0; DATA_KEY_BYTES]);
        rand::fill(bytes.as_mut_slice()).ok()?;
        Some(Self(bytes))
    }

    pub(crate) fn bytes(&self) -> &[u8; DATA_KEY_BYTES] {
        &self.0
    }

    /// The key made ready for use. What aws-lc keeps of it is zeroized when it is freed.
    ///
    /// Nonces are random and drawn by aws-lc at each seal, rather than counted by us: a counter repeats when a
    /// snapshot of a virtual machine is resumed twice, and a repeated nonce breaks GCM.
    pub(crate) fn cipher(&self) -> Option<RandomizedNonceKey> {
        RandomizedNonceKey::new(&AES_256_GCM, self.0.as_slice()).ok()
    }
}

impl TryFrom<&[u8]> for DataKey {
    type Error = UnwrapError;

    /// Takes what a KMS decrypted; anything but 32 bytes was not wrapped by us.
    fn try_from(bytes: &[u8]) -> Result<Self, UnwrapError> {
        let mut key = Zeroizing::new([0; DATA_KEY_BYTES]);
        if bytes.len() != key.len() {
            return Err(UnwrapError::Refused);
        }
        key.copy_from_slice(bytes);
        Ok(Self(key))
    }
}

impl fmt::Debug for DataKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DataKey")
    }
}

/// A data key as its recipient gets it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WrappedKey<'a> {
    pub(crate) algorithm: WrapAlgorithm,
    pub(crate) purpose: Purpose,
    pub(crate) bytes: &'a [u8],
}

impl<'a> WrappedKey<'a> {
    /// How it is wrapped.
    pub fn algorithm(&self) -> WrapAlgorithm {
        self.algorithm
    }

    /// What the bodies under it are sealed for. HPKE binds it (as `info`); RSA-OAEP has no room for it.
    pub fn purpose(&self) -> Purpose {
        self.purpose
    }

    /// The wrapped key: for [`WrapAlgorithm::RsaOaepSha256`], the ciphertext as a KMS takes it.
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_32_bytes_are_a_data_key_and_debug_shows_none() {
        for wrong in [0, 31, 33, 64] {
            assert!(matches!(DataKey::try_from(vec![7; wrong].as_slice()), Err(UnwrapError::Refused)));
        }
        let key = DataKey::try_from([0x5A; 32].as_slice()).unwrap();
        assert_eq!(key.bytes(), &[0x5A; 32]);
        assert_eq!(format!("{key:?}"), "DataKey");
    }

    #[test]
    fn two_generated_keys_differ() {
        assert_ne!(DataKey::generate().unwrap().bytes(), DataKey::generate().unwrap().bytes());
    }
}
