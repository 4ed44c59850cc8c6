use std::net::{Ipv4Addr, Ipv6Addr};

use fetch_etl_core::{KeyId, Masker, Pii};
use fetch_etl_mask::{HmacSha512Masker, MasterKey, Sha512Masker};
use proptest::prelude::*;

fn key(first: u8) -> MasterKey {
    MasterKey::from_bytes((first..first + 32).collect::<Vec<u8>>()).unwrap()
}

fn keyed(first: u8, domain: &str) -> HmacSha512Masker {
    HmacSha512Masker::new(&key(first), KeyId::new(1), domain).unwrap().with_fields(["ip", "device_id"])
}

fn mask(masker: &dyn Masker, field: &str, value: &str) -> String {
    masker.mask(field, Pii::wrap(value)).unwrap().to_text()
}

/// Spellings that Rust's parser takes for this address: groups with leading zeros or without, in either case, with zeros
/// left out wherever two groups or more of them stand together, and the last two groups as an IPv4 address.
fn spellings_v6(address: Ipv6Addr) -> Vec<String> {
    let groups = address.segments();
    let mut spellings = vec![address.to_string()];
    for width in [1, 2, 4] {
        let text: Vec<_> = groups.iter().map(|group| format!("{group:0width$x}")).collect();
        spellings.push(text.join(":"));
        for start in 0..8 {
            for end in start + 1..=8 {
                if groups[start..end].iter().all(|&group| group == 0) {
                    spellings.push(format!("{}::{}", text[..start].join(":"), text[end..].join(":")));
                }
            }
        }
        let [.., a, b, c, d] = address.octets();
        spellings.push(format!("{}:{}", text[..6].join(":"), Ipv4Addr::new(a, b, c, d)));
    }
    spellings.extend(spellings.clone().into_iter().map(|text| text.to_uppercase()));
    spellings
}

fn sparse_v6() -> impl Strategy<Value = Ipv6Addr> {
    let group = prop_oneof![3 => Just(0_u16), 1 => any::<u16>(), 1 => 0..16_u16];
    prop::array::uniform8(group).prop_map(Ipv6Addr::from)
}

proptest! {
    #[test]
    fn equal_values_have_equal_masks_and_others_have_others(a in any::<String>(), b in any::<String>()) {
        for masker in [&Sha512Masker as &dyn Masker, &keyed(0, "default")] {
            prop_assert_eq!(mask(masker, "device_id", &a), mask(masker, "device_id", &a));
            prop_assert_eq!(mask(masker, "device_id", &a) == mask(masker, "device_id", &b), a == b);
        }
        // Nor does it matter which masker made it, where, and with which fields prepared.
        let unprepared = HmacSha512Masker::new(&key(0), KeyId::new(9), "default").unwrap();
        prop_assert_eq!(mask(&unprepared, "device_id", &a), mask(&keyed(0, "default"), "device_id", &a));
    }

    #[test]
    fn masks_of_fields_domains_and_keys_are_unrelated(value in any::<String>()) {
        let masker = keyed(0, "default");
        let masks = [
            mask(&masker, "ip", &value),
            mask(&masker, "device_id", &value),
            mask(&masker, "device_id/x", &value),
            mask(&masker, "", &value),
            mask(&keyed(0, "default2"), "device_id", &value),
            mask(&keyed(0, "d"), "device_id", &value),
            mask(&keyed(1, "default"), "device_id", &value),
            mask(&Sha512Masker, "device_id", &value),
        ];
        let different: std::collections::BTreeSet<_> = masks.iter().collect();
        prop_assert_eq!(different.len(), masks.len());
    }

    #[test]
    fn every_spelling_of_an_ipv4_address_has_one_mask(address in any::<Ipv4Addr>()) {
        let masker = keyed(0, "default");
        let expected = mask(&masker, "ip", &address.to_string());
        for spelling in spellings_v6(address.to_ipv6_mapped()) {
            prop_assert_eq!(&mask(&masker, "ip", &spelling), &expected, "{}", spelling);
        }
    }

    #[test]
    fn every_spelling_of_an_ipv6_address_has_one_mask(address in sparse_v6()) {
        let masker = keyed(0, "default");
        let expected = mask(&masker, "ip", &address.to_string());
        for spelling in spellings_v6(address) {
            prop_assert!(spelling.parse() == Ok(address), "{} is no spelling of {}", spelling, address);
            prop_assert_eq!(&mask(&masker, "ip", &spelling), &expected, "{}", spelling);
        }
    }

    #[test]
    fn different_addresses_have_different_masks(a in sparse_v6(), b in sparse_v6()) {
        let masker = keyed(0, "default");
        prop_assert_eq!(mask(&masker, "ip", &a.to_string()) == mask(&masker, "ip", &b.to_string()), a == b);
    }

    #[test]
    fn in_other_fields_a_spelling_is_a_text(address in any::<Ipv4Addr>()) {
        let masker = keyed(0, "default");
        let mapped = address.to_ipv6_mapped().to_string();
        prop_assert_ne!(mask(&masker, "device_id", &address.to_string()), mask(&masker, "device_id", &mapped));
    }

    /// Four characters and more: shorter ones are in 128 hexadecimal characters by chance.
    #[test]
    fn no_mask_holds_its_value(value in prop_oneof!["[0-9a-f]{8,40}", "\\PC{4,40}", any::<Ipv4Addr>().prop_map(|ip| ip.to_string())]) {
        for field in ["ip", "device_id"] {
            for masker in [&Sha512Masker as &dyn Masker, &keyed(0, "default")] {
                let mask = mask(masker, field, &value);
                prop_assert!(mask.len() == 128 && mask.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')));
                prop_assert!(!mask.contains(&value));
            }
        }
    }
}
