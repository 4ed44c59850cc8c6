//! The trait of a masking method, and the only text that a masked column accepts.

use std::fmt;
use std::sync::Arc;

use crate::Pii;

/// Which key a mask was made with; it stands beside every row (`mask_key_id`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KeyId(i32);

impl KeyId {
    /// No key: plain SHA-512.
    pub const UNKEYED: Self = Self(0);

    /// A key's id; 0 means [`UNKEYED`](Self::UNKEYED).
    pub const fn new(id: i32) -> Self {
        Self(id)
    }

    /// The number that the row holds.
    pub const fn get(self) -> i32 {
        self.0
    }
}

/// What a [`Masker`] makes of a personal value: the only type that a row's masked column accepts.
///
/// Its `Debug` prints `[masked]`: a mask made without a key can be reversed by trying all values, so it does not
/// belong in a log either.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct MaskedValue(Repr);

#[derive(Clone, PartialEq, Eq, Hash)]
enum Repr {
    Digest([u8; 64]),
    Text(Box<str>),
}

impl MaskedValue {
    /// A 512-bit digest, stored as 128 lower-case hexadecimal characters.
    pub const fn from_digest(digest: [u8; 64]) -> Self {
        Self(Repr::Digest(digest))
    }

    /// A mask that is text already, for maskers that do not make a 512-bit digest. It is stored as it is: whoever
    /// calls this states that nothing personal can be read from it.
    pub fn from_masked_text(text: impl Into<Box<str>>) -> Self {
        Self(Repr::Text(text.into()))
    }

    /// The digest, where it is one.
    pub fn digest(&self) -> Option<&[u8; 64]> {
        match &self.0 {
            Repr::Digest(digest) => Some(digest),
            Repr::Text(_) => None,
        }
    }

    /// Appends the text that is stored to `out`.
    pub fn push_to(&self, out: &mut String) {
        match &self.0 {
            Repr::Digest(digest) => out.push_str(hex_text(&hex(digest))),
            Repr::Text(text) => out.push_str(text),
        }
    }

    /// The text that is stored.
    pub fn to_text(&self) -> String {
        let mut text = String::new();
        self.push_to(&mut text);
        text
    }
}

/// All digits at once, by arithmetic: that is several times as fast as one by one from a table.
fn hex(digest: &[u8; 64]) -> [u8; 128] {
    let digit = |nibble: u8| nibble + if nibble < 10 { b'0' } else { b'a' - 10 };
    let mut text = [0; 128];
    for (pair, byte) in text.chunks_exact_mut(2).zip(digest) {
        pair[0] = digit(byte >> 4);
        pair[1] = digit(byte & 15);
    }
    text
}

#[expect(clippy::expect_used, reason = "Unwrap safety: hexadecimal digits are ASCII")]
fn hex_text(text: &[u8; 128]) -> &str {
    std::str::from_utf8(text).expect("digits are text")
}

impl fmt::Debug for MaskedValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[masked]")
    }
}

/// A masking method: deterministic, so that duplicates stay identifiable.
///
/// `mask` runs for every personal value on the path of every message: it must neither block nor panic, and must return
/// the same mask for the same field and value as long as [`key_id`](Self::key_id) is the same.
#[cfg_attr(feature = "mock", mockall::automock)]
pub trait Masker: Send + Sync {
    /// Masks one value of the named field; `None` where nothing of it is to be kept: the column is NULL then.
    fn mask(&self, field: &str, value: &Pii<str>) -> Option<MaskedValue>;

    /// The id that is stored beside every row that this masker's masks are in.
    fn key_id(&self) -> KeyId;
}

impl<T: Masker + ?Sized> Masker for Box<T> {
    fn mask(&self, field: &str, value: &Pii<str>) -> Option<MaskedValue> {
        (**self).mask(field, value)
    }
    fn key_id(&self) -> KeyId {
        (**self).key_id()
    }
}

impl<T: Masker + ?Sized> Masker for Arc<T> {
    fn mask(&self, field: &str, value: &Pii<str>) -> Option<MaskedValue> {
        (**self).mask(field, value)
    }
    fn key_id(&self) -> KeyId {
        (**self).key_id()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_are_lower_case_hex() {
        let mut digest = [0; 64];
        digest[0] = 0xab;
        digest[63] = 0x0f;
        let text = MaskedValue::from_digest(digest).to_text();
        assert_eq!(text.len(), 128);
        assert!(text.starts_with("ab00") && text.ends_with("000f"), "{text}");
    }

    #[test]
    fn every_byte_has_its_two_digits() {
        for start in [0_u8, 64, 128, 192] {
            let digest = std::array::from_fn(|index| start + index as u8);
            let expected: String = digest.iter().map(|byte: &u8| format!("{byte:02x}")).collect();
            assert_eq!(MaskedValue::from_digest(digest).to_text(), expected);
        }
    }

    #[test]
    fn debug_shows_no_mask() {
        assert_eq!(format!("{:?}", MaskedValue::from_masked_text("abc")), "[masked]");
    }
}
