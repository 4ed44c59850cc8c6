//! The demo shows what the README says it shows.

use std::collections::BTreeSet;
use std::fs;
use std::process::{Command, Stdio};

use crate::{Result, cargo};

/// Where the demo's made-up addresses are from: none may be seen unmasked.
const SAMPLE_NETWORKS: [&str; 3] = ["192.0.2.", "198.51.100.", "203.0.113."];

/// Runs the demo, shows its output, and fails with what is missing in it.
pub(super) fn shows_what_it_promises(command: &mut Command) -> Result<()> {
    let output = command.stdin(Stdio::null()).stderr(Stdio::inherit()).output()?;
    let shown = String::from_utf8_lossy(&output.stdout);
    crate::show(&shown);
    if !output.status.success() {
        return Err(format!("the demo failed: {}", output.status).into());
    }
    let fixture = fs::read_to_string(cargo::root().join("fixtures/hostile.json"))?;
    match missing(&shown, &reasons(&fixture)?).as_slice() {
        [] => Ok(()),
        missing => Err(format!("the demo's output has not {}", missing.join(", not ")).into()),
    }
}

/// Every reason for which a message of the fixture is rejected.
fn reasons(fixture: &str) -> Result<BTreeSet<String>> {
    let cases: Vec<serde_json::Value> = serde_json::from_str(fixture)?;
    let expected = cases.iter().filter_map(|case| case.get("expect")?.as_str());
    Ok(expected.filter(|expected| *expected != "row").map(str::to_owned).collect())
}

fn missing(shown: &str, reasons: &BTreeSet<String>) -> Vec<String> {
    let mut missing = Vec::new();
    for word in ["inserted", "quarantined"] {
        if number_beside(shown, word).is_none_or(|number| number == 0) {
            missing.push(format!("the number {word}"));
        }
    }
    missing
        .extend(reasons.iter().filter(|reason| !shown.contains(*reason)).map(|reason| format!("`{reason}`")));
    if !shown.contains("/s") {
        missing.push("a rate".into());
    }
    if !shown.split(|c: char| !c.is_ascii_alphanumeric()).any(is_mask) {
        missing.push("a row with masks".into());
    }
    for network in SAMPLE_NETWORKS.iter().filter(|network| shown.contains(**network)) {
        missing.push(format!("masked every address, see {network}"));
    }
    missing
}

/// The first number on a line that has the word: `9,800 rows inserted`, `inserted: 9800`.
fn number_beside(text: &str, word: &str) -> Option<u64> {
    text.lines().filter(|line| line.contains(word)).find_map(|line| {
        let joined: String = line.chars().filter(|c| !matches!(c, ',' | '_')).collect();
        joined.split(|c: char| !c.is_ascii_digit()).find_map(|digits| digits.parse().ok())
    })
}

/// A mask, whole or its beginning.
fn is_mask(word: &str) -> bool {
    word.len() >= 8 && word.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "u-1  android  0a1b2c3d4e…\nrows inserted   9,800\nquarantined 200\n  wrong_type 12\n8,123 messages/s\n";

    fn problems(shown: &str) -> Vec<String> {
        missing(shown, &BTreeSet::from(["wrong_type".to_owned()]))
    }

    #[test]
    fn a_good_output_passes() {
        assert_eq!(problems(GOOD), Vec::<String>::new());
    }

    #[test]
    fn whatever_is_missing_is_named() {
        for (left_out, expected) in [
            ("9,800", "the number inserted"),
            ("200", "the number quarantined"),
            ("wrong_type", "`wrong_type`"),
            ("/s", "a rate"),
            ("0a1b2c3d4e", "a row with masks"),
        ] {
            assert_eq!(problems(&GOOD.replace(left_out, "")), [expected]);
        }
    }

    #[test]
    fn nothing_inserted_and_an_address_in_clear_are_seen() {
        assert_eq!(problems(&GOOD.replace("9,800", "0")), ["the number inserted"]);
        assert_eq!(problems(&format!("{GOOD}203.0.113.7")).len(), 1);
    }

    #[test]
    fn the_fixtures_reasons_are_read() {
        let fixture = r#"[{"expect":"row"},{"expect":"too_long"},{"expect":"too_long"}]"#;
        assert_eq!(reasons(fixture).unwrap(), BTreeSet::from(["too_long".to_owned()]));
    }
}
