//! The bytes of a sealed body. The layout is documented at the top of the crate.

use crate::data_key::WrappedKey;
use crate::recipient::ID_BYTES;
use crate::{OpenError, Purpose, RecipientId, WrapAlgorithm};

/// The format's version; always the first byte.
const VERSION: u8 = 1;

/// The wrapped data key stands in the envelope itself. The vault, which keeps one wrapped key for many values, will
/// have another code, with the id of that key in its place.
const KEY_INLINE: u8 = 1;

/// Version, place of the data key, algorithm, purpose, recipient.
pub(crate) const HEADER_BYTES: usize = 4 + ID_BYTES;

pub(crate) const NONCE_BYTES: usize = 12;
pub(crate) const TAG_BYTES: usize = 16;

/// Everything up to the nonce: the same for all bodies under one data key.
pub(crate) struct Prefix {
    header: [u8; HEADER_BYTES],
    bytes: Box<[u8]>,
}

impl Prefix {
    /// `None` if the wrapped key is longer than its length field can say.
    pub(crate) fn new(wrapped: WrappedKey<'_>, recipient: RecipientId) -> Option<Self> {
        let length = u16::try_from(wrapped.bytes.len()).ok()?;
        let mut header = [0; HEADER_BYTES];
        let (codes, id) = header.split_at_mut(HEADER_BYTES - ID_BYTES);
        codes.copy_from_slice(&[VERSION, KEY_INLINE, wrapped.algorithm.code(), wrapped.purpose.code()]);
        id.copy_from_slice(recipient.bytes());
        let bytes = [header.as_slice(), &length.to_be_bytes(), wrapped.bytes].concat().into();
        Some(Self { header, bytes })
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The part that is bound as associated data.
    pub(crate) fn header(&self) -> &[u8; HEADER_BYTES] {
        &self.header
    }
}

/// A sealed body, taken apart.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Envelope<'a> {
    pub(crate) header: &'a [u8; HEADER_BYTES],
    pub(crate) recipient: RecipientId,
    pub(crate) wrapped: WrappedKey<'a>,
    pub(crate) nonce: [u8; NONCE_BYTES],
    /// Ciphertext and tag.
    pub(crate) sealed: &'a [u8],
}

impl<'a> Envelope<'a> {
    /// Takes bytes apart; nothing is verified yet.
    pub(crate) fn parse(bytes: &'a [u8]) -> Result<Self, OpenError> {
        // Later versions may be laid out otherwise: nothing else is looked at before this.
        match bytes.first() {
            Some(&VERSION) => (),
            Some(&other) => return Err(OpenError::UnknownVersion(other)),
            None => return Err(OpenError::Truncated),
        }
        let (header, rest) = bytes.split_first_chunk::<HEADER_BYTES>().ok_or(OpenError::Truncated)?;
        let &[_, place, algorithm, purpose, ref recipient @ ..] = header;
        if place != KEY_INLINE {
            return Err(OpenError::UnknownHeader);
        }
        let algorithm = WrapAlgorithm::from_code(algorithm).ok_or(OpenError::UnknownHeader)?;
        let purpose = Purpose::from_code(purpose).ok_or(OpenError::UnknownHeader)?;
        let (length, rest) = rest.split_first_chunk::<2>().ok_or(OpenError::Truncated)?;
        let length = usize::from(u16::from_be_bytes(*length));
        let (wrapped, rest) = rest.split_at_checked(length).ok_or(OpenError::Truncated)?;
        let (nonce, sealed) = rest.split_first_chunk::<NONCE_BYTES>().ok_or(OpenError::Truncated)?;
        if sealed.len() < TAG_BYTES {
            return Err(OpenError::Truncated);
        }
        Ok(Self {
            header,
            recipient: RecipientId::from_bytes(*recipient),
            wrapped: WrappedKey { algorithm, purpose, bytes: wrapped },
            nonce: *nonce,
            sealed,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: RecipientId = RecipientId::from_bytes([0x11; ID_BYTES]);

    fn written() -> Vec<u8> {
        let wrapped = WrappedKey {
            algorithm: WrapAlgorithm::RsaOaepSha256,
            purpose: Purpose::Vault,
            bytes: &[0xCC; 300],
        };
        let prefix = Prefix::new(wrapped, ID).unwrap();
        [prefix.bytes(), &[0x22; NONCE_BYTES], &[0x33; 5], &[0x44; TAG_BYTES]].concat()
    }

    #[test]
    fn the_layout_is_the_documented_one() {
        let bytes = written();
        assert_eq!(bytes[..4], [1, 1, 2, 2]);
        assert_eq!(bytes[4..12], [0x11; 8]);
        assert_eq!(bytes[12..14], [0x01, 0x2C]);
        assert_eq!(bytes.len(), 14 + 300 + 12 + 5 + 16);
        let envelope = Envelope::parse(&bytes).unwrap();
        assert_eq!(envelope.header.as_slice(), &bytes[..12]);
        assert_eq!((envelope.recipient, envelope.wrapped.bytes()), (ID, [0xCC; 300].as_slice()));
        assert_eq!((envelope.nonce, envelope.sealed), ([0x22; 12], &bytes[326..]));
    }

    #[test]
    fn every_cut_is_found_before_the_ciphertext() {
        let bytes = written();
        for length in 0..326 + TAG_BYTES {
            assert!(matches!(Envelope::parse(&bytes[..length]), Err(OpenError::Truncated)), "{length}");
        }
    }

    #[test]
    fn unknown_codes_are_told_apart_from_unknown_versions() {
        for version in (0..=u8::MAX).filter(|v| *v != VERSION) {
            // Even a single byte says which version it is.
            assert!(matches!(Envelope::parse(&[version]), Err(OpenError::UnknownVersion(v)) if v == version));
        }
        for at in 1..4 {
            let mut bytes = written();
            bytes[at] = 0xEE;
            assert!(matches!(Envelope::parse(&bytes), Err(OpenError::UnknownHeader)), "{at}");
        }
    }

    #[test]
    fn a_wrapped_key_that_does_not_fit_its_length_field_is_refused() {
        let bytes = vec![0; usize::from(u16::MAX) + 1];
        let wrapped =
            WrappedKey { algorithm: WrapAlgorithm::HpkeX25519, purpose: Purpose::Vault, bytes: &bytes };
        assert!(Prefix::new(wrapped, ID).is_none());
    }
}
