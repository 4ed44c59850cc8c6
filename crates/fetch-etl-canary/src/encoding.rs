//! The ways in which a value can be written.

use std::fmt;
use std::net::IpAddr;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use sha2::Digest as _;

use crate::address;

/// No needle is shorter, in bytes.
pub const MIN_NEEDLE: usize = 8;

/// How many bytes of a text are looked for.
pub const TEXT_BYTES: usize = 12;

/// How many bytes of a digest are looked for.
pub const DIGEST_BYTES: usize = 8;

/// How a value was written where it was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Encoding {
    /// What was written.
    pub form: Form,
    /// In which characters.
    pub writing: Writing,
}

impl fmt::Display for Encoding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, {}", self.form, self.writing)
    }
}

/// What of a value is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Form {
    /// As it was sent.
    AsSent,
    /// An address in its canonical spelling (RFC 5952).
    Canonical,
    /// An address in upper case.
    UpperCase,
    /// An address in eight groups of four digits.
    Expanded,
    /// The same in upper case.
    ExpandedUpperCase,
    /// The IPv4 address in an IPv4-mapped one.
    Dotted,
    /// An address as 16 bytes.
    Bytes,
    /// A digest, without salt, of the value as it was sent.
    Digest(Algorithm),
    /// A digest of the canonical spelling.
    DigestOfCanonical(Algorithm),
    /// A digest of the 16 bytes.
    DigestOfBytes(Algorithm),
}

impl fmt::Display for Form {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AsSent => f.write_str("as it was sent"),
            Self::Canonical => f.write_str("canonical spelling"),
            Self::UpperCase => f.write_str("upper case"),
            Self::Expanded => f.write_str("expanded"),
            Self::ExpandedUpperCase => f.write_str("expanded upper case"),
            Self::Dotted => f.write_str("IPv4 inside"),
            Self::Bytes => f.write_str("16 bytes"),
            Self::Digest(algorithm) => write!(f, "{algorithm}"),
            Self::DigestOfCanonical(algorithm) => write!(f, "{algorithm} of the canonical spelling"),
            Self::DigestOfBytes(algorithm) => write!(f, "{algorithm} of the 16 bytes"),
        }
    }
}

/// A hash function without a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Algorithm {
    /// MD5.
    Md5,
    /// SHA-1.
    Sha1,
    /// SHA-256.
    Sha256,
    /// SHA-512.
    Sha512,
}

impl Algorithm {
    const ALL: [Self; 4] = [Self::Md5, Self::Sha1, Self::Sha256, Self::Sha512];

    fn digest(self, bytes: &[u8]) -> Vec<u8> {
        match self {
            Self::Md5 => md5::Md5::digest(bytes).to_vec(),
            Self::Sha1 => sha1::Sha1::digest(bytes).to_vec(),
            Self::Sha256 => sha2::Sha256::digest(bytes).to_vec(),
            Self::Sha512 => sha2::Sha512::digest(bytes).to_vec(),
        }
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Md5 => "MD5",
            Self::Sha1 => "SHA-1",
            Self::Sha256 => "SHA-256",
            Self::Sha512 => "SHA-512",
        })
    }
}

/// The characters that something is written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Writing {
    /// As it is.
    Raw,
    /// As a JSON string with what has to be escaped, and no more.
    JsonEscaped,
    /// As a JSON string with `\u00XX` for each character, hex digits in lower case.
    JsonUnicode,
    /// The same in upper case.
    JsonUnicodeUpper,
    /// Hexadecimal, lower case.
    Hex,
    /// Hexadecimal, upper case.
    HexUpper,
    /// Base64, behind this many bytes of something else, modulo 3.
    Base64(u8),
    /// Base64 with the alphabet for URLs, likewise.
    Base64Url(u8),
    /// Percent-encoding of what has to be.
    Percent,
    /// Percent-encoding of each byte, hex digits in upper case.
    PercentAll,
    /// The same in lower case.
    PercentAllLower,
}

impl Writing {
    const FOR_TEXT: [Self; 15] = [
        Self::Raw,
        Self::JsonEscaped,
        Self::JsonUnicode,
        Self::JsonUnicodeUpper,
        Self::Hex,
        Self::HexUpper,
        Self::Base64(0),
        Self::Base64(1),
        Self::Base64(2),
        Self::Base64Url(0),
        Self::Base64Url(1),
        Self::Base64Url(2),
        Self::Percent,
        Self::PercentAll,
        Self::PercentAllLower,
    ];
    const FOR_BYTES: [Self; 9] = [
        Self::Raw,
        Self::Hex,
        Self::HexUpper,
        Self::Base64(0),
        Self::Base64(1),
        Self::Base64(2),
        Self::Base64Url(0),
        Self::Base64Url(1),
        Self::Base64Url(2),
    ];
    const FOR_DIGESTS: [Self; 5] =
        [Self::Raw, Self::Hex, Self::HexUpper, Self::Base64(0), Self::Base64Url(0)];

    /// What stands in a stream for certain, whatever comes before and after it.
    fn needle(self, source: &Source) -> Vec<u8> {
        let bytes = source.beginning();
        match self {
            Self::Base64(before) => base64_inside(&STANDARD_NO_PAD, bytes, before),
            Self::Base64Url(before) => base64_inside(&URL_SAFE_NO_PAD, bytes, before),
            _ => self.write(bytes),
        }
    }

    /// All of it, as somebody would write it.
    fn write(self, bytes: &[u8]) -> Vec<u8> {
        match self {
            Self::Raw => bytes.to_vec(),
            Self::JsonEscaped => json(bytes, |c| match c {
                '"' | '\\' => format!("\\{c}"),
                c if c.is_control() => format!("\\u{:04x}", u32::from(c)),
                c => c.to_string(),
            }),
            Self::JsonUnicode => json(bytes, |c| format!("\\u{:04x}", u32::from(c))),
            Self::JsonUnicodeUpper => json(bytes, |c| format!("\\u{:04X}", u32::from(c))),
            Self::Hex => hex::encode(bytes).into_bytes(),
            Self::HexUpper => hex::encode_upper(bytes).into_bytes(),
            Self::Base64(before) => STANDARD_NO_PAD.encode(behind(bytes, before)).into_bytes(),
            Self::Base64Url(before) => URL_SAFE_NO_PAD.encode(behind(bytes, before)).into_bytes(),
            Self::Percent => percent(bytes, |byte| match byte {
                b'-' | b'.' | b'_' | b'~' => char::from(byte).to_string(),
                byte if byte.is_ascii_alphanumeric() => char::from(byte).to_string(),
                byte => format!("%{byte:02X}"),
            }),
            Self::PercentAll => percent(bytes, |byte| format!("%{byte:02X}")),
            Self::PercentAllLower => percent(bytes, |byte| format!("%{byte:02x}")),
        }
    }
}

impl fmt::Display for Writing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Raw => f.write_str("raw"),
            Self::JsonEscaped => f.write_str("JSON-escaped"),
            Self::JsonUnicode => f.write_str("JSON \\u00xx"),
            Self::JsonUnicodeUpper => f.write_str("JSON \\u00XX"),
            Self::Hex => f.write_str("hex"),
            Self::HexUpper => f.write_str("hex in upper case"),
            Self::Base64(before) => write!(f, "base64 at offset {before}"),
            Self::Base64Url(before) => write!(f, "URL-safe base64 at offset {before}"),
            Self::Percent => f.write_str("percent-encoded"),
            Self::PercentAll => f.write_str("percent-encoded byte by byte"),
            Self::PercentAllLower => f.write_str("percent-encoded byte by byte in lower case"),
        }
    }
}

fn json(bytes: &[u8], escape: impl Fn(char) -> String) -> Vec<u8> {
    String::from_utf8_lossy(bytes).chars().map(escape).collect::<String>().into_bytes()
}

fn percent(bytes: &[u8], escape: impl Fn(u8) -> String) -> Vec<u8> {
    bytes.iter().map(|&byte| escape(byte)).collect::<String>().into_bytes()
}

fn behind(bytes: &[u8], before: u8) -> Vec<u8> {
    let mut all = vec![b'x'; usize::from(before)];
    all.extend_from_slice(bytes);
    all
}

/// The characters of a base64 text that depend on these bytes alone, and neither on those before nor on those behind.
fn base64_inside(engine: &impl base64::Engine, bytes: &[u8], before: u8) -> Vec<u8> {
    let before = usize::from(before);
    let whole = engine.encode(behind(bytes, before as u8)).into_bytes();
    let first = (before * 8).div_ceil(6);
    let end = (before + bytes.len()) * 8 / 6;
    whole[first..end].to_vec()
}

/// Bytes that may be written in several ways.
pub(crate) struct Source {
    form: Form,
    bytes: Vec<u8>,
    /// How many of them are looked for.
    telling: usize,
}

impl Source {
    /// All forms of a value.
    pub(crate) fn of(value: &str, with_digests: bool) -> Vec<Self> {
        let mut forms = Forms { sources: Vec::new(), telling: TEXT_BYTES };
        let Ok(address) = value.parse::<IpAddr>() else {
            forms.add(Form::AsSent, value);
            if with_digests {
                forms.digests(Form::Digest, value.as_bytes());
            }
            return forms.sources;
        };
        forms.telling = address::telling_bytes(address);
        let canonical = address.to_string();
        let expanded = address::expanded(address);
        forms.add(Form::AsSent, value);
        forms.add(Form::Canonical, &canonical);
        forms.add(Form::UpperCase, &canonical.to_uppercase());
        forms.add(Form::Expanded, &expanded);
        forms.add(Form::ExpandedUpperCase, &expanded.to_uppercase());
        if let Some(dotted) = address::dotted(address) {
            forms.add(Form::Dotted, &dotted);
        }
        let bytes = address::bytes(address);
        let telling = if address::dotted(address).is_some() { bytes.len() } else { DIGEST_BYTES };
        forms.sources.push(Self { form: Form::Bytes, bytes: bytes.to_vec(), telling });
        if with_digests {
            forms.digests(Form::Digest, value.as_bytes());
            forms.digests(Form::DigestOfCanonical, canonical.as_bytes());
            forms.digests(Form::DigestOfBytes, &bytes);
        }
        forms.sources
    }

    /// What to look for, once for each way of writing that differs from the ones before.
    pub(crate) fn needles(&self) -> impl Iterator<Item = (Encoding, Vec<u8>)> + '_ {
        let writings: &[Writing] = match self.form {
            Form::Bytes => &Writing::FOR_BYTES,
            Form::Digest(_) | Form::DigestOfCanonical(_) | Form::DigestOfBytes(_) => &Writing::FOR_DIGESTS,
            _ => &Writing::FOR_TEXT,
        };
        writings
            .iter()
            .map(|&writing| (Encoding { form: self.form, writing }, writing.needle(self)))
            .filter(|(_, needle)| needle.len() >= MIN_NEEDLE)
    }

    /// The whole value, written like that.
    pub(crate) fn write(&self, writing: Writing) -> Vec<u8> {
        writing.write(&self.bytes)
    }

    fn beginning(&self) -> &[u8] {
        let mut end = self.telling.min(self.bytes.len());
        // Not within a character: half of one has no escape.
        while end < self.bytes.len() && self.is_text() && self.bytes[end] & 0xc0 == 0x80 {
            end -= 1;
        }
        &self.bytes[..end]
    }

    fn is_text(&self) -> bool {
        !matches!(
            self.form,
            Form::Bytes | Form::Digest(_) | Form::DigestOfCanonical(_) | Form::DigestOfBytes(_)
        )
    }
}

struct Forms {
    sources: Vec<Source>,
    telling: usize,
}

impl Forms {
    fn add(&mut self, form: Form, text: &str) {
        if self.sources.iter().all(|known| known.bytes != text.as_bytes()) {
            self.sources.push(Source { form, bytes: text.as_bytes().to_vec(), telling: self.telling });
        }
    }

    fn digests(&mut self, form: fn(Algorithm) -> Form, bytes: &[u8]) {
        for algorithm in Algorithm::ALL {
            let digest = algorithm.digest(bytes);
            if self.sources.iter().all(|known| known.bytes != digest) {
                self.sources.push(Source { form: form(algorithm), bytes: digest, telling: DIGEST_BYTES });
            }
        }
    }
}
