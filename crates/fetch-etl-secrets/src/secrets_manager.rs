//! Secrets in AWS Secrets Manager.

use std::fmt;

use async_trait::async_trait;
use aws_config::SdkConfig;
use aws_sdk_secretsmanager::Client;
use aws_sdk_secretsmanager::config::Builder;
use aws_sdk_secretsmanager::operation::get_secret_value::GetSecretValueOutput;
use tracing::debug;
use zeroize::Zeroizing;

use crate::aws::{self, AwsOptions, Class, Connection, Service, Verdict};
use crate::{Cause, InvalidText, MAX_SECRET_BYTES, SecretError, SecretSource, SecretText, json};

const SERVICE: Service = Service { name: "AWS Secrets Manager", id: "Secrets Manager" };

/// The current value (`AWSCURRENT`) of a secret in AWS Secrets Manager: its `SecretString`, or its `SecretBinary` if that is
/// UTF-8 text.
///
/// Needs `secretsmanager:GetSecretValue` on the secret and, where its KMS key is not AWS's own, `kms:Decrypt` on that. A
/// secret of another account is named by its whole ARN.
pub struct SecretsManagerSecret {
    id: String,
    json_key: Option<String>,
    connection: Connection,
    client: Client,
}

impl SecretsManagerSecret {
    /// A secret, by its name or ARN. Reads the settings of the AWS environment; nothing is asked of the service yet.
    ///
    /// # Errors
    /// [`SecretError::Misconfigured`]: no secret has such a name, there is no region, an endpoint's URL is none.
    ///
    /// # Cancel safety
    /// Nothing but settings is read.
    pub async fn connect(id_or_arn: impl Into<String>, options: AwsOptions) -> Result<Self, SecretError> {
        let id = checked(id_or_arn.into())?;
        let connection = Connection::load(SERVICE, &options, aws::region_of(&id)).await?;
        Ok(Self::new(id, connection))
    }

    /// Like [`connect`](Self::connect), with settings of the AWS environment that somebody has read already. Their retries and
    /// timeouts are not used.
    ///
    /// # Errors
    /// As for [`connect`](Self::connect).
    pub fn connect_with(
        id_or_arn: impl Into<String>,
        options: AwsOptions,
        sdk: &SdkConfig,
    ) -> Result<Self, SecretError> {
        let id = checked(id_or_arn.into())?;
        let connection = Connection::new(SERVICE, &options, aws::region_of(&id), sdk)?;
        Ok(Self::new(id, connection))
    }

    fn new(id: String, connection: Connection) -> Self {
        let mut config = Builder::from(connection.sdk());
        config.set_endpoint_url(connection.endpoint_url());
        Self { id, json_key: None, client: Client::from_conf(config.build()), connection }
    }

    /// Takes the secret for a JSON object, as the AWS console makes them, and the text at this key for what is wanted:
    /// `{"masking_key": "…"}`.
    pub fn with_json_key(self, key: impl Into<String>) -> Self {
        Self { json_key: Some(key.into()), ..self }
    }

    fn text_of(&self, bytes: &[u8]) -> Result<SecretText, SecretError> {
        let invalid = |fault| SecretError::of_text(fault, self.describe());
        let Some(key) = &self.json_key else {
            return SecretText::from_utf8(bytes).map_err(invalid);
        };
        if bytes.len() > MAX_SECRET_BYTES {
            return Err(invalid(InvalidText::TooLarge));
        }
        let json = std::str::from_utf8(bytes).map_err(|_| invalid(InvalidText::NotText))?;
        let text = json::text_at(key, json)
            .map_err(|cause| SecretError::Malformed { place: self.describe(), cause: Cause::new(cause) })?;
        SecretText::new(&text).map_err(invalid)
    }
}

fn checked(id: String) -> Result<String, SecretError> {
    aws::checked_id(id, "the secret of AWS Secrets Manager")
}

/// Whichever of the two the secret has, to be wiped.
fn value_of(answer: GetSecretValueOutput) -> Option<Zeroizing<Vec<u8>>> {
    let GetSecretValueOutput { secret_string, secret_binary, .. } = answer;
    let value = secret_string.map(String::into_bytes).or_else(|| Some(secret_binary?.into_inner()));
    value.map(Zeroizing::new)
}

/// The codes that GetSecretValue documents, and what they mean for whoever set the name.
fn verdict(code: &str) -> Option<Verdict> {
    Some(match code {
        "ResourceNotFoundException" => (
            Class::NotFound,
            "does not exist, or has no value yet; check its name, the region and the account",
        ),
        "AccessDenied" | "AccessDeniedException" => (
            Class::Denied,
            "access denied; allow secretsmanager:GetSecretValue on it, and kms:Decrypt on its key",
        ),
        "DecryptionFailure" | "DecryptionFailureException" => {
            (Class::Unusable, "Secrets Manager cannot decrypt it; check the state of its KMS key")
        }
        "InvalidRequestException" => {
            (Class::Unusable, "cannot be read in its present state; it may be marked for deletion")
        }
        "InvalidParameterException" => (Class::Misconfigured, "this is no name or ARN of a secret"),
        "InternalServiceError" | "InternalServiceErrorException" => {
            (Class::Unavailable, "the service failed")
        }
        _ => return None,
    })
}

impl fmt::Debug for SecretsManagerSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SecretsManagerSecret").field(&self.describe()).finish()
    }
}

#[async_trait]
impl SecretSource for SecretsManagerSecret {
    async fn fetch(&self) -> Result<SecretText, SecretError> {
        debug!(event = "secret_asked", at = %self.describe());
        let answer = self.client.get_secret_value().secret_id(&self.id).send().await;
        let answer = answer.map_err(|error| aws::secret_error(&error, self.describe(), verdict))?;
        let value = value_of(answer).ok_or_else(|| SecretError::Empty { place: self.describe() })?;
        let text = self.text_of(&value)?;
        debug!(event = "secret_received", at = %self.describe());
        Ok(text)
    }

    fn describe(&self) -> String {
        let key = self.json_key.as_ref().map(|key| format!("the key {key} of ")).unwrap_or_default();
        format!("{key}the secret {} of {}", self.id, self.connection.describe())
    }
}
