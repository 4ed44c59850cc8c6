//! Messages whose outcome no fixture states.

use std::sync::Arc;

use fetch_etl_core::{Delivery, KeyOrigin, MAX_BODY_BYTES, Reject, RejectReason, UnixMillis};
use fetch_etl_testing::FakeMasker;

use super::support::{delivery, outcome, stage};

const GOOD: &str =
    r#"{"user_id":"u","app_version":"1","device_type":"a","ip":"1.1.1.1","locale":"x","device_id":"y"}"#;

#[test]
fn a_body_may_be_as_large_as_the_queue_allows_and_no_larger() {
    let padded = |length: usize| format!("{GOOD}{}", " ".repeat(length - GOOD.len()));
    assert_eq!(outcome(padded(MAX_BODY_BYTES)).reason(), None);
    let expected = Reject::of_message(RejectReason::InvalidJson).with_length(MAX_BODY_BYTES + 1);
    assert_eq!(outcome(padded(MAX_BODY_BYTES + 1)).result.err(), Some(expected));
}

#[test]
fn nesting_as_deep_as_a_body_can_be_is_a_reject() {
    for (open, known) in [("[", "\"ip\""), ("{\"a\":", "\"unknown\"")] {
        let nested = open.repeat(MAX_BODY_BYTES / open.len() - 16);
        assert_eq!(outcome(nested.as_str()).reason(), Some(RejectReason::InvalidJson));
        assert_eq!(outcome(format!("{{{known}:{nested}")).reason(), Some(RejectReason::InvalidJson));
    }
}

#[test]
fn what_is_dropped_or_masked_as_text_is_counted() {
    let unknown = GOOD.replace('}', r#","a":1,"a":2,"User_id":{"ip":"203.0.113.7"}}"#);
    let no_address = GOOD.replace("1.1.1.1", "localhost");
    for (body, counts) in [(GOOD, (0, 0)), (&unknown, (3, 0)), (&no_address, (0, 1))] {
        let outcome = outcome(body);
        assert_eq!(
            (outcome.reason(), outcome.unknown_fields, outcome.non_canonical),
            (None, counts.0, counts.1)
        );
    }
}

#[test]
fn a_reject_says_where_and_how_long_but_not_what() {
    for (body, shown) in [
        ("{\n  \"user_id\": \"u\",, }".to_owned(), "invalid_json at line 2 column 18 (length 22)"),
        (GOOD.replace(":\"a\"", ":7"), "wrong_type in device_type"),
        (GOOD.replace(":\"x\"", &format!(":\"{}\"", "é".repeat(33))), "too_long in locale (length 33)"),
        (GOOD.replace(":\"1\"", ":\"one\""), "invalid_version in app_version (length 3)"),
        (GOOD.replace("\"ip\"", "\"device_id\""), "duplicate_field in device_id"),
    ] {
        assert_eq!(outcome(body).result.expect_err("a row").to_string(), shown);
    }
}

#[test]
fn a_key_that_the_ledger_cannot_hold_is_a_reject_under_the_queues_id() {
    let too_long = "ä".repeat(129);
    for (key, reason) in [
        ("", RejectReason::EmptyField),
        ("a\0b", RejectReason::NulCharacter),
        (too_long.as_str(), RejectReason::TooLong),
    ] {
        let mut delivery = delivery(GOOD);
        delivery.key = Some(key.into());
        let staged = stage(delivery, Arc::new(FakeMasker));
        let [reject] = staged.batch.rejects() else { panic!("no reject of a bad key") };
        assert_eq!((reject.reject().reason, reject.reject().field.as_deref()), (reason, Some("message key")));
        assert_eq!((reject.key().as_str(), reject.key().origin()), ("id-1", KeyOrigin::MessageId));
    }
}

#[test]
fn a_key_of_an_attribute_is_the_key_of_rows_and_rejects() {
    let longest = "ä".repeat(128);
    for body in [GOOD, "no JSON"] {
        let mut delivery = delivery(body);
        delivery.key = Some(longest.as_str().into());
        let staged = stage(delivery, Arc::new(FakeMasker));
        let rows = staged.batch.rows().iter().map(|row| row.key());
        let keys: Vec<_> = rows.chain(staged.batch.rejects().iter().map(|reject| reject.key())).collect();
        assert_eq!(keys.len(), 1);
        assert_eq!((keys[0].as_str(), keys[0].origin()), (longest.as_str(), KeyOrigin::Attribute));
    }
}

#[test]
fn only_a_queues_key_has_a_time_under_which_it_may_be_known() {
    for body in [GOOD, "no JSON"] {
        let queued_at = |key: Option<&str>, sent_at: Option<UnixMillis>| {
            let delivery = Delivery { key: key.map(Into::into), sent_at, ..delivery(body) };
            let staged = stage(delivery, Arc::new(FakeMasker));
            let rows = staged.batch.rows().iter().map(|row| row.queued_at());
            rows.chain(staged.batch.rejects().iter().map(|reject| reject.queued_at())).next().unwrap()
        };
        let sent_at = Some(UnixMillis::new(17));
        assert_eq!(queued_at(None, sent_at), sent_at);
        assert_eq!(queued_at(Some("event"), sent_at), None);
        assert_eq!(queued_at(None, None), None, "the time of receipt is another one at every delivery");
    }
}
