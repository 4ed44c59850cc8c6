use std::fmt;
use std::str::FromStr;

/// What becomes of a field's values.
///
/// | method | what is stored | equal values | needs a key |
/// |---|---|---|---|
/// | `hmac-sha512` | a keyed mask | equal masks | yes |
/// | `sha512` | a plain digest, reversible by trying all values | equal masks | no |
/// | `ip-prefix` | a keyed mask of the network, /24 or /48 | equal masks for one network | yes |
/// | `partial` | the last characters, behind `…` | cannot be told | no |
/// | `redact` | a constant | cannot be told | no |
/// | `drop` | nothing: NULL | cannot be told | no |
///
/// `partial` keeps a part of the value in clear: it is no mask in the sense of the others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Method {
    /// HMAC-SHA-512; see [`HmacSha512Masker`](crate::HmacSha512Masker).
    HmacSha512,
    /// SHA-512; see [`Sha512Masker`](crate::Sha512Masker).
    Sha512,
    /// Nothing is kept.
    Drop,
    /// This text is kept in the place of every value.
    Redact(Box<str>),
    /// Like [`HmacSha512`](Self::HmacSha512), of an address's network: for analyses of who shares one. What is no address is masked as
    /// a whole.
    IpPrefix,
    /// So many of the last characters are kept, at most half of them: a value that is too short for that is kept not at all.
    Partial(u8),
}

/// What is no [`Method`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MethodError {
    /// No method has this name.
    #[error("expected one of {}", Method::NAMES.join(", "))]
    Unknown,
    /// More characters than a partial mask may keep.
    #[error("partial keeps 1 to {} characters", Method::MAX_PARTIAL_CHARS)]
    PartialChars,
    /// A constant that a column could not hold, or that could be taken for a mask.
    #[error(
        "the text of redact has at most {} characters and no control characters",
        Method::MAX_REDACTED_CHARS
    )]
    RedactedText,
}

impl Method {
    /// The methods' names.
    pub const NAMES: [&str; 6] = ["hmac-sha512", "sha512", "drop", "redact", "ip-prefix", "partial"];
    /// Most characters that a partial mask keeps.
    pub const MAX_PARTIAL_CHARS: u8 = 8;
    /// Most characters of the text that stands for a redacted value.
    pub const MAX_REDACTED_CHARS: usize = 64;
    /// What stands for a redacted value by default.
    pub const REDACTED: &str = "[redacted]";
    /// How many characters a partial mask keeps by default.
    pub const PARTIAL_CHARS: u8 = 4;

    /// A method by its name, with what the methods need that keep a constant or a part.
    ///
    /// # Errors
    /// There is no such method, or it cannot work with that.
    pub fn from_name(name: &str, redacted: &str, partial_chars: u8) -> Result<Self, MethodError> {
        Ok(match name {
            "hmac-sha512" => Self::HmacSha512,
            "sha512" => Self::Sha512,
            "drop" => Self::Drop,
            "redact"
                if redacted.chars().count() > Self::MAX_REDACTED_CHARS
                    || redacted.contains(char::is_control) =>
            {
                return Err(MethodError::RedactedText);
            }
            "redact" => Self::Redact(redacted.into()),
            "ip-prefix" => Self::IpPrefix,
            "partial" if !(1..=Self::MAX_PARTIAL_CHARS).contains(&partial_chars) => {
                return Err(MethodError::PartialChars);
            }
            "partial" => Self::Partial(partial_chars),
            _ => return Err(MethodError::Unknown),
        })
    }

    /// The method's name.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::HmacSha512 => "hmac-sha512",
            Self::Sha512 => "sha512",
            Self::Drop => "drop",
            Self::Redact(_) => "redact",
            Self::IpPrefix => "ip-prefix",
            Self::Partial(_) => "partial",
        }
    }

    /// Whether its masks depend on the key, and are remade when keys are rotated.
    pub const fn is_keyed(&self) -> bool {
        matches!(self, Self::HmacSha512 | Self::IpPrefix)
    }

    /// Whether a mask stands for one value, so that the value can be found by it.
    pub const fn identifies(&self) -> bool {
        matches!(self, Self::HmacSha512 | Self::Sha512)
    }
}

/// The name, with what else decides what is stored.
impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())?;
        match self {
            Self::Partial(chars) => write!(f, ":{chars}"),
            Self::Redact(text) if **text != *Self::REDACTED => write!(f, ":{text:?}"),
            _ => Ok(()),
        }
    }
}

/// A method by its name, with the defaults of the rest.
impl FromStr for Method {
    type Err = MethodError;
    fn from_str(name: &str) -> Result<Self, MethodError> {
        Self::from_name(name, Self::REDACTED, Self::PARTIAL_CHARS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_a_method_of_that_name() {
        for name in Method::NAMES {
            assert_eq!(name.parse::<Method>().unwrap().name(), name);
        }
        assert_eq!("md5".parse::<Method>(), Err(MethodError::Unknown));
    }

    #[test]
    fn what_decides_the_stored_text_is_shown() {
        let shown = |name: &str, text: &str, chars| {
            Method::from_name(name, text, chars).map(|method| method.to_string())
        };
        assert_eq!(shown("partial", "", 4).unwrap(), "partial:4");
        assert_eq!(shown("redact", "[redacted]", 4).unwrap(), "redact");
        assert_eq!(shown("redact", "x", 4).unwrap(), "redact:\"x\"");
        assert_eq!(shown("partial", "", 0), Err(MethodError::PartialChars));
        assert_eq!(shown("partial", "", 9), Err(MethodError::PartialChars));
        assert_eq!(shown("redact", &"x".repeat(65), 4), Err(MethodError::RedactedText));
        assert_eq!(shown("redact", "a\nb", 4), Err(MethodError::RedactedText));
    }
}
