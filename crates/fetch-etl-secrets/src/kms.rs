//! Secrets in files that AWS KMS decrypts.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use async_trait::async_trait;
use aws_config::SdkConfig;
use aws_sdk_kms::Client;
use aws_sdk_kms::config::Builder;
use aws_sdk_kms::primitives::Blob;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tracing::debug;
use zeroize::Zeroizing;

use crate::aws::{self, AwsOptions, Class, Connection, Service, Verdict};
use crate::file::{self, NO_FILE};
use crate::{Cause, InvalidText, SecretError, SecretSource, SecretText};

const SERVICE: Service = Service { name: "AWS KMS", id: "KMS" };
/// KMS's own bound on what it decrypts, from its API reference.
const MAX_CIPHERTEXT_BYTES: usize = 6144;

/// What KMS is told beside the ciphertext.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KmsOptions {
    /// The KMS key, by its id, ARN or alias (`alias/…`). The ciphertext names its key itself; with this, only what this key
    /// encrypted is taken, so that nobody can put a file of another account's key in its place. Default: any key.
    pub key_id: Option<String>,
    /// The encryption context: what was passed to `aws kms encrypt --encryption-context`, exactly. No secret; AWS logs it.
    pub encryption_context: BTreeMap<String, String>,
}

/// A secret in a file, encrypted by a symmetric KMS key: base64 of the ciphertext, as written by
/// `aws kms encrypt --key-id … --plaintext fileb://key --query CiphertextBlob --output text > key.encrypted`.
///
/// Needs `kms:Decrypt` on the key. Keys that KMS uses for other algorithms (RSA) are not supported.
///
/// # Text, or the base64 of bytes
/// What KMS decrypts is bytes. If all of them are printable ASCII, spaces, tabs or line ends, they are the secret. Otherwise
/// they are a raw key, as `aws kms generate-random` and `GenerateDataKey` make them, and the secret is their standard base64
/// text. Asking whether they are UTF-8 would not do: short random keys are, now and then, and one key in many would behave
/// unlike the others. 32 random bytes are all printable once in 10¹³ times. A text with other characters than ASCII comes
/// out as base64 too: in an address, write them with `%`.
pub struct KmsWrappedSecret {
    file: PathBuf,
    options: KmsOptions,
    connection: Connection,
    client: Client,
}

impl KmsWrappedSecret {
    /// A file with a ciphertext, which need not be there yet. Reads the settings of the AWS environment; nothing is asked of
    /// the service yet.
    ///
    /// # Errors
    /// [`SecretError::Misconfigured`]: no key has such an id, there is no region, an endpoint's URL is none.
    ///
    /// # Cancel safety
    /// Nothing but settings is read.
    pub async fn connect(
        file: impl Into<PathBuf>,
        kms: KmsOptions,
        options: AwsOptions,
    ) -> Result<Self, SecretError> {
        let kms = checked(kms)?;
        let stated = kms.key_id.as_deref().and_then(aws::region_of);
        let connection = Connection::load(SERVICE, &options, stated).await?;
        Ok(Self::new(file.into(), kms, connection))
    }

    /// Like [`connect`](Self::connect), with settings of the AWS environment that somebody has read already. Their retries and
    /// timeouts are not used.
    ///
    /// # Errors
    /// As for [`connect`](Self::connect).
    pub fn connect_with(
        file: impl Into<PathBuf>,
        kms: KmsOptions,
        options: AwsOptions,
        sdk: &SdkConfig,
    ) -> Result<Self, SecretError> {
        let kms = checked(kms)?;
        let stated = kms.key_id.as_deref().and_then(aws::region_of);
        let connection = Connection::new(SERVICE, &options, stated, sdk)?;
        Ok(Self::new(file.into(), kms, connection))
    }

    fn new(file: PathBuf, options: KmsOptions, connection: Connection) -> Self {
        let mut config = Builder::from(connection.sdk());
        config.set_endpoint_url(connection.endpoint_url());
        Self { file, options, client: Client::from_conf(config.build()), connection }
    }

    fn ciphertext(&self) -> Result<Vec<u8>, SecretError> {
        let place = || format!("the file {}", self.file.display());
        let malformed = |text| SecretError::Malformed { place: place(), cause: Cause::new(text) };
        // Line breaks too: `base64` wraps its lines.
        let mut text = file::read(&self.file).map_err(|fault| fault.at(place(), NO_FILE))?;
        text.retain(|byte| !byte.is_ascii_whitespace());
        if text.is_empty() {
            return Err(SecretError::Empty { place: place() });
        }
        let ciphertext = STANDARD.decode(&*text).map_err(|_| {
            malformed("no base64; write it with `aws kms encrypt … --query CiphertextBlob --output text`")
        })?;
        if ciphertext.len() > MAX_CIPHERTEXT_BYTES {
            return Err(malformed("longer than any ciphertext of KMS (6144 bytes)"));
        }
        Ok(ciphertext)
    }
}

fn checked(kms: KmsOptions) -> Result<KmsOptions, SecretError> {
    let key_id = kms.key_id.map(|id| aws::checked_id(id, "the KMS key")).transpose()?;
    Ok(KmsOptions { key_id, ..kms })
}

/// Text, or the base64 of what is none; see [`KmsWrappedSecret`].
fn text_of(plaintext: &[u8]) -> Result<SecretText, InvalidText> {
    let is_text = |byte: &u8| matches!(byte, b' '..=b'~' | b'\t' | b'\n' | b'\r');
    if plaintext.iter().all(is_text) {
        return SecretText::from_utf8(plaintext);
    }
    SecretText::new(&Zeroizing::new(STANDARD.encode(plaintext)))
}

/// The codes that Decrypt documents, and what they mean for whoever made the file.
fn verdict(code: &str) -> Option<Verdict> {
    Some(match code {
        "NotFoundException" => {
            (Class::NotFound, "the KMS key does not exist; check its id, the region and the account")
        }
        "AccessDenied" | "AccessDeniedException" => (
            Class::Denied,
            "access denied; allow kms:Decrypt on the key, which must be of this region and account or shared with it",
        ),
        "InvalidCiphertextException" => (
            Class::Unusable,
            "the file was changed or cut off, or the encryption context or the region is another one",
        ),
        "IncorrectKeyException" => {
            (Class::Unusable, "it was encrypted by another KMS key than the one that is set")
        }
        "DisabledException" => (Class::Unusable, "its KMS key is disabled"),
        "KMSInvalidStateException" => {
            (Class::Unusable, "its KMS key cannot be used in its present state; it may be pending deletion")
        }
        "InvalidKeyUsageException" => (Class::Unusable, "its KMS key is not one that decrypts"),
        "KeyUnavailableException" | "DependencyTimeoutException" | "KMSInternalException" => {
            (Class::Unavailable, "the service failed")
        }
        _ => return None,
    })
}

impl fmt::Debug for KmsWrappedSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("KmsWrappedSecret").field(&self.describe()).finish()
    }
}

#[async_trait]
impl SecretSource for KmsWrappedSecret {
    async fn fetch(&self) -> Result<SecretText, SecretError> {
        let ciphertext = self.ciphertext()?;
        debug!(event = "secret_asked", at = %self.describe());
        let KmsOptions { key_id, encryption_context } = self.options.clone();
        let context = Some(encryption_context).filter(|context| !context.is_empty());
        let request = self.client.decrypt().ciphertext_blob(Blob::new(ciphertext)).set_key_id(key_id);
        let request = request.set_encryption_context(context.map(|context| context.into_iter().collect()));
        let answer = request.send().await;
        let answer = answer.map_err(|error| aws::secret_error(&error, self.describe(), verdict))?;
        let plaintext = answer.plaintext.ok_or_else(|| SecretError::Empty { place: self.describe() })?;
        let plaintext = Zeroizing::new(plaintext.into_inner());
        let text = text_of(&plaintext).map_err(|fault| SecretError::of_text(fault, self.describe()))?;
        debug!(event = "secret_received", at = %self.describe());
        Ok(text)
    }

    fn describe(&self) -> String {
        format!("the file {}, decrypted by {}", self.file.display(), self.connection.describe())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn printable_ascii_is_text_and_everything_else_becomes_base64() {
        let text = |bytes: &[u8]| text_of(bytes).map(|text| text.expose().to_owned());
        assert_eq!(text(b"postgres://etl:hunter2@db\n").as_deref(), Ok("postgres://etl:hunter2@db"));
        assert_eq!(text(b"first\r\n\tsecond~").as_deref(), Ok("first\r\n\tsecond~"));
        // UTF-8, but of the kind that random bytes may be.
        assert_eq!(text("hünter2".as_bytes()).as_deref(), Ok("aMO8bnRlcjI="));
        assert_eq!(text(b"\x00\x01\x02").as_deref(), Ok("AAEC"));
        assert_eq!(text(b"hunter2\x7f").as_deref(), Ok("aHVudGVyMn8="));
        assert_eq!(text(&[0xff; 32]).as_deref(), Ok("//////////////////////////////////////////8="));
        assert_eq!(text(b" \n"), Err(InvalidText::Empty));
    }
}
