//! What a leak test prints.

use std::fmt::Write as _;

use fetch_etl_canary::{Campaign, Scanner};

use super::places::Search;
use crate::report::{grouped, table};

/// Most findings that are shown.
const SHOWN: usize = 20;

pub(super) fn opening(campaign: &Campaign, scanner: &Scanner, seed: u64, database: &str) -> String {
    let sets = campaign.parts();
    let messages: usize = sets.iter().map(|set| set.messages().len()).sum();
    let values: usize = sets.iter().map(|set| set.all().len()).sum();
    format!(
        "{} made-up logins with {} values, each looked for in all encodings: {} byte sequences; database: {database}; seed {seed}\n\n",
        grouped(messages as u64),
        grouped(values as u64),
        grouped(scanner.needles() as u64),
    )
}

/// The table, the findings and what was not looked at.
pub(super) fn results(search: &Search) -> String {
    let rows: Vec<_> = search
        .looked
        .iter()
        .map(|looked| {
            [
                looked.place.name().to_owned(),
                grouped(looked.findings.bytes),
                format!("planted {}, found {}", looked.planted, looked.found),
                grouped(looked.findings.total),
            ]
        })
        .collect();
    let mut text = format!("\n{}\n", table(["place", "bytes", "proof of the scan", "findings"], &rows));
    for finding in search.findings().take(SHOWN) {
        let _ = writeln!(text, "found: {finding}");
    }
    if search.total() > SHOWN as u64 {
        let _ = writeln!(text, "… and {} more", grouped(search.total() - SHOWN as u64));
    }
    for line in &search.not_looked {
        let _ = writeln!(text, "{line}");
    }
    text.push_str(
        "not looked at by design: the workers' memory, swap space, the queue, and what is inside of sealed bodies\n",
    );
    text
}
