//! Private keys that live elsewhere: how often they are asked, and what becomes of their failures.

use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use fetch_etl_core::{KeyId, MaskedValue, Pii, Sealer, Vault, VaultEntry};
use fetch_etl_seal::{
    DataKey, EnvelopeSealer, KeyPair, OpenError, Opener, PrivateKey, Purpose, RecipientId, UnwrapError,
    VaultOpener, VaultSealer, WrappedKey,
};

use crate::{PAIRS, message, seal};

const Q: Purpose = Purpose::Quarantine;

/// Stands for a KMS: counts how often it is asked, and can be out of reach.
struct Kms {
    pair: Arc<KeyPair>,
    asked: AtomicUsize,
    down: AtomicBool,
}

impl Kms {
    fn new(pair: &Arc<KeyPair>) -> Arc<Self> {
        Arc::new(Self { pair: Arc::clone(pair), asked: AtomicUsize::new(0), down: AtomicBool::new(false) })
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

impl PrivateKey for Kms {
    fn recipient_id(&self) -> RecipientId {
        self.pair.recipient_id()
    }

    fn unwrap_data_key(&self, wrapped: &WrappedKey<'_>) -> Result<DataKey, UnwrapError> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        if self.down.load(Ordering::SeqCst) {
            return Err(UnwrapError::Unavailable("throttled".into()));
        }
        self.pair.unwrap_data_key(wrapped)
    }
}

#[test]
fn a_kms_is_asked_once_for_each_data_key() {
    for pair in &*PAIRS {
        let kms = Kms::new(pair);
        let opener = Opener::new(Arc::clone(&kms));
        let sealers = [(); 3].map(|()| EnvelopeSealer::new(pair.recipient().clone(), Q));
        for round in 0..5u8 {
            for sealer in &sealers {
                let sealed = sealer.seal(&message("m"), Pii::wrap([round].as_slice())).unwrap();
                assert_eq!(opener.open(Q, &message("m"), sealed.bytes()).unwrap().expose(), &[round]);
            }
        }
        assert_eq!(kms.asked(), sealers.len());
    }
}

#[test]
fn the_number_of_kept_data_keys_is_bounded() {
    let kms = Kms::new(&PAIRS[0]);
    let opener = Opener::new(Arc::clone(&kms));
    let bodies: Vec<_> = (0..65).map(|_| seal(&PAIRS[0], "m", b"body")).collect();
    for sealed in &bodies {
        opener.open(Q, &message("m"), sealed).unwrap();
    }
    assert_eq!(kms.asked(), 65);
    opener.open(Q, &message("m"), &bodies[64]).unwrap();
    opener.open(Q, &message("m"), &bodies[1]).unwrap();
    assert_eq!(kms.asked(), 65, "the newest 64 are kept");
    opener.open(Q, &message("m"), &bodies[0]).unwrap();
    assert_eq!(kms.asked(), 66, "the oldest made room");
}

#[test]
fn a_kms_that_is_down_is_said_to_be_down_and_asked_again() {
    let kms = Kms::new(&PAIRS[1]);
    let opener = Opener::new(Arc::clone(&kms));
    let sealed = seal(&PAIRS[1], "m", b"body");
    kms.down.store(true, Ordering::SeqCst);
    let error = opener.open(Q, &message("m"), &sealed).unwrap_err();
    assert!(matches!(error, OpenError::KeyUnavailable(_)), "{error}");
    assert_eq!(error.source().map(ToString::to_string).as_deref(), Some("throttled"));
    kms.down.store(false, Ordering::SeqCst);
    assert_eq!(opener.open(Q, &message("m"), &sealed).unwrap().expose(), b"body");
}

#[test]
fn what_is_not_for_this_key_never_reaches_the_kms() {
    let kms = Kms::new(&PAIRS[1]);
    let opener = Opener::new(Arc::clone(&kms));
    assert!(opener.open(Q, &message("m"), &seal(&PAIRS[0], "m", b"body")).is_err());
    assert!(opener.open(Purpose::Vault, &message("m"), &seal(&PAIRS[1], "m", b"body")).is_err());
    assert!(opener.open(Q, &message("m"), b"\x01").is_err());
    assert_eq!(kms.asked(), 0);
}

#[test]
fn a_kms_is_asked_once_for_each_data_key_of_the_vault_and_1024_are_kept() {
    let kms = Kms::new(&PAIRS[0]);
    let opener = VaultOpener::new(Arc::clone(&kms));
    let open = |entry: &VaultEntry| {
        let opened = opener.open(&entry.data_key, "ip", &[1; 64], KeyId::new(1), &entry.ciphertext);
        assert_eq!(opened.unwrap().expose(), "::1");
    };
    let mask = MaskedValue::from_digest([1; 64]);
    let seal =
        |vault: &VaultSealer| vault.seal("ip", Pii::wrap("::1"), &mask, KeyId::new(1)).unwrap().unwrap();
    let entries: Vec<_> =
        (0..1025).map(|_| seal(&VaultSealer::new(PAIRS[0].recipient().clone(), 0))).collect();
    for entry in entries.iter().chain(&entries[1..]) {
        open(entry);
    }
    assert_eq!(kms.asked(), 1025);
    open(&entries[0]);
    assert_eq!(kms.asked(), 1026, "the oldest made room");
}

/// A KMS that answers with something else.
struct Lying(RecipientId, usize);

impl PrivateKey for Lying {
    fn recipient_id(&self) -> RecipientId {
        self.0
    }

    fn unwrap_data_key(&self, _: &WrappedKey<'_>) -> Result<DataKey, UnwrapError> {
        DataKey::try_from(vec![0; self.1].as_slice())
    }
}

#[test]
fn a_wrong_data_key_opens_nothing() {
    let sealed = seal(&PAIRS[0], "m", b"body");
    for length in [0, 16, 32, 33] {
        let opener = Opener::new(Box::new(Lying(PAIRS[0].recipient_id(), length)) as Box<dyn PrivateKey>);
        let refused = opener.open(Q, &message("m"), &sealed);
        assert!(matches!(refused, Err(OpenError::NotAuthentic)), "{length}");
    }
}

#[test]
fn a_wrapped_key_says_what_it_is() {
    struct Asked(RecipientId);
    impl PrivateKey for Asked {
        fn recipient_id(&self) -> RecipientId {
            self.0
        }
        fn unwrap_data_key(&self, wrapped: &WrappedKey<'_>) -> Result<DataKey, UnwrapError> {
            let said =
                format!("{} for {}, {} bytes", wrapped.algorithm(), wrapped.purpose(), wrapped.bytes().len());
            Err(UnwrapError::Unavailable(said.into()))
        }
    }
    for (pair, expected) in PAIRS.iter().zip([
        "hpke-x25519-hkdf-sha256-aes-256-gcm for quarantine, 80 bytes",
        "rsa-oaep-sha-256 for quarantine, 384 bytes",
    ]) {
        let opener = Opener::new(Asked(pair.recipient_id()));
        let error = opener.open(Q, &message("m"), &seal(pair, "m", b"body")).unwrap_err();
        assert_eq!(error.source().unwrap().to_string(), expected);
    }
}
