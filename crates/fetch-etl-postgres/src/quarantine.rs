//! The quarantine as an operator works on it: looking, replaying, giving up.

use std::fmt;

use fetch_etl_core::{KeyOrigin, MessageKey, RejectReason, SealedBody, SinkError, UnixMillis};
use tokio::time::timeout;

use crate::PostgresSink;

/// What became of a quarantined message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum QuarantineState {
    /// Nothing yet.
    Open,
    /// It is a row now, or was one already; its body is not kept any more.
    Replayed,
    /// It was given up; its body is not kept any more.
    Discarded,
}

impl QuarantineState {
    /// All states.
    pub const ALL: [Self; 3] = [Self::Open, Self::Replayed, Self::Discarded];

    /// The name that the table uses.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Replayed => "replayed",
            Self::Discarded => "discarded",
        }
    }
}

impl fmt::Display for QuarantineState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Which quarantined messages are meant: those that fit everything that is set.
#[derive(Clone, Default)]
pub struct QuarantineFilter {
    /// With one of these keys; any where there is none.
    pub keys: Vec<String>,
    /// Rejected for one of these reasons at last; any where there is none.
    pub reasons: Vec<RejectReason>,
    /// In one of these states; any where there is none.
    pub states: Vec<QuarantineState>,
    /// Quarantined for the first time at this moment or later.
    pub since: Option<UnixMillis>,
    /// Quarantined for the first time before this moment.
    pub until: Option<UnixMillis>,
}

impl fmt::Debug for QuarantineFilter {
    // Keys may be the producer's text.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { keys, reasons, states, since, until } = self;
        f.debug_struct("QuarantineFilter")
            .field("keys", &keys.len())
            .field("reasons", reasons)
            .field("states", states)
            .field("since", since)
            .field("until", until)
            .finish()
    }
}

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
            since: filter.since.map(UnixMillis::get),
            until: filter.until.map(UnixMillis::get),
        }
    }
}

/// What the quarantine knows of a message, without its body.
#[derive(Clone)]
pub struct QuarantineEntry {
    /// The message's key.
    pub key: String,
    /// Whether the key is the producer's.
    pub by_producer: bool,
    /// Why the message was rejected at last.
    pub reason: String,
    /// The field concerned.
    pub field: Option<String>,
    /// Line of a JSON error.
    pub line: Option<i64>,
    /// Column of a JSON error.
    pub column_number: Option<i64>,
    /// Characters of the field, or bytes of the body.
    pub length: Option<i64>,
    /// The SQLSTATE with which the database refused the row.
    pub sink_code: Option<String>,
    /// Length of the whole message.
    pub body_bytes: i64,
    /// How often the queue had delivered it.
    pub receive_count: i64,
    /// Who can open the sealed body; `None` where none is kept.
    pub recipient_id: Option<String>,
    /// What became of it.
    pub state: String,
    /// When it was sent, as RFC 3339 in UTC, like the other times.
    pub sent_at: String,
    /// When it was quarantined for the first time.
    pub first_seen_at: String,
    /// When it was rejected at last.
    pub last_seen_at: String,
}

impl fmt::Debug for QuarantineEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("QuarantineEntry")
            .field("reason", &self.reason)
            .field("state", &self.state)
            .finish_non_exhaustive()
    }
}

/// A quarantined message with its sealed body: what a replay needs.
#[derive(Debug)]
pub struct SealedMessage {
    /// The message's key, as the ledger knows it.
    pub key: MessageKey,
    /// When it was sent.
    pub sent_at: UnixMillis,
    /// How often the queue had delivered it.
    pub attempt: u32,
    /// The body.
    pub body: SealedBody,
}

/// How many messages a filter means, and what is kept of them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct QuarantineCount {
    /// All of them.
    pub messages: u64,
    /// Of these, those without a body.
    pub without_body: u64,
    /// Of these, those with a body, by who can open it.
    pub by_recipient: Vec<(String, u64)>,
}

impl PostgresSink {
    /// What is known of the messages that a filter means, the newest first.
    ///
    /// # Errors
    /// Nothing could be read.
    pub async fn quarantined(
        &self,
        filter: &QuarantineFilter,
        limit: u32,
    ) -> Result<Vec<QuarantineEntry>, SinkError> {
        let bound = Bound::from(filter);
        let mut session = self.sessions.open().await?;
        let query = sqlx::query_as!(
            QuarantineEntry,
            r#"SELECT key AS "key!", by_producer AS "by_producer!", reason AS "reason!", field, line, column_number, length,
                sink_code, body_bytes AS "body_bytes!", receive_count AS "receive_count!", recipient_id, state AS "state!",
                to_char(sent_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') AS "sent_at!",
                to_char(first_seen_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') AS "first_seen_at!",
                to_char(last_seen_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') AS "last_seen_at!"
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

    /// How many messages a filter means.
    ///
    /// # Errors
    /// Nothing could be read.
    pub async fn count_quarantined(&self, filter: &QuarantineFilter) -> Result<QuarantineCount, SinkError> {
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
        let mut counted = QuarantineCount::default();
        for group in groups {
            let messages = u64::try_from(group.count).unwrap_or_default();
            counted.messages += messages;
            match group.recipient_id {
                Some(recipient) => counted.by_recipient.push((recipient, messages)),
                None => counted.without_body += messages,
            }
        }
        Ok(counted)
    }

    /// Messages that a filter means whose body was sealed to this recipient, in the order of their keys, from behind the key
    /// `after` on.
    ///
    /// # Errors
    /// Nothing could be read.
    pub async fn sealed_messages(
        &self,
        filter: &QuarantineFilter,
        recipient_id: &str,
        after: &str,
        limit: u32,
    ) -> Result<Vec<SealedMessage>, SinkError> {
        let bound = Bound::from(filter);
        let mut session = self.sessions.open().await?;
        let query = sqlx::query!(
            r#"SELECT key AS "key!", by_producer AS "by_producer!", receive_count AS "receive_count!",
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
        let message = |key: String, by_producer, sent_at, receive_count, body| SealedMessage {
            key: MessageKey::new(key, if by_producer { KeyOrigin::Attribute } else { KeyOrigin::MessageId }),
            sent_at: UnixMillis::new(sent_at),
            attempt: u32::try_from(receive_count).unwrap_or(u32::MAX),
            body: SealedBody::new(recipient_id, body),
        };
        let messages = rows.into_iter().map(|row| {
            message(row.key, row.by_producer, row.sent_at_millis, row.receive_count, row.sealed_body)
        });
        Ok(messages.collect())
    }

    /// Notes that these messages are rows now, and deletes their bodies: they have done their work, as a message that is
    /// deleted from its queue. Says how many were not noted before.
    ///
    /// # Errors
    /// Nothing is known to be noted.
    pub async fn mark_replayed(&self, keys: &[&str]) -> Result<u64, SinkError> {
        let mut session = self.sessions.open().await?;
        // In the order of the keys, as writers take them: two that lock the same rows must not deadlock.
        let query = sqlx::query!(
            r#"WITH meant AS MATERIALIZED (
                SELECT key FROM etl.quarantine WHERE key = ANY ($1::text[]) AND state <> 'replayed' ORDER BY key FOR UPDATE
            )
            UPDATE etl.quarantine AS q SET state = 'replayed', recipient_id = NULL, sealed_body = NULL
            FROM meant WHERE q.key = meant.key"#,
            keys as &[&str]
        );
        let outcome = timeout(session.patience(), query.execute(&mut *session)).await;
        let done = session.judge(outcome).map_err(|failure| failure.without_rows())?;
        Ok(done.rows_affected())
    }

    /// Gives up at most `limit` of the open messages that a filter means, and deletes their bodies. Says how many they were:
    /// where it is fewer than `limit`, there are no more.
    ///
    /// # Errors
    /// Nothing is known to be given up.
    pub async fn discard_quarantined(&self, filter: &QuarantineFilter, limit: u32) -> Result<u64, SinkError> {
        let bound = Bound::from(filter);
        let mut session = self.sessions.open().await?;
        let query = sqlx::query!(
            r#"WITH meant AS MATERIALIZED (
                SELECT key FROM etl.quarantine
                WHERE state = 'open' AND key IN (SELECT key FROM etl.quarantine_matching($1, $2, $3, $4, $5))
                ORDER BY key LIMIT $6 FOR UPDATE
            )
            UPDATE etl.quarantine AS q SET state = 'discarded', recipient_id = NULL, sealed_body = NULL
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
