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
    match faults(&shown, &reasons(&fixture)?).as_slice() {
        [] => Ok(()),
        faults => Err(format!("the demo's output: {}", faults.join("; ")).into()),
    }
}

/// Every reason for which a message of the fixture is rejected.
fn reasons(fixture: &str) -> Result<BTreeSet<String>> {
    let cases: Vec<serde_json::Value> = serde_json::from_str(fixture)?;
    let expected = cases.iter().filter_map(|case| case.get("expect")?.as_str());
    Ok(expected.filter(|expected| *expected != "row").map(str::to_owned).collect())
}

/// What is wrong with the output, or missing in it.
fn faults(shown: &str, reasons: &BTreeSet<String>) -> Vec<String> {
    let mut faults = Vec::new();
    let mut expect = |fine: bool, fault: &str| {
        if !fine {
            faults.push(fault.to_owned());
        }
    };
    let good = number_before(shown, " made-up logins").zip(number_before(shown, " bad ones"));
    let good = good.and_then(|(all, bad)| all.checked_sub(bad)).filter(|good| *good > 0);
    expect(good.is_some(), "it does not say how many logins it made up and how many are bad");
    expect(good == number_after(shown, "inserted "), "not every good login was inserted");
    expect(adds_up(shown), "received is not the sum of what became of it");
    expect(number_before(shown, " messages/s").is_some_and(|rate| rate > 0), "no rate");
    expect(shown.split(|c: char| !c.is_ascii_alphanumeric()).any(is_mask), "no row with masks");
    expect(!SAMPLE_NETWORKS.iter().any(|network| shown.contains(network)), "an address in clear");
    for reason in reasons.iter().filter(|reason| !has_row(shown, reason)) {
        faults.push(format!("no {reason} among the rejects"));
    }
    faults
}

/// `received 7 = inserted 4 + … + in flight 0`, with nothing left in flight.
fn adds_up(shown: &str) -> bool {
    let Some((received, rest)) =
        shown.lines().find_map(|line| line.strip_prefix("received ")?.split_once(" = "))
    else {
        return false;
    };
    let terms: Vec<u64> =
        rest.split(" + ").filter_map(|term| term.rsplit(' ').next()?.parse().ok()).collect();
    received.parse() == Ok(terms.iter().sum::<u64>()) && terms.len() == 5 && terms.last() == Some(&0)
}

/// A line of a table that begins with the reason and goes on with how many there were.
fn has_row(shown: &str, reason: &str) -> bool {
    shown.lines().any(|line| {
        let mut words = line.split_whitespace();
        words.next() == Some(reason) && words.next().and_then(number).is_some_and(|count| count > 0)
    })
}

fn number_before(text: &str, words: &str) -> Option<u64> {
    number(text.split_once(words)?.0.split_whitespace().next_back()?)
}

fn number_after(text: &str, words: &str) -> Option<u64> {
    number(text.split_once(words)?.1.split_whitespace().next()?)
}

/// `9800` or `9,800`.
fn number(word: &str) -> Option<u64> {
    word.replace(',', "").parse().ok()
}

/// A mask, whole or its beginning.
fn is_mask(word: &str) -> bool {
    word.len() >= 12 && word.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "10,000 made-up logins, 200 bad ones among them, from here to there\n\n  \
                        user_id  masked_ip\n  3b1c     0a1b2c3d4e5f…\n\n  \
                        reason      messages\n  wrong_type  200\n\n\
                        10,000 messages in 1.0 s: 8,123 messages/s\n\
                        received 10400 = inserted 9800 + duplicates 0 + quarantined 0 + returned 600 + in flight 0\n";

    fn faults_of(shown: &str) -> Vec<String> {
        faults(shown, &BTreeSet::from(["wrong_type".to_owned()]))
    }

    #[test]
    fn a_good_output_has_no_fault() {
        assert_eq!(faults_of(GOOD), Vec::<String>::new());
    }

    #[test]
    fn each_fault_is_named() {
        for (from, to, expected) in [
            ("made-up", "", "how many are bad"),
            ("inserted 9800", "inserted 9799", "not every good login"),
            ("returned 600", "returned 599", "not the sum"),
            ("returned 600 + in flight 0", "returned 599 + in flight 1", "not the sum"),
            ("8,123", "0", "no rate"),
            ("0a1b2c3d4e5f", "none", "no row with masks"),
            ("3b1c", "203.0.113.7", "in clear"),
            ("wrong_type  200", "wrong_type  0", "no wrong_type"),
        ] {
            let found = faults_of(&GOOD.replace(from, to));
            assert!(found.iter().any(|fault| fault.contains(expected)), "{from} → {to}: {found:?}");
        }
    }

    #[test]
    fn the_fixtures_reasons_are_read() {
        let fixture = r#"[{"expect":"row"},{"expect":"too_long"},{"expect":"too_long"}]"#;
        assert_eq!(reasons(fixture).unwrap(), BTreeSet::from(["too_long".to_owned()]));
    }
}
