//! The trait by which a rejected message's body is kept for those who may read it, and for nobody else.

use std::fmt;

use crate::{MessageKey, Pii};

/// A body that only the holder of the recipient's private key can read. Opaque here.
///
/// Its `Debug` shows its length only.
#[derive(Clone, PartialEq, Eq)]
pub struct SealedBody {
    recipient_id: Box<str>,
    bytes: Vec<u8>,
}

impl SealedBody {
    /// Wraps what a [`Sealer`] made: ciphertext and whatever opening it needs, but the private key.
    pub fn new(recipient_id: impl Into<Box<str>>, bytes: Vec<u8>) -> Self {
        Self { recipient_id: recipient_id.into(), bytes }
    }

    /// Which recipient can open it: a fingerprint of the public key.
    pub fn recipient_id(&self) -> &str {
        &self.recipient_id
    }

    /// The sealed bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

impl fmt::Debug for SealedBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SealedBody({} bytes)", self.bytes.len())
    }
}

/// To whom a store's newest sealed things are sealed: fingerprints of public keys. `None` where there is nothing sealed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NewestRecipients {
    /// The newest data key of the vault.
    pub vault: Option<String>,
    /// The newest body of a rejected message.
    pub quarantine: Option<String>,
}

/// Sealing failed; the message stays in the queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("cannot seal: {0}")]
pub struct SealError(pub &'static str);

/// Seals bodies to a public key that this process cannot open itself.
///
/// Runs for every rejected message: it must neither block on I/O nor panic.
#[cfg_attr(feature = "mock", mockall::automock)]
pub trait Sealer: Send + Sync {
    /// Seals one body, bound to its message's key, so that it cannot pass for another message's.
    ///
    /// # Errors
    /// The body could not be sealed, and must not be stored.
    fn seal(&self, key: &MessageKey, body: &Pii<[u8]>) -> Result<SealedBody, SealError>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_shows_the_length_only() {
        assert_eq!(format!("{:?}", SealedBody::new("r", vec![1, 2, 3])), "SealedBody(3 bytes)");
    }
}
