//! What a run did, in words.

use std::fmt::Write as _;
use std::io::{self, Write as _};

use fetch_etl_core::pipeline::Summary;
use tracing::info;

/// The conservation line, and what is worth saying besides.
pub(crate) fn of(summary: &Summary) -> String {
    let mut text = format!("{summary}\n");
    let reasons: Vec<_> = summary.rejected.iter().filter(|(_, count)| *count > 0).collect();
    if !reasons.is_empty() {
        let reasons: Vec<_> = reasons.iter().map(|(reason, count)| format!("{reason} {count}")).collect();
        let _ = writeln!(text, "rejected, each delivery counted: {}", reasons.join(", "));
    }
    let notes = [
        (
            summary.left_in_queue,
            "rejected message is left in the queue for its dead-letter policy",
            "rejected messages are left in the queue for its dead-letter policy",
        ),
        (
            summary.ack_failures,
            "message could not be deleted; it comes back and counts as a duplicate then",
            "messages could not be deleted; they come back and count as duplicates then",
        ),
        (
            summary.leases_lost,
            "lease ran out; that message comes back",
            "leases ran out; those messages come back",
        ),
        (
            summary.erased,
            "row is of a person who was erased; it was stored without its masks",
            "rows are of persons who were erased; they were stored without their masks",
        ),
        (summary.unknown_fields, "unknown field was dropped", "unknown fields were dropped"),
        (
            summary.non_canonical,
            "ip value is no address; it was masked as text",
            "ip values are no addresses; they were masked as text",
        ),
    ];
    for (count, one, several) in notes.into_iter().filter(|(count, ..)| *count > 0) {
        let _ = writeln!(text, "{count} {}", if count == 1 { one } else { several });
    }
    text
}

/// Logs the end of a run: the conservation line and each of its numbers by itself.
pub(crate) fn log(summary: &Summary) {
    let rejected: u64 = summary.rejected.iter().map(|(_, count)| count).sum();
    info!(
        event = "stopped",
        received = summary.received,
        inserted = summary.inserted,
        duplicates = summary.duplicates,
        quarantined = summary.quarantined,
        returned = summary.returned,
        in_flight = summary.in_flight,
        unaccounted = i64::try_from(summary.unaccounted()).unwrap_or(i64::MAX),
        leases_lost = summary.leases_lost,
        ack_failures = summary.ack_failures,
        rejected,
        left_in_queue = summary.left_in_queue,
        erased = summary.erased,
        unknown_fields = summary.unknown_fields,
        non_canonical = summary.non_canonical,
        "{summary}"
    );
}

/// Writes a result to stdout. That nobody reads it any more is no failure.
pub fn print(text: &str) {
    let mut stdout = io::stdout().lock();
    let _ = stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush());
}

/// A number with commas between the thousands.
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Lines of cells, under a heading, in columns.
pub fn table<const N: usize>(heading: [&str; N], rows: &[[String; N]]) -> String {
    let width = |column: usize| {
        let cells = rows.iter().map(|row| row[column].chars().count());
        cells.chain([heading[column].chars().count()]).max().unwrap_or(0)
    };
    let widths: [usize; N] = std::array::from_fn(width);
    let line = |cells: [&str; N]| {
        let padded = cells.iter().zip(widths).map(|(cell, width)| format!("{cell:<width$}"));
        let line = padded.collect::<Vec<_>>().join("  ");
        format!("  {}\n", line.trim_end())
    };
    let body = rows.iter().map(|row| line(std::array::from_fn(|column| row[column].as_str())));
    std::iter::once(line(heading)).chain(body).collect()
}

#[cfg(test)]
mod tests {
    use fetch_etl_core::pipeline::Stats;

    use super::*;

    #[test]
    fn numbers_are_grouped_by_thousands() {
        for (number, text) in [(0, "0"), (999, "999"), (1_000, "1,000"), (1_234_567, "1,234,567")] {
            assert_eq!(grouped(number), text);
        }
    }

    #[test]
    fn a_table_has_aligned_columns() {
        let rows = [["a".to_owned(), "long cell".to_owned()], ["bbbb".to_owned(), "é".to_owned()]];
        assert_eq!(table(["x", "y"], &rows), "  x     y\n  a     long cell\n  bbbb  é\n");
    }

    #[test]
    fn a_quiet_run_is_one_line_and_a_noisy_one_says_why() {
        let mut summary = Stats::default().summary();
        assert_eq!(of(&summary).lines().count(), 1);
        summary.received = 5;
        summary.returned = 5;
        summary.left_in_queue = 2;
        summary.leases_lost = 1;
        summary.erased = 1;
        summary.rejected[0].1 = 5;
        assert_eq!(
            of(&summary),
            "received 5 = inserted 0 + duplicates 0 + quarantined 0 + returned 5 + in flight 0\n\
             rejected, each delivery counted: invalid_json 5\n\
             2 rejected messages are left in the queue for its dead-letter policy\n\
             1 lease ran out; that message comes back\n\
             1 row is of a person who was erased; it was stored without its masks\n"
        );
    }
}
