//! Values unlike anything else.

use std::collections::HashSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use fastrand::Rng;

use crate::encoding::TEXT_BYTES;

const ALPHABET: &[u8; 36] = b"abcdefghijklmnopqrstuvwxyz0123456789";

/// How an address is sent.
#[derive(Clone, Copy)]
pub(crate) enum Spelling {
    V4,
    /// As RFC 5952 has it.
    Compressed,
    Expanded,
    UpperCase,
    /// Neither zeros left out nor groups filled up.
    Plain,
    /// IPv4 within IPv6.
    Mapped,
}

/// Makes values from a seed, each beginning with something that no other one begins with.
pub(crate) struct Maker {
    rng: Rng,
    tag: String,
    beginnings: HashSet<Vec<u8>>,
}

impl Maker {
    pub(crate) fn new(seed: u64) -> Self {
        let mut rng = Rng::with_seed(seed);
        let tag = characters(&mut rng, 6);
        Self { rng, tag, beginnings: HashSet::new() }
    }

    /// What all texts of this seed end with.
    pub(crate) fn tag(&self) -> &str {
        &self.tag
    }

    /// At most 22 characters, some with ones that JSON, URLs and base64 write in a special way.
    pub(crate) fn text(&mut self) -> String {
        self.distinct(|maker| {
            let mark = match maker.rng.u8(..8) {
                0 => "\"",
                1 => "é",
                2 => "?>?>",
                _ => "",
            };
            let (first, rest) = (characters(&mut maker.rng, 2), characters(&mut maker.rng, 10));
            format!("{first}{mark}{rest}{}", maker.tag)
        })
    }

    /// A version that fits the column for text, and does not fit the one for numbers.
    pub(crate) fn version(&mut self) -> String {
        self.distinct(|maker| {
            let rng = &mut maker.rng;
            format!(
                "{}.{:09}.{}.{}",
                rng.u32(1..10),
                rng.u32(..1_000_000_000),
                rng.u32(..1_000),
                rng.u32(..1_000)
            )
        })
    }

    /// Seventeen digits.
    pub(crate) fn number(&mut self) -> String {
        self.distinct(|maker| maker.rng.u64(10_000_000_000_000_000..100_000_000_000_000_000).to_string())
    }

    /// Half of them look like the ones in the sample data, `593-47-5928`.
    pub(crate) fn device(&mut self) -> String {
        if self.rng.bool() {
            return self.text();
        }
        self.distinct(|maker| {
            let rng = &mut maker.rng;
            format!("{:03}-{:02}-{:04}", rng.u32(..1_000), rng.u32(..100), rng.u32(..10_000))
        })
    }

    /// IPv4 addresses have three digits in each part; IPv6 ones differ in their first four groups.
    pub(crate) fn address(&mut self, spelling: Spelling) -> String {
        self.distinct(|maker| {
            let v4 = maker.v4();
            let v6 = maker.v6();
            match spelling {
                Spelling::V4 => v4.to_string(),
                Spelling::Compressed => v6.to_string(),
                Spelling::UpperCase => v6.to_string().to_uppercase(),
                Spelling::Expanded => v6.segments().map(|group| format!("{group:04x}")).join(":"),
                Spelling::Plain => v6.segments().map(|group| format!("{group:x}")).join(":"),
                Spelling::Mapped => format!("::ffff:{v4}"),
            }
        })
    }

    fn v4(&mut self) -> Ipv4Addr {
        let [a, b, c, d] = std::array::from_fn(|_| self.rng.u8(100..=255));
        Ipv4Addr::new(a, b, c, d)
    }

    fn v6(&mut self) -> Ipv6Addr {
        let mut groups = [0; 8];
        groups[0] = self.rng.u16(0x2000..0x4000);
        groups[1..4].fill_with(|| self.rng.u16(0x1000..));
        groups[7] = self.rng.u16(1..);
        Ipv6Addr::from_segments(groups)
    }

    fn distinct(&mut self, make: impl Fn(&mut Self) -> String) -> String {
        loop {
            let value = make(self);
            let beginning = if value.parse::<IpAddr>().is_ok() {
                value.to_lowercase().into_bytes()
            } else {
                value.bytes().take(TEXT_BYTES).collect()
            };
            if self.beginnings.insert(beginning) {
                return value;
            }
        }
    }
}

fn characters(rng: &mut Rng, count: usize) -> String {
    (0..count).map(|_| char::from(ALPHABET[rng.usize(..ALPHABET.len())])).collect()
}
