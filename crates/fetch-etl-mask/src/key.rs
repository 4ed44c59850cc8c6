use std::fmt;

use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use zeroize::{Zeroize, Zeroizing};

/// The secret that masks are made with: at least 32 random bytes, overwritten with zeros when it is dropped.
///
/// Its `Debug` prints `[key]`.
///
/// ```
/// use fetch_etl_mask::{MasterKey, MasterKeyError};
///
/// assert!(MasterKey::from_base64("pXhJ8mCf0bQZVnq1k8Gd5sYw2u7TeLrA4oNcHiB9xzM=\n").is_ok());
/// assert_eq!(MasterKey::from_bytes(*b"hunter2").err(), Some(MasterKeyError::TooShort { bytes: 7 }));
/// ```
pub struct MasterKey(Zeroizing<Vec<u8>>);

/// Why bytes or a text are no [`MasterKey`]. Never holds any of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum MasterKeyError {
    /// The text is not base64.
    #[error("the key is not base64")]
    NotBase64,
    /// Fewer than [`MasterKey::MIN_BYTES`].
    #[error("the key has {bytes} bytes, of at least {min}", min = MasterKey::MIN_BYTES)]
    TooShort {
        /// How many bytes there are.
        bytes: usize,
    },
    /// All bytes are the same: a placeholder, not a random key.
    #[error("the key is one byte repeated, not random bytes")]
    OneByteRepeated,
}

impl MasterKey {
    /// Fewest bytes of a key.
    pub const MIN_BYTES: usize = 32;

    /// Takes over the bytes of a key.
    ///
    /// # Errors
    /// There are too few of them, or they are all the same.
    pub fn from_bytes(bytes: impl Into<Vec<u8>>) -> Result<Self, MasterKeyError> {
        // Wrapped first: refused bytes may be most of a key, and are overwritten too.
        let bytes = Zeroizing::new(bytes.into());
        if bytes.len() < Self::MIN_BYTES {
            return Err(MasterKeyError::TooShort { bytes: bytes.len() });
        }
        if bytes.iter().all(|&byte| byte == bytes[0]) {
            return Err(MasterKeyError::OneByteRepeated);
        }
        Ok(Self(bytes))
    }

    /// Reads a key from base64 text, with or without padding. Line ends count as nothing: files end with one, and
    /// `openssl rand -base64` breaks lines.
    ///
    /// # Errors
    /// It is not base64, or not a key.
    pub fn from_base64(text: &str) -> Result<Self, MasterKeyError> {
        let config = GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
        let engine = GeneralPurpose::new(&STANDARD, config);
        // Both buffers are as large as they can become from the start: growing would leave copies behind.
        let mut one_line = Zeroizing::new(Vec::with_capacity(text.len()));
        one_line.extend(text.bytes().filter(|byte| !matches!(byte, b'\r' | b'\n')));
        let mut bytes = Zeroizing::new(vec![0; one_line.len()]);
        let length =
            engine.decode_slice(one_line.as_slice(), &mut bytes).map_err(|_| MasterKeyError::NotBase64)?;
        bytes[length..].zeroize();
        bytes.truncate(length);
        Self::from_bytes(std::mem::take(&mut *bytes))
    }

    /// Whether nobody would get these bytes from a source of random ones: typed text, one byte after the other in steps, few different
    /// values. Of random bytes, fewer than one in 10¹² looks like this. That others are random cannot be told from them.
    pub fn looks_made_up(&self) -> bool {
        let bytes = self.as_bytes();
        let is_text = bytes.iter().all(|byte| matches!(byte, b' '..=b'~' | b'\t' | b'\r' | b'\n'));
        let step = bytes[1].wrapping_sub(bytes[0]);
        let is_in_steps = bytes.windows(2).all(|pair| pair[1].wrapping_sub(pair[0]) == step);
        let mut seen = [false; 256];
        bytes.iter().for_each(|byte| seen[usize::from(*byte)] = true);
        let different = seen.iter().filter(|seen| **seen).count();
        is_text || is_in_steps || different <= Self::MIN_BYTES / 2
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for MasterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[key]")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: [u8; 32] = *b"0123456789abcdef0123456789abcdef";

    fn base64(bytes: &[u8]) -> String {
        base64::engine::general_purpose::STANDARD.encode(bytes)
    }

    #[test]
    fn base64_may_be_wrapped_and_unpadded() {
        let text = base64(&GOOD);
        let (line, rest) = text.split_at(20);
        for text in
            [text.clone(), format!("{text}\n"), format!("{line}\r\n{rest}\r\n"), text.replace('=', "")]
        {
            assert_eq!(MasterKey::from_base64(&text).unwrap().as_bytes(), GOOD);
        }
    }

    #[test]
    fn what_is_no_key_is_refused() {
        let refused = |text: &str| MasterKey::from_base64(text).unwrap_err();
        for text in ["pass phrase", "ключ", "a-b_", "A", "=", &format!(" {}", base64(&GOOD))] {
            assert_eq!(refused(text), MasterKeyError::NotBase64, "{text}");
        }
        assert_eq!(refused(""), MasterKeyError::TooShort { bytes: 0 });
        assert_eq!(refused(&base64(&GOOD[..31])), MasterKeyError::TooShort { bytes: 31 });
        assert_eq!(refused(&base64(&[7; 32])), MasterKeyError::OneByteRepeated);
        assert_eq!(refused(&base64(&[0; 64])), MasterKeyError::OneByteRepeated);
    }

    #[test]
    fn what_is_typed_or_counted_is_told_from_random_bytes() {
        let key = |bytes: &[u8]| MasterKey::from_bytes(bytes).unwrap();
        let steps: Vec<u8> = (0..32).map(|index| 5u8.wrapping_add(17u8.wrapping_mul(index))).collect();
        let few: Vec<u8> = (0..64).map(|index| [0x00, 0xff, 0x81][index * index % 3]).collect();
        for made_up in [&GOOD[..], b"correct horse battery staple, twice over", &steps, &few] {
            assert!(key(made_up).looks_made_up());
        }
        let random = MasterKey::from_base64("pXhJ8mCf0bQZVnq1k8Gd5sYw2u7TeLrA4oNcHiB9xzM=").unwrap();
        assert!(!random.looks_made_up());
    }

    #[test]
    fn neither_debug_nor_an_error_shows_the_key() {
        assert_eq!(format!("{:?}", MasterKey::from_bytes(GOOD).unwrap()), "[key]");
        for (text, shown) in [
            ("hunter2!", "the key is not base64"),
            ("aHVudGVyMg==", "the key has 7 bytes, of at least 32"),
            (&base64(&[65; 32]), "the key is one byte repeated, not random bytes"),
        ] {
            assert_eq!(MasterKey::from_base64(text).unwrap_err().to_string(), shown);
        }
    }
}
