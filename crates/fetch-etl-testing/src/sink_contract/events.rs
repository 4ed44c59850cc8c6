use std::collections::BTreeMap;

use fetch_etl_core::login::{LoginRow, LoginSchema};
use fetch_etl_core::{EventSchema, MessageKey, UnixMillis};

/// A stored row as text, by column; `None` is NULL.
pub type Columns = BTreeMap<&'static str, Option<String>>;

/// Makes the messages that the suite writes.
pub trait EventSource: Default + Send + Sync {
    /// The schema that decodes them.
    type Schema: EventSchema;

    /// The schema.
    fn schema(&self) -> Self::Schema;

    /// The body of the n-th message, which becomes a row; unlike rows for unlike `n`, and as many shapes among the first
    /// hundred as the row type has.
    fn body(&self, n: u64) -> String;

    /// Bodies that the schema rejects, for as many reasons as it has; at least one.
    fn rejected_bodies(&self) -> Vec<String>;

    /// What the store must hold for a row.
    fn columns(row: &<Self::Schema as EventSchema>::Row, key: &MessageKey, sent_at: UnixMillis) -> Columns;

    /// A text that stands in every [`body`](Self::body) and that an error must never show.
    fn canary(&self) -> &'static str;
}

/// Login messages of many shapes: nulls, texts at their longest, quotes, other scripts, versions that no number holds.
#[derive(Debug, Clone, Copy, Default)]
pub struct LoginEvents;

impl EventSource for LoginEvents {
    type Schema = LoginSchema;

    fn schema(&self) -> LoginSchema {
        LoginSchema
    }

    fn body(&self, n: u64) -> String {
        let user_id = match n % 6 {
            0 => format!(r"canary-{n}"),
            1 => format!(r"canary-{n}-'; DROP TABLE user_logins; --"),
            2 => format!(r#"canary-{n}-\"\\\t\n{{}},"#),
            3 => format!(r"canary-{n}-пользователь-用户-👩‍👧"),
            4 => format!(r"canary-{n:0>121}"),
            _ => format!(r" canary-{n} "),
        };
        let version =
            ["\"2.3.0\"", "\"4.8\"", "\"2147.483.647\"", "\"1.2.3.4\"", "null", "\"5\"", "\"1.20000.3\""];
        let device_type = ["\"android\"", "\"ios\"", "null", "\"\"", "\"NULL\""];
        let locale = ["\"US\"", "null", "\"zh-Hant-TW\"", "\"\""];
        let ip = [format!("\"203.0.113.{}\"", n % 256), "null".into(), "\"\"".into(), "\"not-an-ip\"".into()];
        let device_id = [format!("\"593-47-{n:0>4}\""), "\"\"".into(), "null".into()];
        let pick = |count: usize| usize::try_from(n % count as u64).unwrap_or(0);
        format!(
            r#"{{"user_id":"{user_id}","app_version":{},"device_type":{},"ip":{},"locale":{},"device_id":{}}}"#,
            version[pick(version.len())],
            device_type[pick(device_type.len())],
            ip[pick(ip.len())],
            locale[pick(locale.len())],
            device_id[pick(device_id.len())],
        )
    }

    fn rejected_bodies(&self) -> Vec<String> {
        let good = r#"{"user_id":"canary","app_version":"1","device_type":"a","ip":"1","locale":"x","device_id":"y"}"#;
        [
            "canary, no JSON at all".to_owned(),
            "[\"canary\"]".to_owned(),
            "{\n \"user_id\": \"canary\",,".to_owned(),
            good.replace(r#","ip":"1""#, ""),
            good.replace(r#""1""#, "1"),
            good.replace("canary", &"canary-ü".repeat(20)),
            good.replace(r#""1""#, r#""canary""#),
        ]
        .into()
    }

    fn columns(row: &LoginRow, key: &MessageKey, sent_at: UnixMillis) -> Columns {
        login_columns(row, key, sent_at)
    }

    fn canary(&self) -> &'static str {
        "canary"
    }
}

/// The columns of `user_logins` that a stored login must have, as text; `create_date` as `YYYY-MM-DD`.
pub fn login_columns(login: &LoginRow, key: &MessageKey, sent_at: UnixMillis) -> Columns {
    Columns::from([
        ("user_id", Some(login.user_id.clone())),
        ("device_type", login.device_type.clone()),
        ("masked_ip", login.masked_ip.as_ref().map(|mask| mask.to_text())),
        ("masked_device_id", login.masked_device_id.as_ref().map(|mask| mask.to_text())),
        ("locale", login.locale.clone()),
        ("app_version", login.app_version.map(|number| number.to_string())),
        ("create_date", Some(utc_date(sent_at.utc_day()))),
        ("app_version_text", login.app_version_text.clone()),
        ("message_id", Some(key.as_str().to_owned())),
        ("mask_key_id", Some(login.mask_key_id.get().to_string())),
    ])
}

/// `YYYY-MM-DD` of a day counted from 1970-01-01 (Howard Hinnant's civil-from-days).
pub fn utc_date(day: i64) -> String {
    const DAYS_OF_400_YEARS: i64 = 146_097;
    // Days since 0000-03-01, so that the leap day is the last of its year.
    let day = day + 719_468;
    let era = day.div_euclid(DAYS_OF_400_YEARS);
    let day_of_era = day.rem_euclid(DAYS_OF_400_YEARS);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day_of_month = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    format!("{year:04}-{month:02}-{day_of_month:02}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_have_their_dates() {
        for (day, date) in [
            (0, "1970-01-01"),
            (-1, "1969-12-31"),
            (11_016, "2000-02-29"),
            (11_017, "2000-03-01"),
            (19_782, "2024-02-29"),
            (20_454, "2026-01-01"),
            (47_540, "2100-02-28"),
            (47_541, "2100-03-01"),
        ] {
            assert_eq!(utc_date(day), date);
        }
    }
}
