//! Where a secret text comes from: a masking key, a database's address with its password.
//!
//! ```text
//!  configuration ─┐
//!  file ──────────┤
//!  systemd ───────┼─▶ SecretSource::fetch, once ─▶ SecretText ─▶ a key, an address; wiped when dropped
//!  Secrets Manager┤
//!  file ─▶ KMS ───┘
//! ```
//!
//! ```
//! use fetch_etl_secrets::{FileSecret, SecretError, SecretSource, SecretText};
//!
//! async fn masking_key(path: &str) -> Result<SecretText, SecretError> {
//!     let source: Box<dyn SecretSource> = Box::new(FileSecret::new(path));
//!     source.fetch().await
//! }
//! ```
//!
//! | source | the secret is | feature |
//! |---|---|---|
//! | [`ValueSecret`] | in the configuration already | |
//! | [`FileSecret`] | a file | |
//! | [`SystemdCredential`] | given by systemd (`LoadCredential=`) | |
//! | `SecretsManagerSecret` | in AWS Secrets Manager | `secrets-manager` |
//! | `KmsWrappedSecret` | a file that AWS KMS decrypts | `kms` |
//!
//! # Asked once
//! A program asks when it starts and keeps what it got. Nothing here watches for a new value: masks made with two keys do not
//! match each other, so a key changes with a restart that somebody decides on, never by itself.
//!
//! # What is wiped
//! A [`SecretText`] and every buffer of this crate that held one are zeroized. Not wiped are those of the AWS SDK and of TLS
//! (the answer as it came), the scratch space of a JSON text with escapes, and what the system keeps of a file.
//!
//! # Errors
//! A [`SecretError`] is one line: what was asked, what is wrong with it, what to do. Its words are this crate's own, beside
//! names of the configuration, error codes, HTTP statuses and request ids; never what a service says in words.
//!
//! # Never log at TRACE
//! The SDK leaves the answers of these two services out of its log, **unless `LOG_SENSITIVE_BODIES=true` is in the
//! environment: then it prints them, with the secret, at the level TRACE**. Its providers of credentials, and the HTTP library
//! below, may print what they handle. A program that uses this crate must silence the targets `aws_*` (among them
//! `aws_sdk_secretsmanager`, `aws_sdk_kms`, `aws_smithy_runtime`, `aws_config`) and cap `hyper*`, `h2` and `rustls` at INFO,
//! whatever the user asks for; the binaries of this workspace do. This crate's own target, `fetch_etl_secrets`, is harmless at
//! every level.

#[cfg(feature = "_aws")]
mod aws;
mod error;
mod file;
#[cfg(feature = "secrets-manager")]
mod json;
#[cfg(feature = "kms")]
mod kms;
#[cfg(feature = "secrets-manager")]
mod secrets_manager;
mod systemd;
mod text;
mod value;

use async_trait::async_trait;

#[cfg(feature = "_aws")]
pub use aws::AwsOptions;
pub use error::{Cause, SecretError};
pub use file::{FileSecret, PermissionsFinding};
#[cfg(feature = "kms")]
pub use kms::{KmsOptions, KmsWrappedSecret};
#[cfg(feature = "secrets-manager")]
pub use secrets_manager::SecretsManagerSecret;
pub use systemd::SystemdCredential;
pub use text::{InvalidText, MAX_SECRET_BYTES, SecretText};
pub use value::ValueSecret;

/// A place that a secret can be read from.
///
/// It is asked once, at start; see the crate's page for why there is no reloading.
#[async_trait]
pub trait SecretSource: Send + Sync {
    /// Reads the secret, anew with each call.
    ///
    /// Sources on a network repeat what may pass by itself for 30 s at most; files are read on the calling thread.
    ///
    /// # Errors
    /// There is no usable secret there. [`SecretError::is_retryable`] says whether asking again later may help.
    ///
    /// # Cancel safety
    /// Dropping the future ends the request. Nothing was changed, so it can be asked again.
    async fn fetch(&self) -> Result<SecretText, SecretError>;

    /// Where that is, for messages: names and addresses, never the secret. As in "the masking key comes from …".
    fn describe(&self) -> String;
}
