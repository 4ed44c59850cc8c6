//! The upkeep of the ledger's partitions. What it remembers, and why it is exact, is said in the crate's documentation.

use std::collections::{BTreeSet, HashSet};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use fetch_etl_core::SinkError;
use tokio::time::{Instant, timeout};
use tracing::{debug, warn};

use crate::session::Sessions;

/// How often keys past retention are forgotten, at least. Their number does not matter by the hour.
const PRUNE_INTERVAL: Duration = Duration::from_secs(3600);

/// For how many writes after one with repeats in it each key is looked up. Writing them as if all were new, in vain, costs as much as
/// one write and leaves as many dead entries: with one such attempt in so many it does not matter.
const DOUBTFUL_WRITES: u32 = 32;

/// How many undated keys `etl.prune_ledger` deletes at most.
const PRUNE_CHUNK: i64 = 10_000;

/// A hundred years: far from where dates overflow.
const MAX_RETENTION_DAYS: u32 = 36_500;

/// What the sink knows of the ledger's partitions, and when it prunes next.
pub(crate) struct Ledger {
    retention_days: i32,
    /// Days, counted from 1970-01-01, that have a partition.
    known_days: Mutex<HashSet<i32>>,
    prune_at: Mutex<Instant>,
    /// Writes to come in which repeats are likely.
    doubtful: AtomicU32,
}

impl Ledger {
    pub(crate) fn new(retention_days: u32) -> Self {
        let days = retention_days.clamp(1, MAX_RETENTION_DAYS);
        Self {
            retention_days: i32::try_from(days).unwrap_or(i32::MAX),
            known_days: Mutex::default(),
            prune_at: Mutex::new(Instant::now()),
            doubtful: AtomicU32::new(0),
        }
    }

    /// Whether there were repeats lately, so that the next ones are likely.
    pub(crate) fn is_doubtful(&self) -> bool {
        self.doubtful.load(Ordering::Relaxed) > 0
    }

    /// Takes note of a write. That two at the same time count as one does no harm.
    pub(crate) fn note_repeats(&self, repeats: bool) {
        let left = self.doubtful.load(Ordering::Relaxed);
        let next = if repeats { DOUBTFUL_WRITES } else { left.saturating_sub(1) };
        if next != left {
            self.doubtful.store(next, Ordering::Relaxed);
        }
    }

    pub(crate) fn retention_days(&self) -> i32 {
        self.retention_days
    }

    /// Makes the partitions of these days that are not known to be there, in a transaction of its own: who waits to make one
    /// must not hold up who writes to another.
    pub(crate) async fn ensure_partitions(
        &self,
        sessions: &Sessions,
        days: impl Iterator<Item = i32>,
    ) -> Result<(), SinkError> {
        let unknown = self.unknown(days);
        if unknown.is_empty() {
            return Ok(());
        }
        let mut session = sessions.open().await?;
        let query = sqlx::query_scalar!(
            r#"SELECT day - date '1970-01-01' AS "day!"
            FROM etl.ensure_ledger_partitions(ARRAY(SELECT date '1970-01-01' + n FROM unnest($1::integer[]) AS n), $2) AS day"#,
            &unknown,
            self.retention_days
        );
        let outcome = timeout(session.patience(), query.fetch_all(&mut *session)).await;
        let made = session.judge(outcome).map_err(|failure| failure.without_rows())?;
        debug!(event = "ledger_partitions_ensured", asked = unknown.len(), made = made.len());
        lock(&self.known_days).extend(made);
        Ok(())
    }

    fn unknown(&self, days: impl Iterator<Item = i32>) -> Vec<i32> {
        let known = lock(&self.known_days);
        let unknown: BTreeSet<_> = days.filter(|day| !known.contains(day)).collect();
        unknown.into_iter().collect()
    }

    /// Partitions that were known are gone.
    pub(crate) fn forget_partitions(&self) {
        lock(&self.known_days).clear();
    }

    /// Prunes from time to time. That it cannot is no reason not to write: it is logged and tried again later.
    pub(crate) async fn prune_if_due(&self, sessions: &Sessions) {
        if !self.take_due() {
            return;
        }
        match self.prune(sessions).await {
            Ok(deleted) if deleted >= PRUNE_CHUNK => *lock(&self.prune_at) = Instant::now(),
            Ok(_) => {}
            Err(error) => {
                warn!(event = "ledger_not_pruned", error = %error, code = ?error.code(), "old ledger entries stay for now");
            }
        }
    }

    /// Whether it is time; whoever is told so has to do it.
    fn take_due(&self) -> bool {
        let mut prune_at = lock(&self.prune_at);
        let now = Instant::now();
        let due = *prune_at <= now;
        if due {
            *prune_at = now + PRUNE_INTERVAL;
        }
        due
    }

    /// Forgets keys past retention and says how many of the undated ones.
    pub(crate) async fn prune(&self, sessions: &Sessions) -> Result<i64, SinkError> {
        let mut session = sessions.open().await?;
        let query = sqlx::query_scalar!(r#"SELECT etl.prune_ledger($1) AS "deleted!""#, self.retention_days);
        let outcome = timeout(session.patience(), query.fetch_one(&mut *session)).await;
        session.judge(outcome).map_err(|failure| failure.without_rows())
    }
}

/// What is behind these locks is whole at any time, so a panic elsewhere is no reason to stop.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
