//! The keyed form, version 1.
//!
//! Every byte of it stands in the mask of every stored row: a change here is a new version with a new number, never an edit.

use std::fmt;
use std::net::IpAddr;

use fetch_etl_core::{KeyId, MaskedValue, Masker, Pii};
use hkdf::Hkdf;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha512;
use zeroize::{Zeroize, Zeroizing};

use crate::MasterKey;

/// The version of the canonical form, first byte of every message.
pub(crate) const VERSION: u8 = 1;
const TYPE_IP: u8 = 0x01;
const TYPE_TEXT: u8 = 0x02;
const TYPE_NOT_AN_IP: u8 = 0x03;
const TYPE_NETWORK: u8 = 0x04;
/// What is masked is a mask already.
const TYPE_MASK: u8 = 0x10;

/// Bits of an address that are its network, for IPv4 and IPv6: what a site is given, more or less.
const NETWORK_BITS: (u32, u32) = (24, 48);

/// The one field whose values are addresses.
const IP_FIELD: &str = "ip";

type KeyState = Hmac<Sha512>;

/// HMAC-SHA-512 with a key of its own for every domain and field, over a canonical form.
///
/// - subkey = HKDF-SHA-512(no salt, master key, info `fetch-etl/mask/v1/{domain}/{field}`), 64 bytes
/// - message = version `0x01`, a type byte, the length as big-endian `u32`, the bytes
/// - in the field `ip`, type `0x01`: the address as 16 bytes, IPv4 as IPv4-mapped IPv6, so that every spelling of one address
///   has one mask; type `0x03` with the exact text for what is no address
/// - in every other field, type `0x02`: the exact UTF-8 text
/// - of networks only ([`Method::IpPrefix`](crate::Method::IpPrefix)), type `0x04`: the same 16 bytes with all bits but the first 24 of
///   IPv4, or 48 of IPv6, zero
/// - of a mask, when keys are rotated ([`remask`](Self::remask)), type `0x10`: its 64 bytes
///
/// See the [crate's example](crate).
pub struct HmacSha512Masker {
    key_id: KeyId,
    domain: Box<str>,
    subkeys: Hkdf<Sha512>,
    fields: Vec<(Box<str>, KeyState)>,
}

/// Why a keyed masker cannot be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum MaskerError {
    /// The domain is empty, too long, or has other characters.
    #[error("a masking domain has 1 to {max} characters of a-z, A-Z, 0-9, '-', '_' and '.'", max = HmacSha512Masker::MAX_DOMAIN_CHARS)]
    InvalidDomain,
    /// 0 means that there is no key, and negative numbers mean nothing.
    #[error("the id of a masking key is a positive number")]
    InvalidKeyId,
}

impl HmacSha512Masker {
    /// Longest name of a domain.
    pub const MAX_DOMAIN_CHARS: usize = 64;

    /// A masker. The domain keeps data sets apart: the same value has unrelated masks in two domains.
    ///
    /// # Errors
    /// The domain's name or the key's id is not allowed.
    pub fn new(key: &MasterKey, key_id: KeyId, domain: &str) -> Result<Self, MaskerError> {
        // The name stands between slashes in what subkeys are derived from: without slashes of its own no two pairs of domain
        // and field can give the same text.
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
        if domain.is_empty() || domain.len() > Self::MAX_DOMAIN_CHARS || !domain.bytes().all(allowed) {
            return Err(MaskerError::InvalidDomain);
        }
        if key_id <= KeyId::UNKEYED {
            return Err(MaskerError::InvalidKeyId);
        }
        let (mut pseudorandom_key, subkeys) = Hkdf::extract(None, key.as_bytes());
        pseudorandom_key.as_mut_slice().zeroize();
        Ok(Self { key_id, domain: domain.into(), subkeys, fields: Vec::new() })
    }

    /// Prepares the keys of fields. Others work too, but derive their key anew for every value.
    #[must_use]
    pub fn with_fields<'f>(mut self, fields: impl IntoIterator<Item = &'f str>) -> Self {
        for field in fields {
            if self.prepared(field).is_none() {
                let state = self.derive(field);
                self.fields.push((field.into(), state));
            }
        }
        self
    }

    fn prepared(&self, field: &str) -> Option<&KeyState> {
        // A schema masks a handful of fields: a search in order is faster than a hash.
        self.fields.iter().find(|(name, _)| **name == *field).map(|(_, state)| state)
    }

    #[expect(
        clippy::expect_used,
        reason = "Unwrap safety: HKDF-SHA-512 gives up to 16,320 bytes, and 64 are asked for"
    )]
    fn derive(&self, field: &str) -> KeyState {
        let info = [b"fetch-etl/mask/v1/", self.domain.as_bytes(), b"/", field.as_bytes()];
        // HMAC pads a key to the hash's block with zeros; done here, because taking a whole block cannot fail.
        let mut block = Zeroizing::new([0; 128]);
        self.subkeys
            .expand_multi_info(&info, &mut block[..64])
            .expect("a subkey is one block of HKDF-SHA-512");
        KeyState::new((&*block).into())
    }
}

/// What of a value counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// All of it.
    Whole,
    /// Of an address, the network; all of what is no address.
    Network,
}

impl HmacSha512Masker {
    fn key_of(&self, field: &str) -> KeyState {
        self.prepared(field).cloned().unwrap_or_else(|| self.derive(field))
    }

    pub(crate) fn digest(&self, field: &str, form: Form, value: &Pii<str>) -> [u8; 64] {
        let mut mac = self.key_of(field);
        let text = value.expose();
        let address = (field == IP_FIELD || form == Form::Network).then(|| text.parse::<IpAddr>());
        match (address, form) {
            (Some(Ok(address)), Form::Whole) => update(&mut mac, TYPE_IP, &octets(address)),
            (Some(Ok(address)), Form::Network) => update(&mut mac, TYPE_NETWORK, &network(address)),
            (Some(Err(_)), _) => update(&mut mac, TYPE_NOT_AN_IP, text.as_bytes()),
            (None, _) => update(&mut mac, TYPE_TEXT, text.as_bytes()),
        }
        mac.finalize().into_bytes().into()
    }

    /// Masks a mask: the step of a rotation to this masker's key. Equal masks stay equal, and nothing of the value is needed.
    ///
    /// HMAC-SHA-512 of `0x01 0x10`, the length 64 as big-endian `u32`, and the old mask's 64 bytes.
    pub fn remask(&self, field: &str, mask: &[u8; 64]) -> [u8; 64] {
        let mut mac = self.key_of(field);
        update(&mut mac, TYPE_MASK, mask);
        mac.finalize().into_bytes().into()
    }
}

impl Masker for HmacSha512Masker {
    fn mask(&self, field: &str, value: &Pii<str>) -> Option<MaskedValue> {
        Some(MaskedValue::from_digest(self.digest(field, Form::Whole, value)))
    }

    fn key_id(&self) -> KeyId {
        self.key_id
    }
}

fn octets(address: IpAddr) -> [u8; 16] {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped().octets(),
        IpAddr::V6(address) => address.octets(),
    }
}

/// The network of an address, its other bits zero. IPv4 written as IPv6 is IPv4.
fn network(address: IpAddr) -> [u8; 16] {
    let (v4_bits, v6_bits) = NETWORK_BITS;
    let bits = match address.to_canonical() {
        IpAddr::V4(_) => 96 + v4_bits,
        IpAddr::V6(_) => v6_bits,
    };
    let all = u128::from_be_bytes(octets(address));
    (all & !(u128::MAX >> bits)).to_be_bytes()
}

fn update(mac: &mut KeyState, kind: u8, bytes: &[u8]) {
    // A value is part of a message of at most 1 MiB; the length of a longer one would still be determined by its bytes.
    let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
    mac.update(&[VERSION, kind]);
    mac.update(&length.to_be_bytes());
    mac.update(bytes);
}

impl fmt::Debug for HmacSha512Masker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HmacSha512Masker")
            .field("key_id", &self.key_id)
            .field("domain", &self.domain)
            .field("key", &format_args!("[key]"))
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> MasterKey {
        MasterKey::from_bytes((0..32).collect::<Vec<u8>>()).unwrap()
    }

    #[test]
    fn domains_that_could_be_confused_are_refused() {
        let longest = "d".repeat(64);
        for domain in ["default", "a", "eu-west_1.prod", &longest] {
            assert!(HmacSha512Masker::new(&key(), KeyId::new(1), domain).is_ok(), "{domain}");
        }
        let too_long = "d".repeat(65);
        for domain in ["", "a/b", "/", " default", "déjà", "a\0", "a\n", &too_long] {
            let refused = HmacSha512Masker::new(&key(), KeyId::new(1), domain);
            assert_eq!(refused.err(), Some(MaskerError::InvalidDomain), "{domain:?}");
        }
    }

    #[test]
    fn the_id_of_no_key_is_refused() {
        for id in [KeyId::UNKEYED, KeyId::new(-1), KeyId::new(i32::MIN)] {
            assert_eq!(HmacSha512Masker::new(&key(), id, "default").err(), Some(MaskerError::InvalidKeyId));
        }
    }

    #[test]
    fn a_network_has_one_mask_and_its_neighbours_have_others() {
        let masker = HmacSha512Masker::new(&key(), KeyId::new(1), "default").unwrap();
        let mask = |text: &str| masker.digest("ip", Form::Network, Pii::wrap(text));
        assert_eq!(mask("192.0.2.1"), mask("192.0.2.254"));
        assert_eq!(mask("192.0.2.1"), mask("::ffff:192.0.2.77"));
        assert_ne!(mask("192.0.2.1"), mask("192.0.3.1"));
        assert_eq!(mask("2001:db8:1::1"), mask("2001:db8:1:ffff::2"));
        assert_ne!(mask("2001:db8:1::1"), mask("2001:db8:2::1"));
        assert_ne!(mask("192.0.2.0"), masker.digest("ip", Form::Whole, Pii::wrap("192.0.2.0")));
        assert_eq!(mask("no address"), masker.digest("ip", Form::Whole, Pii::wrap("no address")));
    }

    #[test]
    fn debug_shows_no_key() {
        let masker = HmacSha512Masker::new(&key(), KeyId::new(3), "default").unwrap().with_fields(["ip"]);
        assert_eq!(
            format!("{masker:?}"),
            r#"HmacSha512Masker { key_id: KeyId(3), domain: "default", key: [key], .. }"#
        );
    }
}
