//! Everything from outside the crate, in one binary.
#![expect(clippy::unwrap_used, reason = "a test that cannot set up its world fails by panicking")]

mod keys;
mod opening;
mod sealing;
mod vault;
mod vectors;

use std::sync::{Arc, LazyLock};

use fetch_etl_core::{KeyOrigin, MessageKey, Pii, Sealer};
use fetch_etl_seal::{EnvelopeSealer, KeyPair, Purpose};

/// One key pair of each kind, for tests that do not care which.
static PAIRS: LazyLock<[Arc<KeyPair>; 2]> = LazyLock::new(|| {
    [
        KeyPair::generate().unwrap().into(),
        KeyPair::from_text(&vectors::file().key("rsa3072").private).unwrap().into(),
    ]
});

fn message(text: &str) -> MessageKey {
    MessageKey::new(text, KeyOrigin::MessageId)
}

fn seal(pair: &KeyPair, text: &str, body: &[u8]) -> Vec<u8> {
    let sealer = EnvelopeSealer::new(pair.recipient().clone(), Purpose::Quarantine);
    sealer.seal(&message(text), Pii::wrap(body)).unwrap().bytes().to_vec()
}
