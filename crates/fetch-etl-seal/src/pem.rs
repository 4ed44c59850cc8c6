//! PEM: reading through rustls-pki-types (whose decoding of private keys takes constant time), and writing.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rustls_pki_types::pem::{Error, PemObject, SectionKind};
use zeroize::Zeroizing;

use crate::KeyError;
use crate::text::Half;

const PUBLIC: &str = "PUBLIC KEY";
const PRIVATE: &str = "PRIVATE KEY";
const LINE_CHARS: usize = 64;

/// How PEM starts; there may be comments before it.
pub(crate) fn is_pem(text: &str) -> bool {
    text.contains("-----BEGIN ")
}

/// The DER of the half that is wanted; the error says if it is the other one, or a form that is not read.
pub(crate) fn decode(half: Half, text: &str) -> Result<Zeroizing<Vec<u8>>, KeyError> {
    let mut wanted = None;
    let mut problem = unread_form(half, text);
    for section in <(SectionKind, Vec<u8>)>::pem_slice_iter(text.as_bytes()) {
        let (kind, der) = section.map_err(malformed)?;
        let der = Zeroizing::new(der);
        match (kind, half) {
            (SectionKind::PublicKey, Half::Public) | (SectionKind::PrivateKey, Half::Private) => {
                wanted.get_or_insert(der);
            }
            // A private key does not belong beside the public one that a worker gets.
            (
                SectionKind::PrivateKey | SectionKind::RsaPrivateKey | SectionKind::EcPrivateKey,
                Half::Public,
            ) => {
                return Err(half.mixed_up());
            }
            (SectionKind::PublicKey, Half::Private) => problem = problem.or(Some(half.mixed_up())),
            (SectionKind::RsaPrivateKey, Half::Private) => problem = Some(KeyError::Pkcs1),
            _ => (),
        }
    }
    wanted.ok_or(problem.unwrap_or(KeyError::WrongPemSection))
}

/// Forms that the reader below skips, because it does not know their names.
fn unread_form(half: Half, text: &str) -> Option<KeyError> {
    let has = |name: &str| text.contains(&format!("-----BEGIN {name}-----"));
    match half {
        Half::Public if has("ENCRYPTED PRIVATE KEY") => Some(half.mixed_up()),
        Half::Public if has("RSA PUBLIC KEY") => Some(KeyError::Pkcs1),
        Half::Private if has("ENCRYPTED PRIVATE KEY") => Some(KeyError::Encrypted),
        Half::Private if has("RSA PUBLIC KEY") => Some(half.mixed_up()),
        _ => None,
    }
}

/// The reader's errors quote what they read: none of that goes on.
fn malformed(error: Error) -> KeyError {
    match error {
        Error::MissingSectionEnd { .. } => KeyError::Truncated,
        _ => KeyError::MalformedPem,
    }
}

pub(crate) fn encode(half: Half, der: &[u8]) -> Zeroizing<String> {
    let name = match half {
        Half::Public => PUBLIC,
        Half::Private => PRIVATE,
    };
    let body = Zeroizing::new(STANDARD.encode(der));
    // Room for all of it at once: a string that grows leaves copies behind.
    let room = body.len() + body.len() / LINE_CHARS + 2 * (name.len() + 20);
    let mut text = Zeroizing::new(String::with_capacity(room));
    text.push_str("-----BEGIN ");
    text.push_str(name);
    text.push_str("-----\n");
    let mut rest = body.as_str();
    while !rest.is_empty() {
        let (line, after) = rest.split_at_checked(LINE_CHARS).unwrap_or((rest, ""));
        text.push_str(line);
        text.push('\n');
        rest = after;
    }
    text.push_str("-----END ");
    text.push_str(name);
    text.push_str("-----\n");
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_halves_read_back_at_every_length_of_the_last_line() {
        for length in 1..200 {
            let der: Vec<u8> = (0..length).collect();
            for half in [Half::Public, Half::Private] {
                let text = encode(half, &der);
                assert!(text.lines().all(|line| line.len() <= LINE_CHARS), "{}", *text);
                assert_eq!(*decode(half, &text).unwrap(), der);
            }
        }
    }

    #[test]
    fn the_string_never_grows() {
        for length in [1, 48, 49, 300, 1800] {
            let text = encode(Half::Private, &vec![0; length]);
            let room = Zeroizing::new(STANDARD.encode(vec![0; length])).len();
            assert!(text.capacity() <= room + room / LINE_CHARS + 2 * (PRIVATE.len() + 20));
        }
    }

    #[test]
    fn errors_name_what_is_wrong() {
        let section = |name: &str| format!("-----BEGIN {name}-----\nAAAA\n-----END {name}-----\n");
        for (half, name, error) in [
            (Half::Public, "PRIVATE KEY", KeyError::PrivateInsteadOfPublic),
            (Half::Public, "RSA PRIVATE KEY", KeyError::PrivateInsteadOfPublic),
            (Half::Public, "EC PRIVATE KEY", KeyError::PrivateInsteadOfPublic),
            (Half::Public, "ENCRYPTED PRIVATE KEY", KeyError::PrivateInsteadOfPublic),
            (Half::Public, "RSA PUBLIC KEY", KeyError::Pkcs1),
            (Half::Public, "CERTIFICATE", KeyError::WrongPemSection),
            (Half::Private, "PUBLIC KEY", KeyError::PublicInsteadOfPrivate),
            (Half::Private, "RSA PUBLIC KEY", KeyError::PublicInsteadOfPrivate),
            (Half::Private, "RSA PRIVATE KEY", KeyError::Pkcs1),
            (Half::Private, "ENCRYPTED PRIVATE KEY", KeyError::Encrypted),
            (Half::Private, "EC PRIVATE KEY", KeyError::WrongPemSection),
        ] {
            assert_eq!(decode(half, &section(name)).unwrap_err(), error, "{name}");
        }
        let cut = "-----BEGIN PUBLIC KEY-----\nAAAA\n";
        assert_eq!(decode(Half::Public, cut).unwrap_err(), KeyError::Truncated);
        let broken = "-----BEGIN PUBLIC KEY-----\nA*AA\n-----END PUBLIC KEY-----\n";
        assert_eq!(decode(Half::Public, broken).unwrap_err(), KeyError::MalformedPem);
    }

    #[test]
    fn a_file_with_both_halves_gives_the_private_one_and_never_the_public_one() {
        let both = format!("{}{}", *encode(Half::Public, &[1, 2, 3]), *encode(Half::Private, &[4, 5, 6]));
        assert_eq!(*decode(Half::Private, &both).unwrap(), [4, 5, 6]);
        assert_eq!(decode(Half::Public, &both).unwrap_err(), KeyError::PrivateInsteadOfPublic);
    }
}
