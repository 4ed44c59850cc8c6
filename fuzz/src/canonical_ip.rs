//! Any two texts, a line each, as addresses: the keyed masker's canonical form.
//!
//! - It does not panic, and masks the same text the same way each time, prepared field or not.
//! - Two texts have one mask exactly if they spell one address, or are the same text.
//! - Every spelling of an address that we can think of has the address's mask.
//! - Another field's masks are of the exact text, and unrelated.

use std::net::{IpAddr, Ipv6Addr};
use std::sync::LazyLock;

use fetch_etl_core::{KeyId, MaskedValue, Masker, Pii};
use fetch_etl_mask::{HmacSha512Masker, MasterKey};

static MASKERS: LazyLock<[HmacSha512Masker; 2]> = LazyLock::new(|| {
    let key = MasterKey::from_bytes((0..32).collect::<Vec<u8>>()).expect("a key");
    let masker = || HmacSha512Masker::new(&key, KeyId::new(1), "fuzz").expect("a masker");
    [masker().with_fields(["ip", "device_id"]), masker()]
});

fn mask(field: &str, text: &str) -> MaskedValue {
    let [prepared, other] =
        MASKERS.each_ref().map(|masker| masker.mask(field, Pii::wrap(text)).expect("a mask"));
    assert!(prepared.digest().is_some_and(|digest| digest.iter().any(|byte| *byte != 0)));
    assert_eq!(prepared, other, "a prepared field's key is another one");
    prepared
}

/// What a text stands for.
#[derive(Debug, PartialEq, Eq)]
enum Meaning<'t> {
    Address(Ipv6Addr),
    Text(&'t str),
}

impl<'t> Meaning<'t> {
    fn of(text: &'t str) -> Self {
        match text.parse() {
            Ok(IpAddr::V4(address)) => Self::Address(address.to_ipv6_mapped()),
            Ok(IpAddr::V6(address)) => Self::Address(address),
            Err(_) => Self::Text(text),
        }
    }
}

/// Checks two lines of text; what is no text is not looked at.
pub fn check(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let (first, second) = text.split_once('\n').unwrap_or((text, "192.0.2.1"));
    for field in ["ip", "device_id"] {
        let same_mask = mask(field, first) == mask(field, second);
        let same_meaning = match field {
            "ip" => Meaning::of(first) == Meaning::of(second),
            _ => first == second,
        };
        assert_eq!(same_mask, same_meaning, "{field}");
    }
    assert_ne!(mask("ip", first), mask("device_id", first));
    if let Meaning::Address(address) = Meaning::of(first) {
        check_spellings(first, address);
    }
}

fn check_spellings(text: &str, address: Ipv6Addr) {
    let expected = mask("ip", text);
    let octets = address.octets();
    let groups = address.segments().map(|group| format!("{group:x}"));
    let full = address.segments().map(|group| format!("{group:04x}"));
    let dotted = format!("{}.{}.{}.{}", octets[12], octets[13], octets[14], octets[15]);
    let mut spellings = vec![
        address.to_string(),
        groups.join(":"),
        full.join(":"),
        full.join(":").to_uppercase(),
        format!("{}:{dotted}", groups[..6].join(":")),
        text.to_uppercase(),
        text.to_lowercase(),
    ];
    if address.to_ipv4_mapped().is_some() {
        spellings.extend([
            dotted.clone(),
            format!("::ffff:{dotted}"),
            format!("::FFFF:{}:{}", groups[6], groups[7]),
        ]);
    }
    for spelling in &spellings {
        assert!(mask("ip", spelling) == expected, "{spelling} and {text} are one address with two masks");
    }
    // What only looks like the address is not the address.
    for lookalike in [
        format!(" {text}"),
        format!("{text} "),
        format!("{text}\0"),
        format!("{text}/32"),
        format!("{text}%1"),
    ] {
        assert!(mask("ip", &lookalike) != expected, "{lookalike:?} has the mask of {text}");
    }
}
