//! The masking plan that a configuration asks for.

use fetch_etl_mask::{KeyRing, KeyRingError, MaskPlan, PlanError};

use crate::failure::Failure;
use crate::settings::{KeySettings, KeySource, MaskingSettings};

const NEW_KEY: &str = "etl-admin keygen master makes a key";

/// Makes the plan.
///
/// # Errors
/// The key or the domain is not usable; neither is shown.
pub fn plan(settings: &MaskingSettings) -> Result<MaskPlan, Failure> {
    let ring = settings.key.as_ref().map(key_ring).transpose()?;
    let rules = settings.fields.iter().cloned();
    MaskPlan::new(ring, &settings.domain, settings.method.clone(), rules).map_err(|error| match error {
        PlanError::Masker(_) => Failure::usage(format!("masking.domain: {error}")),
        PlanError::NeedsKey { .. } | PlanError::UnusedKey | PlanError::PrefixOfPlain { .. } => {
            Failure::usage(format!("masking: {error}"))
        }
    })
}

fn key_ring(key: &KeySettings) -> Result<KeyRing, Failure> {
    KeyRing::from_text(key.text.expose()).map_err(|error: KeyRingError| {
        let place = match &key.from {
            KeySource::Value => "masking.key".to_owned(),
            KeySource::File(file) => format!("masking.key_file: {}", file.display()),
        };
        Failure::usage(format!("{place}: {error}")).hint(NEW_KEY)
    })
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use fetch_etl_core::{KeyId, Masker as _, Pii};
    use fetch_etl_mask::Method;

    use super::*;
    use crate::settings::Secret;

    const KEY: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";

    fn keyed(key: &str, from: KeySource, domain: &str) -> MaskingSettings {
        let key = KeySettings { text: Secret::new(key), from };
        MaskingSettings::of(Method::HmacSha512, Some(key), domain)
    }

    #[test]
    fn what_is_wrong_with_a_key_is_said_with_its_place_and_without_it() {
        let file = || KeySource::File(PathBuf::from("/run/key"));
        let failure = |key, from, domain| plan(&keyed(key, from, domain)).unwrap_err().to_string();
        for (said, expected) in [
            (failure("hunter2!", KeySource::Value, "default"), "masking.key: the key is not base64"),
            (
                failure("aHVudGVyMg==", file(), "default"),
                "masking.key_file: /run/key: the key has 7 bytes, of at least 32",
            ),
            (
                failure("1:aHVudGVyMg==", file(), "default"),
                "masking.key_file: /run/key: line 1: the key has 7 bytes, of at least 32",
            ),
        ] {
            assert_eq!(said, expected);
        }
        assert!(failure(KEY, KeySource::Value, "a/b").starts_with("masking.domain: "));
    }

    #[test]
    fn the_method_decides_the_masks_and_the_key_id() {
        let plain = plan(&MaskingSettings::of(Method::Sha512, None, "default")).unwrap();
        let keyed = plan(&keyed(KEY, KeySource::Value, "default")).unwrap();
        assert_eq!((plain.newest(), keyed.newest()), (KeyId::UNKEYED, KeyId::new(1)));
        let value = Pii::wrap("203.0.113.7");
        let mask = |plan: &MaskPlan| plan.masker(plan.newest()).unwrap().mask("ip", value);
        assert_ne!(mask(&plain), mask(&keyed));
    }
}
