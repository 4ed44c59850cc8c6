//! X25519 keys as one line of text: `fetch-etl-recipient-v1:x25519:BASE64`.
//!
//! BASE64 is 48 characters: the 32 bytes of the key and the first 4 of SHA-256 over everything before it (prefix,
//! type and both colons) and the key. So a typing error, and a private key with a public key's prefix, are found.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

use crate::KeyError;
use crate::digest::sha256_start;
use crate::hpke_x25519::KEY_BYTES;

const CHECKSUM_BYTES: usize = 4;
const PAYLOAD_BYTES: usize = KEY_BYTES + CHECKSUM_BYTES;
const PAYLOAD_CHARS: usize = PAYLOAD_BYTES / 3 * 4;
const X25519: &str = "x25519";

/// Which half of a key pair a text holds.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Half {
    Public,
    Private,
}

impl Half {
    /// The prefix without its version number.
    const fn family(self) -> &'static str {
        match self {
            Self::Public => "fetch-etl-recipient-v",
            Self::Private => "fetch-etl-private-v",
        }
    }

    const fn other(self) -> Self {
        match self {
            Self::Public => Self::Private,
            Self::Private => Self::Public,
        }
    }

    /// What to say when this half was wanted, and the other one came.
    pub(crate) const fn mixed_up(self) -> KeyError {
        match self {
            Self::Public => KeyError::PrivateInsteadOfPublic,
            Self::Private => KeyError::PublicInsteadOfPrivate,
        }
    }

    fn label(self) -> String {
        format!("{}1:{X25519}:", self.family())
    }
}

fn checksum(label: &str, key: &[u8; KEY_BYTES]) -> [u8; CHECKSUM_BYTES] {
    let mut input = Zeroizing::new(Vec::with_capacity(label.len() + KEY_BYTES));
    input.extend_from_slice(label.as_bytes());
    input.extend_from_slice(key);
    sha256_start(&input)
}

pub(crate) fn encode(half: Half, key: &[u8; KEY_BYTES]) -> Zeroizing<String> {
    let label = half.label();
    let mut payload = Zeroizing::new([0; PAYLOAD_BYTES]);
    let (key_part, sum_part) = payload.split_at_mut(KEY_BYTES);
    key_part.copy_from_slice(key);
    sum_part.copy_from_slice(&checksum(&label, key));
    // Room for all of it at once: a string that grows leaves copies behind.
    let mut text = Zeroizing::new(String::with_capacity(label.len() + PAYLOAD_CHARS));
    text.push_str(&label);
    STANDARD.encode_string(payload.as_slice(), &mut text);
    text
}

/// Reads one half; the error says if it is the other one.
pub(crate) fn decode(half: Half, text: &str) -> Result<Zeroizing<[u8; KEY_BYTES]>, KeyError> {
    let (prefix, rest) = text.split_once(':').unwrap_or((text, ""));
    if prefix.starts_with(half.other().family()) {
        return Err(half.mixed_up());
    }
    let version = prefix.strip_prefix(half.family()).ok_or(KeyError::NotAKey)?;
    if version != "1" {
        return Err(if version.is_empty() { KeyError::Truncated } else { KeyError::UnknownVersion });
    }
    let (kind, payload) = rest.split_once(':').ok_or(KeyError::Truncated)?;
    if kind != X25519 {
        return Err(KeyError::UnknownType);
    }
    let payload = decode_payload(payload)?;
    let mut key = Zeroizing::new([0; KEY_BYTES]);
    let (key_part, sum_part) = payload.split_at(KEY_BYTES);
    key.copy_from_slice(key_part);
    if checksum(&half.label(), &key) != sum_part { Err(KeyError::WrongChecksum) } else { Ok(key) }
}

fn decode_payload(text: &str) -> Result<Zeroizing<[u8; PAYLOAD_BYTES]>, KeyError> {
    if !text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'+' || b == b'/') {
        return Err(KeyError::NotBase64);
    }
    if text.len() != PAYLOAD_CHARS {
        return Err(if text.len() < PAYLOAD_CHARS { KeyError::Truncated } else { KeyError::TooLong });
    }
    let mut payload = Zeroizing::new([0; PAYLOAD_BYTES]);
    match STANDARD.decode_slice(text, payload.as_mut_slice()) {
        Ok(PAYLOAD_BYTES) => Ok(payload),
        // base64's error holds the offending byte: it stays here.
        _ => Err(KeyError::NotBase64),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: [u8; 32] = [0xA5; 32];

    #[test]
    fn both_halves_read_back_and_are_one_line() {
        for half in [Half::Public, Half::Private] {
            let text = encode(half, &KEY);
            assert_eq!(text.len(), half.label().len() + PAYLOAD_CHARS);
            assert!(text.is_ascii() && !text.contains(char::is_whitespace));
            assert_eq!(*decode(half, &text).unwrap(), KEY);
        }
        assert!(encode(Half::Public, &KEY).starts_with("fetch-etl-recipient-v1:x25519:"));
        assert!(encode(Half::Private, &KEY).starts_with("fetch-etl-private-v1:x25519:"));
    }

    #[test]
    fn every_changed_character_is_found() {
        let text = encode(Half::Public, &KEY);
        for at in 0..text.len() {
            for other in ['A', '0', 'z', ':', '=', 'ä'] {
                let mut changed: Vec<char> = text.chars().collect();
                if changed[at] == other {
                    continue;
                }
                changed[at] = other;
                let changed: String = changed.into_iter().collect();
                assert!(decode(Half::Public, &changed).is_err(), "{changed}");
            }
        }
    }

    #[test]
    fn every_cut_is_found() {
        let text = encode(Half::Private, &KEY);
        for length in 0..text.len() {
            let error = decode(Half::Private, &text[..length]).unwrap_err();
            let in_prefix = length < Half::Private.family().len();
            assert_eq!(error, if in_prefix { KeyError::NotAKey } else { KeyError::Truncated }, "{length}");
        }
    }

    #[test]
    fn errors_name_what_is_wrong() {
        let (public, private) = (encode(Half::Public, &KEY), encode(Half::Private, &KEY));
        assert_eq!(decode(Half::Public, &private).unwrap_err(), KeyError::PrivateInsteadOfPublic);
        assert_eq!(decode(Half::Private, &public).unwrap_err(), KeyError::PublicInsteadOfPrivate);
        let relabelled = private.replace("private", "recipient");
        assert_eq!(decode(Half::Public, &relabelled).unwrap_err(), KeyError::WrongChecksum);
        for (from, to, error) in [
            ("-v1", "-v2", KeyError::UnknownVersion),
            ("x25519", "x448", KeyError::UnknownType),
            ("fetch-etl", "age", KeyError::NotAKey),
        ] {
            assert_eq!(decode(Half::Public, &public.replace(from, to)).unwrap_err(), error);
        }
        assert_eq!(decode(Half::Public, &format!("{}A", *public)).unwrap_err(), KeyError::TooLong);
    }
}
