//! Public keys: all that a worker has, and needs.

use std::fmt;

use aws_lc_rs::rsa::PublicEncryptingKey;

use crate::data_key::DataKey;
use crate::digest::sha256_start;
use crate::text::Half;
use crate::{KeyError, Purpose, WrapAlgorithm, hpke_x25519, pem, rsa_oaep, text};

/// Bytes of a recipient's id.
pub(crate) const ID_BYTES: usize = 8;

/// Which key: the first 8 bytes of SHA-256 over its `SubjectPublicKeyInfo` in DER, shown as 16 hex characters.
///
/// `openssl pkey -pubin -in KEY.pem -outform DER | sha256sum | cut -c -16` prints the same for an RSA key.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct RecipientId([u8; ID_BYTES]);

impl RecipientId {
    fn of_spki(der: &[u8]) -> Self {
        Self(sha256_start(der))
    }

    pub(crate) const fn from_bytes(bytes: [u8; ID_BYTES]) -> Self {
        Self(bytes)
    }

    pub(crate) const fn bytes(&self) -> &[u8; ID_BYTES] {
        &self.0
    }
}

impl fmt::Display for RecipientId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for RecipientId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RecipientId({self})")
    }
}

/// A public key that bodies are sealed to. What it seals, it cannot open.
#[derive(Clone)]
pub struct Recipient {
    id: RecipientId,
    spki_der: Box<[u8]>,
    key: PublicKey,
}

#[derive(Clone)]
enum PublicKey {
    X25519(hpke_x25519::PublicKey),
    Rsa(PublicEncryptingKey),
}

impl Recipient {
    /// Reads `fetch-etl-recipient-v1:x25519:…`, or an RSA key in PEM (`-----BEGIN PUBLIC KEY-----`). White space
    /// around it is ignored.
    ///
    /// # Errors
    /// The text is no public key that can be sealed to; the error says why, and shows nothing of it.
    pub fn from_text(text: &str) -> Result<Self, KeyError> {
        let text = text.trim();
        if text.is_empty() {
            return Err(KeyError::Empty);
        }
        if pem::is_pem(text) {
            return Self::from_rsa_der(&pem::decode(Half::Public, text)?);
        }
        let public = hpke_x25519::public_from_bytes(&*text::decode(Half::Public, text)?)?;
        Self::from_x25519(public)
    }

    /// Reads an RSA key from its `SubjectPublicKeyInfo` in DER, as a KMS hands it out.
    ///
    /// # Errors
    /// The bytes are no RSA public key of 3072 to 4096 bits.
    pub fn from_rsa_der(der: &[u8]) -> Result<Self, KeyError> {
        Self::from_rsa(rsa_oaep::public_from_der(der)?)
    }

    pub(crate) fn from_x25519(public: hpke_x25519::PublicKey) -> Result<Self, KeyError> {
        Self::checked(hpke_x25519::spki_der(&public), PublicKey::X25519(public))
    }

    pub(crate) fn from_rsa(public: PublicEncryptingKey) -> Result<Self, KeyError> {
        Self::checked(rsa_oaep::spki_der(&public)?, PublicKey::Rsa(public))
    }

    /// Wraps a throw-away key, so that a key that nothing can be sealed to is found at start, and not with the
    /// first bad message.
    fn checked(spki_der: Vec<u8>, key: PublicKey) -> Result<Self, KeyError> {
        let recipient = Self { id: RecipientId::of_spki(&spki_der), spki_der: spki_der.into(), key };
        let probe = DataKey::generate().ok_or(KeyError::NoRandomness)?;
        recipient.wrap(Purpose::Quarantine, &probe)?;
        Ok(recipient)
    }

    /// The key's fingerprint.
    pub fn id(&self) -> RecipientId {
        self.id
    }

    /// How data keys are wrapped for it.
    pub fn algorithm(&self) -> WrapAlgorithm {
        match self.key {
            PublicKey::X25519(_) => WrapAlgorithm::HpkeX25519,
            PublicKey::Rsa(_) => WrapAlgorithm::RsaOaepSha256,
        }
    }

    /// The text that [`from_text`](Self::from_text) reads: one line for X25519, PEM for RSA.
    pub fn to_text(&self) -> String {
        let mut text = match &self.key {
            PublicKey::X25519(public) => text::encode(Half::Public, &hpke_x25519::public_bytes(public)),
            PublicKey::Rsa(_) => pem::encode(Half::Public, &self.spki_der),
        };
        std::mem::take(&mut *text)
    }

    pub(crate) fn wrap(&self, purpose: Purpose, key: &DataKey) -> Result<Vec<u8>, KeyError> {
        match &self.key {
            PublicKey::X25519(public) => hpke_x25519::wrap(public, purpose, key),
            PublicKey::Rsa(public) => rsa_oaep::wrap(public, key),
        }
    }
}

impl fmt::Debug for Recipient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Recipient({}, {})", self.id, self.algorithm())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_of_low_order_is_found_when_it_is_read() {
        let text = text::encode(Half::Public, &[0; 32]);
        assert_eq!(Recipient::from_text(&text).unwrap_err(), KeyError::Unusable);
    }
}
