//! Wrapping a data key with RSA-OAEP-SHA-256, for keys that live in a KMS or HSM.

use std::ops::RangeInclusive;

use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::error::KeyRejected;
use aws_lc_rs::rsa::{
    OAEP_SHA256_MGF1SHA256, OaepPrivateDecryptingKey, OaepPublicEncryptingKey, PrivateDecryptingKey,
    PublicEncryptingKey,
};
use zeroize::Zeroizing;

use crate::data_key::DataKey;
use crate::{KeyError, UnwrapError};

/// Sizes that are taken.
///
/// 3072 bits are what matches the 128-bit strength of X25519 (NIST SP 800-57 part 1, table 2); 2048 bits (112-bit
/// strength) may not protect anything past 2030, and what is sealed today is kept. AWS KMS, Google Cloud KMS and
/// Azure Key Vault all offer 3072 and 4096, and nothing larger.
const BITS: RangeInclusive<usize> = 3072..=4096;

pub(crate) fn public_from_der(der: &[u8]) -> Result<PublicEncryptingKey, KeyError> {
    let key = PublicEncryptingKey::from_der(der).map_err(rejected)?;
    if !BITS.contains(&key.key_size_bits()) {
        return Err(KeyError::RsaSize);
    }
    // aws-lc takes a key with more bytes behind it. Its fingerprint would not be that of the file.
    if spki_der(&key)? == der { Ok(key) } else { Err(KeyError::MalformedDer) }
}

pub(crate) fn private_from_pkcs8(der: &[u8]) -> Result<PrivateDecryptingKey, KeyError> {
    let key = PrivateDecryptingKey::from_pkcs8(der).map_err(rejected)?;
    if BITS.contains(&key.key_size_bits()) { Ok(key) } else { Err(KeyError::RsaSize) }
}

fn rejected(error: KeyRejected) -> KeyError {
    match error.to_string().as_str() {
        "TooSmall" | "TooLarge" => KeyError::RsaSize,
        _ => KeyError::NotRsa,
    }
}

pub(crate) fn spki_der(public: &PublicEncryptingKey) -> Result<Vec<u8>, KeyError> {
    public.as_der().map(|der| der.as_ref().to_vec()).map_err(|_| KeyError::Unusable)
}

pub(crate) fn pkcs8_der(private: &PrivateDecryptingKey) -> Result<Zeroizing<Vec<u8>>, KeyError> {
    private.as_der().map(|der| Zeroizing::new(der.as_ref().to_vec())).map_err(|_| KeyError::Unusable)
}

pub(crate) fn wrap(public: &PublicEncryptingKey, key: &DataKey) -> Result<Vec<u8>, KeyError> {
    let public = OaepPublicEncryptingKey::new(public.clone()).map_err(|_| KeyError::Unusable)?;
    let mut wrapped = vec![0; public.ciphertext_size()];
    let length = public
        .encrypt(&OAEP_SHA256_MGF1SHA256, key.bytes(), &mut wrapped, None)
        .map_err(|_| KeyError::Unusable)?
        .len();
    wrapped.truncate(length);
    Ok(wrapped)
}

pub(crate) fn unwrap(private: &PrivateDecryptingKey, wrapped: &[u8]) -> Result<DataKey, UnwrapError> {
    let private = OaepPrivateDecryptingKey::new(private.clone()).map_err(|_| UnwrapError::Refused)?;
    let mut plain = Zeroizing::new(vec![0; private.min_output_size()]);
    let key = private
        .decrypt(&OAEP_SHA256_MGF1SHA256, wrapped, &mut plain, None)
        .map_err(|_| UnwrapError::Refused)?;
    DataKey::try_from(&*key)
}

#[cfg(test)]
pub(crate) mod tests {
    use std::sync::LazyLock;

    use aws_lc_rs::rsa::KeySize;

    use super::*;

    /// Made once for all tests: making one takes a good part of a second.
    pub(crate) static PRIVATE: LazyLock<PrivateDecryptingKey> =
        LazyLock::new(|| PrivateDecryptingKey::generate(KeySize::Rsa3072).unwrap());

    #[test]
    fn a_wrapped_key_opens_with_its_private_key_only() {
        let key = DataKey::generate().unwrap();
        let mut wrapped = wrap(&PRIVATE.public_key(), &key).unwrap();
        assert_eq!(wrapped.len(), 3072 / 8);
        assert_eq!(unwrap(&PRIVATE, &wrapped).unwrap().bytes(), key.bytes());

        assert!(unwrap(&PRIVATE, &wrapped[1..]).is_err());
        assert!(unwrap(&PRIVATE, &[]).is_err());
        wrapped[100] ^= 1;
        assert!(unwrap(&PRIVATE, &wrapped).is_err());
    }

    #[test]
    fn what_is_wrapped_must_have_a_data_keys_length() {
        let public = OaepPublicEncryptingKey::new(PRIVATE.public_key()).unwrap();
        let mut wrapped = vec![0; public.ciphertext_size()];
        public.encrypt(&OAEP_SHA256_MGF1SHA256, &[1; 16], &mut wrapped, None).unwrap();
        assert!(matches!(unwrap(&PRIVATE, &wrapped), Err(UnwrapError::Refused)));
    }

    #[test]
    fn sizes_outside_the_range_are_refused_and_named_so() {
        let small = PrivateDecryptingKey::generate(KeySize::Rsa2048).unwrap();
        let pkcs8 = pkcs8_der(&small).unwrap();
        assert_eq!(private_from_pkcs8(&pkcs8).unwrap_err(), KeyError::RsaSize);
        let spki = spki_der(&small.public_key()).unwrap();
        assert_eq!(public_from_der(&spki).unwrap_err(), KeyError::RsaSize);
    }

    #[test]
    fn other_bytes_are_no_rsa_key() {
        for bytes in [&b""[..], b"\x30", b"not DER"] {
            assert_eq!(public_from_der(bytes).unwrap_err(), KeyError::NotRsa);
            assert_eq!(private_from_pkcs8(bytes).unwrap_err(), KeyError::NotRsa);
        }
    }

    #[test]
    fn bytes_after_a_public_key_are_refused() {
        let mut spki = spki_der(&PRIVATE.public_key()).unwrap();
        assert!(public_from_der(&spki).is_ok());
        spki.push(0);
        assert_eq!(public_from_der(&spki).unwrap_err(), KeyError::MalformedDer);
    }
}
