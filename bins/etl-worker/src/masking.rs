//! The masker that a configuration asks for.

use std::sync::Arc;

use fetch_etl_core::{KeyId, Masker};
use fetch_etl_mask::{HmacSha512Masker, MasterKey, MasterKeyError, Sha512Masker};

use crate::failure::Failure;
use crate::settings::{KeySource, MaskingSettings, Secret};

/// The id of the configured key, beside every row: there is one key so far, and 0 means that there is none.
const KEY_ID: KeyId = KeyId::new(1);

/// The fields that are masked.
const FIELDS: [&str; 2] = ["ip", "device_id"];

const NEW_KEY: &str = "openssl rand -base64 32 makes a key";

/// Makes the masker.
///
/// # Errors
/// The key or the domain is not usable; neither is shown.
pub fn build(settings: &MaskingSettings) -> Result<Arc<dyn Masker>, Failure> {
    let MaskingSettings::HmacSha512 { key, key_from, domain } = settings else {
        return Ok(Arc::new(Sha512Masker));
    };
    let key = master_key(key).map_err(|error| match key_from {
        KeySource::Value => Failure::usage(format!("masking.key: {error}")).hint(NEW_KEY),
        KeySource::File(file) => {
            Failure::usage(format!("masking.key_file: {}: {error}", file.display())).hint(NEW_KEY)
        }
    })?;
    let masker = HmacSha512Masker::new(&key, KEY_ID, domain)
        .map_err(|error| Failure::usage(format!("masking.domain: {error}")))?;
    Ok(Arc::new(masker.with_fields(FIELDS)))
}

fn master_key(key: &Secret) -> Result<MasterKey, MasterKeyError> {
    MasterKey::from_base64(key.expose())
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    fn failure(key: &str, key_from: KeySource, domain: &str) -> String {
        let settings =
            MaskingSettings::HmacSha512 { key: Secret::new(key), key_from, domain: domain.to_owned() };
        build(&settings).map(|_| ()).unwrap_err().to_string()
    }

    #[test]
    fn what_is_wrong_with_a_key_is_said_with_its_place_and_without_it() {
        let file = || KeySource::File(PathBuf::from("/run/key"));
        for (said, expected) in [
            (failure("hunter2!", KeySource::Value, "default"), "masking.key: the key is not base64"),
            (
                failure("aHVudGVyMg==", file(), "default"),
                "masking.key_file: /run/key: the key has 7 bytes, of at least 32",
            ),
        ] {
            assert_eq!(said, expected);
        }
        let key = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
        assert!(failure(key, KeySource::Value, "a/b").starts_with("masking.domain: "));
    }

    #[test]
    fn the_method_decides_the_masks_and_the_key_id() {
        let plain = build(&MaskingSettings::Sha512).unwrap();
        let key = Secret::new("AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=");
        let keyed =
            MaskingSettings::HmacSha512 { key, key_from: KeySource::Value, domain: "default".to_owned() };
        let keyed = build(&keyed).unwrap();
        assert_eq!((plain.key_id().get(), keyed.key_id().get()), (0, 1));
        let value = fetch_etl_core::Pii::wrap("203.0.113.7");
        assert_ne!(plain.mask("ip", value), keyed.mask("ip", value));
    }
}
