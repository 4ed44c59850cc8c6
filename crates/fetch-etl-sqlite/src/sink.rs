use std::collections::HashSet;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use fetch_etl_core::login::LoginRow;
use fetch_etl_core::{
    Batch, ErrorClass, KeyOrigin, Masked, MaskedValue, Rejected, Sink, SinkError, UnixMillis, WriteReport,
    policy_changed,
};
use sqlx::SqliteConnection;
use sqlx::sqlite::{SqlitePool, SqlitePoolOptions};
use tracing::warn;

use crate::error::{error_without_rows, sink_error};
use crate::policy::Fence;
use crate::{SqliteSinkConfig, file};

/// How often keys past retention are deleted, at least.
const PRUNE_INTERVAL: Duration = Duration::from_secs(3600);
/// How many are deleted at once, so that a write stays short.
const PRUNE_CHUNK: i64 = 10_000;
/// A hundred years.
const MAX_RETENTION_DAYS: u32 = 36_500;

/// The first and the last day that a date may be, counted from 1970-01-01: 0001-01-01 and 9999-12-31.
const DAYS: (i64, i64) = (-719_162, 2_932_896);
const MILLIS_PER_DAY: i64 = 86_400_000;

/// Stores masked logins in an SQLite file; see the [crate's documentation](crate).
pub struct SqliteSink {
    pub(crate) pool: SqlitePool,
    path: PathBuf,
    pub(crate) fence: Fence,
    retention_days: i64,
    replays: bool,
    prune_at: Mutex<Instant>,
}

impl SqliteSink {
    /// Looks whether the file can be used. A file that is not there yet is made by [`migrate`](Self::migrate).
    ///
    /// # Errors
    /// The URL is wrong, the file is no database, or there is no directory for it.
    pub async fn connect(config: SqliteSinkConfig) -> Result<Self, SinkError> {
        let options = file::options(&config)?;
        let path = options.get_filename().to_owned();
        file::check(&path)?;
        // SQLite has one writer at a time: here they wait in line instead of polling for the file's lock.
        let pool = SqlitePoolOptions::new()
            .max_connections(1)
            .acquire_timeout(config.busy_timeout)
            .test_before_acquire(false)
            .connect_lazy_with(options);
        let retention_days = config.ledger_retention_days.clamp(1, MAX_RETENTION_DAYS).into();
        let (replays, prune_at) = (config.replays, Mutex::new(Instant::now()));
        let sink = Self { pool, path, fence: Fence::default(), retention_days, replays, prune_at };
        if sink.path.exists() {
            let schema = sqlx::query("PRAGMA schema_version").execute(&sink.pool).await;
            schema.map_err(|error| sink_error(&error))?;
        }
        Ok(sink)
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Forgets ledger entries past retention, as writing does by itself from time to time.
    ///
    /// # Errors
    /// They are still there.
    pub async fn prune_ledger(&self) -> Result<(), SinkError> {
        while self.prune().await? >= PRUNE_CHUNK.unsigned_abs() {}
        Ok(())
    }

    /// Closes the file, once nobody uses it any more. A write after that is a fatal error.
    pub async fn close(&self) {
        self.pool.close().await;
    }

    /// How many rows were new; `None`, and nothing is stored, where another masking policy is in force.
    async fn store(&self, batch: &Batch<LoginRow>) -> sqlx::Result<Option<u64>> {
        // IMMEDIATE: a transaction that turned from reading to writing could find that another one was faster.
        let mut transaction = self.pool.begin_with("BEGIN IMMEDIATE").await?;
        if !self.fence.is_open(&mut transaction).await? {
            transaction.rollback().await?;
            return Ok(None);
        }
        let inserted = store_rows(&mut transaction, batch).await?;
        for rejected in batch.rejects_by_key() {
            store_reject(&mut transaction, rejected, self.replays).await?;
        }
        transaction.commit().await?;
        Ok(Some(inserted))
    }

    async fn prune_if_due(&self) {
        if !self.take_due() {
            return;
        }
        match self.prune().await {
            Ok(deleted) if deleted >= PRUNE_CHUNK.unsigned_abs() => self.set_due(Instant::now()),
            Ok(_) => {}
            Err(error) => {
                warn!(event = "ledger_not_pruned", error = %error, code = ?error.code(), "old ledger entries stay for now");
            }
        }
    }

    /// Whether it is time; whoever is told so has to do it.
    fn take_due(&self) -> bool {
        let mut prune_at = self.prune_at.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        let due = *prune_at <= now;
        if due {
            *prune_at = now + PRUNE_INTERVAL;
        }
        due
    }

    fn set_due(&self, prune_at: Instant) {
        *self.prune_at.lock().unwrap_or_else(PoisonError::into_inner) = prune_at;
    }

    async fn prune(&self) -> Result<u64, SinkError> {
        let query = sqlx::query!(
            "DELETE FROM etl_ledger WHERE key IN (
                SELECT key FROM etl_ledger WHERE recorded_on < date('now', '-' || ? || ' days') LIMIT ?
            )",
            self.retention_days,
            PRUNE_CHUNK
        );
        let deleted = query.execute(&self.pool).await.map_err(|error| error_without_rows(&error))?;
        Ok(deleted.rows_affected())
    }
}

#[async_trait]
impl Sink<LoginRow> for SqliteSink {
    async fn write(&self, batch: &Batch<LoginRow>) -> Result<WriteReport, SinkError> {
        if batch.rows().iter().any(|row| !row.vault_entries().is_empty()) {
            return Err(SinkError::new(ErrorClass::Fatal, "SQLite has no vault: use Postgres"));
        }
        let stored = self.store(batch).await.map_err(|error| sink_error(&error))?;
        let inserted = stored.ok_or_else(policy_changed)?;
        self.prune_if_due().await;
        Ok(WriteReport {
            inserted,
            duplicates: batch.rows().len() as u64 - inserted,
            quarantined: batch.rejects().len() as u64,
            erased: 0,
        })
    }
}

impl fmt::Debug for SqliteSink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqliteSink").field("path", &self.path).finish_non_exhaustive()
    }
}

/// Stores the rows whose keys are new and returns how many they were. Nobody else writes in between, so looking first and
/// recording afterwards is exact.
async fn store_rows(connection: &mut SqliteConnection, batch: &Batch<LoginRow>) -> sqlx::Result<u64> {
    if batch.rows().is_empty() {
        return Ok(0);
    }
    let json = json_of(batch.rows())?;
    let inserted = sqlx::query!(
        "INSERT INTO user_logins (
            message_id, create_date, user_id, device_type, masked_ip, masked_device_id, locale, app_version, app_version_text,
            mask_key_id
        )
        SELECT
            value ->> 0, date((value ->> 1) * 86400, 'unixepoch'), value ->> 2, value ->> 3, value ->> 4, value ->> 5,
            value ->> 6, value ->> 7, value ->> 8, value ->> 9
        FROM json_each(?)
        WHERE NOT EXISTS (SELECT 1 FROM etl_ledger WHERE key = value ->> 0)",
        json
    )
    .execute(&mut *connection)
    .await?;
    sqlx::query!(
        "INSERT INTO etl_ledger (key, recorded_on) SELECT value ->> 0, date('now') FROM json_each(?) WHERE true
        ON CONFLICT (key) DO NOTHING",
        json
    )
    .execute(&mut *connection)
    .await?;
    close_stored(connection, &json, batch.rejects()).await?;
    Ok(inserted.rows_affected())
}

/// Closes the open entries of messages that are rows now, or were before: whichever way they came, there is nothing left to
/// replay. What the batch itself rejects stays open.
async fn close_stored(
    connection: &mut SqliteConnection,
    rows: &str,
    rejects: &[Rejected],
) -> sqlx::Result<()> {
    let rejected: Vec<_> = rejects.iter().map(|rejected| rejected.key().as_str()).collect();
    let rejected = serde_json::Value::from(rejected).to_string();
    sqlx::query!(
        "UPDATE etl_quarantine SET state = 'replayed', recipient_id = NULL, sealed_body = NULL,
            closed_at = strftime('%Y-%m-%dT%H:%M:%fZ', 'now')
        WHERE state = 'open' AND key IN (SELECT value ->> 0 FROM json_each(?1))
            AND key NOT IN (SELECT value FROM json_each(?2))",
        rows,
        rejected
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// The rows as a JSON array of arrays, each key once: SQLite takes no arrays, and a statement for each row would cost a
/// round trip to its thread for each.
fn json_of(rows: &[Masked<LoginRow>]) -> sqlx::Result<String> {
    let mut keys = HashSet::with_capacity(rows.len());
    let new = rows.iter().filter(|row| keys.insert(row.key().as_str()));
    let values: Vec<_> = new
        .map(|masked| {
            let row = masked.row();
            (
                masked.key().as_str(),
                masked.sent_at().utc_day().clamp(DAYS.0, DAYS.1),
                row.user_id.as_str(),
                row.device_type.as_deref(),
                row.masked_ip.as_ref().map(MaskedValue::to_text),
                row.masked_device_id.as_ref().map(MaskedValue::to_text),
                row.locale.as_deref(),
                row.app_version,
                row.app_version_text.as_deref(),
                row.mask_key_id.get(),
            )
        })
        .collect();
    serde_json::to_string(&values).map_err(|error| sqlx::Error::Encode(Box::new(error)))
}

/// Rejects are few: a statement for each.
async fn store_reject(
    connection: &mut SqliteConnection,
    rejected: &Rejected,
    replays: bool,
) -> sqlx::Result<()> {
    let reject = rejected.reject();
    let (line, column) = reject.position.unzip();
    let code = rejected.code();
    let (key, reason, field) = (rejected.key().as_str(), reject.reason.as_str(), reject.field.as_deref());
    let (code, sent_at) = (code.as_ref().map(|code| code.as_str()), seconds_of(rejected.sent_at()));
    let (body_bytes, attempt, length) = (rejected.body_bytes(), rejected.attempt(), reject.length);
    let (recipient, sealed) = rejected.sealed().map(|sealed| (sealed.recipient_id(), sealed.bytes())).unzip();
    let by_producer = rejected.key().origin() == KeyOrigin::Attribute;
    // A sealed body may be the only copy of its message that is left: only another one replaces it. And what is rejected
    // again by a replay is in no queue: once somebody else closed it, there is nothing left to be open.
    sqlx::query!(
        "INSERT INTO etl_quarantine (
            key, reason, field, line, column_number, length, sink_code, body_bytes, receive_count, recipient_id, sealed_body,
            sent_at, by_producer
        )
        VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, strftime('%Y-%m-%dT%H:%M:%fZ', ?, 'unixepoch'), ?)
        ON CONFLICT (key) DO UPDATE SET
            reason = excluded.reason,
            field = excluded.field,
            line = excluded.line,
            column_number = excluded.column_number,
            length = excluded.length,
            sink_code = excluded.sink_code,
            body_bytes = excluded.body_bytes,
            receive_count = excluded.receive_count,
            recipient_id = coalesce(excluded.recipient_id, recipient_id),
            sealed_body = coalesce(excluded.sealed_body, sealed_body),
            sent_at = excluded.sent_at,
            last_seen_at = excluded.last_seen_at,
            state = 'open',
            by_producer = excluded.by_producer,
            closed_at = NULL
        WHERE etl_quarantine.state = 'open' OR NOT ?",
        key,
        reason,
        field,
        line,
        column,
        length,
        code,
        body_bytes,
        attempt,
        recipient,
        sealed,
        sent_at,
        by_producer,
        replays
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Seconds since 1970, bounded like the days. SQLite's times have milliseconds, which 64 bits hold exactly enough.
pub(crate) fn seconds_of(sent_at: UnixMillis) -> f64 {
    let bounded = sent_at.get().clamp(DAYS.0 * MILLIS_PER_DAY, (DAYS.1 + 1) * MILLIS_PER_DAY - 1);
    bounded as f64 / 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A setting of the connection that writes: no other one can see it.
    async fn setting(sink: &SqliteSink, name: &str) -> String {
        let sql = format!("SELECT CAST({name} AS TEXT) FROM pragma_{name}");
        sqlx::query_scalar(sqlx::AssertSqlSafe(sql)).fetch_one(&sink.pool).await.unwrap()
    }

    #[tokio::test]
    async fn a_commit_is_on_the_disk_when_it_returns() {
        let directory = tempfile::tempdir().unwrap();
        let url = format!("sqlite://{}", directory.path().join("logins.sqlite").display());
        let config =
            SqliteSinkConfig { busy_timeout: Duration::from_millis(4321), ..SqliteSinkConfig::new(url) };
        let sink = SqliteSink::connect(config).await.unwrap();
        sink.migrate().await.unwrap();
        assert_eq!(setting(&sink, "journal_mode").await, "wal");
        // 2 is FULL: in WAL mode, anything less does not sync at a commit.
        assert_eq!(setting(&sink, "synchronous").await, "2");
        assert_eq!(setting(&sink, "foreign_keys").await, "1");
        assert_eq!(setting(&sink, "secure_delete").await, "1");
        let waits = sqlx::query_scalar::<_, i64>("PRAGMA busy_timeout").fetch_one(&sink.pool).await.unwrap();
        assert_eq!(waits, 4321);
    }
}
