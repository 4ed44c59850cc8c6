use fetch_etl_core::{KeyId, MaskedValue, Masker, Pii};
use sha2::{Digest, Sha512};

/// What whoever uses [`Sha512Masker`] must be told, once, where they see it.
pub const UNKEYED_WARNING: &str = "masks made without a key can be reversed by trying all values: one GPU hashes about \
    5.4·10⁹ per second, so all IPv4 addresses take 0.8 s and all ids of the shape 000-00-0000 take 0.2 s";

/// SHA-512 over the UTF-8 text exactly as sent, whatever the field.
///
/// Deterministic, and reversible by enumeration: see [`UNKEYED_WARNING`].
///
/// ```
/// use fetch_etl_core::{KeyId, Masker, Pii};
/// use fetch_etl_mask::Sha512Masker;
///
/// let mask = Sha512Masker.mask("device_id", Pii::wrap("abc")).unwrap().to_text();
/// assert!(mask.starts_with("ddaf35a193617abacc417349ae20413112e6fa4e89a97ea2"));
/// assert_eq!(Sha512Masker.key_id(), KeyId::UNKEYED);
/// ```
#[derive(Debug, Clone, Copy, Default)]
pub struct Sha512Masker;

pub(crate) fn digest(value: &Pii<str>) -> [u8; 64] {
    Sha512::digest(value.expose()).into()
}

impl Masker for Sha512Masker {
    fn mask(&self, _field: &str, value: &Pii<str>) -> Option<MaskedValue> {
        Some(MaskedValue::from_digest(digest(value)))
    }

    fn key_id(&self) -> KeyId {
        KeyId::UNKEYED
    }
}
