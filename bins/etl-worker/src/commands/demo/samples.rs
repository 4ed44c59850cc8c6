//! Made-up logins, the same ones in every run, with bad ones among them.

use fastrand::Rng;
use serde::Deserialize;

/// One message in this many is bad.
const BAD_EACH: u32 = 50;

/// Every kind of message that cannot become a row; the tests use the same ones.
const HOSTILE: &str = include_str!("../../../../../fixtures/hostile.json");

#[derive(Deserialize)]
struct Hostile {
    body: String,
    expect: String,
}

/// The messages of a demo.
pub(super) struct Samples {
    rng: Rng,
    bad: Vec<String>,
}

impl Samples {
    pub(super) fn new() -> Self {
        // The fixture is part of the program, and a test reads it: there is nobody to tell that it is broken.
        let kinds: Vec<Hostile> = serde_json::from_str(HOSTILE).unwrap_or_default();
        let bad = kinds.into_iter().filter(|kind| kind.expect != "row").map(|kind| kind.body).collect();
        Self { rng: Rng::with_seed(7), bad }
    }

    /// How many of the first `count` messages are bad.
    pub(super) fn bad_among(count: u32) -> u32 {
        count / BAD_EACH
    }

    /// The first `count` messages.
    pub(super) fn bodies(mut self, count: u32) -> impl Iterator<Item = String> {
        (1..=count).map(move |number| {
            if number.is_multiple_of(BAD_EACH) {
                let kind = (number / BAD_EACH) as usize % self.bad.len().max(1);
                self.bad.get(kind).cloned().unwrap_or_default()
            } else {
                self.login()
            }
        })
    }

    /// A login of one of 400 people with one of 300 devices from one of 762 addresses, so that duplicates are easy to find.
    fn login(&mut self) -> String {
        let user = (self.small(400) + 1).wrapping_mul(0x9e37_79b1);
        let user = format!("{user:08x}-0000-4000-8000-000000000000");
        let device = self.small(300).wrapping_mul(0x85eb_ca6b);
        let device =
            format!("{:03}-{:02}-{:04}", device % 1_000, device / 1_000 % 100, device / 100_000 % 10_000);
        // The addresses that are set aside for documentation (RFC 5737): nobody's.
        let net = self.pick(&["192.0.2", "198.51.100", "203.0.113"]);
        let ip = format!("{net}.{}", self.rng.u32(1..255));
        let version = self.pick(&["2.3.0", "10.0.12", "3.4.7", "1.1.6", "0.96", "5", "4.8"]);
        let device_type = self.pick(&["android", "ios"]);
        let locale = match self.pick(&["", "US", "DE", "BR", "FR", "CN"]) {
            "" => serde_json::Value::Null,
            locale => locale.into(),
        };
        serde_json::json!({
            "user_id": user, "app_version": version, "device_type": device_type, "ip": ip, "locale": locale,
            "device_id": device,
        })
        .to_string()
    }

    /// A number below `below`, small ones more often: some people log in a lot.
    fn small(&mut self, below: u32) -> u32 {
        let limit = self.rng.u32(1..=below);
        self.rng.u32(0..limit)
    }

    fn pick<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.rng.usize(..choices.len())]
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use fetch_etl_core::login::LoginSchema;
    use fetch_etl_core::{EventSchema, KeyId, MaskedValue, Masker, Pii};

    use super::*;

    struct Any;
    impl Masker for Any {
        fn mask(&self, _: &str, _: &Pii<str>) -> Option<MaskedValue> {
            Some(MaskedValue::from_digest([0; 64]))
        }
        fn key_id(&self) -> KeyId {
            KeyId::UNKEYED
        }
    }

    #[test]
    fn samples_are_the_same_each_time_and_as_bad_as_stated() {
        let bodies: Vec<_> = Samples::new().bodies(5_000).collect();
        assert_eq!(bodies, Samples::new().bodies(5_000).collect::<Vec<_>>());
        let rejects: Vec<_> = bodies
            .iter()
            .filter_map(|body| LoginSchema.decode_and_mask(Pii::wrap(body.as_bytes()), &Any).err())
            .collect();
        assert_eq!(rejects.len(), Samples::bad_among(5_000) as usize);
        let reasons: BTreeSet<_> = rejects.iter().map(|reject| reject.reason.as_str()).collect();
        assert!(reasons.len() >= 10, "a reject of each kind: {reasons:?}");
    }

    #[test]
    fn some_people_and_devices_log_in_more_than_once() {
        let bodies: Vec<_> = Samples::new().bodies(1_000).collect();
        let devices = bodies.iter().filter_map(|body| body.split("\"device_id\":").nth(1)?.split('"').nth(1));
        let distinct: BTreeSet<_> = devices.clone().collect();
        assert!(distinct.len() * 2 < devices.count(), "{}", distinct.len());
    }
}
