//! Any text as a key: a recipient's, a private one, a masking key.
//!
//! - Reading it does not panic.
//! - What is read and written again is read as the same key.
//! - No text is both a public and a private key, and what is printed of one shows nothing of it.

use fetch_etl_mask::MasterKey;
use fetch_etl_seal::{KeyPair, Recipient};

/// Checks any bytes as a key.
pub fn check(data: &[u8]) {
    if let Ok(recipient) = Recipient::from_rsa_der(data) {
        check_recipient(&recipient);
    }
    let Ok(text) = std::str::from_utf8(data) else { return };
    let recipient = Recipient::from_text(text);
    let pair = KeyPair::from_text(text);
    assert!(recipient.is_err() || pair.is_err(), "a public and a private key in one text");
    if let Ok(recipient) = &recipient {
        check_recipient(recipient);
    }
    if let Ok(pair) = &pair {
        check_recipient(pair.recipient());
        let written = pair.to_private_text().expect("the text of a private key");
        let again = KeyPair::from_text(&written).expect("a private key that was written");
        assert_eq!(again.recipient().id(), pair.recipient().id());
        assert_eq!(*again.to_private_text().expect("the text of a private key"), *written);
        assert_eq!(format!("{pair:?}"), format!("KeyPair({:?})", pair.recipient()));
    }
    if let Ok(key) = MasterKey::from_base64(text) {
        assert_eq!(format!("{key:?}"), "[key]");
        assert!(text.len() >= MasterKey::MIN_BYTES * 4 / 3, "a short text cannot hold a whole key");
    }
}

fn check_recipient(recipient: &Recipient) {
    let again = Recipient::from_text(&recipient.to_text()).expect("a recipient that was written");
    assert_eq!((again.to_text(), again.id()), (recipient.to_text(), recipient.id()));
}
