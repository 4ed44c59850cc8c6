//! The messages are what they say, each time.

use std::collections::{BTreeMap, HashSet};

use fetch_etl_canary::{Campaign, Canaries, Expected, Field, Right, TEXT_BYTES};

#[test]
fn a_seed_makes_the_same_messages_and_another_one_others() {
    let bodies = |seed| Canaries::new(seed, 200).messages().map(|m| m.body().to_owned()).collect::<Vec<_>>();
    assert_eq!(bodies(1), bodies(1));
    let (one, other) = (Canaries::new(1, 200), Canaries::new(2, 200));
    let values: HashSet<_> = one.all().iter().map(|canary| canary.value()).collect();
    assert!(other.all().iter().all(|canary| !values.contains(canary.value())));
    assert_ne!(one.tag(), other.tag());
}

#[test]
fn fewer_messages_are_the_first_of_more() {
    let (few, many) = (Canaries::new(3, 50), Canaries::new(3, 200));
    assert!(few.messages().zip(many.messages()).all(|(a, b)| a.body() == b.body()));
}

#[test]
fn every_kind_comes_in_a_thousand_messages_with_one_outcome() {
    let canaries = Canaries::new(4, 1_000);
    let mut kinds = BTreeMap::new();
    for message in canaries.messages() {
        assert_eq!(kinds.entry(message.kind()).or_insert(message.expected()), &message.expected());
    }
    let reasons: HashSet<_> = kinds.values().collect();
    assert!(kinds.len() >= 40, "{}", kinds.len());
    // All reasons of the quarantine but the one that a database gives, and the row.
    assert_eq!(reasons.len(), 11, "{reasons:?}");
    assert_eq!((canaries.rows(), canaries.rejects()), (667, 333));
    assert_eq!(canaries.messages().filter(|message| !message.attributes().is_empty()).count(), 200);
}

#[test]
fn canaries_are_in_their_messages_and_tell_themselves_apart_early() {
    let canaries = Canaries::new(5, 1_000);
    let mut beginnings = HashSet::new();
    for message in canaries.messages() {
        for canary in canaries.of(message) {
            assert_eq!(canary.message(), message.number());
            let value = canary.value();
            let escaped: String = value.chars().map(|c| format!("\\u{:04x}", u32::from(c))).collect();
            let in_body = [value, &value.replace('"', "\\\""), &escaped]
                .iter()
                .any(|text| message.body().contains(*text));
            let in_attribute = message.attributes().iter().any(|(_, text)| text == value);
            assert_eq!(
                (in_body, in_attribute),
                (canary.field() != Field::Attribute, canary.field() == Field::Attribute),
                "{canary:?}"
            );
            let is_address = value.parse::<std::net::IpAddr>().is_ok();
            let telling = if is_address { value.len() } else { TEXT_BYTES };
            assert!(beginnings.insert(value.bytes().take(telling).collect::<Vec<_>>()), "{canary:?}");
        }
    }
    assert!(canaries.all().len() > 5_000);
}

#[test]
fn only_stored_fields_of_rows_may_be_anywhere() {
    let canaries = Canaries::new(6, 300);
    for message in canaries.messages() {
        for canary in canaries.of(message) {
            let stored = matches!(
                canary.field(),
                Field::UserId | Field::AppVersion | Field::DeviceType | Field::Locale
            );
            let expected =
                if message.expected() == Expected::Row && stored { Right::Rows } else { Right::Nowhere };
            assert_eq!(canary.right(), expected, "{canary:?} {}", message.kind());
        }
    }
}

#[test]
fn stored_values_fit_their_columns() {
    for canary in Canaries::new(7, 1_000).all() {
        assert!(canary.value().chars().count() <= 39, "{canary:?}");
        if canary.field() != Field::Ip {
            assert!(canary.value().chars().count() <= 32, "{canary:?}");
        }
    }
}

#[test]
fn the_parts_of_a_campaign_share_nothing() {
    let campaign = Campaign::new(8, 400);
    let mut values = HashSet::new();
    for set in campaign.parts() {
        assert!(set.all().iter().all(|canary| values.insert(canary.value())), "{}", set.name());
    }
    let Campaign { panicking, refused, .. } = campaign;
    assert!(panicking.all().iter().all(|canary| canary.right() == Right::Nowhere));
    assert_eq!((panicking.rows(), panicking.rejects()), (0, 0));
    assert_eq!((refused.rows(), refused.rejects()), (10, 10));
    for message in refused.messages() {
        let is_marked = message.body().contains(&format!("{}\"", Campaign::REFUSED_LOCALES));
        assert_eq!(is_marked, message.expected() == Expected::Reject("refused_by_sink"));
    }
}
