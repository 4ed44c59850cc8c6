//! Small looks at what is stored, as text: for a demo, an operator, a test.

use fetch_etl_core::{NewestRecipients, SinkError};

use crate::SqliteSink;
use crate::error::error_without_rows;

/// A row as text, column by column; `None` is NULL.
pub type TextRow = Vec<Option<String>>;

/// The columns of [`SqliteSink::newest_rows`].
pub const LOGIN_COLUMNS: [&str; 11] = [
    "user_id",
    "device_type",
    "masked_ip",
    "masked_device_id",
    "locale",
    "app_version",
    "create_date",
    "app_version_text",
    "message_id",
    "mask_key_id",
    "ingested_at",
];

/// The columns of [`SqliteSink::newest_quarantined`].
pub const QUARANTINE_COLUMNS: [&str; 9] = [
    "key",
    "reason",
    "field",
    "line",
    "column_number",
    "length",
    "sink_code",
    "receive_count",
    "last_seen_at",
];

impl SqliteSink {
    /// To whom the newest body in the quarantine is sealed; there is no vault.
    ///
    /// # Errors
    /// Nothing could be read.
    pub async fn newest_recipients(&self) -> Result<NewestRecipients, SinkError> {
        let query = sqlx::query_scalar!(
            r#"SELECT recipient_id AS "id!" FROM etl_quarantine WHERE recipient_id IS NOT NULL ORDER BY last_seen_at DESC LIMIT 1"#
        );
        let quarantine =
            query.fetch_optional(&self.pool).await.map_err(|error| error_without_rows(&error))?;
        Ok(NewestRecipients { vault: None, quarantine })
    }

    /// The rows of `user_logins` that were stored last, with the [`LOGIN_COLUMNS`]. It reads the whole table.
    ///
    /// # Errors
    /// Nothing could be read.
    pub async fn newest_rows(&self, limit: u32) -> Result<Vec<TextRow>, SinkError> {
        let query = sqlx::query!(
            "SELECT
                user_id, device_type, masked_ip, masked_device_id, locale, app_version, create_date, app_version_text,
                message_id, mask_key_id, ingested_at
            FROM user_logins ORDER BY ingested_at DESC, message_id LIMIT ?",
            limit
        );
        let rows = query.fetch_all(&self.pool).await.map_err(|error| error_without_rows(&error))?;
        let text = |number: Option<i64>| number.map(|number| number.to_string());
        let rows = rows.into_iter().map(|row| {
            vec![
                row.user_id,
                row.device_type,
                row.masked_ip,
                row.masked_device_id,
                row.locale,
                text(row.app_version),
                row.create_date,
                row.app_version_text,
                row.message_id,
                text(row.mask_key_id),
                row.ingested_at,
            ]
        });
        Ok(rows.collect())
    }

    /// The messages that were quarantined last, with the [`QUARANTINE_COLUMNS`].
    ///
    /// # Errors
    /// Nothing could be read.
    pub async fn newest_quarantined(&self, limit: u32) -> Result<Vec<TextRow>, SinkError> {
        let query = sqlx::query!(
            r#"SELECT
                key AS "key!", reason, field, line, column_number, length, sink_code, receive_count, last_seen_at
            FROM etl_quarantine ORDER BY last_seen_at DESC, key LIMIT ?"#,
            limit
        );
        let rows = query.fetch_all(&self.pool).await.map_err(|error| error_without_rows(&error))?;
        let text = |number: Option<i64>| number.map(|number| number.to_string());
        let rows = rows.into_iter().map(|row| {
            vec![
                Some(row.key),
                Some(row.reason),
                row.field,
                text(row.line),
                text(row.column_number),
                text(row.length),
                row.sink_code,
                text(Some(row.receive_count)),
                Some(row.last_seen_at),
            ]
        });
        Ok(rows.collect())
    }

    /// How many messages are quarantined for each reason, the most frequent first.
    ///
    /// # Errors
    /// Nothing could be read.
    pub async fn quarantine_counts(&self) -> Result<Vec<(String, u64)>, SinkError> {
        let query = sqlx::query!(
            r#"SELECT reason, count(*) AS "count!: i64" FROM etl_quarantine GROUP BY reason ORDER BY count(*) DESC, reason"#
        );
        let counts = query.fetch_all(&self.pool).await.map_err(|error| error_without_rows(&error))?;
        Ok(counts.into_iter().map(|row| (row.reason, row.count.unsigned_abs())).collect())
    }
}
