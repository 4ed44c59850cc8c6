//! What is sealed opens where it should, and nowhere else.

use std::sync::{Arc, LazyLock};

use fetch_etl_core::{KeyOrigin, MessageKey, Pii, Sealer};
use fetch_etl_seal::{EnvelopeSealer, KeyPair, OpenError, Opener, PrivateKey, Purpose};
use proptest::prelude::*;

use crate::{PAIRS, message, seal};

const Q: Purpose = Purpose::Quarantine;
const BODY: &[u8] = br#"{"ip":"203.0.113.7","device_id":"593-47-5928"}"#;

/// Where a sealed body's parts start, for a wrapped key of this length.
const fn nonce_at(wrapped: usize) -> usize {
    14 + wrapped
}

#[test]
fn bodies_of_any_length_come_back_unchanged() {
    for pair in &*PAIRS {
        let opener = Opener::new(Arc::clone(pair));
        for length in [0, 1, 15, 16, 17, 4096, 1 << 20] {
            let body: Vec<u8> = (0..length).map(|i| (i % 251) as u8).collect();
            let sealed = seal(pair, "m-1", &body);
            let opened = opener.open(Q, &message("m-1"), &sealed).unwrap();
            assert!(*opened.expose() == body, "{length}");
        }
    }
}

#[test]
fn a_sealer_is_used_through_the_cores_trait_and_names_its_recipient() {
    let pair = &PAIRS[0];
    let sealer: Arc<dyn Sealer> = Arc::new(EnvelopeSealer::new(pair.recipient().clone(), Q));
    let sealed = sealer.seal(&message("m-1"), Pii::wrap(BODY)).unwrap();
    assert_eq!(sealed.recipient_id(), pair.recipient_id().to_string());
    assert_eq!(sealed.recipient_id().len(), 16);
    assert_eq!(sealed.bytes().len(), BODY.len() + 122);
    assert_eq!(sealed.bytes()[4..12], hex::decode(sealed.recipient_id()).unwrap());
}

#[test]
fn nothing_of_the_body_or_its_message_shows() {
    for pair in &*PAIRS {
        let sealed = seal(pair, "m-canary-1", BODY);
        for value in [b"203.0.113.7".as_slice(), b"593-47-5928", b"device_id", b"m-canary-1"] {
            assert!(!sealed.windows(value.len()).any(|window| window == value));
        }
    }
}

#[test]
fn the_same_body_twice_gives_unrelated_bytes_under_one_data_key() {
    let sealer = EnvelopeSealer::new(PAIRS[0].recipient().clone(), Q);
    let sealed = [(); 2].map(|()| sealer.seal(&message("m"), Pii::wrap(BODY)).unwrap().bytes().to_vec());
    let [one, two] = &sealed;
    let nonce = nonce_at(80);
    assert_eq!(one[..nonce], two[..nonce], "one data key, wrapped once");
    assert_ne!(one[nonce..nonce + 12], two[nonce..nonce + 12]);
    let same = one[nonce + 12..].iter().zip(&two[nonce + 12..]).filter(|(a, b)| a == b).count();
    assert!(same < 8, "{same} of {} bytes are the same", BODY.len() + 16);
}

#[test]
fn two_sealers_never_share_a_data_key() {
    let [one, two] = [(); 2].map(|()| seal(&PAIRS[0], "m", BODY));
    assert_ne!(one[14..nonce_at(80)], two[14..nonce_at(80)]);
}

#[test]
fn a_body_opens_for_its_message_only_wherever_the_key_came_from() {
    let sealed = seal(&PAIRS[0], "m-1", BODY);
    let opener = Opener::new(Arc::clone(&PAIRS[0]));
    for other in ["m-2", "", "m-1 ", "m-", "M-1"] {
        let refused = opener.open(Q, &message(other), &sealed);
        assert!(matches!(refused, Err(OpenError::NotAuthentic)), "{other:?}");
    }
    // A replayed message carries its first key in an attribute, and is the same message.
    let replayed = MessageKey::new("m-1", KeyOrigin::Attribute);
    assert_eq!(opener.open(Q, &replayed, &sealed).unwrap().expose(), BODY);
}

#[test]
fn a_body_opens_for_its_purpose_only() {
    for pair in &*PAIRS {
        let mut sealed = seal(pair, "m-1", BODY);
        let opener = Opener::new(Arc::clone(pair));
        let refused = opener.open(Purpose::Vault, &message("m-1"), &sealed).unwrap_err();
        let OpenError::OtherPurpose { sealed_for, asked_for } = refused else { panic!("{refused}") };
        assert_eq!((sealed_for, asked_for), (Q, Purpose::Vault));

        // A changed label does not help: also not when the data key is known already.
        opener.open(Q, &message("m-1"), &sealed).unwrap();
        sealed[3] = 2;
        let relabelled = opener.open(Purpose::Vault, &message("m-1"), &sealed);
        assert!(matches!(relabelled, Err(OpenError::NotAuthentic)));
    }
}

#[test]
fn the_wrong_key_says_which_one_is_wanted() {
    let stranger = KeyPair::generate().unwrap();
    let stranger_id = stranger.recipient_id();
    let opener = Opener::new(stranger);
    for pair in &*PAIRS {
        let refused = opener.open(Q, &message("m-1"), &seal(pair, "m-1", BODY)).unwrap_err();
        let text = refused.to_string();
        let OpenError::NotForThisKey { wanted, given } = refused else { panic!("{refused}") };
        assert_eq!((wanted, given), (pair.recipient_id(), stranger_id));
        assert!(text.contains(&wanted.to_string()) && text.contains(&given.to_string()), "{text}");
    }
}

#[test]
fn every_changed_bit_is_found() {
    for pair in &*PAIRS {
        let sealed = seal(pair, "m-1", BODY);
        let opener = Opener::new(Arc::clone(pair));
        for at in 0..sealed.len() {
            // One bit of each byte of the wrapped key, where a try is slow in debug builds; every bit elsewhere.
            // Byte 45 ends the encapsulated key: X25519 itself ignores its top bit, and HPKE must not.
            let in_wrapped_key = (14..sealed.len() - BODY.len() - 28).contains(&at);
            for bit in if in_wrapped_key && at != 45 { at % 8..at % 8 + 1 } else { 0..8 } {
                let mut changed = sealed.clone();
                changed[at] ^= 1 << bit;
                let error = opener.open(Q, &message("m-1"), &changed).unwrap_err();
                let expected = match at {
                    0 => matches!(error, OpenError::UnknownVersion(_)),
                    1..=3 => matches!(
                        error,
                        OpenError::UnknownHeader | OpenError::OtherPurpose { .. } | OpenError::NotAuthentic
                    ),
                    4..=11 => matches!(error, OpenError::NotForThisKey { .. }),
                    12..=13 => matches!(error, OpenError::Truncated | OpenError::NotAuthentic),
                    _ => matches!(error, OpenError::NotAuthentic),
                };
                assert!(expected, "byte {at} bit {bit}: {error}");
            }
        }
    }
}

#[test]
fn every_cut_and_every_addition_is_found() {
    let sealed = seal(&PAIRS[0], "m-1", BODY);
    let opener = Opener::new(Arc::clone(&PAIRS[0]));
    for length in 0..sealed.len() {
        let error = opener.open(Q, &message("m-1"), &sealed[..length]).unwrap_err();
        // Past the shortest possible tag, a cut is a change like any other.
        let cut = length < nonce_at(80) + 12 + 16;
        assert!(matches!(error, OpenError::Truncated) == cut, "{length}: {error}");
        assert!(cut || matches!(error, OpenError::NotAuthentic), "{length}: {error}");
    }
    let longer = [sealed.as_slice(), &[0]].concat();
    assert!(matches!(opener.open(Q, &message("m-1"), &longer), Err(OpenError::NotAuthentic)));
}

/// One sealer and one opener for all cases: wrapping a data key for each takes long in debug builds.
static SEALER: LazyLock<EnvelopeSealer> =
    LazyLock::new(|| EnvelopeSealer::new(PAIRS[0].recipient().clone(), Q));
static OPENERS: LazyLock<[Opener; 2]> =
    LazyLock::new(|| PAIRS.each_ref().map(|pair| Opener::new(Arc::clone(pair))));

fn seal_shared(text: &str, body: &[u8]) -> Vec<u8> {
    SEALER.seal(&message(text), Pii::wrap(body)).unwrap().bytes().to_vec()
}

proptest! {
    #[test]
    fn any_body_and_key_come_back(body in proptest::collection::vec(any::<u8>(), 0..2000), key in ".{0,128}") {
        let sealed = seal_shared(&key, &body);
        let opened = OPENERS[0].open(Q, &message(&key), &sealed).unwrap();
        prop_assert_eq!(opened.expose(), &body);
    }

    #[test]
    fn arbitrary_bytes_neither_open_nor_panic(bytes in proptest::collection::vec(any::<u8>(), 0..700)) {
        prop_assert!(OPENERS[0].open(Q, &message("m"), &bytes).is_err());
    }

    /// Past the header's checks: a good header, an arbitrary length, arbitrary bytes.
    #[test]
    fn arbitrary_bytes_behind_a_good_header_neither_open_nor_panic(
        which in 0..2usize,
        algorithm in 0..4u8,
        length in prop_oneof![any::<u16>(), Just(80), Just(384), 0..600u16],
        rest in proptest::collection::vec(any::<u8>(), 0..700),
    ) {
        let id = hex::decode(PAIRS[which].recipient_id().to_string()).unwrap();
        let bytes = [&[1, 1, algorithm, 1], id.as_slice(), &length.to_be_bytes(), &rest].concat();
        prop_assert!(OPENERS[which].open(Q, &message("m"), &bytes).is_err());
    }

    /// A sealed body with a stretch of it replaced.
    #[test]
    fn spliced_bodies_neither_open_nor_panic(
        at in 0..170usize,
        removed in 0..40usize,
        put in proptest::collection::vec(any::<u8>(), 0..40),
    ) {
        let sealed = seal_shared("m", BODY);
        let mut spliced = sealed.clone();
        let at = at.min(spliced.len());
        let end = (at + removed).min(spliced.len());
        spliced.splice(at..end, put);
        prop_assume!(spliced != sealed);
        prop_assert!(OPENERS[0].open(Q, &message("m"), &spliced).is_err());
    }
}
