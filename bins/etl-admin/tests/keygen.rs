//! New keys: usable, for their owner only, never over another one.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use fetch_etl_mask::MasterKey;
use fetch_etl_seal::{KeyPair, Recipient};

use crate::support::{Finished, admin, finish};

fn keygen(directory: &Path, args: &[&str]) -> Finished {
    finish(admin(&["keygen"]).args(args).current_dir(directory))
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

#[test]
fn a_pair_fits_together_and_says_where_it_belongs() {
    let directory = tempfile::tempdir().unwrap();
    let said = keygen(directory.path(), &[]).expect(0);
    let (private, public) = (directory.path().join("recipient.key"), directory.path().join("recipient.pub"));
    assert_eq!((mode(&private), mode(&public)), (0o600, 0o644));
    let private_text = fs::read_to_string(&private).unwrap();
    let pair = KeyPair::from_text(&private_text).unwrap();
    let recipient = Recipient::from_text(&fs::read_to_string(&public).unwrap()).unwrap();
    assert_eq!(recipient.id(), pair.recipient().id());
    assert!(said.contains(&format!("recipient {}", recipient.id())), "{said}");
    assert!(said.contains("recipient_file = \"recipient.pub\""), "{said}");
    assert!(!said.contains(private_text.trim().rsplit(':').next().unwrap()), "{said}");
}

#[test]
fn nothing_is_overwritten_and_no_half_pair_is_left() {
    for taken in ["recipient.key", "recipient.pub"] {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join(taken), "precious").unwrap();
        keygen(directory.path(), &[]).expect_error(1, "is there already; keys are never overwritten");
        let left: Vec<_> =
            fs::read_dir(directory.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(left, [taken]);
        assert_eq!(fs::read_to_string(directory.path().join(taken)).unwrap(), "precious");
    }
    let directory = tempfile::tempdir().unwrap();
    keygen(directory.path(), &["--public-key", "no/such/directory"]).expect_error(1, "cannot write");
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
}

#[test]
fn a_masking_key_is_one_that_the_worker_takes() {
    let directory = tempfile::tempdir().unwrap();
    let mut keys = Vec::new();
    for name in ["a.key", "b.key"] {
        let said = keygen(directory.path(), &["master", "--out", name]).expect(0);
        assert!(said.contains(&format!("key_file = \"{name}\"")), "{said}");
        let path = directory.path().join(name);
        assert_eq!(mode(&path), 0o600);
        let key = fs::read_to_string(&path).unwrap();
        MasterKey::from_base64(key.trim()).unwrap();
        assert!(!said.contains(key.trim()), "{said}");
        keys.push(key);
    }
    assert_ne!(keys[0], keys[1]);
    assert_eq!(keys[0].trim().len(), 44, "32 bytes in base64");
    keygen(directory.path(), &["master", "--out", "a.key"]).expect_error(1, "never overwritten");
}
