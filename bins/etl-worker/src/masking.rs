//! The masking plan that a configuration asks for.

use fetch_etl_mask::{KeyRing, MaskPlan, PlanError};

use crate::failure::Failure;
use crate::secrets;
use crate::settings::{KeyPlace, MaskingSettings};

const NEW_KEY: &str = "etl-admin keygen master makes a key";

/// Makes the plan; fetches the key, where there is one.
///
/// # Errors
/// The key cannot be had, or the key or the domain is not usable; neither is shown.
pub async fn plan(settings: &MaskingSettings) -> Result<MaskPlan, Failure> {
    let ring = match &settings.key {
        Some(place) => Some(key_ring(place).await?),
        None => None,
    };
    let rules = settings.fields.iter().cloned();
    MaskPlan::new(ring, &settings.domain, settings.method.clone(), rules).map_err(|error| match error {
        PlanError::Masker(_) => Failure::usage(format!("masking.domain: {error}")),
        PlanError::NeedsKey { .. } | PlanError::UnusedKey | PlanError::PrefixOfPlain { .. } => {
            Failure::usage(format!("masking: {error}"))
        }
    })
}

async fn key_ring(place: &KeyPlace) -> Result<KeyRing, Failure> {
    let text = secrets::masking_key(place).await?;
    KeyRing::from_text(text.expose())
        .map_err(|error| Failure::usage(format!("{}: {error}", place.words())).hint(NEW_KEY))
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use fetch_etl_core::{KeyId, Masker as _, Pii};
    use fetch_etl_mask::Method;

    use super::*;
    use crate::settings::Secret;

    const KEY: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";

    fn keyed(place: KeyPlace, domain: &str) -> MaskingSettings {
        MaskingSettings::of(Method::HmacSha512, Some(place), domain)
    }

    fn value(key: &str) -> KeyPlace {
        KeyPlace::Value(Secret::new(key))
    }

    fn file(key: &str) -> KeyPlace {
        KeyPlace::File(PathBuf::from("/run/key"), Secret::new(key))
    }

    #[tokio::test]
    async fn what_is_wrong_with_a_key_is_said_with_its_place_and_without_it() {
        for (place, expected) in [
            (value("hunter2!"), "masking.key: the key is not base64"),
            (file("aHVudGVyMg=="), "masking.key_file: /run/key: the key has 7 bytes, of at least 32"),
            (
                file("1:aHVudGVyMg=="),
                "masking.key_file: /run/key: line 1: the key has 7 bytes, of at least 32",
            ),
        ] {
            assert_eq!(plan(&keyed(place, "default")).await.unwrap_err().to_string(), expected);
        }
        let said = plan(&keyed(value(KEY), "a/b")).await.unwrap_err().to_string();
        assert!(said.starts_with("masking.domain: "), "{said}");
    }

    #[tokio::test]
    async fn the_method_decides_the_masks_and_the_key_id() {
        let plain = plan(&MaskingSettings::of(Method::Sha512, None, "default")).await.unwrap();
        let keyed = plan(&keyed(value(KEY), "default")).await.unwrap();
        assert_eq!((plain.newest(), keyed.newest()), (KeyId::UNKEYED, KeyId::new(1)));
        let value = Pii::wrap("203.0.113.7");
        let mask = |plan: &MaskPlan| plan.masker(plan.newest()).unwrap().mask("ip", value);
        assert_ne!(mask(&plain), mask(&keyed));
    }

    #[tokio::test]
    async fn a_credential_without_systemd_is_said() {
        // Tests do not run as a unit with credentials.
        let error =
            plan(&keyed(KeyPlace::Credential("masking-key".to_owned()), "default")).await.unwrap_err();
        assert!(error.to_string().starts_with("masking.key_credential: "), "{error}");
        assert!(error.to_string().contains("CREDENTIALS_DIRECTORY"), "{error}");
    }
}
