use fetch_etl_core::RejectReason;
use serde::Deserialize;

use super::support::{assert_row_of, outcome};

#[derive(Deserialize)]
struct Hostile {
    name: String,
    body: String,
    expect: String,
}

fn hostile() -> Vec<Hostile> {
    let text = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../fixtures/hostile.json"));
    serde_json::from_str(text).unwrap()
}

#[test]
fn every_hostile_message_becomes_what_it_should() {
    for Hostile { name, body, expect } in hostile() {
        let outcome = outcome(body.as_str());
        let found = outcome.reason().map_or("row", RejectReason::as_str);
        assert_eq!(found, expect, "{name}");
        if found == "row" {
            assert_row_of(body.as_bytes(), &outcome);
        }
    }
}

#[test]
fn the_hostile_messages_have_every_reason_of_a_schema() {
    let expected = hostile();
    let reasons = RejectReason::ALL.iter().filter(|&&reason| reason != RejectReason::RefusedBySink);
    for name in reasons.map(|reason| reason.as_str()).chain(["row"]) {
        assert!(expected.iter().any(|hostile| hostile.expect == name), "no example of {name}");
    }
}

#[test]
fn of_the_sample_logins_all_but_one_become_rows() {
    let text = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../fixtures/logins.jsonl"));
    let mut reasons = Vec::new();
    for line in text.lines() {
        let outcome = outcome(line);
        match outcome.reason() {
            None => assert_row_of(line.as_bytes(), &outcome),
            Some(reason) => reasons.push(reason),
        }
    }
    assert_eq!((text.lines().count(), reasons), (100, vec![RejectReason::MissingField]));
}
