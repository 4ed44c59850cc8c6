//! What the demo prints.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use fetch_etl_core::SinkError;
use fetch_etl_core::pipeline::Summary;

use crate::report::{self, grouped, table};
use crate::settings::{DatabaseKind, DatabaseUrl};
use crate::sinks::{Database, TextRow};

const ROWS: u32 = 8;

/// The columns that are shown, as in [`Database::newest_rows`], and how many characters of each.
const COLUMNS: [(&str, usize, usize); 7] = [
    ("user_id", 0, 8),
    ("device_type", 1, 16),
    ("masked_ip", 2, 12),
    ("masked_device_id", 3, 12),
    ("locale", 4, 8),
    ("app_version", 5, 12),
    ("create_date", 6, 10),
];

pub(super) fn opening(messages: u32, bad: u32, database: &DatabaseUrl) -> String {
    format!(
        "{} made-up logins, {} bad ones among them, from a local SQS-compatible queue to {database}\n\
         ip and device_id are masked with hmac-sha512; the demo's key is public, so make your own for real data\n",
        grouped(u64::from(messages)),
        grouped(u64::from(bad)),
    )
}

/// Rows, rejects, rate and the conservation line.
///
/// # Errors
/// The database could not be read.
pub(super) async fn results(
    database: &Database,
    summary: &Summary,
    took: Duration,
) -> Result<String, SinkError> {
    let rows = database.newest_rows(ROWS).await?;
    let left = u32::try_from(summary.left_in_queue).unwrap_or(u32::MAX);
    let quarantined = database.newest_quarantined(left).await?;
    let settled = summary.inserted + summary.duplicates + summary.left_in_queue;
    let per_second = settled as f64 / took.as_secs_f64().max(0.001);
    Ok(format!(
        "\nrows of user_logins (masks and ids are shortened here)\n{}\n\
         rejected messages, of which the quarantine keeps why and where, and no value\n{}\n\
         {} messages in {:.1} s: {} messages/s\n{}",
        login_table(&rows),
        reject_table(&quarantined),
        grouped(settled),
        took.as_secs_f64(),
        grouped(per_second as u64),
        report::of(summary)
    ))
}

pub(super) fn closing(database: &DatabaseUrl, file: Option<&Path>) -> String {
    const QUERY: &str = "select * from user_logins limit 5";
    let look = match (file, database.kind()) {
        (Some(file), _) => format!("sqlite3 {} '{QUERY}'", file.display()),
        (None, DatabaseKind::Sqlite) => return String::new(),
        (None, DatabaseKind::Postgres) => format!("psql {database} -c '{QUERY}'"),
    };
    let remove = match file.and_then(Path::parent) {
        Some(directory) => format!("\nremove it:       rm -r {}", directory.display()),
        None => String::new(),
    };
    format!("\nsee for yourself: {look}{remove}\n")
}

fn login_table(rows: &[TextRow]) -> String {
    let cell = |row: &TextRow, column: usize, chars: usize| match row.get(column) {
        Some(Some(text)) => shortened(text, chars),
        _ => "NULL".to_owned(),
    };
    let cells: Vec<_> =
        rows.iter().map(|row| COLUMNS.map(|(_, column, chars)| cell(row, column, chars))).collect();
    table(COLUMNS.map(|(name, _, _)| name), &cells)
}

/// How many for each reason, and where it was in one of them.
fn reject_table(quarantined: &[TextRow]) -> String {
    let mut reasons: BTreeMap<&str, (u64, &TextRow)> = BTreeMap::new();
    for row in quarantined {
        let Some(Some(reason)) = row.get(1) else { continue };
        let (count, example) = reasons.entry(reason).or_insert((0, row));
        *count += 1;
        // One that names a field says more.
        if text(example, 2).is_none() && text(row, 2).is_some() {
            *example = row;
        }
    }
    let cells: Vec<_> = reasons
        .into_iter()
        .map(|(reason, (count, example))| [reason.to_owned(), grouped(count), place(example), key(example)])
        .collect();
    table(["reason", "messages", "for example in", "message"], &cells)
}

fn text(row: &TextRow, column: usize) -> Option<&str> {
    row.get(column)?.as_deref()
}

fn place(row: &TextRow) -> String {
    match (text(row, 2), text(row, 3), text(row, 4), text(row, 5)) {
        (Some(field), _, _, Some(length)) => format!("{field} ({length} characters)"),
        (Some(field), ..) => field.to_owned(),
        (None, Some(line), Some(column), _) => format!("line {line}, column {column}"),
        (None, _, _, Some(bytes)) => format!("the whole message ({bytes} bytes)"),
        (None, ..) => "the whole message".to_owned(),
    }
}

fn key(row: &TextRow) -> String {
    text(row, 0).map(|key| shortened(key, 12)).unwrap_or_default()
}

fn shortened(text: &str, chars: usize) -> String {
    match text.char_indices().nth(chars) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(cells: &[Option<&str>]) -> TextRow {
        cells.iter().map(|cell| cell.map(str::to_owned)).collect()
    }

    #[test]
    fn rejects_are_counted_by_reason_with_an_example_that_names_a_field() {
        let rows = [
            row(&[Some("0a1b2c3d-4e5f"), Some("too_long"), None, None, None, None]),
            row(&[Some("k2"), Some("too_long"), Some("locale"), None, None, Some("33")]),
            row(&[Some("k3"), Some("invalid_json"), None, Some("1"), Some("7"), None]),
        ];
        assert_eq!(
            reject_table(&rows),
            "  reason        messages  for example in          message\n  \
               invalid_json  1         line 1, column 7        k3\n  \
               too_long      2         locale (33 characters)  k2\n"
        );
    }

    #[test]
    fn long_texts_are_shortened_by_characters() {
        assert_eq!(shortened("äöüß", 3), "äöü…");
        assert_eq!(shortened("äöü", 3), "äöü");
    }
}
