//! What each target starts from: the project's fixtures, in the shape that the target reads.

use serde_json::Value;

use crate::vectors::VECTORS;

/// One input to start from.
#[derive(Debug)]
pub struct Seed {
    /// The target's name.
    pub target: &'static str,
    /// The input.
    pub data: Vec<u8>,
}

impl Seed {
    fn new(target: &'static str, data: impl Into<Vec<u8>>) -> Self {
        Self { target, data: data.into() }
    }
}

/// All of them.
pub fn all() -> Vec<Seed> {
    let mut seeds = bodies();
    seeds.extend(addresses());
    seeds.extend(sealed());
    seeds.extend(keys());
    #[cfg(feature = "worker")]
    seeds.extend(crate::config::seeds());
    seeds
}

fn bodies() -> Vec<Seed> {
    let logins = include_str!("../../fixtures/logins.jsonl").lines();
    let hostile = fixture(include_str!("../../fixtures/hostile.json"));
    // They are all alike: a few are enough. Of the hostile ones each is another.
    let mut seeds: Vec<_> = logins.step_by(10).map(|line| Seed::new("decode", line)).collect();
    seeds.extend(texts(&hostile, "body").map(|body| Seed::new("decode", body)));
    seeds
}

fn addresses() -> Vec<Seed> {
    let vectors = fixture(include_str!("../../fixtures/mask-vectors.json"));
    let mut seeds: Vec<_> =
        texts(&vectors["vectors"], "value").map(|value| Seed::new("canonical_ip", value)).collect();
    for pair in [
        "192.0.2.1\n::ffff:192.0.2.1",
        "192.0.2.1\n::FFFF:c000:201",
        "192.0.2.1\n::192.0.2.1",
        "2001:db8::1\n2001:0DB8:0:0:0:0:0:1",
        "::\n0.0.0.0",
        "fe80::1%eth0\nfe80::1",
        "1.2.3.04\n1.2.3.4",
        "0x7f.1\n127.0.0.1",
        "64:ff9b::192.0.2.1\n64:ff9b::c000:201",
        "unknown\n",
    ] {
        seeds.push(Seed::new("canonical_ip", pair));
    }
    seeds
}

fn sealed() -> Vec<Seed> {
    let seed = |(place, vector): (usize, &crate::vectors::Vector)| {
        let place = u8::try_from(place).expect("a few vectors");
        Seed::new("open_sealed", [&[place], vector.sealed().as_slice()].concat())
    };
    VECTORS.vectors.iter().enumerate().map(seed).collect()
}

fn keys() -> Vec<Seed> {
    let texts = VECTORS.keys.values().flat_map(|texts| [&texts.public, &texts.private]);
    let mut seeds: Vec<_> = texts.map(|text| Seed::new("keys", text.as_str())).collect();
    seeds.push(Seed::new("keys", "pXhJ8mCf0bQZVnq1k8Gd5sYw2u7TeLrA4oNcHiB9xzM=\n"));
    seeds
}

fn fixture(text: &str) -> Value {
    serde_json::from_str(text).expect("a fixture in JSON")
}

fn texts<'v>(list: &'v Value, name: &'v str) -> impl Iterator<Item = &'v str> {
    list.as_array().into_iter().flatten().filter_map(move |item| item[name].as_str())
}
