//! Seals the bodies of rejected messages, and the values behind masks, to a public key, so that only the holder of the private
//! key reads them.
//!
//! A worker is given a [`Recipient`], which is a public key, and nothing else: its [`EnvelopeSealer`] (bodies) and its
//! [`VaultSealer`] (values) cannot open what they seal. `etl-admin` opens with an [`Opener`] or a [`VaultOpener`] and a
//! [`PrivateKey`]: a [`KeyPair`] from a file, or a KMS.
//!
//! ```text
//!  worker                                                      whoever holds the private key
//!  body ──AES-256-GCM──▶ sealed body ─────▶ database ─────────▶ opened body
//!            ▲                                                     ▲
//!         data key, new every ten minutes                       data key
//!            └──HPKE or RSA-OAEP, to the public key──▶ wrapped ────┘ by the private key, or a KMS
//! ```
//!
//! # Example
//! ```
//! use fetch_etl_core::{KeyOrigin, MessageKey, Pii, Sealer};
//! use fetch_etl_seal::{EnvelopeSealer, KeyPair, OpenError, Opener, Purpose, Recipient};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! // Once, far from any worker: the private text goes to a safe place, the public text into the worker's configuration.
//! let pair = KeyPair::generate()?;
//! let private_text = pair.to_private_text()?;
//! let public_text = pair.recipient().to_text();
//! assert!(public_text.starts_with("fetch-etl-recipient-v1:x25519:"));
//!
//! // The worker.
//! let sealer = EnvelopeSealer::new(Recipient::from_text(&public_text)?, Purpose::Quarantine);
//! let message = MessageKey::new("5fea7756-0ea4-451a-a703-a558b933e274", KeyOrigin::MessageId);
//! let sealed = sealer.seal(&message, Pii::wrap(br#"{"ip": 203.0.113.7}"#.as_slice()))?;
//! assert_eq!(sealed.recipient_id(), pair.recipient().id().to_string());
//!
//! // Whoever holds the private key.
//! let opener = Opener::new(KeyPair::from_text(&private_text)?);
//! let body = opener.open(Purpose::Quarantine, &message, sealed.bytes())?;
//! assert_eq!(body.expose(), br#"{"ip": 203.0.113.7}"#);
//!
//! // Sealed bodies cannot be swapped between messages.
//! let other = MessageKey::new("another message", KeyOrigin::MessageId);
//! let swapped = opener.open(Purpose::Quarantine, &other, sealed.bytes());
//! assert!(matches!(swapped, Err(OpenError::NotAuthentic)));
//! # Ok(())
//! # }
//! ```
//!
//! # Keys
//! | | public: for the worker | private: for a safe, or a KMS |
//! |---|---|---|
//! | X25519 | `fetch-etl-recipient-v1:x25519:` and 48 characters | `fetch-etl-private-v1:x25519:` and 48 characters |
//! | RSA, 3072–4096 bits | PEM `PUBLIC KEY`, or DER | PEM `PRIVATE KEY` (PKCS#8), or [`PrivateKey`] for a KMS |
//!
//! The 48 characters are base64 of the key's 32 bytes and of 4 bytes of SHA-256 over the whole text before them and the key.
//! X25519 is the default; RSA is for keys that a KMS or HSM holds (AWS KMS: key spec `RSA_3072` or `RSA_4096`, usage
//! `ENCRYPT_DECRYPT`). 2048 bits are refused: they count as 112-bit strength, which is not to protect anything past 2030.
//!
//! # Bytes of a sealed body, version 1
//! Integers are big-endian. With X25519, 122 bytes more than the body.
//!
//! | at | bytes | what |
//! |---|---|---|
//! | 0 | 1 | version: `01` |
//! | 1 | 1 | where the data key is: `01` = below |
//! | 2 | 1 | how it is wrapped: `01` HPKE, `02` RSA-OAEP |
//! | 3 | 1 | purpose: `01` quarantine, `02` vault |
//! | 4 | 8 | recipient: SHA-256 of its `SubjectPublicKeyInfo` in DER, first 8 bytes |
//! | 12 | 2 | W, length of the wrapped data key: 80 with HPKE, 384–512 with RSA |
//! | 14 | W | the wrapped data key |
//! | 14 + W | 12 | nonce, random |
//! | 26 + W | n | the body under AES-256-GCM |
//! | 26 + W + n | 16 | tag |
//!
//! - The data key is 32 random bytes. HPKE (RFC 9180) wraps it in base mode with DHKEM(X25519, HKDF-SHA256), HKDF-SHA256 and
//!   AES-256-GCM, `info` = `fetch-etl/seal/v1/quarantine` (or `…/vault`), no associated data: encapsulated key (32) ‖ ciphertext
//!   (32) ‖ tag (16). RSA-OAEP wraps it with SHA-256 for hash and MGF1 and no label, since no KMS takes one.
//! - Associated data of the body: fields of tag (1) ‖ length (8) ‖ bytes, namely `01` the text `fetch-etl/seal/v1`, `02` the first
//!   12 bytes of the sealed body, `03` the message's key. So version, algorithm, purpose, recipient and message are bound.
//! - A data key is used for ten minutes or about a million bodies at most, see [`MAX_SEALS_PER_DATA_KEY`].
//!
//! `tests/vectors.json` has sealed bodies and values that must open for ever, some of them made by another implementation.
//!
//! # Bytes of the vault, version 1
//! The vault keeps one wrapped data key for many values, which name it by a random id of 16 bytes.
//!
//! A data key (`etl.vault_data_keys.sealed_key`) is what a sealed body begins with, and ends before the nonce:
//!
//! | at | bytes | what |
//! |---|---|---|
//! | 0 | 1 | version: `01` |
//! | 1 | 1 | `02`: the data key stands alone |
//! | 2 | 1 | how it is wrapped: `01` HPKE, `02` RSA-OAEP |
//! | 3 | 1 | purpose: `02` vault |
//! | 4 | 8 | recipient |
//! | 12 | 2 | W: 80 with HPKE, 384–512 with RSA |
//! | 14 | W | the wrapped data key |
//!
//! A value (`etl.pii_vault.ciphertext`):
//!
//! | at | bytes | what |
//! |---|---|---|
//! | 0 | 1 | version: `01` |
//! | 1 | 12 | nonce, random |
//! | 13 | n | the padded value under AES-256-GCM: length (4) ‖ UTF-8 text ‖ zeros, to the next multiple of 64 |
//! | 13 + n | 16 | tag |
//!
//! - Associated data, in fields as above: `01` the text `fetch-etl/vault/v1`, `04` the text `etl.pii_vault`, `05` the field, `06`
//!   the mask's 64 bytes, `07` the id of the mask's key (4 bytes, signed), `08` the data key's id. A rotation gives the row a new
//!   mask; the value stays bound to the one that it was sealed with.
//! - The recipient is not bound to the value: its data key alone can be wrapped for a new recipient, without touching values.
//! - The text is exactly what was sent. Several texts may have one mask, as the spellings of one IPv6 address have: the first is kept.
//!
//! # Lengths
//! A sealed body's length gives away the body's. Padding would hide nothing: the quarantine row states the body's length in
//! clear, because it helps to find out what went wrong.
//!
//! The vault's values are short, and the length alone of an address says something about it: so they are padded. A value of up
//! to 60 bytes, which every IP address is, takes 93 bytes; a longer one shows its length to within 64 bytes.
//!
//! # Who can do what
//! | with | can | cannot |
//! |---|---|---|
//! | the database or a backup, reading | see lengths, times, recipients, message keys, masks, and which bodies or values share a data key (one worker, ten minutes) | read a body or a value |
//! | the database, writing | delete bodies and values; put in forged ones, since **sealing is no signature**: all it takes is the public key. So a replay treats bodies as it treats messages from the queue, and a value is certain only once it is masked again and has the mask that it was found by | move a body to another message, or a value to another mask or field, or change one, unnoticed |
//! | the worker's memory | read messages as they pass; and, with the data keys in use, what this worker sealed under them, ten minutes at most | read what it sealed before |
//! | the worker's configuration, reading | seal | open |
//! | the worker's configuration, writing | have later bodies and values sealed to a key of their own (each row names its recipient, so it shows) | read earlier ones |
//! | the private key | read everything that was ever sealed to it: there is no forward secrecy. Keep it off-line or in a KMS; a new recipient limits what the next one opens | – |
//! | a quantum computer, one day | what the holder of the private key can | – |
//!
//! A data key past its ten minutes is dropped by the next seal, or by [`EnvelopeSealer::forget_expired`] and
//! [`VaultSealer::forget_expired`]. Keys are zeroized
//! when dropped, which is best effort: copies in registers, on the stack or in swap are out of reach.
//!
//! # Where the cryptography comes from
//! HPKE is the crate `hpke`; AES-256-GCM of bodies and values, RSA, SHA-256 and randomness are aws-lc. Nothing is home-made but the
//! framing above. The crate `rsa` is not used, for its timing leak (RUSTSEC-2023-0071).

mod aad;
mod current_key;
mod data_key;
mod digest;
mod envelope;
mod error;
mod hpke_x25519;
mod key_pair;
mod kind;
mod opener;
mod pem;
mod recipient;
mod rsa_oaep;
mod sealer;
mod text;
mod unwrapped;
mod vault;

pub use current_key::{MAX_DATA_KEY_AGE, MAX_SEALS_PER_DATA_KEY};
pub use data_key::{DataKey, WrappedKey};
pub use error::{KeyError, OpenError, UnwrapError};
pub use key_pair::{KeyPair, PrivateKey};
pub use kind::{Purpose, WrapAlgorithm};
pub use opener::Opener;
pub use recipient::{Recipient, RecipientId};
pub use sealer::EnvelopeSealer;
pub use vault::{MAX_KNOWN_AGE, VaultOpener, VaultSealer};
