//! Any bytes as a sealed body.
//!
//! - Opening them does not panic, and the same bytes have the same outcome when the data key is a kept one.
//! - Nothing opens but the sealed bodies that were made: one bit of them changed, and they are refused.
//! - Errors are short and print none of the bytes but the recipient's id.

use std::sync::LazyLock;

use fetch_etl_core::{KeyOrigin, MessageKey};
use fetch_etl_seal::{KeyPair, OpenError, Opener, Purpose};

use crate::vectors::VECTORS;

struct Known {
    key: &'static str,
    purpose: Purpose,
    message: MessageKey,
    sealed: Vec<u8>,
    body: Vec<u8>,
}

static KNOWN: LazyLock<Vec<Known>> = LazyLock::new(|| {
    let known = |vector: &'static crate::vectors::Vector| Known {
        key: &vector.key,
        purpose: if vector.purpose == "vault" { Purpose::Vault } else { Purpose::Quarantine },
        message: MessageKey::new(vector.message_key.as_str(), KeyOrigin::MessageId),
        sealed: vector.sealed(),
        body: vector.body(),
    };
    VECTORS.vectors.iter().map(known).collect()
});

static OPENERS: LazyLock<Vec<(&'static str, Opener)>> = LazyLock::new(|| {
    let opener = |text: &str| Opener::new(KeyPair::from_text(text).expect("a private key"));
    VECTORS.keys.iter().map(|(name, texts)| (name.as_str(), opener(&texts.private))).collect()
});

/// Checks any bytes as a sealed body. The first byte chooses the message that they are taken for.
pub fn check(data: &[u8]) {
    let Some((choice, sealed)) = data.split_first() else { return };
    let for_message = &KNOWN[usize::from(*choice) % KNOWN.len()];
    for (key, opener) in OPENERS.iter() {
        for purpose in [Purpose::Quarantine, Purpose::Vault] {
            let first = opener.open(purpose, &for_message.message, sealed);
            let again = opener.open(purpose, &for_message.message, sealed);
            match (first, again) {
                (Ok(body), Ok(again)) => {
                    assert_eq!(body.expose(), again.expose());
                    let is_known = |known: &Known| {
                        (known.key, known.purpose, &known.message) == (*key, purpose, &for_message.message)
                            && known.sealed == sealed
                            && known.body == *body.expose()
                    };
                    assert!(KNOWN.iter().any(is_known), "something opened that nobody sealed");
                }
                (Err(error), Err(again)) => {
                    assert_eq!(format!("{error:?}"), format!("{again:?}"));
                    check_error(&error, sealed);
                }
                (first, again) => panic!("two outcomes of the same bytes: {first:?}, {again:?}"),
            }
        }
    }
}

fn check_error(error: &OpenError, sealed: &[u8]) {
    let (shown, debug) = (error.to_string(), format!("{error:?}"));
    assert!(shown.len() < 120 && debug.len() < 120, "{shown} {debug}");
    match error {
        OpenError::UnknownVersion(version) => assert!(sealed[0] == *version && *version != 1),
        OpenError::NotForThisKey { wanted, .. } => {
            let id: String = sealed[4..12].iter().map(|byte| format!("{byte:02x}")).collect();
            assert_eq!(wanted.to_string(), id);
        }
        OpenError::KeyUnavailable(_) => panic!("a key in memory is always there"),
        // More bytes behind it never make a body that is cut off.
        OpenError::Truncated => assert!(sealed.len() < 14 + usize::from(u16::MAX) + 12 + 16),
        _ => {}
    }
}
