//! What it takes to find the value of a mask: the key, and as many tries as there are values.

use fetch_etl_core::{KeyId, Masker as _, Pii};
use fetch_etl_mask::{FieldMasker, KeyRing, MaskPlan, Method};

const KEYS: [&str; 4] = [
    "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=",
    "ICEiIyQlJicoKSorLC0uLzAxMjM0NTY3ODk6Ozw9Pj8=",
    "QEFCQ0RFRkdISUpLTE1OT1BRUlNUVVZXWFlaW1xdXl8=",
    "YGFiY2RlZmdoaWprbG1ub3BxcnN0dXZ3eHl6e3x9fn8=",
];

/// A keyed method, with values among which somebody tries to find one.
struct Keyed {
    method: Method,
    values: Vec<String>,
}

fn keyed_methods() -> [Keyed; 2] {
    let addresses = (0..256).map(|n| format!("203.0.113.{n}")).collect();
    // Networks that differ in their last octet.
    let networks = (0..256).map(|n| format!("198.51.{n}.1")).collect();
    [
        Keyed { method: Method::HmacSha512, values: addresses },
        Keyed { method: Method::IpPrefix, values: networks },
    ]
}

fn masker(ring: Option<&str>, method: &Method, domain: &str) -> FieldMasker {
    let ring = ring.map(|ring| KeyRing::from_text(ring).unwrap());
    let plan = MaskPlan::new(ring, domain, method.clone(), [("ip", method.clone())]).unwrap();
    plan.masker(plan.newest()).unwrap()
}

fn mask(masker: &FieldMasker, value: &str) -> String {
    masker.mask("ip", Pii::wrap(value)).unwrap().to_text()
}

/// Which of the values have this mask, to whoever has this masker.
fn found(masker: &FieldMasker, values: &[String], wanted: &str) -> Vec<String> {
    values.iter().filter(|value| mask(masker, value) == wanted).cloned().collect()
}

#[test]
fn with_the_key_a_value_is_found_by_trying_all_and_without_it_by_no_keyed_method() {
    let [first, second, other, another] = KEYS;
    let rotated = format!("1:{first}\n2:{second}");
    for Keyed { method, values } in keyed_methods() {
        assert!(method.is_keyed());
        for ring in [first, rotated.as_str()] {
            let ours = masker(Some(ring), &method, "default");
            for value in [&values[0], &values[77], &values[255]] {
                let wanted = mask(&ours, value);
                assert_eq!(found(&ours, &values, &wanted), [value.as_str()], "{method}");
                // Other keys, a part of the keys, the same key in another domain, no key at all.
                let guesses = [
                    other,
                    another,
                    second,
                    &format!("1:{other}\n2:{second}"),
                    &format!("1:{first}\n2:{other}"),
                ];
                for guess in guesses {
                    assert_eq!(
                        found(&masker(Some(guess), &method, "default"), &values, &wanted),
                        [""; 0],
                        "{method}"
                    );
                }
                assert_eq!(found(&masker(Some(ring), &method, "eu"), &values, &wanted), [""; 0], "{method}");
                assert_eq!(
                    found(&masker(None, &Method::Sha512, "default"), &values, &wanted),
                    [""; 0],
                    "{method}"
                );
            }
        }
    }
    let all_keyed = Method::NAMES.iter().filter(|name| name.parse::<Method>().unwrap().is_keyed()).count();
    assert_eq!(all_keyed, keyed_methods().len(), "every keyed method is tried");
}

#[test]
fn plain_sha512_is_found_by_anybody() {
    let [Keyed { values, .. }, _] = keyed_methods();
    let (worker, reader) = (masker(None, &Method::Sha512, "default"), masker(None, &Method::Sha512, "eu"));
    assert_eq!(found(&reader, &values, &mask(&worker, &values[7])), [values[7].clone()]);
    assert_eq!(worker.key_id(), KeyId::UNKEYED);
}
