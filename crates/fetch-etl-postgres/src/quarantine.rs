//! The quarantine as an operator works on it: looking, replaying, giving up.

use async_trait::async_trait;
use fetch_etl_core::{
    KeyOrigin, MessageKey, Quarantine, QuarantineCount, QuarantineEntry, QuarantineFilter, SealedBody,
    SealedMessage, SinkError, UnixMillis,
};
use sqlx::PgConnection;
use tokio::time::timeout;

use crate::PostgresSink;
use crate::columns::millis_of;

/// A filter as the statements take it.
struct Bound {
    keys: Vec<String>,
    reasons: Vec<String>,
    states: Vec<String>,
    since: Option<i64>,
    until: Option<i64>,
}

impl From<&QuarantineFilter> for Bound {
    fn from(filter: &QuarantineFilter) -> Self {
        Self {
            keys: filter.keys.clone(),
            reasons: filter.reasons.iter().map(|reason| reason.as_str().to_owned()).collect(),
            states: filter.states.iter().map(|state| state.as_str().to_owned()).collect(),
            since: filter.since.map(millis_of),
            until: filter.until.map(millis_of),
        }
    }
}

/// Closes the open entries among `keys`, whose messages are rows, as of this very transaction or an earlier one: whichever way
/// they came, there is nothing left to replay. What the batch itself rejected stays open.
///
/// An entry that somebody else holds is left to them: they close it, or reject it again, and waiting for them could end in a
/// deadlock.
pub(crate) async fn close_stored(
    connection: &mut PgConnection,
    keys: &[String],
    rejected: &[&str],
) -> sqlx::Result<()> {
    sqlx::query!(
        r#"WITH stored AS MATERIALIZED (
            SELECT q.key FROM etl.quarantine AS q
            WHERE q.key = ANY ($1::text[]) AND q.key <> ALL ($2::text[]) AND q.state = 'open'
            FOR UPDATE OF q SKIP LOCKED
        )
        UPDATE etl.quarantine AS q SET state = 'replayed', recipient_id = NULL, sealed_body = NULL,
            closed_at = now(), closed_by = session_user
        FROM stored WHERE q.key = stored.key"#,
        keys,
        rejected as &[&str]
    )
    .execute(connection)
    .await?;
    Ok(())
}

#[async_trait]
impl Quarantine for PostgresSink {
    async fn list(&self, filter: &QuarantineFilter, limit: u32) -> Result<Vec<QuarantineEntry>, SinkError> {
        let bound = Bound::from(filter);
        let mut session = self.sessions.open().await?;
        let query = sqlx::query_as!(
            QuarantineEntry,
            r#"SELECT key AS "key!", by_producer AS "by_producer!", reason AS "reason!", field, line, column_number, length,
                sink_code, body_bytes AS "body_bytes!", receive_count AS "receive_count!", recipient_id, state AS "state!",
                to_char(sent_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') AS "sent_at!",
                to_char(first_seen_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') AS "first_seen_at!",
                to_char(last_seen_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') AS "last_seen_at!",
                to_char(closed_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') AS closed_at, closed_by
            FROM etl.quarantine_matching($1, $2, $3, $4, $5) AS q
            ORDER BY q.first_seen_at DESC, key LIMIT $6"#,
            &bound.keys,
            &bound.reasons,
            &bound.states,
            bound.since,
            bound.until,
            i64::from(limit)
        );
        let outcome = timeout(session.patience(), query.fetch_all(&mut *session)).await;
        session.judge(outcome).map_err(|failure| failure.without_rows())
    }

    async fn count(&self, filter: &QuarantineFilter) -> Result<QuarantineCount, SinkError> {
        let bound = Bound::from(filter);
        let mut session = self.sessions.open().await?;
        let query = sqlx::query!(
            r#"SELECT recipient_id, count(*) AS "count!" FROM etl.quarantine_matching($1, $2, $3, $4, $5)
            GROUP BY recipient_id ORDER BY count(*) DESC, recipient_id"#,
            &bound.keys,
            &bound.reasons,
            &bound.states,
            bound.since,
            bound.until
        );
        let outcome = timeout(session.patience(), query.fetch_all(&mut *session)).await;
        let groups = session.judge(outcome).map_err(|failure| failure.without_rows())?;
        let of = |messages| u64::try_from(messages).unwrap_or_default();
        Ok(groups.into_iter().map(|group| (group.recipient_id, of(group.count))).collect())
    }

    async fn sealed(
        &self,
        filter: &QuarantineFilter,
        recipient_id: &str,
        after: &str,
        limit: u32,
    ) -> Result<Vec<SealedMessage>, SinkError> {
        let bound = Bound::from(filter);
        let mut session = self.sessions.open().await?;
        let query = sqlx::query!(
            r#"SELECT key AS "key!", by_producer AS "by_producer!", receive_count AS "receive_count!", field,
                sealed_body AS "sealed_body!", round(extract(epoch FROM sent_at) * 1000)::bigint AS "sent_at_millis!"
            FROM etl.quarantine_matching($1, $2, $3, $4, $5)
            WHERE recipient_id = $6 AND key > $7 ORDER BY key LIMIT $8"#,
            &bound.keys,
            &bound.reasons,
            &bound.states,
            bound.since,
            bound.until,
            recipient_id,
            after,
            i64::from(limit)
        );
        let outcome = timeout(session.patience(), query.fetch_all(&mut *session)).await;
        let rows = session.judge(outcome).map_err(|failure| failure.without_rows())?;
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
        let mut session = self.sessions.open().await?;
        // In the order of the keys, as writers take them: two that lock the same rows must not deadlock.
        let query = sqlx::query!(
            r#"WITH meant AS MATERIALIZED (
                SELECT key FROM etl.quarantine WHERE key = ANY ($1::text[]) AND state <> 'replayed' ORDER BY key FOR UPDATE
            )
            UPDATE etl.quarantine AS q SET state = 'replayed', recipient_id = NULL, sealed_body = NULL,
                closed_at = now(), closed_by = session_user
            FROM meant WHERE q.key = meant.key"#,
            keys as &[&str]
        );
        let outcome = timeout(session.patience(), query.execute(&mut *session)).await;
        let done = session.judge(outcome).map_err(|failure| failure.without_rows())?;
        Ok(done.rows_affected())
    }

    async fn discard(&self, filter: &QuarantineFilter, limit: u32) -> Result<u64, SinkError> {
        let bound = Bound::from(filter);
        let mut session = self.sessions.open().await?;
        let query = sqlx::query!(
            r#"WITH meant AS MATERIALIZED (
                SELECT key FROM etl.quarantine
                WHERE state = 'open' AND key IN (SELECT key FROM etl.quarantine_matching($1, $2, $3, $4, $5))
                ORDER BY key LIMIT $6 FOR UPDATE
            )
            UPDATE etl.quarantine AS q SET state = 'discarded', recipient_id = NULL, sealed_body = NULL,
                closed_at = now(), closed_by = session_user
            FROM meant WHERE q.key = meant.key"#,
            &bound.keys,
            &bound.reasons,
            &bound.states,
            bound.since,
            bound.until,
            i64::from(limit)
        );
        let outcome = timeout(session.patience(), query.execute(&mut *session)).await;
        let done = session.judge(outcome).map_err(|failure| failure.without_rows())?;
        Ok(done.rows_affected())
    }
}
