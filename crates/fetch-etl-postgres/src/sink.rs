use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use fetch_etl_core::login::LoginRow;
use fetch_etl_core::{Batch, Sink, SinkError, WriteReport, policy_changed};
use sqlx::{Connection, PgConnection};
use tokio::time::timeout;

use crate::PostgresSinkConfig;
use crate::columns::{RejectColumns, RowColumns};
use crate::error::Failure;
use crate::ledger::Ledger;
use crate::policy::Fence;
use crate::quarantine::close_stored;
use crate::session::Sessions;
use crate::vault::Entries;

/// Stores masked logins in Postgres; see the [crate's documentation](crate).
pub struct PostgresSink {
    pub(crate) sessions: Arc<Sessions>,
    pub(crate) fence: Fence,
    ledger: Ledger,
    replays: bool,
}

impl PostgresSink {
    /// Connects once, to find out whether it is possible; the connections for writing are made when they are needed.
    ///
    /// # Errors
    /// Fatal where the URL, the login or the database is wrong; retryable where the server does not answer. No error shows
    /// anything of the URL.
    pub async fn connect(config: PostgresSinkConfig) -> Result<Self, SinkError> {
        let sessions = Sessions::new(&config)?;
        let connection = sessions.connect_alone().await?;
        connection.close().await.map_err(Failure::from)?;
        let ledger = Ledger::new(config.ledger_retention_days);
        Ok(Self { sessions: Arc::new(sessions), fence: Fence::default(), ledger, replays: config.replays })
    }

    /// Forgets ledger entries past retention, as writing does by itself from time to time. A part of the ledger that others
    /// use just now is left for the next time.
    ///
    /// # Errors
    /// The ledger is as it was.
    pub async fn prune_ledger(&self) -> Result<(), SinkError> {
        self.ledger.prune(&self.sessions).await.map(|_| ())
    }

    /// Closes the connections, once nobody uses them any more. A write after that is a fatal error.
    pub async fn close(&self) {
        self.sessions.close().await;
    }

    async fn store(
        &self,
        rows: &RowColumns<'_>,
        rejects: &RejectColumns<'_>,
        entries: &Entries<'_>,
    ) -> Result<Stored, Failure> {
        let mut session = self.sessions.open().await.map_err(Failure::Other)?;
        let patience = session.patience();
        let batch = Columns {
            rows,
            rejects,
            entries,
            held_to: self.fence.version(),
            retention_days: self.ledger.retention_days(),
            replays: self.replays,
            doubtful: self.ledger.is_doubtful(),
        };
        let work = store(&mut session, &batch);
        let outcome = timeout(patience, work).await;
        let stored = session.judge(outcome)?;
        if stored.in_force { Ok(stored) } else { Err(Failure::Other(policy_changed())) }
    }
}

#[async_trait]
impl Sink<LoginRow> for PostgresSink {
    async fn write(&self, batch: &Batch<LoginRow>) -> Result<WriteReport, SinkError> {
        let rows = RowColumns::of(batch.rows());
        let rejects = RejectColumns::of(batch);
        let entries = Entries::of(batch.rows());
        self.ledger.ensure_partitions(&self.sessions, rows.ledger_days()).await?;
        let mut stored = self.store(&rows, &rejects, &entries).await;
        if let Err(Failure::MissingPartition(_)) = stored {
            self.ledger.forget_partitions();
            self.ledger.ensure_partitions(&self.sessions, rows.ledger_days()).await?;
            stored = self.store(&rows, &rejects, &entries).await;
        }
        let Stored { inserted, erased, .. } = stored?;
        let duplicates = batch.rows().len() as u64 - inserted;
        self.ledger.note_repeats(duplicates > 0);
        self.ledger.prune_if_due(&self.sessions).await;
        Ok(WriteReport {
            inserted,
            duplicates,
            quarantined: batch.rejects().len() as u64,
            erased: count_of(&erased, batch),
        })
    }
}

impl fmt::Debug for PostgresSink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresSink").finish_non_exhaustive()
    }
}

/// How many of a batch's rows are of these persons.
fn count_of(erased: &[String], batch: &Batch<LoginRow>) -> u64 {
    if erased.is_empty() {
        return 0;
    }
    let erased: HashSet<&str> = erased.iter().map(String::as_str).collect();
    batch.rows().iter().filter(|row| erased.contains(row.row().user_id.as_str())).count() as u64
}

/// Stores a batch in one transaction.
async fn store(connection: &mut PgConnection, batch: &Columns<'_>) -> sqlx::Result<Stored> {
    let stored = if batch.entries.is_empty() {
        // One statement is a transaction by itself, and one round trip.
        batch.store(connection, &LookedUp::default()).await?
    } else {
        store_with_entries(connection, batch).await?
    };
    if stored.suspects.is_empty() {
        return Ok(stored);
    }
    store_suspects(connection, batch, stored.suspects).await
}

/// Stores a batch with what it brings for the vault.
async fn store_with_entries(connection: &mut PgConnection, batch: &Columns<'_>) -> sqlx::Result<Stored> {
    let mut transaction = connection.begin().await?;
    let stored = batch.store(&mut transaction, &LookedUp::default()).await?;
    if stored.in_force && stored.suspects.is_empty() {
        batch.entries.store(&mut transaction, &stored.fresh, &stored.erased).await?;
        transaction.commit().await?;
    } else {
        transaction.rollback().await?;
    }
    Ok(stored)
}

/// Stores a batch with keys that the quarantine knows: they may be in the ledger under another time, because the message was
/// accepted at last and its replay, sent at another time, too. One such batch at a time, so that the two do not miss each other.
async fn store_suspects(
    connection: &mut PgConnection,
    batch: &Columns<'_>,
    suspects: Vec<String>,
) -> sqlx::Result<Stored> {
    let mut transaction = connection.begin().await?;
    sqlx::query!("SELECT pg_advisory_xact_lock(hashtextextended('etl.quarantine', 0))")
        .execute(&mut *transaction)
        .await?;
    let mut looked_up = LookedUp { keys: suspects, in_ledger: Vec::new() };
    loop {
        looked_up.in_ledger = batch.find(&mut transaction, &looked_up.keys).await?;
        let stored = batch.store(&mut transaction, &looked_up).await?;
        if stored.suspects.is_empty() {
            if stored.in_force {
                batch.entries.store(&mut transaction, &stored.fresh, &stored.erased).await?;
                close_stored(&mut transaction, &looked_up.keys, &batch.rejects.keys).await?;
            }
            transaction.commit().await?;
            return Ok(stored);
        }
        // Quarantined by somebody else in the meantime; a batch's keys come to an end.
        looked_up.keys.extend(stored.suspects);
    }
}

/// What the statement stores.
struct Columns<'a> {
    rows: &'a RowColumns<'a>,
    rejects: &'a RejectColumns<'a>,
    entries: &'a Entries<'a>,
    /// The version of the masking policy, where the sink holds to one.
    held_to: Option<i64>,
    retention_days: i32,
    replays: bool,
    /// Whether there were repeats lately.
    doubtful: bool,
}

/// Keys that were looked up under each time that is known of them, and those that were found.
#[derive(Default)]
struct LookedUp {
    keys: Vec<String>,
    in_ledger: Vec<String>,
}

/// What the statement says.
struct Stored {
    inserted: u64,
    /// Whether the policy is still the one that the writer holds to; nothing was stored where it is not.
    in_force: bool,
    /// Persons among the rows who were erased.
    erased: Vec<String>,
    /// The keys of the rows that were new, where there is something for the vault.
    fresh: Vec<String>,
    suspects: Vec<String>,
}

impl Columns<'_> {
    /// Those of the keys, all of them of rows, that the ledger has under any time.
    async fn find(&self, connection: &mut PgConnection, keys: &[String]) -> sqlx::Result<Vec<String>> {
        sqlx::query_scalar!(
            r#"SELECT etl.ledger_find($1, $2, $3) AS "key!""#,
            keys,
            &self.rows.keys as &[&str],
            &self.rows.queued_at_millis as &[Option<i64>]
        )
        .fetch_all(connection)
        .await
    }

    async fn store(&self, connection: &mut PgConnection, looked_up: &LookedUp) -> sqlx::Result<Stored> {
        let Self { rows, rejects, entries, held_to, retention_days, replays, doubtful } = self;
        let stored = sqlx::query_file!(
            "src/store.sql",
            &rows.keys as &[&str],
            &rows.queued_at_millis as &[Option<i64>],
            &rows.days,
            &rows.user_ids as &[&str],
            &rows.device_types as &[Option<&str>],
            &rows.masked_ips.texts() as &[Option<&str>],
            &rows.masked_device_ids.texts() as &[Option<&str>],
            &rows.locales as &[Option<&str>],
            &rows.app_versions as &[Option<i32>],
            &rows.app_version_texts as &[Option<&str>],
            &rows.mask_key_ids,
            &looked_up.keys,
            &looked_up.in_ledger,
            retention_days,
            doubtful,
            &rejects.keys as &[&str],
            &rejects.reasons as &[&str],
            &rejects.fields as &[Option<&str>],
            &rejects.lines as &[Option<i64>],
            &rejects.column_numbers as &[Option<i64>],
            &rejects.lengths as &[Option<i64>],
            &rejects.sink_codes as &[Option<String>],
            &rejects.body_bytes,
            &rejects.receive_counts,
            &rejects.recipient_ids as &[Option<&str>],
            &rejects.sealed_bodies as &[Option<&[u8]>],
            &rejects.sent_at_millis,
            &rejects.queued_at_millis as &[Option<i64>],
            &rejects.by_producer,
            replays,
            *held_to,
            !entries.is_empty(),
        )
        .fetch_one(connection)
        .await?;
        Ok(Stored {
            inserted: u64::try_from(stored.inserted).unwrap_or_default(),
            in_force: stored.in_force,
            erased: stored.erased,
            fresh: stored.fresh,
            suspects: stored.suspects,
        })
    }
}
