//! A value as it is encrypted, and its bytes in the vault. The layout is documented at the top of the crate.

use aws_lc_rs::aead::RandomizedNonceKey;
use fetch_etl_core::{Pii, SealError};
use zeroize::Zeroizing;

use crate::OpenError;
use crate::aad::{Aad, ValueId};
use crate::current_key::encrypt_in_place;
use crate::envelope::{Encrypted, NONCE_BYTES, TAG_BYTES, VERSION, check_version};
use crate::unwrapped::decrypt;

/// What is encrypted is a multiple of this: every IP address is one block, and so is every text of up to 60 bytes.
const BLOCK_BYTES: usize = 64;

/// The value's length, before it.
const LENGTH_BYTES: usize = 4;

/// The version, before the nonce.
const VERSION_BYTES: usize = 1;

pub(super) fn seal(
    cipher: &RandomizedNonceKey,
    id: ValueId<'_>,
    value: &Pii<str>,
) -> Result<Vec<u8>, SealError> {
    const TOO_LONG: SealError = SealError("the value is longer than its length field holds");
    let value = value.expose().as_bytes();
    let length = u32::try_from(value.len()).map_err(|_| TOO_LONG)?;
    let padded = padded_len(value.len()).ok_or(TOO_LONG)?;
    let plain_at = VERSION_BYTES + NONCE_BYTES;
    let mut out = Zeroizing::new(Vec::with_capacity(plain_at + padded + TAG_BYTES));
    out.push(VERSION);
    out.extend_from_slice(&[0; NONCE_BYTES]);
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(value);
    out.resize(plain_at + padded, 0);
    encrypt_in_place(cipher, out, VERSION_BYTES, Aad::of_value(id))
}

/// Checks what can be checked without a key.
pub(super) fn parse(bytes: &[u8]) -> Result<Encrypted<'_>, OpenError> {
    check_version(bytes)?;
    Encrypted::parse(bytes.get(VERSION_BYTES..).unwrap_or_default())
}

pub(super) fn open(
    cipher: &RandomizedNonceKey,
    id: ValueId<'_>,
    encrypted: &Encrypted<'_>,
) -> Result<Pii<String>, OpenError> {
    let plain = decrypt(cipher, encrypted, Aad::of_value(id))?;
    let value = unpad(&plain).and_then(|value| str::from_utf8(value).ok()).ok_or(OpenError::NotAValue)?;
    Ok(Pii::new(value.to_owned()))
}

fn padded_len(value_len: usize) -> Option<usize> {
    value_len.checked_add(LENGTH_BYTES)?.checked_next_multiple_of(BLOCK_BYTES)
}

/// The value without its padding; `None` where that is not exactly what `seal` makes.
fn unpad(plain: &[u8]) -> Option<&[u8]> {
    let (length, rest) = plain.split_first_chunk::<LENGTH_BYTES>()?;
    let length = usize::try_from(u32::from_be_bytes(*length)).ok()?;
    let (value, padding) = rest.split_at_checked(length)?;
    let exact = padded_len(length)? == plain.len() && padding.iter().all(|&byte| byte == 0);
    exact.then_some(value)
}

#[cfg(test)]
mod tests {
    use fetch_etl_core::KeyId;
    use proptest::prelude::*;

    use super::*;
    use crate::data_key::DataKey;

    const ID: ValueId<'_> =
        ValueId { field: "ip", mask: &[1; 64], mask_key_id: KeyId::new(1), data_key_id: &[2; 16] };

    fn cipher() -> RandomizedNonceKey {
        DataKey::generate().unwrap().cipher().unwrap()
    }

    /// Encrypts this as if it were a padded value.
    fn encrypt(cipher: &RandomizedNonceKey, plain: &[u8]) -> Vec<u8> {
        let out = [&[VERSION], [0; NONCE_BYTES].as_slice(), plain].concat();
        encrypt_in_place(cipher, Zeroizing::new(out), VERSION_BYTES, Aad::of_value(ID)).unwrap()
    }

    #[test]
    fn values_of_up_to_60_bytes_have_one_length_and_longer_ones_few() {
        let cipher = cipher();
        for (length, sealed_bytes) in [(0, 93), (1, 93), (60, 93), (61, 157), (124, 157), (125, 221)] {
            let value = "x".repeat(length);
            let sealed = seal(&cipher, ID, Pii::wrap(value.as_str())).unwrap();
            assert_eq!(sealed.len(), sealed_bytes, "{length}");
            assert_eq!(sealed.capacity(), sealed.len(), "it never grew: growing leaves copies behind");
            assert_eq!(sealed[0], 1);
            let opened = open(&cipher, ID, &parse(&sealed).unwrap()).unwrap();
            assert_eq!(*opened.expose(), value);
        }
    }

    #[test]
    fn what_is_not_padded_as_by_seal_is_no_value() {
        let cipher = cipher();
        let mut good = vec![0, 0, 0, 1, b'x'];
        good.resize(64, 0);
        assert_eq!(open(&cipher, ID, &parse(&encrypt(&cipher, &good)).unwrap()).unwrap().expose(), "x");

        let changed = |at: usize, byte: u8| {
            let mut plain = good.clone();
            plain[at] = byte;
            plain
        };
        let wrong = [
            vec![],
            vec![0; 3],
            vec![0; 4],
            good[..63].to_vec(),
            [good.clone(), vec![0; 64]].concat(),
            changed(0, 0xFF),
            changed(3, 61),
            changed(3, 0),
            changed(5, 1),
            changed(63, 1),
            // No UTF-8.
            changed(4, 0xFF),
        ];
        for plain in wrong {
            let opened = open(&cipher, ID, &parse(&encrypt(&cipher, &plain)).unwrap());
            assert!(matches!(opened, Err(OpenError::NotAValue)), "{plain:?}");
        }
    }

    proptest! {
        #[test]
        fn unpadding_never_panics_and_takes_nothing_else(plain in proptest::collection::vec(0..3u8, 0..200)) {
            if let Some(value) = unpad(&plain) {
                let mut padded = u32::try_from(value.len()).unwrap().to_be_bytes().to_vec();
                padded.extend_from_slice(value);
                padded.resize(padded.len().next_multiple_of(BLOCK_BYTES), 0);
                prop_assert_eq!(padded, plain);
            }
        }
    }
}
