//! New keys: usable, for their owner only, never over another one.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use fetch_etl_mask::{KeyRing, MasterKey};
use fetch_etl_seal::{KeyPair, Recipient};

use crate::support::{Finished, admin, finish, wait};

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
    for section in ["[quarantine]", "[vault]"] {
        assert!(said.contains(&format!("    {section}\n    recipient_file = \"recipient.pub\"\n")), "{said}");
    }
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

#[test]
fn a_key_is_added_behind_the_others_and_nothing_of_them_is_lost() {
    let directory = tempfile::tempdir().unwrap();
    keygen(directory.path(), &["master", "--out", "mask.key"]).expect(0);
    let path = directory.path().join("mask.key");
    let first = fs::read_to_string(&path).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
    for id in 2..=3 {
        let said = keygen(directory.path(), &["master", "--add-to", "mask.key"]).expect(0);
        assert!(said.starts_with(&format!("masking key {id}  behind the others in mask.key")), "{said}");
        let text = fs::read_to_string(&path).unwrap();
        let ring = KeyRing::from_text(&text).unwrap();
        assert_eq!(ring.key_ids().map(|id| id.get()).collect::<Vec<_>>(), (1..=id).collect::<Vec<_>>());
        assert!(text.starts_with(&format!("1:{}\n", first.trim())), "the first key is still the first");
        assert!(text.lines().all(|line| !said.contains(line)), "{said}");
        assert_eq!(mode(&path), 0o640, "who could read it can read it still");
    }
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1, "nothing else is left there");

    fs::write(&path, "1:hunter2!\n").unwrap();
    let refused = keygen(directory.path(), &["master", "--add-to", "mask.key"]);
    let said = refused.expect_error(2, "mask.key: line 1: the key is not base64");
    assert!(!said.contains("hunter2"), "{said}");
    assert_eq!(fs::read_to_string(&path).unwrap(), "1:hunter2!\n");
    keygen(directory.path(), &["master", "--add-to", "other.key"])
        .expect_error(2, "cannot read the key file other.key");
}

#[test]
fn of_two_that_add_a_key_at_the_same_time_none_takes_the_others_away() {
    const RUNS: usize = 8;
    let directory = tempfile::tempdir().unwrap();
    keygen(directory.path(), &["master", "--out", "mask.key"]).expect(0);
    let start = || {
        admin(&["keygen", "master", "--add-to", "mask.key"]).current_dir(directory.path()).spawn().unwrap()
    };
    let running: Vec<_> = (0..RUNS).map(|_| start()).collect();
    let mut added = Vec::new();
    for ended in running.into_iter().map(wait) {
        match ended.code {
            Some(0) => added.push(ended.stdout.split_whitespace().nth(2).unwrap().parse::<i32>().unwrap()),
            _ => drop(
                ended.expect_error(1, "mask.key.new is there: another etl-admin is adding a key just now"),
            ),
        }
    }
    added.sort_unstable();
    let ring = KeyRing::from_text(&fs::read_to_string(directory.path().join("mask.key")).unwrap()).unwrap();
    let ids: Vec<_> = ring.key_ids().map(|id| id.get()).collect();
    assert!(!added.is_empty());
    assert_eq!(ids, [&[1][..], &added].concat(), "each key that was said to be there is there, once");
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1, "nothing else is left there");
}

#[test]
fn what_a_killed_run_left_is_said_with_what_to_do_about_it() {
    let directory = tempfile::tempdir().unwrap();
    keygen(directory.path(), &["master", "--out", "mask.key"]).expect(0);
    let (key, new) = (directory.path().join("mask.key"), directory.path().join("mask.key.new"));
    let before = fs::read_to_string(&key).unwrap();
    fs::write(&new, "1:half").unwrap();
    let said = keygen(directory.path(), &["master", "--add-to", "mask.key"])
        .expect_error(1, "or one was killed at that");
    assert!(
        said.contains(
            "hint: if none is running, remove it: nothing was masked with a key that is only there"
        ),
        "{said}"
    );
    assert_eq!(
        (fs::read_to_string(&key).unwrap(), fs::read_to_string(&new).unwrap()),
        (before, "1:half".to_owned())
    );
    fs::remove_file(new).unwrap();
    keygen(directory.path(), &["master", "--add-to", "mask.key"]).expect(0);
}

#[test]
fn a_link_to_a_key_file_stays_one() {
    let directory = tempfile::tempdir().unwrap();
    let (real, link) = (directory.path().join("real"), directory.path().join("mask.key"));
    fs::create_dir(&real).unwrap();
    keygen(directory.path(), &["master", "--out", "real/v1.key"]).expect(0);
    std::os::unix::fs::symlink("real/v1.key", &link).unwrap();
    keygen(directory.path(), &["master", "--add-to", "mask.key"]).expect(0);
    assert_eq!(fs::read_link(&link).unwrap(), Path::new("real/v1.key"));
    let ring = KeyRing::from_text(&fs::read_to_string(real.join("v1.key")).unwrap()).unwrap();
    assert_eq!(ring.key_ids().count(), 2);
    let left = |directory: &Path| fs::read_dir(directory).unwrap().count();
    assert_eq!((left(directory.path()), left(&real)), (2, 1), "nothing else is left there");
}

#[test]
fn a_key_may_follow_on_plain_sha512() {
    let directory = tempfile::tempdir().unwrap();
    let said = keygen(directory.path(), &["master", "--after-sha512"]).expect(0);
    assert!(said.contains("go on with plain SHA-512 until etl-admin rotate"), "{said}");
    let text = fs::read_to_string(directory.path().join("masking.key")).unwrap();
    let ring = KeyRing::from_text(&text).unwrap();
    assert!(ring.begins_plain() && ring.newest().get() == 1);
    keygen(directory.path(), &["master", "--add-to", "masking.key"]).expect(0);
}
