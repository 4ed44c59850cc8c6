//! Objects of the six fields with any values, checked against the rules as the documentation states them.

use std::collections::BTreeSet;
use std::net::IpAddr;

use fetch_etl_core::RejectReason;
use fetch_etl_core::login::LoginRow;
use proptest::prelude::*;

use super::support::{assert_row_of, outcome};

const FIELDS: [&str; 6] = ["user_id", "app_version", "device_type", "ip", "locale", "device_id"];

#[derive(Debug, Clone)]
enum FieldValue {
    Text(String),
    Null,
    /// JSON that is neither.
    Other(String),
}

/// Names and values as they stand in the object, in order.
type Object = Vec<(String, FieldValue)>;

fn text() -> impl Strategy<Value = String> {
    let any_char = prop_oneof![
        8 => any::<char>(),
        4 => prop::char::range(' ', '~'),
        1 => prop::sample::select(['\0', '"', '\\', '/', '\u{7f}', '\u{feff}', '\u{ffff}', '😀', '\u{2028}'].as_slice()),
    ];
    prop_oneof![
        4 => "[a-z0-9-]{1,20}",
        4 => prop::collection::vec(any_char, 0..20).prop_map(String::from_iter),
        1 => (30..35_usize).prop_map(|length| "é".repeat(length)),
        1 => (126..131_usize).prop_map(|length| "x".repeat(length)),
    ]
}

fn other() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        any::<i64>().prop_map(|number| number.to_string()),
        any::<u64>().prop_map(|number| number.to_string()),
        (-1e300..1e300_f64).prop_map(|number| format!("{number:e}")),
        any::<bool>().prop_map(|truth| truth.to_string()),
        text().prop_map(|text| quoted(&text, 0)),
        Just("null".to_owned()),
    ];
    let nested = leaf.prop_recursive(4, 16, 4, |inner| {
        let members = prop::collection::vec((text(), inner.clone()), 0..4);
        prop_oneof![
            prop::collection::vec(inner, 0..4).prop_map(|items| format!("[{}]", items.join(","))),
            members.prop_map(|members| {
                let members =
                    members.into_iter().map(|(name, value)| format!("{}:{value}", quoted(&name, 1)));
                format!("{{{}}}", members.collect::<Vec<_>>().join(","))
            }),
        ]
    });
    // Texts and nulls are for the other variants.
    nested.prop_map(|json| if json.starts_with(['"', 'n']) { format!("[{json}]") } else { json })
}

fn value(field: &'static str) -> impl Strategy<Value = FieldValue> {
    let plausible = match field {
        "app_version" => "[0-9]{1,4}(\\.[0-9]{1,4}){0,4}".boxed(),
        "ip" => prop_oneof![any::<IpAddr>().prop_map(|ip| ip.to_string()), text()].boxed(),
        _ => text().boxed(),
    };
    prop_oneof![
        16 => plausible.prop_map(FieldValue::Text),
        1 => text().prop_map(FieldValue::Text),
        1 => Just(FieldValue::Null),
        1 => other().prop_map(FieldValue::Other),
    ]
}

fn object() -> impl Strategy<Value = Object> {
    let known = FIELDS.map(|field| {
        let times = prop_oneof![30 => Just(1_usize), 1 => Just(0), 1 => Just(2)];
        (times, value(field), value(field)).prop_map(move |(times, first, second)| {
            [first, second].into_iter().take(times).map(|value| (field.to_owned(), value)).collect::<Object>()
        })
    });
    let unknown_name = text().prop_filter("a known name", |name| !FIELDS.contains(&name.as_str()));
    let unknown = prop::collection::vec((unknown_name, value("unknown")), 0..3);
    let [a, b, c, d, e, f] = known;
    (a, b, c, d, e, f, unknown)
        .prop_map(|(a, b, c, d, e, f, unknown)| [a, b, c, d, e, f, unknown].concat())
        .prop_shuffle()
}

/// A JSON string; `style` decides which characters are escaped though they need not be.
fn quoted(text: &str, style: u64) -> String {
    let mut out = String::from('"');
    for (place, char) in (0_u32..).zip(text.chars()) {
        let escape_anyway = style.rotate_right(place) & 1 == 1;
        if char < ' ' || char == '"' || char == '\\' || escape_anyway {
            for unit in char.encode_utf16(&mut [0; 2]) {
                out.push_str(&format!("\\u{unit:04X}"));
            }
        } else {
            out.push(char);
        }
    }
    out.push('"');
    out
}

fn render(object: &Object, style: u64) -> String {
    let space = if style & 2 == 0 { "" } else { " \t\r\n" };
    let member = |(name, value): &(String, FieldValue)| {
        let value = match value {
            FieldValue::Text(text) => quoted(text, style),
            FieldValue::Null => "null".to_owned(),
            FieldValue::Other(json) => json.clone(),
        };
        format!("{space}{}{space}:{space}{value}{space}", quoted(name, style >> 7))
    };
    let members: Vec<_> = object.iter().map(member).collect();
    format!("{space}{{{}}}{space}", members.join(","))
}

/// Everything that is wrong with an object, by the rules of the documentation.
fn problems(object: &Object) -> BTreeSet<RejectReason> {
    let mut problems = BTreeSet::new();
    for field in FIELDS {
        let values: Vec<_> =
            object.iter().filter(|(name, _)| name == field).map(|(_, value)| value).collect();
        match values.as_slice() {
            [] => drop(problems.insert(RejectReason::MissingField)),
            [value] => problems.extend(problems_of(field, value)),
            _ => drop(problems.insert(RejectReason::DuplicateField)),
        }
    }
    problems
}

fn problems_of(field: &str, value: &FieldValue) -> Vec<RejectReason> {
    let limit = match field {
        "user_id" => LoginRow::USER_ID_CHARS,
        "device_type" => LoginRow::DEVICE_TYPE_CHARS,
        "locale" => LoginRow::LOCALE_CHARS,
        "app_version" => LoginRow::APP_VERSION_CHARS,
        _ => usize::MAX,
    };
    let is_stored = limit != usize::MAX;
    let text = match value {
        FieldValue::Text(text) => text,
        FieldValue::Null if field == "user_id" => return vec![RejectReason::NullField],
        FieldValue::Null => return vec![],
        FieldValue::Other(_) => return vec![RejectReason::WrongType],
    };
    let is_number = |part: &str| !part.is_empty() && part.chars().all(|char| char.is_ascii_digit());
    let rules = [
        (field == "user_id" && text.is_empty(), RejectReason::EmptyField),
        (is_stored && text.contains('\0'), RejectReason::NulCharacter),
        (text.chars().count() > limit, RejectReason::TooLong),
        (field == "app_version" && !text.split('.').all(is_number), RejectReason::InvalidVersion),
    ];
    rules.into_iter().filter_map(|(broken, reason)| broken.then_some(reason)).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn an_object_becomes_a_masked_row_or_a_reject_for_a_true_reason(object in object(), style in any::<u64>()) {
        let body = render(&object, style);
        let outcome = outcome(body.as_str());
        let problems = problems(&object);
        match outcome.reason() {
            Some(reason) => prop_assert!(problems.contains(&reason), "{} instead of {:?}", reason, problems),
            None => {
                prop_assert!(problems.is_empty(), "a row in spite of {:?}", problems);
                assert_row_of(body.as_bytes(), &outcome);
                let unknown = object.iter().filter(|(name, _)| !FIELDS.contains(&name.as_str())).count();
                prop_assert_eq!(outcome.unknown_fields, unknown as u64);
            }
        }
    }
}
