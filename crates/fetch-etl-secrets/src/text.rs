//! A text that nobody sees by accident.

use std::fmt;
use std::str;

use zeroize::Zeroizing;

/// The most that a secret may have, before it is trimmed: as much as AWS Secrets Manager keeps, and far more than any key.
pub const MAX_SECRET_BYTES: usize = 64 * 1024;

/// A secret: not empty, without white space at its ends, at most [`MAX_SECRET_BYTES`]. Zeroized on drop; it has a `Debug`
/// that hides it, and no `Display`.
#[derive(Clone)]
pub struct SecretText(Zeroizing<String>);

/// Why a text is no secret. It says nothing of the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidText {
    /// No character but white space.
    #[error("empty")]
    Empty,
    /// More than [`MAX_SECRET_BYTES`].
    #[error("larger than 64 KiB, which no secret is")]
    TooLarge,
    /// Not UTF-8.
    #[error("no UTF-8 text; a key of raw bytes must be kept as the base64 text of them")]
    NotText,
}

impl SecretText {
    /// Copies a secret out of a text, without the white space around it, such as the newline that editors put at the end.
    /// Wiping the text is the caller's.
    ///
    /// # Errors
    /// The text is empty or too large.
    pub fn new(text: &str) -> Result<Self, InvalidText> {
        if text.len() > MAX_SECRET_BYTES {
            return Err(InvalidText::TooLarge);
        }
        match text.trim() {
            "" => Err(InvalidText::Empty),
            text => Ok(Self(Zeroizing::new(text.to_owned()))),
        }
    }

    /// Like [`new`](Self::new), of bytes.
    ///
    /// # Errors
    /// As for [`new`](Self::new), or the bytes are not UTF-8.
    pub fn from_utf8(bytes: &[u8]) -> Result<Self, InvalidText> {
        if bytes.len() > MAX_SECRET_BYTES {
            return Err(InvalidText::TooLarge);
        }
        Self::new(str::from_utf8(bytes).map_err(|_| InvalidText::NotText)?)
    }

    /// The secret itself, for whoever it is meant for.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for SecretText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[hidden]")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_has_no_white_space_around_it_and_keeps_what_is_inside() {
        let secret = SecretText::from_utf8(b" \thunter2 \n hunter3\r\n").unwrap();
        assert_eq!(secret.expose(), "hunter2 \n hunter3");
        assert_eq!(secret.clone().expose(), secret.expose());
    }

    #[test]
    fn what_is_no_secret_is_refused() {
        for empty in ["", " ", "\r\n\t "] {
            assert_eq!(SecretText::new(empty).unwrap_err(), InvalidText::Empty);
        }
        assert_eq!(SecretText::from_utf8(b"hunter\xff").unwrap_err(), InvalidText::NotText);
        assert!(SecretText::new(&"x".repeat(MAX_SECRET_BYTES)).is_ok());
        let large = "x".repeat(MAX_SECRET_BYTES + 1);
        assert_eq!(SecretText::new(&large).unwrap_err(), InvalidText::TooLarge);
        assert_eq!(SecretText::from_utf8(large.as_bytes()).unwrap_err(), InvalidText::TooLarge);
    }

    #[test]
    fn debug_hides_it() {
        assert_eq!(format!("{:?}", Some(SecretText::new("hunter2").unwrap())), "Some([hidden])");
    }
}
