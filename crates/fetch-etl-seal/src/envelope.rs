//! The bytes of a sealed body, and of a wrapped data key that stands alone. The layout is documented at the top of the crate.

use crate::data_key::WrappedKey;
use crate::recipient::ID_BYTES;
use crate::{OpenError, Purpose, RecipientId, WrapAlgorithm};

/// The format's version; always the first byte.
pub(crate) const VERSION: u8 = 1;

/// What a prefix is the prefix of: where the wrapped data key stands, in relation to what is encrypted with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Place {
    /// In front of the one body that is encrypted with it.
    BesideBody = 1,
    /// Alone: the vault's values, many of them, name it by its id.
    Alone = 2,
}

/// Version, place of the data key, algorithm, purpose, recipient.
pub(crate) const HEADER_BYTES: usize = 4 + ID_BYTES;

pub(crate) const NONCE_BYTES: usize = 12;
pub(crate) const TAG_BYTES: usize = 16;

/// A wrapped data key: all that stands before the nonce, the same for all bodies under it.
pub(crate) struct Prefix {
    header: [u8; HEADER_BYTES],
    bytes: Box<[u8]>,
}

impl Prefix {
    /// `None` if the wrapped key is longer than its length field can say.
    pub(crate) fn new(place: Place, wrapped: WrappedKey<'_>, recipient: RecipientId) -> Option<Self> {
        let length = u16::try_from(wrapped.bytes.len()).ok()?;
        let mut header = [0; HEADER_BYTES];
        let (codes, id) = header.split_at_mut(HEADER_BYTES - ID_BYTES);
        codes.copy_from_slice(&[VERSION, place as u8, wrapped.algorithm.code(), wrapped.purpose.code()]);
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

/// A prefix, taken apart.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct ParsedPrefix<'a> {
    pub(crate) header: &'a [u8; HEADER_BYTES],
    pub(crate) recipient: RecipientId,
    pub(crate) wrapped: WrappedKey<'a>,
}

impl<'a> ParsedPrefix<'a> {
    /// Takes the prefix off the front, and returns what follows it. Nothing is verified yet.
    pub(crate) fn parse(place: Place, bytes: &'a [u8]) -> Result<(Self, &'a [u8]), OpenError> {
        check_version(bytes)?;
        let (header, rest) = bytes.split_first_chunk::<HEADER_BYTES>().ok_or(OpenError::Truncated)?;
        let &[_, place_code, algorithm, purpose, ref recipient @ ..] = header;
        if place_code != place as u8 {
            return Err(OpenError::UnknownHeader);
        }
        let algorithm = WrapAlgorithm::from_code(algorithm).ok_or(OpenError::UnknownHeader)?;
        let purpose = Purpose::from_code(purpose).ok_or(OpenError::UnknownHeader)?;
        let (length, rest) = rest.split_first_chunk::<2>().ok_or(OpenError::Truncated)?;
        let length = usize::from(u16::from_be_bytes(*length));
        let (bytes, rest) = rest.split_at_checked(length).ok_or(OpenError::Truncated)?;
        let recipient = RecipientId::from_bytes(*recipient);
        Ok((Self { header, recipient, wrapped: WrappedKey { algorithm, purpose, bytes } }, rest))
    }
}

/// Later versions may be laid out otherwise: nothing else is looked at before this.
pub(crate) fn check_version(bytes: &[u8]) -> Result<(), OpenError> {
    match bytes.first() {
        Some(&VERSION) => Ok(()),
        Some(&other) => Err(OpenError::UnknownVersion(other)),
        None => Err(OpenError::Truncated),
    }
}

/// Nonce, ciphertext and tag.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Encrypted<'a> {
    pub(crate) nonce: [u8; NONCE_BYTES],
    /// Ciphertext and tag.
    pub(crate) sealed: &'a [u8],
}

impl<'a> Encrypted<'a> {
    pub(crate) fn parse(bytes: &'a [u8]) -> Result<Self, OpenError> {
        let (nonce, sealed) = bytes.split_first_chunk::<NONCE_BYTES>().ok_or(OpenError::Truncated)?;
        if sealed.len() < TAG_BYTES {
            return Err(OpenError::Truncated);
        }
        Ok(Self { nonce: *nonce, sealed })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: RecipientId = RecipientId::from_bytes([0x11; ID_BYTES]);
    const PLACES: [Place; 2] = [Place::BesideBody, Place::Alone];

    fn written(place: Place) -> Vec<u8> {
        let wrapped = WrappedKey {
            algorithm: WrapAlgorithm::RsaOaepSha256,
            purpose: Purpose::Vault,
            bytes: &[0xCC; 300],
        };
        Prefix::new(place, wrapped, ID).unwrap().bytes().to_vec()
    }

    #[test]
    fn the_layout_is_the_documented_one() {
        for place in PLACES {
            let bytes = written(place);
            assert_eq!(bytes[..4], [1, place as u8, 2, 2]);
            assert_eq!(bytes[4..12], [0x11; 8]);
            assert_eq!(bytes[12..14], [0x01, 0x2C]);
            assert_eq!(bytes.len(), 14 + 300);
            let longer = [bytes.as_slice(), b"rest"].concat();
            let (prefix, rest) = ParsedPrefix::parse(place, &longer).unwrap();
            assert_eq!(prefix.header.as_slice(), &bytes[..12]);
            assert_eq!((prefix.recipient, prefix.wrapped.bytes()), (ID, [0xCC; 300].as_slice()));
            assert_eq!(rest, b"rest");
        }
        let bytes = [[0x22; NONCE_BYTES].as_slice(), &[0x33; 5], &[0x44; TAG_BYTES]].concat();
        let encrypted = Encrypted::parse(&bytes).unwrap();
        assert_eq!((encrypted.nonce, encrypted.sealed), ([0x22; 12], &bytes[12..]));
    }

    #[test]
    fn a_data_key_of_one_place_is_not_taken_in_the_other() {
        for (written_for, read_for) in [(PLACES[0], PLACES[1]), (PLACES[1], PLACES[0])] {
            let bytes = written(written_for);
            assert!(matches!(ParsedPrefix::parse(read_for, &bytes), Err(OpenError::UnknownHeader)));
        }
    }

    #[test]
    fn every_cut_is_found_before_the_ciphertext() {
        let bytes = written(Place::BesideBody);
        for length in 0..bytes.len() {
            let cut = ParsedPrefix::parse(Place::BesideBody, &bytes[..length]);
            assert!(matches!(cut, Err(OpenError::Truncated)), "{length}");
        }
        for length in 0..NONCE_BYTES + TAG_BYTES {
            assert!(matches!(Encrypted::parse(&bytes[..length]), Err(OpenError::Truncated)), "{length}");
        }
    }

    #[test]
    fn unknown_codes_are_told_apart_from_unknown_versions() {
        for version in (0..=u8::MAX).filter(|v| *v != VERSION) {
            // Even a single byte says which version it is.
            let parsed = ParsedPrefix::parse(Place::Alone, &[version]).unwrap_err();
            assert!(matches!(parsed, OpenError::UnknownVersion(v) if v == version));
        }
        for at in 1..4 {
            let mut bytes = written(Place::Alone);
            bytes[at] = 0xEE;
            assert!(
                matches!(ParsedPrefix::parse(Place::Alone, &bytes), Err(OpenError::UnknownHeader)),
                "{at}"
            );
        }
    }

    #[test]
    fn a_wrapped_key_that_does_not_fit_its_length_field_is_refused() {
        let bytes = vec![0; usize::from(u16::MAX) + 1];
        let wrapped =
            WrappedKey { algorithm: WrapAlgorithm::HpkeX25519, purpose: Purpose::Vault, bytes: &bytes };
        assert!(Prefix::new(Place::Alone, wrapped, ID).is_none());
    }
}
