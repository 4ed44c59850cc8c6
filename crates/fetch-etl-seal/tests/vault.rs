//! Values that are sealed for the vault open where they should, and nowhere else.

use std::collections::{BTreeSet, HashSet};
use std::sync::{Arc, LazyLock};

use fetch_etl_core::{KeyId, MaskedValue, Pii, SealedDataKey, Vault, VaultEntry};
use fetch_etl_seal::{EnvelopeSealer, KeyPair, OpenError, PrivateKey, Purpose, VaultOpener, VaultSealer};
use proptest::prelude::*;

use crate::{PAIRS, message};

const IP: &str = "203.0.113.7";
const KEY_ID: KeyId = KeyId::new(3);
/// Where a data key's wrapped bytes start.
const WRAPPED_AT: usize = 14;

fn sealer(pair: &KeyPair) -> VaultSealer {
    VaultSealer::new(pair.recipient().clone(), 1000)
}

fn seal_with(sealer: &VaultSealer, field: &str, value: &str, mask: [u8; 64]) -> VaultEntry {
    let mask = MaskedValue::from_digest(mask);
    sealer.seal(field, Pii::wrap(value), &mask, KEY_ID).unwrap().unwrap()
}

/// An address, sealed.
fn sealed(pair: &KeyPair) -> VaultEntry {
    seal_with(&sealer(pair), "ip", IP, [7; 64])
}

fn open(opener: &VaultOpener, entry: &VaultEntry) -> Result<Pii<String>, OpenError> {
    let mask = entry.mask.digest().unwrap();
    opener.open(&entry.data_key, &entry.field, mask, entry.mask_key_id, &entry.ciphertext)
}

fn assert_not_authentic(opened: Result<Pii<String>, OpenError>, what: &str) {
    assert!(matches!(opened, Err(OpenError::NotAuthentic)), "{what}: {opened:?}");
}

/// The data key with other bytes.
fn with_bytes(entry: &VaultEntry, bytes: impl Into<Box<[u8]>>) -> VaultEntry {
    let data_key = SealedDataKey { bytes: bytes.into(), ..(*entry.data_key).clone() };
    VaultEntry { data_key: data_key.into(), ..entry.clone() }
}

#[test]
fn values_come_back_exactly_as_they_were_sent() {
    for pair in &*PAIRS {
        let (sealer, opener) = (sealer(pair), VaultOpener::new(Arc::clone(pair)));
        for value in [IP, "", " 2001:DB8::7 ", "593-47-5928", "ünïcödé ✓", "nul\0", &"x".repeat(10_000)]
        {
            let entry = seal_with(&sealer, "device_id", value, [9; 64]);
            assert_eq!(open(&opener, &entry).unwrap().expose(), value);
        }
    }
}

#[test]
fn an_entry_says_what_the_vault_needs_to_know_and_nothing_of_the_value() {
    for pair in &*PAIRS {
        let entry = sealed(pair);
        assert_eq!((&*entry.field, entry.mask_key_id), ("ip", KEY_ID));
        assert_eq!(entry.mask.digest(), Some(&[7; 64]));
        assert_eq!(*entry.data_key.recipient_id, pair.recipient_id().to_string());
        assert_eq!(entry.data_key.bytes[..2], [1, 2]);
        assert_eq!(entry.data_key.bytes[3], 2, "for the vault");
        assert_eq!(entry.data_key.bytes[4..12], hex::decode(&*entry.data_key.recipient_id).unwrap());
        assert_eq!(entry.ciphertext.len(), 93);
        for bytes in [&entry.data_key.bytes, &entry.ciphertext] {
            assert!(!bytes.windows(IP.len()).any(|window| window == IP.as_bytes()));
        }
    }
}

#[test]
fn the_length_of_a_value_does_not_show() {
    let sealer = sealer(&PAIRS[0]);
    let addresses = ["::", "8.8.8.8", "203.0.113.255", "2001:db8:85a3:8d3:1319:8a2e:255.255.255.255"];
    let lengths: BTreeSet<_> =
        addresses.iter().map(|value| seal_with(&sealer, "ip", value, [1; 64]).ciphertext.len()).collect();
    assert_eq!(lengths, BTreeSet::from([93]));
}

#[test]
fn many_entries_share_one_data_key_and_never_a_nonce() {
    let sealer = sealer(&PAIRS[0]);
    let entries: Vec<_> = (0..100).map(|_| seal_with(&sealer, "ip", IP, [1; 64])).collect();
    assert!(entries.iter().all(|entry| Arc::ptr_eq(&entry.data_key, &entries[0].data_key)));
    let nonces: HashSet<_> = entries.iter().map(|entry| entry.ciphertext[1..13].to_vec()).collect();
    assert_eq!(nonces.len(), entries.len());
    assert_ne!(sealed(&PAIRS[0]).data_key.id, entries[0].data_key.id, "another sealer has a key of its own");
}

#[test]
fn a_value_is_bound_to_its_field_its_mask_the_masks_key_and_the_data_key() {
    for pair in &*PAIRS {
        let opener = VaultOpener::new(Arc::clone(pair));
        let entry = sealed(pair);
        let other_key = Arc::clone(&sealed(pair).data_key);
        let renamed = SealedDataKey { id: other_key.id, ..(*entry.data_key).clone() };
        let under_its_name = SealedDataKey { id: entry.data_key.id, ..(*other_key).clone() };
        let mut mask = [7; 64];
        mask[63] ^= 1;
        let swapped = [
            ("field", VaultEntry { field: "device_id".into(), ..entry.clone() }),
            ("a part of the field", VaultEntry { field: "i".into(), ..entry.clone() }),
            ("mask", VaultEntry { mask: MaskedValue::from_digest(mask), ..entry.clone() }),
            ("key id", VaultEntry { mask_key_id: KeyId::new(4), ..entry.clone() }),
            ("data key", VaultEntry { data_key: other_key, ..entry.clone() }),
            ("data key's id", VaultEntry { data_key: renamed.into(), ..entry.clone() }),
            ("data key's bytes", VaultEntry { data_key: under_its_name.into(), ..entry.clone() }),
        ];
        for (what, entry) in swapped {
            assert_not_authentic(open(&opener, &entry), what);
        }
        // The recipient's name beside the key is for people and queries.
        let named = SealedDataKey { recipient_id: "other".into(), ..(*entry.data_key).clone() };
        assert_eq!(open(&opener, &VaultEntry { data_key: named.into(), ..entry }).unwrap().expose(), IP);
    }
}

#[test]
fn two_values_cannot_be_swapped() {
    let (sealer, opener) = (sealer(&PAIRS[0]), VaultOpener::new(Arc::clone(&PAIRS[0])));
    let one = seal_with(&sealer, "ip", IP, [1; 64]);
    let two = seal_with(&sealer, "ip", "203.0.113.8", [2; 64]);
    assert_not_authentic(open(&opener, &VaultEntry { ciphertext: one.ciphertext, ..two }), "swapped");
}

#[test]
fn the_wrong_key_says_which_one_is_wanted() {
    let stranger = KeyPair::generate().unwrap();
    let given_id = stranger.recipient_id();
    let opener = VaultOpener::new(stranger);
    for pair in &*PAIRS {
        let error = open(&opener, &sealed(pair)).unwrap_err();
        let OpenError::NotForThisKey { wanted, given } = error else { panic!("{error}") };
        assert_eq!((wanted, given), (pair.recipient_id(), given_id));
    }
}

#[test]
fn a_data_key_of_another_purpose_is_refused_also_when_its_label_is_changed() {
    for pair in &*PAIRS {
        let opener = VaultOpener::new(Arc::clone(pair));
        let entry = sealed(pair);
        open(&opener, &entry).unwrap();
        let mut bytes = entry.data_key.bytes.clone();
        bytes[3] = 1;
        let error = open(&opener, &with_bytes(&entry, bytes)).unwrap_err();
        let OpenError::OtherPurpose { sealed_for, asked_for } = error else { panic!("{error}") };
        assert_eq!((sealed_for, asked_for), (Purpose::Quarantine, Purpose::Vault));

        // A quarantined body's data key, relabelled: HPKE refuses it, and with RSA the value does.
        let body = crate::seal(pair, "m", b"body");
        let wrapped = WRAPPED_AT + usize::from(u16::from_be_bytes([body[12], body[13]]));
        let mut relabelled = body[..wrapped].to_vec();
        relabelled[1] = 2;
        relabelled[3] = 2;
        assert_not_authentic(open(&opener, &with_bytes(&entry, relabelled)), "relabelled");
    }
}

#[test]
fn a_sealed_body_is_no_data_key_and_a_data_key_no_sealed_body() {
    let pair = &PAIRS[0];
    let entry = sealed(pair);
    let body = EnvelopeSealer::new(pair.recipient().clone(), Purpose::Vault);
    let body = fetch_etl_core::Sealer::seal(&body, &message("m"), Pii::wrap(b"b".as_slice())).unwrap();
    let opened = open(&VaultOpener::new(Arc::clone(pair)), &with_bytes(&entry, body.bytes()));
    assert!(matches!(opened, Err(OpenError::UnknownHeader)));
    let opener = fetch_etl_seal::Opener::new(Arc::clone(pair));
    let joined = [&*entry.data_key.bytes, &entry.ciphertext[1..]].concat();
    let opened = opener.open(Purpose::Vault, &message("m"), &joined);
    assert!(matches!(opened, Err(OpenError::UnknownHeader)));
}

#[test]
fn every_changed_bit_of_a_value_is_found() {
    let opener = VaultOpener::new(Arc::clone(&PAIRS[0]));
    let entry = sealed(&PAIRS[0]);
    for at in 0..entry.ciphertext.len() {
        for bit in 0..8 {
            let mut ciphertext = entry.ciphertext.clone();
            ciphertext[at] ^= 1 << bit;
            let error = open(&opener, &VaultEntry { ciphertext, ..entry.clone() }).unwrap_err();
            let expected = if at == 0 {
                matches!(error, OpenError::UnknownVersion(_))
            } else {
                matches!(error, OpenError::NotAuthentic)
            };
            assert!(expected, "byte {at} bit {bit}: {error}");
        }
    }
}

#[test]
fn every_cut_and_every_addition_is_found() {
    let opener = VaultOpener::new(Arc::clone(&PAIRS[0]));
    let entry = sealed(&PAIRS[0]);
    for length in 0..entry.ciphertext.len() {
        let cut = VaultEntry { ciphertext: entry.ciphertext[..length].into(), ..entry.clone() };
        let error = open(&opener, &cut).unwrap_err();
        let short = length < 1 + 12 + 16;
        assert!(matches!(error, OpenError::Truncated) == short, "{length}: {error}");
        assert!(short || matches!(error, OpenError::NotAuthentic), "{length}: {error}");
    }
    let longer = [&*entry.ciphertext, &[0]].concat().into();
    assert_not_authentic(open(&opener, &VaultEntry { ciphertext: longer, ..entry.clone() }), "longer");

    for length in 0..entry.data_key.bytes.len() {
        let cut = with_bytes(&entry, &entry.data_key.bytes[..length]);
        assert!(matches!(open(&opener, &cut), Err(OpenError::Truncated)), "{length}");
    }
    let longer = with_bytes(&entry, [&*entry.data_key.bytes, &[0]].concat());
    assert!(matches!(open(&opener, &longer), Err(OpenError::UnknownHeader)));
}

#[test]
fn only_masks_that_identify_a_value_are_sealed() {
    let sealer = sealer(&PAIRS[0]).with_fields(["ip", "email"]);
    let digest = MaskedValue::from_digest([1; 64]);
    let seal = |field: &str, mask: &MaskedValue| {
        sealer.seal(field, Pii::wrap(IP), mask, KEY_ID).unwrap().map(|entry| entry.field)
    };
    assert_eq!(seal("ip", &digest).as_deref(), Some("ip"));
    assert_eq!(seal("email", &digest).as_deref(), Some("email"));
    assert_eq!(seal("device_id", &digest), None, "it is not listed");
    assert_eq!(seal("ip", &MaskedValue::from_masked_text("203.0.113.0/24")), None);
    let takes_none = VaultSealer::new(PAIRS[0].recipient().clone(), 1000).with_fields([]);
    assert!(takes_none.seal("ip", Pii::wrap(IP), &digest, KEY_ID).unwrap().is_none());
}

#[test]
fn what_is_stored_is_not_sealed_again() {
    let vault: Arc<dyn Vault> = Arc::new(sealer(&PAIRS[0]));
    let mask = MaskedValue::from_digest([1; 64]);
    let seal = |field| vault.seal(field, Pii::wrap(IP), &mask, KEY_ID).unwrap();
    let entry = seal("ip").unwrap();
    assert!(seal("ip").is_some(), "sealed is not stored");
    vault.stored(&[&entry]);
    assert!(seal("ip").is_none());
    assert!(seal("device_id").is_some(), "the same mask in another field");
}

#[test]
fn many_threads_seal_and_store() {
    let pair = &PAIRS[0];
    let vault = Arc::new(sealer(pair));
    let entries: Vec<VaultEntry> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..4u8)
            .map(|thread| {
                let vault = Arc::clone(&vault);
                scope.spawn(move || {
                    let one = |n: u8| {
                        let mask = MaskedValue::from_digest([n; 64]);
                        let entry = vault.seal("ip", Pii::wrap(IP), &mask, KEY_ID).unwrap().unwrap();
                        vault.stored(&[&entry]);
                        assert!(vault.seal("ip", Pii::wrap(IP), &mask, KEY_ID).unwrap().is_none());
                        entry
                    };
                    (0..50).map(|n| one(thread * 50 + n)).collect::<Vec<_>>()
                })
            })
            .collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    let opener = VaultOpener::new(Arc::clone(pair));
    assert!(entries.iter().all(|entry| open(&opener, entry).unwrap().expose() == IP));
    let keys: HashSet<_> = entries.iter().map(|entry| entry.data_key.id).collect();
    assert_eq!((entries.len(), keys.len()), (200, 1));
}

#[test]
fn debug_shows_the_recipient_and_no_value() {
    let pair = &PAIRS[0];
    let id = pair.recipient_id().to_string();
    for shown in [format!("{:?}", sealer(pair)), format!("{:?}", VaultOpener::new(Arc::clone(pair)))] {
        assert!(shown.contains(&id) && shown.len() < 100, "{shown}");
    }
}

static SEALER: LazyLock<VaultSealer> = LazyLock::new(|| sealer(&PAIRS[0]));
static OPENERS: LazyLock<[VaultOpener; 2]> =
    LazyLock::new(|| PAIRS.each_ref().map(|pair| VaultOpener::new(Arc::clone(pair))));

fn bytes(up_to: usize) -> impl Strategy<Value = Vec<u8>> {
    proptest::collection::vec(any::<u8>(), 0..up_to)
}

proptest! {
    #[test]
    fn any_value_in_any_field_comes_back(value in ".{0,200}", field in ".{0,40}", mask in any::<[u8; 32]>(), id: i32) {
        let mask: [u8; 64] = [mask, mask].concat().try_into().unwrap();
        let entry = SEALER.seal(&field, Pii::wrap(value.as_str()), &MaskedValue::from_digest(mask), KeyId::new(id));
        let entry = entry.unwrap().unwrap();
        let opened = OPENERS[0].open(&entry.data_key, &field, &mask, KeyId::new(id), &entry.ciphertext).unwrap();
        prop_assert_eq!(opened.expose(), &value);
        prop_assert_eq!((entry.ciphertext.len() - 29) % 64, 0);
    }

    #[test]
    fn arbitrary_bytes_neither_open_nor_panic(key in bytes(700), ciphertext in bytes(300)) {
        let entry = VaultEntry { ciphertext: ciphertext.into(), ..seal_with(&SEALER, "ip", IP, [7; 64]) };
        prop_assert!(open(&OPENERS[0], &entry).is_err());
        prop_assert!(open(&OPENERS[0], &with_bytes(&entry, key)).is_err());
    }

    /// Past the header's checks: a good header, an arbitrary length, arbitrary bytes.
    #[test]
    fn arbitrary_bytes_behind_a_good_header_neither_open_nor_panic(
        which in 0..2usize,
        algorithm in 0..4u8,
        length in prop_oneof![any::<u16>(), Just(80), Just(384), 0..600u16],
        rest in bytes(700),
        fit: bool,
    ) {
        let id = hex::decode(PAIRS[which].recipient_id().to_string()).unwrap();
        let length = if fit { u16::try_from(rest.len()).unwrap() } else { length };
        let key = [&[1, 2, algorithm, 2], id.as_slice(), &length.to_be_bytes(), &rest].concat();
        let entry = with_bytes(&seal_with(&SEALER, "ip", IP, [7; 64]), key);
        prop_assert!(open(&OPENERS[which], &entry).is_err());
    }

    /// A value with a stretch of it replaced.
    #[test]
    fn spliced_values_neither_open_nor_panic(at in 0..93usize, removed in 0..40usize, put in bytes(40)) {
        let entry = seal_with(&SEALER, "ip", IP, [7; 64]);
        let mut spliced = entry.ciphertext.to_vec();
        spliced.splice(at..(at + removed).min(93), put);
        prop_assume!(*spliced != *entry.ciphertext);
        let entry = VaultEntry { ciphertext: spliced.into(), ..entry };
        prop_assert!(open(&OPENERS[0], &entry).is_err());
    }
}
