//! Wrapping a data key with HPKE (RFC 9180), base mode.

use std::convert::Infallible;

use aws_lc_rs::rand;
use hpke::aead::{AeadTag, AesGcm256};
use hpke::inout::InOutBuf;
use hpke::kdf::HkdfSha256;
use hpke::kem::X25519HkdfSha256;
use hpke::rand_core::{TryCryptoRng, TryRng};
use hpke::{Deserializable, Kem, OpModeR, OpModeS, Serializable};
use zeroize::Zeroizing;

use crate::data_key::{DATA_KEY_BYTES, DataKey};
use crate::{KeyError, Purpose, UnwrapError};

pub(crate) type PublicKey = <X25519HkdfSha256 as Kem>::PublicKey;
pub(crate) type PrivateKey = <X25519HkdfSha256 as Kem>::PrivateKey;

/// Bytes of either key.
pub(crate) const KEY_BYTES: usize = 32;

const TAG_BYTES: usize = 16;

/// encapsulated key ‖ encrypted data key ‖ tag
const WRAPPED_BYTES: usize = KEY_BYTES + DATA_KEY_BYTES + TAG_BYTES;

/// The `SubjectPublicKeyInfo` of an X25519 key (RFC 8410) up to the key itself.
const SPKI_PREFIX: [u8; 12] = [0x30, 0x2A, 0x30, 0x05, 0x06, 0x03, 0x2B, 0x65, 0x6E, 0x03, 0x21, 0x00];

/// What HPKE binds the wrapped key to.
const fn info(purpose: Purpose) -> &'static [u8] {
    match purpose {
        Purpose::Quarantine => b"fetch-etl/seal/v1/quarantine",
        Purpose::Vault => b"fetch-etl/seal/v1/vault",
    }
}

pub(crate) fn generate() -> Result<PrivateKey, KeyError> {
    let mut bytes = Zeroizing::new([0; KEY_BYTES]);
    rand::fill(bytes.as_mut_slice()).map_err(|_| KeyError::NoRandomness)?;
    private_from_bytes(&bytes)
}

pub(crate) fn public_from_bytes(bytes: &[u8; KEY_BYTES]) -> Result<PublicKey, KeyError> {
    PublicKey::from_bytes(bytes).map_err(|_| KeyError::Unusable)
}

pub(crate) fn private_from_bytes(bytes: &[u8; KEY_BYTES]) -> Result<PrivateKey, KeyError> {
    PrivateKey::from_bytes(bytes).map_err(|_| KeyError::Unusable)
}

pub(crate) fn public_bytes(public: &PublicKey) -> [u8; KEY_BYTES] {
    let mut bytes = [0; KEY_BYTES];
    public.write_exact(&mut bytes);
    bytes
}

pub(crate) fn private_bytes(private: &PrivateKey) -> Zeroizing<[u8; KEY_BYTES]> {
    let mut bytes = Zeroizing::new([0; KEY_BYTES]);
    private.write_exact(bytes.as_mut_slice());
    bytes
}

pub(crate) fn public_of(private: &PrivateKey) -> PublicKey {
    X25519HkdfSha256::sk_to_pk(private)
}

pub(crate) fn spki_der(public: &PublicKey) -> Vec<u8> {
    [SPKI_PREFIX.as_slice(), &public_bytes(public)].concat()
}

/// Wraps a data key. Fails for want of randomness, and for public keys of low order.
pub(crate) fn wrap(public: &PublicKey, purpose: Purpose, key: &DataKey) -> Result<Vec<u8>, KeyError> {
    let mut rng = Drawn::draw().ok_or(KeyError::NoRandomness)?;
    let (encapped, mut context) = hpke::setup_sender_with_rng::<AesGcm256, HkdfSha256, X25519HkdfSha256>(
        &OpModeS::Base,
        public,
        info(purpose),
        &mut rng,
    )
    .map_err(|_| KeyError::Unusable)?;
    if rng.ran_short {
        return Err(KeyError::NoRandomness);
    }
    let mut encrypted = Zeroizing::new(*key.bytes());
    let tag = context
        .seal_inout_detached(InOutBuf::from(encrypted.as_mut_slice()), &[])
        .map_err(|_| KeyError::Unusable)?;
    Ok([encapped.to_bytes().as_slice(), encrypted.as_slice(), tag.to_bytes().as_slice()].concat())
}

pub(crate) fn unwrap(private: &PrivateKey, purpose: Purpose, wrapped: &[u8]) -> Result<DataKey, UnwrapError> {
    try_unwrap(private, purpose, wrapped).ok_or(UnwrapError::Refused)
}

fn try_unwrap(private: &PrivateKey, purpose: Purpose, wrapped: &[u8]) -> Option<DataKey> {
    let wrapped: &[u8; WRAPPED_BYTES] = wrapped.try_into().ok()?;
    let (encapped, rest) = wrapped.split_at_checked(KEY_BYTES)?;
    let (encrypted, tag) = rest.split_at_checked(DATA_KEY_BYTES)?;
    let encapped = <X25519HkdfSha256 as Kem>::EncappedKey::from_bytes(encapped).ok()?;
    let tag = AeadTag::from_bytes(tag).ok()?;
    let mut context = hpke::setup_receiver::<AesGcm256, HkdfSha256, X25519HkdfSha256>(
        &OpModeR::Base,
        private,
        &encapped,
        info(purpose),
    )
    .ok()?;
    let mut key = Zeroizing::new(<[u8; DATA_KEY_BYTES]>::try_from(encrypted).ok()?);
    context.open_inout_detached(InOutBuf::from(key.as_mut_slice()), &[], &tag).ok()?;
    DataKey::try_from(key.as_slice()).ok()
}

/// Randomness drawn beforehand. hpke wants a generator that cannot fail, and would panic on one that does; sealing
/// must not panic. Encapsulation takes exactly one draw of 32 bytes.
struct Drawn {
    bytes: Zeroizing<[u8; KEY_BYTES]>,
    taken: usize,
    ran_short: bool,
}

impl Drawn {
    fn draw() -> Option<Self> {
        let mut bytes = Zeroizing::new([0; KEY_BYTES]);
        rand::fill(bytes.as_mut_slice()).ok()?;
        Some(Self { bytes, taken: 0, ran_short: false })
    }

    fn take<const N: usize>(&mut self) -> [u8; N] {
        let mut bytes = [0; N];
        self.take_into(&mut bytes);
        bytes
    }

    fn take_into(&mut self, to: &mut [u8]) {
        match self.bytes.get(self.taken..).and_then(|left| left.get(..to.len())) {
            Some(drawn) => {
                to.copy_from_slice(drawn);
                self.taken += to.len();
            }
            // What was made from this is thrown away by `wrap`.
            None => self.ran_short = true,
        }
    }
}

impl TryRng for Drawn {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        Ok(u32::from_le_bytes(self.take()))
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        Ok(u64::from_le_bytes(self.take()))
    }

    fn try_fill_bytes(&mut self, to: &mut [u8]) -> Result<(), Infallible> {
        self.take_into(to);
        Ok(())
    }
}

impl TryCryptoRng for Drawn {}

#[cfg(test)]
mod tests {
    use hpke::rand_core::Rng;

    use super::*;

    #[test]
    fn a_wrapped_key_opens_with_its_private_key_for_its_purpose_only() {
        let private = generate().unwrap();
        let key = DataKey::generate().unwrap();
        let wrapped = wrap(&public_of(&private), Purpose::Quarantine, &key).unwrap();
        assert_eq!(wrapped.len(), WRAPPED_BYTES);
        assert_eq!(unwrap(&private, Purpose::Quarantine, &wrapped).unwrap().bytes(), key.bytes());

        assert!(unwrap(&private, Purpose::Vault, &wrapped).is_err());
        assert!(unwrap(&generate().unwrap(), Purpose::Quarantine, &wrapped).is_err());
        assert!(unwrap(&private, Purpose::Quarantine, &wrapped[1..]).is_err());
        assert!(unwrap(&private, Purpose::Quarantine, &[]).is_err());
    }

    #[test]
    fn wrapping_twice_gives_unrelated_bytes() {
        let public = public_of(&generate().unwrap());
        let key = DataKey::generate().unwrap();
        let (one, two) = (wrap(&public, Purpose::Quarantine, &key), wrap(&public, Purpose::Quarantine, &key));
        assert_ne!(one.unwrap()[..KEY_BYTES], two.unwrap()[..KEY_BYTES], "a fresh ephemeral key each time");
    }

    #[test]
    fn nothing_can_be_wrapped_for_a_key_of_low_order() {
        let key = DataKey::generate().unwrap();
        for low_order in [[0; 32], {
            let mut one = [0; 32];
            one[0] = 1;
            one
        }] {
            let public = public_from_bytes(&low_order).unwrap();
            assert_eq!(wrap(&public, Purpose::Quarantine, &key), Err(KeyError::Unusable));
        }
    }

    #[test]
    fn drawn_randomness_is_never_handed_out_twice_and_running_short_is_noticed() {
        let mut rng = Drawn::draw().unwrap();
        let drawn = *rng.bytes;
        let (mut first, mut second) = ([0; 16], [0; 8]);
        rng.fill_bytes(&mut first);
        rng.fill_bytes(&mut second);
        assert_eq!((first.as_slice(), second.as_slice()), (&drawn[..16], &drawn[16..24]));
        assert_eq!(rng.next_u64(), u64::from_le_bytes(drawn[24..].try_into().unwrap()));
        assert!(!rng.ran_short);
        rng.next_u32();
        assert!(rng.ran_short);
    }
}
