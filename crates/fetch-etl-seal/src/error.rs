//! What can be wrong with a key, and with what is sealed. No error holds key material or anything of a body or value.

use crate::{Purpose, RecipientId};

/// A text that is no usable key. It says what is wrong, and nothing of the key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// Nothing there.
    #[error("the key is empty")]
    Empty,
    /// A private key where a public key belongs.
    #[error(
        "this is a private key, where the public key belongs (fetch-etl-recipient-v1:…, or PEM \"PUBLIC KEY\"); \
         keep private keys away from workers"
    )]
    PrivateInsteadOfPublic,
    /// A public key where a private key belongs.
    #[error(
        "this is a public key, which can only seal; opening needs its private key (fetch-etl-private-v1:…, or PEM \
         \"PRIVATE KEY\")"
    )]
    PublicInsteadOfPrivate,
    /// Neither our format nor PEM.
    #[error("this is no key: expected fetch-etl-recipient-v1:…, fetch-etl-private-v1:… or PEM")]
    NotAKey,
    /// Our format, of a later version.
    #[error("the key has a version that this program does not know (it knows v1)")]
    UnknownVersion,
    /// Our format, with a type of key that this version does not know.
    #[error("the key has a type that this program does not know (it knows x25519; RSA keys come as PEM)")]
    UnknownType,
    /// The end is missing.
    #[error("the key is cut off")]
    Truncated,
    /// There is more than a key.
    #[error("the key has more characters than a key has")]
    TooLong,
    /// Characters that no key has.
    #[error("the key has characters that are no base64")]
    NotBase64,
    /// A typing error, or two keys mixed up.
    #[error("the key's checksum is wrong: it was changed or mistyped")]
    WrongChecksum,
    /// PEM that cannot be read.
    #[error("the PEM text is malformed")]
    MalformedPem,
    /// PEM with something else in it: a certificate, an elliptic-curve key, a request.
    #[error("the PEM text holds no \"PUBLIC KEY\" or \"PRIVATE KEY\" section")]
    WrongPemSection,
    /// A private key that a passphrase protects.
    #[error("the private key is encrypted; `openssl pkey -in KEY` decrypts it")]
    Encrypted,
    /// RSA keys in the older encoding.
    #[error(
        "the RSA key is in PKCS#1 form; `openssl pkey -in KEY` (`openssl rsa -RSAPublicKey_in -in KEY -pubout` for a public one) converts it"
    )]
    Pkcs1,
    /// Well-formed, but no RSA key.
    #[error("the PEM or DER key is no RSA key (X25519 keys are written as fetch-etl-recipient-v1:x25519:…)")]
    NotRsa,
    /// An RSA key with something around it, or encoded otherwise than DER demands.
    #[error("the RSA key is not in plain DER form")]
    MalformedDer,
    /// An RSA key of another size.
    #[error("an RSA key must have 3072 to 4096 bits")]
    RsaSize,
    /// A key that nothing can be sealed to.
    #[error("the key is well-formed, but nothing can be sealed to it")]
    Unusable,
    /// The system gave no random numbers.
    #[error("the system gave no random numbers")]
    NoRandomness,
}

/// A private key could not unwrap a data key.
#[derive(Debug, thiserror::Error)]
pub enum UnwrapError {
    /// The wrapped key was not made for this private key, or was changed.
    #[error("the data key does not open with this private key")]
    Refused,
    /// The private key is elsewhere, and could not be asked.
    #[error("the private key cannot be asked")]
    Unavailable(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// A sealed body, or a value of the vault, that does not open.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// It was sealed to another recipient.
    #[error("sealed to recipient {wanted}; this key is {given}")]
    NotForThisKey {
        /// Who can open it.
        wanted: RecipientId,
        /// The key that was tried.
        given: RecipientId,
    },
    /// It was sealed for another purpose.
    #[error("sealed for purpose {sealed_for}, not for {asked_for}")]
    OtherPurpose {
        /// What it was sealed for.
        sealed_for: Purpose,
        /// What it was to be opened for.
        asked_for: Purpose,
    },
    /// It belongs to another message (a value: to another field, mask or key), or was changed. The two cannot be told apart, by
    /// design.
    #[error("not authentic: it belongs elsewhere, or was changed after sealing")]
    NotAuthentic,
    /// A value of the vault that was encrypted with its key, and not by this program.
    #[error("not a value as this program seals it, though encrypted with the right key")]
    NotAValue,
    /// Made by a later version of this program.
    #[error("sealed in format version {0}, which this program does not know (it knows 1)")]
    UnknownVersion(u8),
    /// The right version, but a header that this version never writes.
    #[error("the header is not one that this program writes")]
    UnknownHeader,
    /// The end is missing.
    #[error("the end is missing")]
    Truncated,
    /// The private key is elsewhere (a KMS), and could not be asked. Worth another try.
    #[error("the private key cannot be asked")]
    KeyUnavailable(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl From<UnwrapError> for OpenError {
    fn from(error: UnwrapError) -> Self {
        match error {
            // The recipient id matched, so the wrapped key itself was changed.
            UnwrapError::Refused => Self::NotAuthentic,
            UnwrapError::Unavailable(source) => Self::KeyUnavailable(source),
        }
    }
}
