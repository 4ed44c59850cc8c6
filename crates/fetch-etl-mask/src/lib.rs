//! Maskers: deterministic, so that duplicates stay identifiable.
//!
//! - [`HmacSha512Masker`] — keyed, and the one to use: without the key nobody can try values.
//! - [`Sha512Masker`] — plain SHA-512, for those whose rows hold such masks already. Read [`UNKEYED_WARNING`] first.
//!
//! Both make 128 lower-case hexadecimal characters. [`MaskPlan`] is what a fleet agrees on: a [`Method`] for each field, one of these
//! or one that keeps less, and a [`KeyRing`], whose keys follow one another; it makes the [`FieldMasker`].
//!
//! ```text
//!  Pii "2001:DB8::0:1" ─▶ one spelling ─▶ "2001:db8::1" ─▶ HMAC-SHA-512 ─▶ 128 hexadecimal characters, and the key's id
//!                         of the field                       ▲
//!                         (canonical)       master key ─HKDF─┘ one key for each field
//! ```
//!
//! ```
//! use fetch_etl_core::{KeyId, Masker, Pii};
//! use fetch_etl_mask::{HmacSha512Masker, MasterKey};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! // 32 random bytes; here so few of them are random that it is good for an example only.
//! let key = MasterKey::from_base64("AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\n")?;
//! let masker = HmacSha512Masker::new(&key, KeyId::new(1), "default")?.with_fields(["ip", "device_id"]);
//!
//! let mask = |field, value: &str| masker.mask(field, Pii::wrap(value)).unwrap().to_text();
//! assert_eq!(&mask("ip", "199.172.111.135")[..16], "656adf78a267fda7");
//! // Every spelling of an address has one mask,
//! assert_eq!(mask("ip", "2001:DB8:0:0:0:0:0:1"), mask("ip", "2001:db8::1"));
//! // and the same text in another field an unrelated one.
//! assert_ne!(mask("device_id", "2001:db8::1"), mask("ip", "2001:db8::1"));
//! # Ok(()) }
//! ```

mod field_masker;
mod hmac_sha512;
mod key;
mod key_ring;
mod method;
mod plan;
mod remasker;
mod sha512;

pub use field_masker::FieldMasker;
pub use hmac_sha512::{HmacSha512Masker, MaskerError};
pub use key::{MasterKey, MasterKeyError};
pub use key_ring::{KeyRing, KeyRingError};
pub use method::{Method, MethodError};
pub use plan::{MaskPlan, PlanError};
pub use remasker::{NotAMask, Remasker};
pub use sha512::{Sha512Masker, UNKEYED_WARNING};
