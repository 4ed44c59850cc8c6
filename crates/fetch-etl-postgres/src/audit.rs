//! The audit: who looked at whose personal data, and who erased whom.

use std::fmt;
use std::str::FromStr;

use fetch_etl_core::{SinkError, UnixMillis};
use sqlx::{Connection, PgConnection};
use tokio::time::timeout;

use crate::PostgresSink;
use crate::chain::{AuditVerdict, Chain};
use crate::columns::millis_of;
use crate::error::Failure;
use crate::triggers;

/// Rows of one page.
const PAGE: i64 = 1_000;

/// Something that is to be known later. The database adds when it was, and as which role.
#[derive(Debug, Clone, Copy)]
pub struct AuditEvent<'a> {
    /// Who does it, as the machine knows them.
    pub os_user: &'a str,
    /// That machine.
    pub host: Option<&'a str>,
    /// What is done: `reveal`, `erase`.
    pub action: &'a str,
    /// Why; not blank.
    pub reason: &'a str,
    /// What it is about: what identifies a mask, a row or a person, and never a value.
    pub subject: &'a str,
    /// How much is shown, where something is.
    pub level: Option<&'a str>,
    /// How many entries of the vault are handed out or deleted.
    pub entries: u64,
}

/// A row of the audit by its number and hash; written `17:ab…`. Kept elsewhere, it proves that nothing up to it was changed since.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct AuditHead {
    /// The row's number; 0 before the first.
    pub seq: i64,
    /// Its hash.
    pub hash: [u8; 64],
}

/// A text that is no [`AuditHead`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotAHead;

impl fmt::Display for NotAHead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("expected SEQ:HASH, the hash in 128 hexadecimal characters")
    }
}

impl std::error::Error for NotAHead {}

impl FromStr for AuditHead {
    type Err = NotAHead;

    fn from_str(text: &str) -> Result<Self, NotAHead> {
        let (seq, hex) = text.split_once(':').ok_or(NotAHead)?;
        let seq = seq.parse().ok().filter(|seq| *seq >= 0).ok_or(NotAHead)?;
        Ok(Self { seq, hash: digest_from_hex(hex).ok_or(NotAHead)? })
    }
}

impl fmt::Display for AuditHead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.seq)?;
        self.hash.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for AuditHead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AuditHead({self})")
    }
}

/// 64 bytes from 128 hexadecimal characters, upper or lower case.
pub(crate) fn digest_from_hex(hex: &str) -> Option<[u8; 64]> {
    let nibble =
        |character: u8| char::from(character).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let mut digest = [0; 64];
    if hex.len() != digest.len() * 2 {
        return None;
    }
    for (byte, pair) in digest.iter_mut().zip(hex.as_bytes().chunks_exact(2)) {
        let [high, low] = pair else { return None };
        *byte = nibble(*high)? << 4 | nibble(*low)?;
    }
    Some(digest)
}

/// A row of the audit.
#[derive(Debug, Clone)]
pub struct AuditRecord {
    /// Its number, from 1.
    pub seq: i64,
    /// When, RFC 3339 in UTC.
    pub at: String,
    /// When, in microseconds since 1970.
    pub at_micros: i64,
    /// As which role of the database.
    pub db_role: String,
    /// Who, as their machine says.
    pub os_user: String,
    /// That machine.
    pub host: Option<String>,
    /// What was done.
    pub action: String,
    /// Why.
    pub reason: String,
    /// What it was about.
    pub subject: String,
    /// How much was shown.
    pub level: Option<String>,
    /// How many entries of the vault were handed out or deleted.
    pub entries: i64,
    /// The hash of the row before.
    pub prev_hash: Vec<u8>,
    /// This row's hash.
    pub hash: Vec<u8>,
}

impl PostgresSink {
    /// Appends to the audit. When it returns, the row is committed, and durable as far as the database keeps its promises.
    ///
    /// Cancel-safe in that nothing is torn; whether the row is there is not known then.
    ///
    /// # Errors
    /// The row is not known to be there: what it was to announce must not happen.
    pub async fn append_audit(&self, event: &AuditEvent<'_>) -> Result<AuditHead, SinkError> {
        let mut session = self.sessions.open().await?;
        let outcome = timeout(session.patience(), append(&mut session, event)).await;
        session.judge(outcome).map_err(|failure| failure.without_rows())
    }

    /// The newest rows of the audit, the oldest of them first.
    ///
    /// # Errors
    /// Nothing could be read.
    pub async fn audit_records(
        &self,
        since: Option<UnixMillis>,
        limit: u32,
    ) -> Result<Vec<AuditRecord>, SinkError> {
        let mut session = self.sessions.open().await?;
        let query = sqlx::query_as!(
            AuditRecord,
            r#"SELECT seq, to_char(at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') AS "at!",
                CASE WHEN isfinite(at) THEN round(extract(epoch FROM at) * 1000000)::bigint ELSE 0 END AS "at_micros!",
                db_role, os_user, host, action, reason, subject, level, entries, prev_hash, hash
            FROM etl.audit WHERE $1::bigint IS NULL OR at >= to_timestamp($1 / 1000.0)
            ORDER BY seq DESC LIMIT $2"#,
            since.map(millis_of),
            i64::from(limit)
        );
        let outcome = timeout(session.patience(), query.fetch_all(&mut *session)).await;
        let mut records = session.judge(outcome).map_err(|failure| failure.without_rows())?;
        records.reverse();
        Ok(records)
    }

    /// Goes over the whole audit as it is now, calculates every hash again, and says what does not fit. `expected` is a head that
    /// was noted elsewhere: a chain that was forged as a whole, with its head, does not lead to it.
    ///
    /// # Errors
    /// It could not be read to its end.
    pub async fn verify_audit(&self, expected: Option<AuditHead>) -> Result<AuditVerdict, SinkError> {
        let mut connection = self.sessions.connect_unhurried().await?;
        let verdict = verify(&mut connection, expected).await.map_err(Failure::from)?;
        connection.close().await.map_err(Failure::from)?;
        Ok(verdict)
    }
}

/// Appends to the audit, in whatever transaction is under way.
pub(crate) async fn append(connection: &mut PgConnection, event: &AuditEvent<'_>) -> sqlx::Result<AuditHead> {
    let AuditEvent { os_user, host, action, reason, subject, level, entries } = *event;
    let appended = sqlx::query!(
        r#"SELECT seq AS "seq!", hash AS "hash!" FROM etl.append_audit($1, $2, $3, $4, $5, $6, $7)"#,
        os_user,
        host,
        action,
        reason,
        subject,
        level,
        i64::try_from(entries).unwrap_or(i64::MAX),
    )
    .fetch_one(connection)
    .await?;
    let hash = appended.hash.try_into().map_err(|_| unexpected("a hash of another length"))?;
    Ok(AuditHead { seq: appended.seq, hash })
}

pub(crate) fn unexpected(what: &'static str) -> sqlx::Error {
    sqlx::Error::Decode(what.into())
}

async fn verify(connection: &mut PgConnection, expected: Option<AuditHead>) -> sqlx::Result<AuditVerdict> {
    // One snapshot, so that rows which are appended meanwhile neither count nor confuse.
    let mut transaction = connection.begin_with("BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY").await?;
    let mut chain = Chain::new(expected);
    // Whoever forges may number as they like.
    let mut after = i64::MIN;
    loop {
        let page = page(&mut transaction, after).await?;
        let Some(last) = page.last() else { break };
        after = last.seq;
        page.iter().for_each(|record| chain.follow(record));
        if page.len() < usize::try_from(PAGE).unwrap_or_default() {
            break;
        }
    }
    for finding in triggers::findings(&mut transaction).await? {
        chain.found(finding);
    }
    let head = sqlx::query!("SELECT seq, hash FROM etl.audit_head").fetch_optional(&mut *transaction).await?;
    transaction.rollback().await?;
    Ok(chain.end(head.map(|head| (head.seq, head.hash))))
}

/// The rows behind this one; the very first number there is cannot be behind any, and is never used.
async fn page(connection: &mut PgConnection, after: i64) -> sqlx::Result<Vec<AuditRecord>> {
    sqlx::query_as!(
        AuditRecord,
        r#"SELECT seq, '' AS "at!",
            CASE WHEN isfinite(at) THEN round(extract(epoch FROM at) * 1000000)::bigint ELSE 0 END AS "at_micros!",
            db_role, os_user, host, action, reason, subject, level, entries, prev_hash, hash
        FROM etl.audit WHERE seq > $1 ORDER BY seq LIMIT $2"#,
        after,
        PAGE
    )
    .fetch_all(connection)
    .await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_is_read_as_it_is_written() {
        let head = AuditHead { seq: 17, hash: std::array::from_fn(|index| index as u8) };
        let text = head.to_string();
        assert!(text.starts_with("17:000102") && text.ends_with("3e3f"), "{text}");
        assert_eq!(text.parse(), Ok(head));
        assert_eq!(text.to_uppercase().parse(), Ok(head));
        for wrong in
            ["", "17", "17:", ":00", "-1:00", "17:00", &text[1..text.len() - 1], &text.replace('f', "g")]
        {
            assert_eq!(wrong.parse::<AuditHead>(), Err(NotAHead), "{wrong}");
        }
    }
}
