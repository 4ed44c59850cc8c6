//! The quarantine as an operator works on it: looking, replaying, giving up.

use async_trait::async_trait;
use fetch_etl_core::{
    KeyOrigin, MessageKey, Quarantine, QuarantineCount, QuarantineEntry, QuarantineFilter, SealedBody,
    SealedMessage, SinkError, UnixMillis,
};

use crate::SqliteSink;
use crate::error::error_without_rows;
use crate::sink::seconds_of;

/// A filter as the statements take it: lists as JSON, an empty one and NULL leave everything through.
struct Bound {
    keys: String,
    reasons: String,
    states: String,
    since: Option<f64>,
    until: Option<f64>,
}

impl From<&QuarantineFilter> for Bound {
    fn from(filter: &QuarantineFilter) -> Self {
        let list = |texts: Vec<&str>| serde_json::Value::from(texts).to_string();
        Self {
            keys: list(filter.keys.iter().map(String::as_str).collect()),
            reasons: list(filter.reasons.iter().map(|reason| reason.as_str()).collect()),
            states: list(filter.states.iter().map(|state| state.as_str()).collect()),
            since: filter.since.map(seconds_of),
            until: filter.until.map(seconds_of),
        }
    }
}

#[async_trait]
impl Quarantine for SqliteSink {
    async fn list(&self, filter: &QuarantineFilter, limit: u32) -> Result<Vec<QuarantineEntry>, SinkError> {
        let Bound { keys, reasons, states, since, until } = filter.into();
        let query = sqlx::query_as!(
            QuarantineEntry,
            r#"SELECT key AS "key!", by_producer AS "by_producer!: bool", reason AS "reason!", field, line, column_number,
                length, sink_code, body_bytes AS "body_bytes!", receive_count AS "receive_count!", recipient_id,
                state AS "state!", sent_at AS "sent_at!", first_seen_at AS "first_seen_at!", last_seen_at AS "last_seen_at!",
                closed_at, NULL AS "closed_by: String"
            FROM etl_quarantine
            WHERE (?1 = '[]' OR key IN (SELECT value FROM json_each(?1)))
                AND (?2 = '[]' OR reason IN (SELECT value FROM json_each(?2)))
                AND (?3 = '[]' OR state IN (SELECT value FROM json_each(?3)))
                AND (?4 IS NULL OR first_seen_at >= strftime('%Y-%m-%dT%H:%M:%fZ', ?4, 'unixepoch'))
                AND (?5 IS NULL OR first_seen_at < strftime('%Y-%m-%dT%H:%M:%fZ', ?5, 'unixepoch'))
            ORDER BY first_seen_at DESC, key LIMIT ?6"#,
            keys,
            reasons,
            states,
            since,
            until,
            limit
        );
        query.fetch_all(&self.pool).await.map_err(|error| error_without_rows(&error))
    }

    async fn count(&self, filter: &QuarantineFilter) -> Result<QuarantineCount, SinkError> {
        let Bound { keys, reasons, states, since, until } = filter.into();
        let query = sqlx::query!(
            r#"SELECT recipient_id, count(*) AS "count!: i64" FROM etl_quarantine
            WHERE (?1 = '[]' OR key IN (SELECT value FROM json_each(?1)))
                AND (?2 = '[]' OR reason IN (SELECT value FROM json_each(?2)))
                AND (?3 = '[]' OR state IN (SELECT value FROM json_each(?3)))
                AND (?4 IS NULL OR first_seen_at >= strftime('%Y-%m-%dT%H:%M:%fZ', ?4, 'unixepoch'))
                AND (?5 IS NULL OR first_seen_at < strftime('%Y-%m-%dT%H:%M:%fZ', ?5, 'unixepoch'))
            GROUP BY recipient_id ORDER BY count(*) DESC, recipient_id"#,
            keys,
            reasons,
            states,
            since,
            until
        );
        let groups = query.fetch_all(&self.pool).await.map_err(|error| error_without_rows(&error))?;
        Ok(groups.into_iter().map(|group| (group.recipient_id, group.count.unsigned_abs())).collect())
    }

    async fn sealed(
        &self,
        filter: &QuarantineFilter,
        recipient_id: &str,
        after: &str,
        limit: u32,
    ) -> Result<Vec<SealedMessage>, SinkError> {
        let Bound { keys, reasons, states, since, until } = filter.into();
        let query = sqlx::query!(
            r#"SELECT key AS "key!", by_producer AS "by_producer!: bool", receive_count AS "receive_count!", field,
                sealed_body AS "sealed_body!", CAST(round(unixepoch(sent_at, 'subsec') * 1000) AS INTEGER) AS "sent_at_millis!: i64"
            FROM etl_quarantine
            WHERE (?1 = '[]' OR key IN (SELECT value FROM json_each(?1)))
                AND (?2 = '[]' OR reason IN (SELECT value FROM json_each(?2)))
                AND (?3 = '[]' OR state IN (SELECT value FROM json_each(?3)))
                AND (?4 IS NULL OR first_seen_at >= strftime('%Y-%m-%dT%H:%M:%fZ', ?4, 'unixepoch'))
                AND (?5 IS NULL OR first_seen_at < strftime('%Y-%m-%dT%H:%M:%fZ', ?5, 'unixepoch'))
                AND recipient_id = ?6 AND key > ?7
            ORDER BY key LIMIT ?8"#,
            keys,
            reasons,
            states,
            since,
            until,
            recipient_id,
            after,
            limit
        );
        let rows = query.fetch_all(&self.pool).await.map_err(|error| error_without_rows(&error))?;
        let origin = |by_producer| if by_producer { KeyOrigin::Attribute } else { KeyOrigin::MessageId };
        let messages = rows.into_iter().map(|row| SealedMessage {
            key: MessageKey::new(row.key, origin(row.by_producer)),
            sent_at: UnixMillis::new(row.sent_at_millis),
            attempt: u32::try_from(row.receive_count).unwrap_or(u32::MAX),
            field: row.field,
            body: SealedBody::new(recipient_id, row.sealed_body),
        });
        Ok(messages.collect())
    }

    async fn mark_replayed(&self, keys: &[&str]) -> Result<u64, SinkError> {
        let keys = serde_json::Value::from(keys).to_string();
        let query = sqlx::query!(
            "UPDATE etl_quarantine SET state = 'replayed', recipient_id = NULL, sealed_body = NULL,
                closed_at = strftime('%Y-%m-%dT%H:%M:%fZ', 'now')
            WHERE state <> 'replayed' AND key IN (SELECT value FROM json_each(?))",
            keys
        );
        let done = query.execute(&self.pool).await.map_err(|error| error_without_rows(&error))?;
        Ok(done.rows_affected())
    }

    async fn discard(&self, filter: &QuarantineFilter, limit: u32) -> Result<u64, SinkError> {
        let Bound { keys, reasons, states, since, until } = filter.into();
        let query = sqlx::query!(
            "UPDATE etl_quarantine SET state = 'discarded', recipient_id = NULL, sealed_body = NULL,
                closed_at = strftime('%Y-%m-%dT%H:%M:%fZ', 'now')
            WHERE key IN (
                SELECT key FROM etl_quarantine
                WHERE state = 'open'
                    AND (?1 = '[]' OR key IN (SELECT value FROM json_each(?1)))
                    AND (?2 = '[]' OR reason IN (SELECT value FROM json_each(?2)))
                    AND (?3 = '[]' OR state IN (SELECT value FROM json_each(?3)))
                    AND (?4 IS NULL OR first_seen_at >= strftime('%Y-%m-%dT%H:%M:%fZ', ?4, 'unixepoch'))
                    AND (?5 IS NULL OR first_seen_at < strftime('%Y-%m-%dT%H:%M:%fZ', ?5, 'unixepoch'))
                ORDER BY key LIMIT ?6
            )",
            keys,
            reasons,
            states,
            since,
            until,
            limit
        );
        let done = query.execute(&self.pool).await.map_err(|error| error_without_rows(&error))?;
        Ok(done.rows_affected())
    }
}
