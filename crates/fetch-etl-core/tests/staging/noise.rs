//! Bytes that nobody wrote as a message.

use fetch_etl_core::RejectReason;
use proptest::prelude::*;
use serde_json::Value;

use super::support::{assert_row_of, outcome};

const GOOD: &str = r#"{"user_id":"üser-1","app_version":"2.3.0","device_type":null,"ip":"203.0.113.7","locale":"U\u0053\ud83d\ude00","device_id":"593-47-5928","more":[1,{"ip":"\n"}]}"#;

/// Bytes that mean something to a parser come more often than by chance.
fn byte() -> impl Strategy<Value = u8> {
    prop_oneof![any::<u8>(), prop::sample::select(b"{}[]\",:\\ntfu0123456789-+.eE \x00\x1f\xff".as_slice())]
}

/// A good message with some bytes replaced, put in or taken out, and cut off somewhere.
fn damaged() -> impl Strategy<Value = Vec<u8>> {
    let edit = (any::<prop::sample::Index>(), 0..3_u8, byte());
    let cut = prop_oneof![3 => Just(None), 1 => any::<prop::sample::Index>().prop_map(Some)];
    (prop::collection::vec(edit, 0..6), cut).prop_map(|(edits, cut)| {
        let mut body = GOOD.as_bytes().to_vec();
        for (at, kind, byte) in edits {
            let at = at.index(body.len());
            match kind {
                0 => body[at] = byte,
                1 => body.insert(at, byte),
                _ => drop(body.remove(at)),
            }
        }
        if let Some(cut) = cut {
            body.truncate(cut.index(body.len()));
        }
        body
    })
}

/// No panic, and the same opinion as another parser on what is JSON and what is in it.
fn check(body: &[u8]) -> Result<(), TestCaseError> {
    let outcome = outcome(body);
    let parsed = serde_json::from_slice::<Value>(body);
    prop_assert_eq!(outcome.reason() == Some(RejectReason::InvalidJson), parsed.is_err());
    if let Ok(value) = parsed {
        prop_assert_eq!(outcome.reason() == Some(RejectReason::NotAnObject), !value.is_object());
    }
    if outcome.result.is_ok() {
        assert_row_of(body, &outcome);
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn arbitrary_bytes_become_rejects_or_masked_rows(body in prop::collection::vec(byte(), 0..400)) {
        check(&body)?;
    }

    #[test]
    fn damaged_messages_become_rejects_or_masked_rows(body in damaged()) {
        check(&body)?;
    }
}
