//! What is sent: made-up logins, the hostile messages of the fixtures, and damaged ones.

use fastrand::Rng;
use serde::Deserialize;
use serde_json::{Value, json};

#[derive(Deserialize)]
struct Case {
    body: String,
    expect: String,
}

/// An endless supply of different valid logins, the same ones for the same seed.
pub(super) struct Logins {
    rng: Rng,
    number: u64,
}

impl Logins {
    pub(super) fn new(seed: u64) -> Self {
        Self { rng: Rng::with_seed(seed), number: 0 }
    }

    pub(super) fn take(&mut self, count: usize) -> Vec<String> {
        (0..count).map(|_| self.login()).collect()
    }

    /// Users differ, devices and addresses often do not: duplicates stay identifiable.
    fn login(&mut self) -> String {
        self.number += 1;
        let device = self.rng.u32(..50_000);
        let mut login = json!({
            "user_id": format!("u-{}", self.number),
            "app_version": format!("{}.{}.{}", self.rng.u32(..30), self.rng.u32(..40), self.rng.u32(..20)),
            "device_type": self.pick(&["ios", "android"]),
            "ip": self.address(),
            "locale": self.pick(&["US", "DE", "BR"]),
            "device_id": format!("{:03}-{:02}-{:04}", device / 100, device % 100, device % 7_919),
        });
        match self.rng.u32(..20) {
            0 => login["locale"] = Value::Null,
            1 => login["ip"] = Value::Null,
            2 => login["session"] = "not a field of ours".into(),
            3 => login["device_id"] = "ünïcödé \u{1f4f1}".into(),
            _ => {}
        }
        login.to_string()
    }

    /// Every way to write an address, and something that is none.
    fn address(&mut self) -> String {
        let (a, b) = (self.rng.u8(..), self.rng.u8(..));
        match self.rng.u32(..20) {
            0 => format!("2001:db8::{a:x}:{b:x}"),
            1 => format!("2001:DB8:0:0:0:0:{a:X}:{b:X}"),
            2 => format!("::ffff:198.18.{a}.{b}"),
            3 => "unknown".to_owned(),
            _ => format!("198.18.{a}.{b}"),
        }
    }

    fn pick<'a>(&mut self, choices: &[&'a str]) -> &'a str {
        choices[self.rng.usize(..choices.len())]
    }
}

/// The bodies of `hostile.json` that SQS takes: those that should be rejected, or all.
pub(super) fn hostile(only_bad: bool) -> Vec<String> {
    let cases: Vec<Case> = serde_json::from_str(include_str!("../../../../fixtures/hostile.json"))
        .expect("the fixture is valid");
    let wanted = cases.into_iter().filter(|case| !only_bad || case.expect != "row");
    wanted.map(|case| case.body).filter(|body| sqs_takes(body)).collect()
}

/// SQS takes text of these characters only, and no empty one (SendMessage, "Message Body").
pub(super) fn sqs_takes(body: &str) -> bool {
    let valid = |c: char| matches!(c, '\t' | '\n' | '\r' | ' '..='\u{d7ff}' | '\u{e000}'..='\u{fffd}' | '\u{10000}'..='\u{10ffff}');
    !body.is_empty() && body.len() <= 256 * 1024 && body.chars().all(valid)
}

/// Messages that were cut, swapped, repeated or written over in places.
pub(super) struct Damaged {
    rng: Rng,
    whole: Vec<String>,
}

impl Damaged {
    pub(super) fn new(seed: u64) -> Self {
        let mut whole = hostile(false);
        // Large bodies are among the fixtures; damaging them again and again shows nothing more.
        whole.retain(|body| body.len() < 4_096);
        whole.extend(Logins::new(seed).take(200));
        Self { rng: Rng::with_seed(seed), whole }
    }

    pub(super) fn take(&mut self, count: usize) -> Vec<String> {
        std::iter::repeat_with(|| self.next()).filter(|body| sqs_takes(body)).take(count).collect()
    }

    fn next(&mut self) -> String {
        let mut bytes = self.any().into_bytes();
        for _ in 0..self.rng.usize(1..4) {
            self.damage(&mut bytes);
        }
        String::from_utf8_lossy(&bytes).into_owned()
    }

    fn any(&mut self) -> String {
        self.whole[self.rng.usize(..self.whole.len())].clone()
    }

    fn damage(&mut self, bytes: &mut Vec<u8>) {
        /// What a parser of JSON may stumble over.
        const PIECES: [&str; 24] = [
            "\"",
            "\\",
            "{",
            "}",
            "[",
            "]",
            ":",
            ",",
            "null",
            "true",
            "1e999",
            "-0",
            "\\u0000",
            "\\ud800",
            "\\udc00\\ud800",
            "\"ip\":",
            "\"user_id\":null,",
            "\u{feff}",
            "\u{2028}",
            "NaN",
            "//",
            "0x1",
            " ",
            "99999999999999999999",
        ];
        let at = self.rng.usize(..=bytes.len());
        let other = self.rng.usize(..=bytes.len());
        let (from, to) = (at.min(other), at.max(other));
        match self.rng.u32(..6) {
            0 => bytes.truncate(at),
            1 => drop(bytes.drain(from..to.min(from + 12))),
            2 => drop(bytes.splice(at..at, PIECES[self.rng.usize(..PIECES.len())].bytes())),
            3 => {
                let piece = bytes[from..to.min(from + 60)].to_vec();
                drop(bytes.splice(at..at, piece));
            }
            4 => {
                let graft = self.any().into_bytes();
                let start = self.rng.usize(..graft.len());
                drop(bytes.splice(at..at, graft[start..].iter().copied().take(40)));
            }
            _ => {
                if let Some(byte) = bytes.get_mut(at) {
                    *byte = self.rng.u8(b' '..127);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn the_same_seed_sends_the_same() {
        assert_eq!(Logins::new(7).take(500), Logins::new(7).take(500));
        assert_ne!(Logins::new(7).take(5), Logins::new(8).take(5));
        assert_eq!(Damaged::new(7).take(500), Damaged::new(7).take(500));
    }

    #[test]
    fn damage_leaves_some_valid_and_breaks_most() {
        let damaged = Damaged::new(1).take(2_000);
        let valid = damaged.iter().filter(|body| serde_json::from_str::<Value>(body).is_ok()).count();
        assert!((50..1_900).contains(&valid), "{valid} of 2000 are still JSON");
        assert!(damaged.iter().collect::<BTreeSet<_>>().len() > 1_900);
    }

    #[test]
    fn there_is_a_hostile_message_of_each_kind() {
        assert!(hostile(true).len() > 20);
        assert!(hostile(false).len() > hostile(true).len());
    }
}
