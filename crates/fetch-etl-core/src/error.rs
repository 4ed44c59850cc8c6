//! Error classes, and errors that carry no value of a message.

use std::borrow::Cow;
use std::fmt;

/// What to do about a failure. Each adapter decides it in one function; what it does not know is [`Fatal`](Self::Fatal).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorClass {
    /// It may pass: retried with backoff and jitter, nothing is quarantined for it.
    Retryable,
    /// A row is to blame: the batch is split until the row is alone, and that row is quarantined.
    BadRow,
    /// It will not pass by itself: the worker stops and says why.
    Fatal,
}

impl ErrorClass {
    /// All of them, in order.
    pub const ALL: [Self; 3] = [Self::Retryable, Self::BadRow, Self::Fatal];

    /// The name that logs and metrics use.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Retryable => "retryable",
            Self::BadRow => "bad_row",
            Self::Fatal => "fatal",
        }
    }
}

impl fmt::Display for ErrorClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Why a source could not do what it was asked.
///
/// The text must say what failed in the adapter's own words: an operation, a code, a status. **Never** put a value of
/// a message, or a vendor error's `Debug` or `Display` that may quote one, into it.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{text}")]
pub struct SourceError {
    class: ErrorClass,
    text: Cow<'static, str>,
}

impl SourceError {
    /// A failure that may pass.
    pub fn retryable(text: impl Into<Cow<'static, str>>) -> Self {
        Self { class: ErrorClass::Retryable, text: text.into() }
    }

    /// A failure that will not pass by itself.
    pub fn fatal(text: impl Into<Cow<'static, str>>) -> Self {
        Self { class: ErrorClass::Fatal, text: text.into() }
    }

    /// What to do about it.
    pub fn class(&self) -> ErrorClass {
        self.class
    }
}

/// Why a sink did not write a batch. See [`SourceError`] for what its text may hold.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{text}")]
pub struct SinkError {
    class: ErrorClass,
    code: Option<SinkCode>,
    text: Cow<'static, str>,
}

/// A sink's own short error code, for example a SQLSTATE: at most eight ASCII letters and digits, so that no value of a row fits.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct SinkCode {
    bytes: [u8; 8],
    len: u8,
}

impl SinkCode {
    /// Another masking policy is in force than the one that the sink was told to hold to; see
    /// [`PolicyStore`](crate::PolicyStore). Nothing was written, and whoever has the new policy's key may go on with that.
    pub const POLICY_CHANGED: Self = Self { bytes: *b"POLICY\0\0", len: 6 };

    /// `None` when `code` is empty, longer than eight characters or has anything but ASCII letters and digits.
    pub fn new(code: &str) -> Option<Self> {
        if code.is_empty() || code.len() > 8 || !code.bytes().all(|b| b.is_ascii_alphanumeric()) {
            return None;
        }
        let mut bytes = [0; 8];
        bytes[..code.len()].copy_from_slice(code.as_bytes());
        Some(Self { bytes, len: code.len() as u8 })
    }

    /// The code as text.
    pub fn as_str(&self) -> &str {
        // Only ASCII gets in, so this cannot fail; an empty text would be harmless.
        std::str::from_utf8(&self.bytes[..usize::from(self.len)]).unwrap_or_default()
    }
}

impl fmt::Debug for SinkCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl SinkError {
    /// A failure of the given class.
    pub fn new(class: ErrorClass, text: impl Into<Cow<'static, str>>) -> Self {
        Self { class, code: None, text: text.into() }
    }

    /// Adds the sink's own code.
    #[must_use]
    pub fn with_code(mut self, code: Option<SinkCode>) -> Self {
        self.code = code;
        self
    }

    /// What to do about it.
    pub fn class(&self) -> ErrorClass {
        self.class
    }

    /// The sink's own code, where it has one.
    pub fn code(&self) -> Option<SinkCode> {
        self.code
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sink_code_holds_no_free_text() {
        assert_eq!(SinkCode::new("23505").map(|c| c.as_str().to_owned()).as_deref(), Some("23505"));
        assert_eq!(SinkCode::new("POLICY"), Some(SinkCode::POLICY_CHANGED));
        for bad in ["", "203.0.113.7", "toolong12", "näh"] {
            assert_eq!(SinkCode::new(bad), None, "{bad}");
        }
    }
}
