//! Why there is no secret, in one line.

use std::fmt;

use crate::InvalidText;

/// Why a source has no secret for us.
///
/// `place` is [`describe`](crate::SecretSource::describe)d by the source; a [`Cause`] is text that this crate was compiled
/// with, and codes. So neither can hold anything of a secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SecretError {
    /// There is nothing by this name.
    #[error("{place}: {cause}")]
    NotFound {
        /// What was asked.
        place: String,
        /// What is wrong.
        cause: Cause,
    },
    /// It is there, but this process may not read it.
    #[error("{place}: {cause}")]
    Denied {
        /// What was asked.
        place: String,
        /// What is wrong.
        cause: Cause,
    },
    /// The machine fails to read it, or it is nothing that can be read.
    #[error("{place}: {cause}")]
    NotReadable {
        /// What was asked.
        place: String,
        /// What is wrong.
        cause: Cause,
    },
    /// It could not be asked: the network, throttling, a service that fails. Worth trying again.
    #[error("{place}: {cause}")]
    Unavailable {
        /// What was asked.
        place: String,
        /// What is wrong.
        cause: Cause,
    },
    /// It is there, but its state or that of its key keeps it closed.
    #[error("{place}: {cause}")]
    Unusable {
        /// What was asked.
        place: String,
        /// What is wrong.
        cause: Cause,
    },
    /// It does not have the form that was agreed: not base64, not JSON, no such key in it.
    #[error("{place}: {cause}")]
    Malformed {
        /// What was asked.
        place: String,
        /// What is wrong.
        cause: Cause,
    },
    /// It is not UTF-8.
    #[error("{place}: {}", InvalidText::NotText)]
    NotText {
        /// What was asked.
        place: String,
    },
    /// It has more than [`MAX_SECRET_BYTES`](crate::MAX_SECRET_BYTES).
    #[error("{place}: {}", InvalidText::TooLarge)]
    TooLarge {
        /// What was asked.
        place: String,
    },
    /// It has no character but white space.
    #[error("{place}: {}", InvalidText::Empty)]
    Empty {
        /// What was asked.
        place: String,
    },
    /// It cannot even be asked: a name, the region, the endpoint, the credentials, the environment.
    #[error("{place}: {cause}")]
    Misconfigured {
        /// What was asked.
        place: String,
        /// What is wrong.
        cause: Cause,
    },
    /// This build has no such source. For the programs that wire sources, which know what they were built with.
    #[error("{what} needs a build with the feature {feature}")]
    Unsupported {
        /// As in "AWS KMS needs a build with …".
        what: &'static str,
        /// The Cargo feature.
        feature: &'static str,
    },
}

impl SecretError {
    /// Whether the same question may be answered later, without anybody changing anything.
    pub fn is_retryable(&self) -> bool {
        matches!(self, Self::Unavailable { .. })
    }

    pub(crate) fn of_text(fault: InvalidText, place: String) -> Self {
        match fault {
            InvalidText::Empty => Self::Empty { place },
            InvalidText::TooLarge => Self::TooLarge { place },
            InvalidText::NotText => Self::NotText { place },
        }
    }

    pub(crate) fn misconfigured(place: impl Into<String>, cause: &'static str) -> Self {
        Self::Misconfigured { place: place.into(), cause: Cause::new(cause) }
    }
}

/// What is wrong, in words of this crate, and the marks by which others know it: an error code, a status, a request id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cause {
    text: &'static str,
    marks: Box<str>,
}

impl Cause {
    pub(crate) fn new(text: &'static str) -> Self {
        Self { text, marks: Box::default() }
    }

    /// The caller has made sure that the marks are codes and numbers.
    pub(crate) fn marked(text: &'static str, marks: String) -> Self {
        Self { text, marks: marks.into() }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text)?;
        if self.marks.is_empty() { Ok(()) } else { write!(f, " ({})", self.marks) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_say_what_is_wrong_with_what() {
        let place = || "the file key".to_owned();
        for (error, text) in [
            (
                SecretError::NotFound { place: place(), cause: Cause::new("does not exist") },
                "the file key: does not exist",
            ),
            (
                SecretError::NotReadable {
                    place: place(),
                    cause: Cause::marked("cannot be read", "os error 5".to_owned()),
                },
                "the file key: cannot be read (os error 5)",
            ),
            (SecretError::of_text(InvalidText::Empty, place()), "the file key: empty"),
            (
                SecretError::of_text(InvalidText::TooLarge, place()),
                "the file key: larger than 64 KiB, which no secret is",
            ),
            (
                SecretError::of_text(InvalidText::NotText, place()),
                "the file key: no UTF-8 text; a key of raw bytes must be kept as the base64 text of them",
            ),
            (
                SecretError::Unsupported { what: "AWS KMS", feature: "kms" },
                "AWS KMS needs a build with the feature kms",
            ),
        ] {
            assert_eq!(error.to_string(), text);
            assert!(!error.is_retryable(), "{error}");
        }
    }

    #[test]
    fn what_is_unavailable_may_come_back() {
        let cause = Cause::new("throttled");
        assert!(SecretError::Unavailable { place: "it".to_owned(), cause }.is_retryable());
    }
}
