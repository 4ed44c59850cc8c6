//! What a body is sealed for, and how its data key is wrapped.

use std::fmt;

/// What a body is sealed for. What was sealed for one purpose does not open for another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Purpose {
    /// Bodies of rejected messages.
    Quarantine,
    /// First-seen values of personal fields.
    Vault,
}

impl Purpose {
    /// Its name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Quarantine => "quarantine",
            Self::Vault => "vault",
        }
    }

    pub(crate) const fn code(self) -> u8 {
        match self {
            Self::Quarantine => 1,
            Self::Vault => 2,
        }
    }

    pub(crate) const fn from_code(code: u8) -> Option<Self> {
        match code {
            1 => Some(Self::Quarantine),
            2 => Some(Self::Vault),
            _ => None,
        }
    }
}

impl fmt::Display for Purpose {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// How a data key is wrapped for its recipient.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum WrapAlgorithm {
    /// HPKE (RFC 9180), base mode: DHKEM(X25519, HKDF-SHA256), HKDF-SHA256, AES-256-GCM.
    HpkeX25519,
    /// RSA-OAEP with SHA-256 for hash and MGF1, and no label, because no KMS takes one.
    RsaOaepSha256,
}

impl WrapAlgorithm {
    /// Its name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::HpkeX25519 => "hpke-x25519-hkdf-sha256-aes-256-gcm",
            Self::RsaOaepSha256 => "rsa-oaep-sha-256",
        }
    }

    pub(crate) const fn code(self) -> u8 {
        match self {
            Self::HpkeX25519 => 1,
            Self::RsaOaepSha256 => 2,
        }
    }

    pub(crate) const fn from_code(code: u8) -> Option<Self> {
        match code {
            1 => Some(Self::HpkeX25519),
            2 => Some(Self::RsaOaepSha256),
            _ => None,
        }
    }
}

impl fmt::Display for WrapAlgorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_unique_and_read_back() {
        let purposes: Vec<_> = (0..=u8::MAX).filter_map(Purpose::from_code).collect();
        assert_eq!(purposes, [Purpose::Quarantine, Purpose::Vault]);
        assert!((0..=u8::MAX).all(|code| Purpose::from_code(code).is_none_or(|p| p.code() == code)));

        let algorithms: Vec<_> = (0..=u8::MAX).filter_map(WrapAlgorithm::from_code).collect();
        assert_eq!(algorithms, [WrapAlgorithm::HpkeX25519, WrapAlgorithm::RsaOaepSha256]);
        assert!((0..=u8::MAX).all(|code| WrapAlgorithm::from_code(code).is_none_or(|a| a.code() == code)));
    }
}
