//! Small looks at what is stored, as text: for a demo, an operator, a test.

use fetch_etl_core::{NewestRecipients, SinkError};
use sqlx::Connection;
use tokio::time::timeout;

use crate::PostgresSink;
use crate::error::Failure;

/// A row as text, column by column; `None` is NULL.
pub type TextRow = Vec<Option<String>>;

/// The columns of [`PostgresSink::newest_rows`].
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

/// The columns of [`PostgresSink::newest_quarantined`].
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

impl PostgresSink {
    /// To whom the newest data key of the vault and the newest body in the quarantine are sealed. It reads the keys of the vault and the
    /// quarantine, and needs EXECUTE on `etl.newest_recipients`.
    ///
    /// # Errors
    /// Nothing could be read.
    pub async fn newest_recipients(&self) -> Result<NewestRecipients, SinkError> {
        let mut connection = self.sessions.connect_alone().await?;
        let query =
            sqlx::query_as!(NewestRecipients, "SELECT vault, quarantine FROM etl.newest_recipients()");
        let found = self.sessions.patiently(query.fetch_one(&mut connection)).await?;
        connection.close().await.map_err(Failure::from)?;
        Ok(found)
    }

    /// The rows of `user_logins` that were stored last, with the [`LOGIN_COLUMNS`]. It reads the whole table.
    ///
    /// # Errors
    /// Nothing could be read.
    pub async fn newest_rows(&self, limit: u32) -> Result<Vec<TextRow>, SinkError> {
        let mut session = self.sessions.open().await?;
        let query = sqlx::query_scalar!(
            r#"SELECT ARRAY[
                user_id, device_type, masked_ip, masked_device_id, locale, app_version::text,
                to_char(create_date, 'YYYY-MM-DD'), app_version_text, message_id, mask_key_id::text,
                to_char(ingested_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"')
            ] AS "columns!: Vec<Option<String>>"
            FROM user_logins ORDER BY ingested_at DESC NULLS LAST, message_id LIMIT $1"#,
            i64::from(limit)
        );
        let outcome = timeout(session.patience(), query.fetch_all(&mut *session)).await;
        session.judge(outcome).map_err(|failure| failure.without_rows())
    }

    /// The messages that were quarantined last, with the [`QUARANTINE_COLUMNS`].
    ///
    /// # Errors
    /// Nothing could be read.
    pub async fn newest_quarantined(&self, limit: u32) -> Result<Vec<TextRow>, SinkError> {
        let mut session = self.sessions.open().await?;
        let query = sqlx::query_scalar!(
            r#"SELECT ARRAY[
                key, reason, field, line::text, column_number::text, length::text, sink_code, receive_count::text,
                to_char(last_seen_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"')
            ] AS "columns!: Vec<Option<String>>"
            FROM etl.quarantine ORDER BY last_seen_at DESC, key LIMIT $1"#,
            i64::from(limit)
        );
        let outcome = timeout(session.patience(), query.fetch_all(&mut *session)).await;
        session.judge(outcome).map_err(|failure| failure.without_rows())
    }

    /// How many messages are quarantined for each reason, the most frequent first.
    ///
    /// # Errors
    /// Nothing could be read.
    pub async fn quarantine_counts(&self) -> Result<Vec<(String, u64)>, SinkError> {
        let mut session = self.sessions.open().await?;
        let query = sqlx::query!(
            r#"SELECT reason, count(*) AS "count!" FROM etl.quarantine GROUP BY reason ORDER BY count(*) DESC, reason"#
        );
        let outcome = timeout(session.patience(), query.fetch_all(&mut *session)).await;
        let counts = session.judge(outcome).map_err(|failure| failure.without_rows())?;
        Ok(counts.into_iter().map(|row| (row.reason, u64::try_from(row.count).unwrap_or_default())).collect())
    }
}
