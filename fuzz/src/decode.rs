//! Any bytes as a message's body: the core's [`Stager`] with its [`LoginSchema`].
//!
//! - It does not panic.
//! - It rejects exactly what the documentation says, for a reason that is true.
//! - A row holds what was sent; its masked columns hold what the masker made of the right values.
//! - Whatever it prints is made of its own words.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use fetch_etl_core::login::{LoginRow, LoginSchema};
use fetch_etl_core::{
    Delivery, KeyId, MAX_BODY_BYTES, Masked, MaskedValue, Masker, MessageKey, Pii, Receipt, Reject,
    RejectReason, Staged, Stager, UnixMillis,
};
use serde_json::Value;

use crate::oracle::{Object, version};
use crate::words::assert_says_only;

/// A masker that remembers what it was asked; its n-th mask is `mask n`.
#[derive(Default)]
struct Recorder(Mutex<Vec<(String, String)>>);

impl Recorder {
    fn calls(&self) -> Vec<(String, String)> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Masker for Recorder {
    fn mask(&self, field: &str, value: &Pii<str>) -> Option<MaskedValue> {
        let mut calls = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        calls.push((field.to_owned(), value.expose().to_owned()));
        Some(MaskedValue::from_masked_text(format!("mask {}", calls.len() - 1)))
    }

    fn key_id(&self) -> KeyId {
        KeyId::new(42)
    }
}

/// Checks one body.
pub fn check(body: &[u8]) {
    check_staged(body, None);
    // The start of the body as the producer's key too: that text comes from outside as well.
    let start = body.get(..300).unwrap_or(body);
    check_staged(body, Some(&String::from_utf8_lossy(start)));
}

fn check_staged(body: &[u8], key: Option<&str>) {
    let recorder = Arc::new(Recorder::default());
    let delivery = Delivery {
        id: "id-1".into(),
        key: key.map(Into::into),
        attempt: 1,
        sent_at: Some(UnixMillis::new(0)),
        trace: None,
        body: Pii::new(body.to_vec()),
        receipt: Receipt::new("receipt"),
    };
    let mut shown = format!("{delivery:?}\n{delivery:#?}\n");
    let staged = Stager::new(LoginSchema, recorder.clone()).stage(vec![delivery]);
    match (staged.batch.rows(), staged.batch.rejects()) {
        ([row], []) => check_row(body, key, row, &staged, &recorder),
        ([], [rejected]) => {
            check_reject(body, key, rejected.reject());
            let usable = key.filter(|key| key_problem(key).is_none());
            assert_eq!(rejected.key().as_str(), usable.unwrap_or("id-1"));
        }
        _ => panic!("a message becomes one row or one reject: {staged:?}"),
    }
    shown.push_str(&without_clock(&show(&staged)));
    assert_says_only(WORDS, body.len() as u64 + 42, &shown);
}

fn check_row(
    body: &[u8],
    key: Option<&str>,
    masked: &Masked<LoginRow>,
    staged: &Staged<LoginRow>,
    recorder: &Recorder,
) {
    assert!(body.len() <= MAX_BODY_BYTES, "too large for a row");
    assert_eq!(key.and_then(key_problem), None, "a row under a key that cannot be stored");
    assert_eq!(masked.key().as_str(), key.unwrap_or("id-1"));
    let object: Object = serde_json::from_slice(body).expect("a row of what is no object");
    assert_eq!(object.problems(), [], "a row in spite of that");
    let row = masked.row();
    assert_eq!(Some(row.user_id.as_str()), object.text("user_id"));
    assert_eq!(row.device_type.as_deref(), object.text("device_type"));
    assert_eq!(row.locale.as_deref(), object.text("locale"));
    assert_eq!(row.app_version_text.as_deref(), object.text("app_version"));
    assert_eq!(row.app_version, object.text("app_version").and_then(version).flatten());
    assert_eq!(row.mask_key_id, KeyId::new(42));
    // Each personal value was masked once, as what it is, and its column holds that mask and nothing else.
    let calls = recorder.calls();
    let mask_of = |field: &str| {
        let value = object.text(field)?;
        let call = calls.iter().position(|call| *call == (field.to_owned(), value.to_owned()));
        Some(MaskedValue::from_masked_text(format!("mask {}", call.expect("a value that was never masked"))))
    };
    assert_eq!((&row.masked_ip, &row.masked_device_id), (&mask_of("ip"), &mask_of("device_id")));
    assert_eq!(
        calls.len(),
        usize::from(row.masked_ip.is_some()) + usize::from(row.masked_device_id.is_some())
    );
    let is_no_address = object.text("ip").is_some_and(|ip| ip.parse::<IpAddr>().is_err());
    assert_eq!((staged.unknown_fields, staged.non_canonical), (object.unknown(), u64::from(is_no_address)));
}

fn check_reject(body: &[u8], key: Option<&str>, reject: &Reject) {
    let reason = reject.reason;
    if let Some(problem) = key.and_then(key_problem) {
        assert_eq!((reason, reject.field.as_deref()), (problem, Some("message key")));
        return;
    }
    let is_json = body.len() <= MAX_BODY_BYTES && serde_json::from_slice::<Value>(body).is_ok();
    assert_eq!(reason == RejectReason::InvalidJson, !is_json, "{reason}");
    if !is_json {
        return;
    }
    match serde_json::from_slice::<Object>(body) {
        Ok(object) => assert!(object.problems().contains(&reason), "{reason} of {:?}", object.problems()),
        Err(_) => assert_eq!(reason, RejectReason::NotAnObject),
    }
}

/// Why a producer's key cannot be stored.
fn key_problem(key: &str) -> Option<RejectReason> {
    let chars = key.chars().count();
    [
        (chars == 0, RejectReason::EmptyField),
        (chars > MessageKey::MAX_CHARS, RejectReason::TooLong),
        (key.contains('\0'), RejectReason::NulCharacter),
    ]
    .into_iter()
    .find_map(|(broken, reason)| broken.then_some(reason))
}

/// All that can be printed of what staging made.
fn show(staged: &Staged<LoginRow>) -> String {
    let batch = &staged.batch;
    let mut shown = format!("{staged:?}\n{staged:#?}\n{:?}\n{:?}\n", batch.rows(), batch.rejects());
    for row in batch.rows() {
        shown.push_str(&format!("{:?} {:#?} {:?}\n", row.row(), row.key(), row.held()));
    }
    for rejected in batch.rejects() {
        shown.push_str(&format!("{} {:#?} {:?}\n", rejected.reject(), rejected.key(), rejected.held()));
    }
    shown
}

/// The time of receipt is a large number that says nothing of a message.
fn without_clock(shown: &str) -> String {
    let mut pieces = shown.split("Instant {");
    let mut kept = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        kept.push_str(piece.split_once('}').map_or(piece, |(_, rest)| rest));
    }
    kept
}

/// Everything that the core says of a message: names of types, fields and reasons.
#[rustfmt::skip]
const WORDS: &[&str] = &[
    "Delivery", "id", "attempt", "sent_at", "queued_at", "body_bytes", "UnixMillis", "Some", "None", "Pii", "pii",
    "Staged", "batch", "Batch", "rows", "rejects", "unknown_fields", "non_canonical", "group", "LeaseGroup", "slots",
    "Slot", "receipt", "Receipt", "trace", "state", "renewed_ms", "extending", "false", "received_at",
    "Masked", "key", "MessageKey", "attribute", "LoginRow", "mask_key_id", "KeyId", "Held", "held",
    "Rejected", "reject", "Reject", "reason", "field", "position", "length", "code", "sealed",
    "InvalidJson", "NotAnObject", "DuplicateField", "MissingField", "NullField", "EmptyField", "WrongType", "TooLong",
    "NulCharacter", "InvalidVersion",
    "invalid_json", "not_an_object", "duplicate_field", "missing_field", "null_field", "empty_field", "wrong_type",
    "too_long", "nul_character", "invalid_version", "in", "at", "line", "column", "message",
    "user_id", "app_version", "device_type", "ip", "locale", "device_id",
];
