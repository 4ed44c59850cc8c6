//! `etl-admin quarantine list`.

use std::fmt::Write as _;

use etl_worker::failure::Failure;
use etl_worker::report;
use etl_worker::settings::Loaded;
use fetch_etl_core::{QuarantineCount, QuarantineEntry, QuarantineState};

use super::Store;
use crate::Outcome;
use crate::cli::ListArgs;
use crate::words::{harmless, messages};

const HEADING: [&str; 9] =
    ["key", "reason", "where", "length", "bytes", "deliveries", "first seen", "sealed to", "state"];

pub(super) async fn run(args: ListArgs) -> Result<Outcome, Failure> {
    let store = Store::open(Loaded::read(&args.config.inputs())?.sink()?).await?;
    let mut states: Vec<_> = args.state.iter().flat_map(|state| state.states()).collect();
    states.dedup();
    // What is closed never keeps a body: only of what is open it is worth saying.
    let open_only = states == [QuarantineState::Open];
    let filter = args.filter.in_states(states);
    let entries = store.quarantine.list(&filter, args.limit).await.map_err(|error| store.failure(error))?;
    let counted = store.quarantine.count(&filter).await.map_err(|error| store.failure(error))?;
    let mut text = told(&entries, &counted, store.codes());
    if open_only && counted.without_body > 0 {
        let _ = write!(text, "; {} without a sealed body", report::grouped(counted.without_body));
    }
    text.push('\n');
    Ok(Outcome::done(text))
}

fn told(entries: &[QuarantineEntry], counted: &QuarantineCount, codes: &str) -> String {
    let lines: Vec<_> = entries.iter().map(|entry| line(entry, codes)).collect();
    let mut text = if lines.is_empty() { String::new() } else { report::table(HEADING, &lines) };
    let _ = write!(text, "{}", messages(counted.messages));
    let shown = entries.len() as u64;
    if shown < counted.messages {
        let _ = write!(text, ", of which the newest {shown} are shown (--limit)");
    }
    text
}

fn line(entry: &QuarantineEntry, codes: &str) -> [String; 9] {
    let number = |number: Option<i64>| number.map(|number| number.to_string()).unwrap_or_default();
    [
        harmless(&entry.key),
        harmless(&entry.reason),
        place(entry, codes),
        number(entry.length),
        entry.body_bytes.to_string(),
        entry.receive_count.to_string(),
        harmless(&entry.first_seen_at),
        entry.recipient_id.as_deref().map_or_else(|| "-".to_owned(), harmless),
        harmless(&entry.state),
    ]
}

/// The field, the line and column, or the database's code: whatever says where it went wrong.
pub(super) fn place(entry: &QuarantineEntry, codes: &str) -> String {
    let field = entry.field.as_deref().map(harmless);
    let position = entry.line.zip(entry.column_number).map(|(line, column)| format!("{line}:{column}"));
    let code = entry.sink_code.as_ref().map(|code| format!("{codes} {}", harmless(code)));
    [field, position, code].into_iter().flatten().collect::<Vec<_>>().join(" ")
}
