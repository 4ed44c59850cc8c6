use fetch_etl_core::{KeyId, MaskedValue, Masker, Pii, Remask as _};
use fetch_etl_mask::{KeyRing, MaskPlan, Method, NotAMask, PlanError};
use proptest::prelude::*;

const A: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
const B: &str = "ICEiIyQlJicoKSorLC0uLzAxMjM0NTY3ODk6Ozw9Pj8=";
const C: &str = "QEFCQ0RFRkdISUpLTE1OT1BRUlNUVVZXWFlaW1xdXl8=";

fn ring(text: &str) -> Option<KeyRing> {
    Some(KeyRing::from_text(text).unwrap())
}

fn both(method: &Method) -> [(&'static str, Method); 2] {
    [("ip", method.clone()), ("device_id", method.clone())]
}

fn plan(text: &str) -> MaskPlan {
    MaskPlan::new(ring(text), "default", Method::HmacSha512, both(&Method::HmacSha512)).unwrap()
}

fn three() -> MaskPlan {
    plan(&format!("0:sha512\n1:{A}\n2:{B}\n3:{C}"))
}

fn mask(plan: &MaskPlan, key: i32, field: &str, value: &str) -> MaskedValue {
    plan.masker(KeyId::new(key)).unwrap().mask(field, Pii::wrap(value)).unwrap()
}

#[test]
fn a_plan_whose_methods_and_keys_do_not_fit_is_refused() {
    let refused = |ring, method: Method| {
        MaskPlan::new(ring, "default", method.clone(), both(&method)).unwrap_err().to_string()
    };
    assert_eq!(refused(None, Method::HmacSha512), "ip is masked with hmac-sha512, which needs a key");
    assert_eq!(refused(None, Method::IpPrefix), "ip is masked with ip-prefix, which needs a key");
    assert_eq!(refused(ring(A), Method::Sha512), PlanError::UnusedKey.to_string());
    assert_eq!(refused(ring(A), Method::Drop), PlanError::UnusedKey.to_string());
    assert!(
        refused(ring(&format!("0:sha512\n1:{A}")), Method::IpPrefix)
            .contains("cannot follow on plain SHA-512")
    );
    let domain = MaskPlan::new(ring(A), "a/b", Method::HmacSha512, both(&Method::HmacSha512));
    assert!(matches!(domain, Err(PlanError::Masker(_))), "{domain:?}");
    assert!(MaskPlan::new(None, "default", Method::Sha512, both(&Method::Sha512)).is_ok());
}

#[test]
fn a_worker_follows_the_key_in_force_and_not_its_newest() {
    let (old, both_keys) = (plan(A), plan(&format!("1:{A}\n2:{B}")));
    let in_force = old.policy(KeyId::new(1)).unwrap();
    let masker = both_keys.masker_for(&in_force).unwrap();
    assert_eq!(masker.key_id(), KeyId::new(1));
    assert_eq!(masker.mask("ip", Pii::wrap("192.0.2.1")), Some(mask(&old, 1, "ip", "192.0.2.1")));

    let rotated = both_keys.policy(KeyId::new(2)).unwrap();
    assert_eq!(both_keys.masker_for(&rotated).unwrap().key_id(), KeyId::new(2));
    assert_eq!(old.masker_for(&rotated).unwrap_err(), ["the key id is 1 here and 2 in the database"]);
}

#[test]
fn a_ring_that_begins_plain_fits_workers_without_a_key_until_it_is_rotated() {
    let plain = MaskPlan::new(None, "default", Method::Sha512, both(&Method::Sha512)).unwrap();
    let in_force = plain.policy(KeyId::UNKEYED).unwrap();
    let ready = plan(&format!("0:sha512\n1:{A}"));
    let masker = ready.masker_for(&in_force).unwrap();
    assert_eq!(masker.mask("ip", Pii::wrap("192.0.2.1")), Some(mask(&plain, 0, "ip", "192.0.2.1")));
    let rotated = ready.policy(KeyId::new(1)).unwrap();
    assert_eq!(rotated.methods, "ip=hmac-sha512 device_id=hmac-sha512");
    assert!(plain.masker_for(&rotated).is_err());
}

#[test]
fn another_key_domain_or_method_is_told() {
    let in_force = plan(A).policy(KeyId::new(1)).unwrap();
    let differences = |plan: &MaskPlan| plan.masker_for(&in_force).map(|_| ()).unwrap_err();
    assert_eq!(differences(&plan(B)), ["key 1 is not the key that the database knows by this id"]);
    assert_eq!(
        differences(&MaskPlan::new(None, "default", Method::Sha512, both(&Method::Sha512)).unwrap()),
        [
            "the method is ip=sha512 device_id=sha512 here and ip=hmac-sha512 device_id=hmac-sha512 in the database",
            "the key id is 0 here and 1 in the database",
        ]
    );
    let eu = MaskPlan::new(ring(A), "eu", Method::HmacSha512, both(&Method::HmacSha512)).unwrap();
    assert_eq!(
        differences(&eu),
        [
            "the domain is eu here and default in the database",
            "key 1 is not the key that the database knows by this id",
        ]
    );
    let prefix = [("ip", Method::IpPrefix), ("device_id", Method::HmacSha512)];
    let prefix = MaskPlan::new(ring(A), "default", Method::HmacSha512, prefix).unwrap();
    assert_eq!(differences(&prefix).len(), 1);
    // The history of a key is a part of it: a chain has other masks.
    let chained = plan(&format!("0:sha512\n1:{A}"));
    assert_eq!(differences(&chained), ["key 1 is not the key that the database knows by this id"]);
}

#[test]
fn a_check_value_is_short_and_no_mask_of_an_event() {
    let policy = plan(A).policy(KeyId::new(1)).unwrap();
    assert_eq!(policy.key_check.len(), 32);
    for field in ["ip", "device_id", "user_id"] {
        assert!(!mask(&plan(A), 1, field, "").to_text().starts_with(&policy.key_check));
    }
    assert_eq!(three().policy(KeyId::UNKEYED).unwrap().key_check, "");
}

#[test]
fn methods_keep_what_they_say() {
    let rules = [
        ("keyed", Method::HmacSha512),
        ("plain", Method::Sha512),
        ("gone", Method::Drop),
        ("constant", Method::Redact("?".into())),
        ("network", Method::IpPrefix),
        ("end", Method::Partial(4)),
    ];
    let plan = MaskPlan::new(ring(A), "default", Method::HmacSha512, rules).unwrap();
    let masker = plan.masker(KeyId::new(1)).unwrap();
    let mask = |field: &str, value: &str| masker.mask(field, Pii::wrap(value)).map(|mask| mask.to_text());
    assert_eq!(mask("gone", "192.0.2.1"), None);
    assert_eq!(mask("constant", "192.0.2.1").as_deref(), Some("?"));
    assert_eq!(mask("end", "593-47-5928").as_deref(), Some("…5928"));
    assert_eq!(mask("network", "192.0.2.1"), mask("network", "192.0.2.2"));
    assert_ne!(mask("network", "192.0.2.1"), mask("network", "192.0.3.1"));
    for field in ["keyed", "plain", "network", "without a rule"] {
        assert_eq!(mask(field, "192.0.2.1").unwrap().len(), 128, "{field}");
    }
    assert_eq!(mask("without a rule", "a"), mask("without a rule", "a"));
    let methods = plan.policy(KeyId::new(1)).unwrap().methods;
    assert_eq!(
        methods,
        "keyed=hmac-sha512 plain=sha512 gone=drop constant=redact:\"?\" network=ip-prefix end=partial:4"
    );
}

#[test]
fn what_cannot_be_brought_up_to_date_is_told() {
    let plan = three();
    let remasker = plan.remasker(KeyId::new(2)).unwrap();
    assert_eq!(remasker.origins(), [KeyId::new(0), KeyId::new(1)]);
    let mask = mask(&plan, 1, "ip", "192.0.2.1").to_text();
    assert!(remasker.try_remask("ip", &mask, KeyId::new(1)).is_ok());
    for (text, made_with, error) in [
        (mask.as_str(), 2, NotAMask::Key(2)),
        (&mask, 3, NotAMask::Key(3)),
        (&mask[1..], 1, NotAMask::Form),
        (&mask.to_uppercase(), 1, NotAMask::Form),
        ("", 1, NotAMask::Form),
    ] {
        assert_eq!(remasker.try_remask("ip", text, KeyId::new(made_with)), Err(error), "{text}");
    }
    assert!(plan.remasker(KeyId::new(4)).is_none());
    assert!(remasker.concerns("ip") && !remasker.concerns("locale"));
}

proptest! {
    /// Whatever the value, the field, the keys that were in force then and that are in force now: a stored mask that is brought up
    /// to date is the mask that a new event gets.
    #[test]
    fn old_rows_and_new_ones_still_match(value in any::<String>(), from in 0..3_i32, steps in 1..3_i32) {
        let to = (from + steps).min(3);
        let plan = three();
        let remasker = plan.remasker(KeyId::new(to)).unwrap();
        for field in ["ip", "device_id"] {
            let old = mask(&plan, from, field, &value).to_text();
            let new = mask(&plan, to, field, &value);
            prop_assert_eq!(remasker.try_remask(field, &old, KeyId::new(from)).unwrap(), new.clone());
            prop_assert_ne!(old, new.to_text());
        }
    }
}
