//! Private keys, and the seam for those that live elsewhere.

use std::fmt;
use std::sync::Arc;

use aws_lc_rs::rsa::PrivateDecryptingKey;
use zeroize::Zeroizing;

use crate::data_key::{DataKey, WrappedKey};
use crate::text::Half;
use crate::{KeyError, Recipient, RecipientId, UnwrapError, WrapAlgorithm, hpke_x25519, pem, rsa_oaep, text};

/// Whatever can unwrap data keys: a [`KeyPair`] in memory, or a KMS or HSM that never shows its key.
///
/// One that asks over a network blocks; call [`Opener::open`](crate::Opener::open) where that is allowed (in tokio:
/// `spawn_blocking`, with `Handle::block_on` inside). A KMS is asked once for each data key, not for each body.
pub trait PrivateKey: Send + Sync {
    /// The public key's fingerprint.
    fn recipient_id(&self) -> RecipientId;

    /// Unwraps a data key. For [`WrapAlgorithm::RsaOaepSha256`] that is one call of a KMS's `Decrypt` (algorithm
    /// `RSAES_OAEP_SHA_256`), and [`DataKey::try_from`] on what it returns.
    ///
    /// # Errors
    /// [`UnwrapError::Refused`] if the key is not for this one or was changed, [`UnwrapError::Unavailable`] if
    /// the private key could not be asked. Neither may hold key material.
    fn unwrap_data_key(&self, wrapped: &WrappedKey<'_>) -> Result<DataKey, UnwrapError>;
}

impl<K: PrivateKey + ?Sized> PrivateKey for Box<K> {
    fn recipient_id(&self) -> RecipientId {
        (**self).recipient_id()
    }

    fn unwrap_data_key(&self, wrapped: &WrappedKey<'_>) -> Result<DataKey, UnwrapError> {
        (**self).unwrap_data_key(wrapped)
    }
}

impl<K: PrivateKey + ?Sized> PrivateKey for Arc<K> {
    fn recipient_id(&self) -> RecipientId {
        (**self).recipient_id()
    }

    fn unwrap_data_key(&self, wrapped: &WrappedKey<'_>) -> Result<DataKey, UnwrapError> {
        (**self).unwrap_data_key(wrapped)
    }
}

/// A private key in memory, and its [`Recipient`]. Zeroized on drop; `Debug` shows the recipient only.
pub struct KeyPair {
    recipient: Recipient,
    private: Private,
}

enum Private {
    X25519(hpke_x25519::PrivateKey),
    Rsa(PrivateDecryptingKey),
}

impl KeyPair {
    /// A new X25519 key pair.
    ///
    /// # Errors
    /// [`KeyError::NoRandomness`] if the system gave no random numbers.
    pub fn generate() -> Result<Self, KeyError> {
        Self::from_x25519(hpke_x25519::generate()?)
    }

    /// Reads `fetch-etl-private-v1:x25519:…`, or an RSA key in PEM (PKCS#8, `-----BEGIN PRIVATE KEY-----`). White
    /// space around it is ignored.
    ///
    /// # Errors
    /// The text is no private key; the error says why, and shows nothing of it.
    pub fn from_text(text: &str) -> Result<Self, KeyError> {
        let text = text.trim();
        if text.is_empty() {
            return Err(KeyError::Empty);
        }
        if pem::is_pem(text) {
            return Self::from_rsa(rsa_oaep::private_from_pkcs8(&pem::decode(Half::Private, text)?)?);
        }
        Self::from_x25519(hpke_x25519::private_from_bytes(&*text::decode(Half::Private, text)?)?)
    }

    fn from_x25519(private: hpke_x25519::PrivateKey) -> Result<Self, KeyError> {
        let recipient = Recipient::from_x25519(hpke_x25519::public_of(&private))?;
        Ok(Self { recipient, private: Private::X25519(private) })
    }

    fn from_rsa(private: PrivateDecryptingKey) -> Result<Self, KeyError> {
        let recipient = Recipient::from_rsa(private.public_key())?;
        Ok(Self { recipient, private: Private::Rsa(private) })
    }

    /// Its public half.
    pub fn recipient(&self) -> &Recipient {
        &self.recipient
    }

    /// The text that [`from_text`](Self::from_text) reads: **the private key in clear**, for a file that only its
    /// owner reads. Zeroized on drop.
    ///
    /// # Errors
    /// [`KeyError::Unusable`] if an RSA key cannot be encoded.
    pub fn to_private_text(&self) -> Result<Zeroizing<String>, KeyError> {
        match &self.private {
            Private::X25519(private) => Ok(text::encode(Half::Private, &hpke_x25519::private_bytes(private))),
            Private::Rsa(private) => Ok(pem::encode(Half::Private, &rsa_oaep::pkcs8_der(private)?)),
        }
    }
}

impl PrivateKey for KeyPair {
    fn recipient_id(&self) -> RecipientId {
        self.recipient.id()
    }

    fn unwrap_data_key(&self, wrapped: &WrappedKey<'_>) -> Result<DataKey, UnwrapError> {
        match (&self.private, wrapped.algorithm()) {
            (Private::X25519(private), WrapAlgorithm::HpkeX25519) => {
                hpke_x25519::unwrap(private, wrapped.purpose(), wrapped.bytes())
            }
            (Private::Rsa(private), WrapAlgorithm::RsaOaepSha256) => {
                rsa_oaep::unwrap(private, wrapped.bytes())
            }
            _ => Err(UnwrapError::Refused),
        }
    }
}

impl fmt::Debug for KeyPair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyPair({:?})", self.recipient)
    }
}
