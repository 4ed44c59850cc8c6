//! Where the masking key comes from.

use fetch_etl_secrets::{SecretError, SecretSource, SecretText, SystemdCredential, ValueSecret};

use crate::failure::Failure;
use crate::settings::KeyPlace;

/// The text of the masking key.
///
/// # Errors
/// It cannot be had. Nothing of it is shown.
pub(crate) async fn masking_key(place: &KeyPlace) -> Result<SecretText, Failure> {
    let source = source(place).await.map_err(|error| failure(place, &error))?;
    source.fetch().await.map_err(|error| failure(place, &error))
}

fn failure(place: &KeyPlace, error: &SecretError) -> Failure {
    let setting = place.words();
    let setting = setting.split(": ").next().unwrap_or_default();
    if error.is_retryable() {
        return Failure::failed(format!("{setting}: {error}"));
    }
    Failure::usage(format!("{setting}: {error}"))
}

type Source = Box<dyn SecretSource>;

async fn source(place: &KeyPlace) -> Result<Source, SecretError> {
    Ok(match place {
        KeyPlace::Value(text) | KeyPlace::File(_, text) => {
            Box::new(ValueSecret::new(place.words(), text.expose().to_owned()))
        }
        KeyPlace::Credential(name) => Box::new(SystemdCredential::new(name)?),
        KeyPlace::SecretsManager { id, field, region } => {
            secrets_manager(id, field.as_deref(), region.as_deref()).await?
        }
        KeyPlace::Kms { file, key_id, context, region } => {
            let beside = (key_id.clone(), context.clone());
            kms(file, beside, region.as_deref()).await?
        }
    })
}

#[cfg(feature = "secrets-manager")]
async fn secrets_manager(id: &str, field: Option<&str>, region: Option<&str>) -> Result<Source, SecretError> {
    use fetch_etl_secrets::{AwsOptions, SecretsManagerSecret};

    let options = AwsOptions { region: region.map(str::to_owned), endpoint_url: None };
    let secret = SecretsManagerSecret::connect(id, options).await?;
    Ok(match field {
        Some(field) => Box::new(secret.with_json_key(field)),
        None => Box::new(secret),
    })
}

#[cfg(not(feature = "secrets-manager"))]
#[expect(clippy::unused_async, reason = "with the feature it is")]
async fn secrets_manager(_: &str, _: Option<&str>, _: Option<&str>) -> Result<Source, SecretError> {
    Err(SecretError::Unsupported { what: "AWS Secrets Manager", feature: "secrets-manager" })
}

/// The key and the context that KMS is told beside the ciphertext.
type Beside = (Option<String>, std::collections::BTreeMap<String, String>);

#[cfg(feature = "kms")]
async fn kms(
    file: &std::path::Path,
    (key_id, encryption_context): Beside,
    region: Option<&str>,
) -> Result<Source, SecretError> {
    use fetch_etl_secrets::{AwsOptions, KmsOptions, KmsWrappedSecret};

    let options = AwsOptions { region: region.map(str::to_owned), endpoint_url: None };
    let kms = KmsOptions { key_id, encryption_context };
    Ok(Box::new(KmsWrappedSecret::connect(file, kms, options).await?))
}

#[cfg(not(feature = "kms"))]
#[expect(clippy::unused_async, reason = "with the feature it is")]
async fn kms(_: &std::path::Path, _: Beside, _: Option<&str>) -> Result<Source, SecretError> {
    Err(SecretError::Unsupported { what: "AWS KMS", feature: "kms" })
}
