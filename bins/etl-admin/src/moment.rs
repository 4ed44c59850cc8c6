//! Moments as people write them.

use fetch_etl_core::UnixMillis;
use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

/// Reads `2026-11-24`, `2026-11-24T10:00` (both UTC), any RFC 3339 time, or how long ago: `90s`, `15m`, `2h`, `7d`.
pub(crate) fn parse(text: &str) -> Result<UnixMillis, &'static str> {
    const EXPECTED: &str = "expected 2026-11-24, 2026-11-24T10:00Z, or how long ago: 90s, 15m, 2h, 7d";
    let millis = match ago_millis(text) {
        Some(ago) => UnixMillis::now().get().checked_sub(ago),
        None => absolute_millis(text),
    };
    millis.map(UnixMillis::new).ok_or(EXPECTED)
}

fn ago_millis(text: &str) -> Option<i64> {
    let (number, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let seconds = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3_600,
        "d" => 86_400,
        _ => return None,
    };
    number.parse::<u32>().ok().map(|number| i64::from(number) * seconds * 1_000)
}

fn absolute_millis(text: &str) -> Option<i64> {
    let with_zone = text.parse::<Timestamp>().ok();
    let in_utc = || TimeZone::UTC.to_timestamp(text.parse::<DateTime>().ok()?).ok();
    with_zone.or_else(in_utc).map(|moment| moment.as_millisecond())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_read_in_utc() {
        for (text, millis) in [
            ("1970-01-02", 86_400_000),
            ("1970-01-01T00:01", 60_000),
            ("1970-01-01T00:01:00.5Z", 60_500),
            ("1970-01-01T01:00:00+01:00", 0),
            ("1970-01-01 00:00:01", 1_000),
        ] {
            assert_eq!(parse(text).map(UnixMillis::get), Ok(millis), "{text}");
        }
    }

    #[test]
    fn a_time_ago_counts_back_from_now() {
        for (text, seconds) in [("90s", 90), ("15m", 900), ("2h", 7_200), ("7d", 604_800)] {
            let (before, parsed, after) = (UnixMillis::now(), parse(text).unwrap(), UnixMillis::now());
            let ago = parsed.get() + seconds * 1_000;
            assert!((before.get()..=after.get()).contains(&ago), "{text}");
        }
    }

    #[test]
    fn anything_else_is_refused() {
        for text in ["", "h", "-1h", "1.5h", "yesterday", "2026-13-01", "10:00", "1w", "é", "99999999999d"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
