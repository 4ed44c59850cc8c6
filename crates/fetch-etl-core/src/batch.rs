//! What a sink writes: masked rows and rejected messages, and what becomes of them.

use std::fmt;

use crate::{
    Committed, ErrorClass, Held, MessageKey, Reject, RejectReason, Rejected, Returned, Sink, SinkError, UnixMillis,
    WriteReport,
};

/// A row whose personal fields went through a [`Masker`](crate::Masker), with what the ledger needs to know of its message.
///
/// Made by the staging step ([`Stager`](crate::Stager)) only:
///
/// ```compile_fail,E0451
/// # use fetch_etl_core::{Held, Masked, MessageKey, UnixMillis};
/// fn forge(row: String, key: MessageKey, held: Held) -> Masked<String> {
///     Masked { row, key, attempt: 1, sent_at: UnixMillis::new(0), body_bytes: 0, held }
/// }
/// ```
///
/// Its `Debug` shows no value of the row.
pub struct Masked<R> {
    pub(crate) row: R,
    pub(crate) key: MessageKey,
    pub(crate) attempt: u32,
    pub(crate) sent_at: UnixMillis,
    pub(crate) body_bytes: u32,
    pub(crate) held: Held,
}

impl<R> Masked<R> {
    /// The row.
    pub fn row(&self) -> &R {
        &self.row
    }
    /// The key that makes the message the same message.
    pub fn key(&self) -> &MessageKey {
        &self.key
    }
    /// When the message was sent (or received, where the source does not know): its UTC day is the ledger's partition
    /// and the row's `create_date`.
    pub fn sent_at(&self) -> UnixMillis {
        self.sent_at
    }
    /// The hold on the message.
    pub fn held(&self) -> &Held {
        &self.held
    }

    fn refuse(self, code: Option<crate::SinkCode>) -> Rejected {
        Rejected {
            reject: Reject::of_message(RejectReason::RefusedBySink).with_length(self.body_bytes as usize),
            code,
            key: self.key,
            attempt: self.attempt,
            sent_at: self.sent_at,
            body_bytes: self.body_bytes,
            held: self.held,
        }
    }
}

impl<R> fmt::Debug for Masked<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Masked").field("key", &self.key).field("sent_at", &self.sent_at).finish_non_exhaustive()
    }
}

/// Rows and rejects that are written together, in one transaction.
pub struct Batch<R> {
    pub(crate) rows: Vec<Masked<R>>,
    pub(crate) rejects: Vec<Rejected>,
}

impl<R> Batch<R> {
    /// The rows.
    pub fn rows(&self) -> &[Masked<R>] {
        &self.rows
    }
    /// The rejected messages.
    pub fn rejects(&self) -> &[Rejected] {
        &self.rejects
    }
    /// How many messages the batch stands for.
    pub fn len(&self) -> usize {
        self.rows.len() + self.rejects.len()
    }
    /// Whether there is nothing to write.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
    /// Size of the messages' bodies in bytes.
    pub fn body_bytes(&self) -> usize {
        let rows = self.rows.iter().map(|row| row.body_bytes as usize);
        rows.chain(self.rejects.iter().map(|reject| reject.body_bytes as usize)).sum()
    }
    /// Adds another batch behind this one.
    pub fn append(&mut self, other: Batch<R>) {
        self.rows.extend(other.rows);
        self.rejects.extend(other.rejects);
    }
    /// Gives all messages back unwritten.
    pub fn into_returned(self) -> Vec<Returned> {
        let rows = self.rows.into_iter().map(|row| Returned(row.held));
        rows.chain(self.rejects.into_iter().map(|reject| Returned(reject.held))).collect()
    }

    pub(crate) fn empty() -> Self {
        Self { rows: Vec::new(), rejects: Vec::new() }
    }

    /// Takes out the messages whose lease was lost, and says how many they were: somebody else may have them now.
    pub(crate) fn drop_lost(&mut self) -> usize {
        let before = self.len();
        self.rows.retain(|row| !row.held.is_lost());
        self.rejects.retain(|reject| !reject.held.is_lost());
        before - self.len()
    }

    /// Halves the rows; the rejects stay with the first half.
    fn split(mut self) -> (Self, Self) {
        let second = self.rows.split_off(self.rows.len() / 2);
        (self, Self { rows: second, rejects: Vec::new() })
    }

    fn settle(self) -> Settled {
        Settled {
            committed: self.rows.into_iter().map(|row| Committed(row.held)).collect(),
            rejected: self.rejects.into_iter().map(SettledReject::from).collect(),
            report: WriteReport::default(),
        }
    }
}

impl<R> fmt::Debug for Batch<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Batch").field("rows", &self.rows.len()).field("rejects", &self.rejects.len()).finish()
    }
}

/// A rejected message whose quarantine row is durable.
#[derive(Debug)]
pub struct SettledReject {
    /// Why it was rejected.
    pub reason: RejectReason,
    /// How many times the queue has delivered it.
    pub attempt: u32,
    /// The token that gives it back to the queue, for its dead-letter policy.
    pub returned: Returned,
}

impl From<Rejected> for SettledReject {
    fn from(rejected: Rejected) -> Self {
        Self {
            reason: rejected.reject.reason,
            attempt: rejected.attempt,
            returned: Returned(rejected.held),
        }
    }
}

/// What a successful write leaves to do.
#[derive(Debug)]
#[must_use = "the messages are still leased: ack what is committed, nack what is returned"]
pub struct Settled {
    /// To be acked: their rows are stored, now or before.
    pub committed: Vec<Committed>,
    /// Known to the quarantine, and to be given back to the queue.
    pub rejected: Vec<SettledReject>,
    /// What the sink counted.
    pub report: WriteReport,
}

impl Settled {
    fn absorb(&mut self, other: Settled) {
        self.committed.extend(other.committed);
        self.rejected.extend(other.rejected);
        self.report.inserted += other.report.inserted;
        self.report.duplicates += other.report.duplicates;
        self.report.quarantined += other.report.quarantined;
    }
}

/// A batch that was not written, given back whole.
#[derive(Debug, thiserror::Error)]
#[error("{error}")]
pub struct WriteFailure<R> {
    /// Why.
    pub error: SinkError,
    /// What was not written.
    pub batch: Batch<R>,
}

/// Writes a batch, once: the only way to a [`Committed`].
///
/// # Errors
/// Gives the batch back with the sink's error. A sink whose report does not account for the whole batch broke its contract:
/// that is fatal, for nobody knows what is stored.
pub async fn write<R: Send + Sync + 'static>(
    sink: &dyn Sink<R>,
    batch: Batch<R>,
) -> Result<Settled, WriteFailure<R>> {
    match sink.write(&batch).await {
        Ok(report) if accounts_for(&report, &batch) => {
            let mut settled = batch.settle();
            settled.report = report;
            Ok(settled)
        }
        Ok(report) => {
            let text = format!(
                "the sink broke its contract: of {} rows and {} rejects it reports {} inserted, {} duplicates, {} quarantined",
                batch.rows.len(),
                batch.rejects.len(),
                report.inserted,
                report.duplicates,
                report.quarantined
            );
            Err(WriteFailure { error: SinkError::new(ErrorClass::Fatal, text), batch })
        }
        Err(error) => Err(WriteFailure { error, batch }),
    }
}

fn accounts_for<R>(report: &WriteReport, batch: &Batch<R>) -> bool {
    report.inserted + report.duplicates == batch.rows.len() as u64
        && report.quarantined == batch.rejects.len() as u64
}

/// What [`write_around_bad_rows`] did: some of the batch may be settled even where it failed.
#[derive(Debug)]
pub(crate) struct Outcome<R> {
    pub(crate) settled: Settled,
    pub(crate) failure: Option<WriteFailure<R>>,
}

/// Writes a batch; where the sink says that a row is to blame, halves the batch until that row is alone and turns it into a reject:
/// k bad rows among n cost O(k·log n) writes, and nothing but themselves.
///
/// A retryable or fatal error on the way ends it; what was not written by then comes back as one batch.
pub(crate) async fn write_around_bad_rows<R: Send + Sync + 'static>(
    sink: &dyn Sink<R>,
    batch: Batch<R>,
) -> Outcome<R> {
    let mut settled = Batch::<R>::empty().settle();
    let mut pending = vec![batch];
    while let Some(part) = pending.pop() {
        let WriteFailure { error, batch } = match write(sink, part).await {
            Ok(more) => {
                settled.absorb(more);
                continue;
            }
            Err(failure) => failure,
        };
        if error.class() == ErrorClass::BadRow && batch.rows.len() > 1 {
            let (first, second) = batch.split();
            pending.extend([second, first]);
        } else if error.class() == ErrorClass::BadRow && batch.rows.len() == 1 {
            pending.push(refuse_single_row(batch, &error));
        } else {
            let mut unwritten = batch;
            pending.into_iter().rev().for_each(|part| unwritten.append(part));
            // A sink that blames a row of a batch without rows is broken, and trying again would not end.
            let error = match error.class() {
                ErrorClass::BadRow => SinkError::new(ErrorClass::Fatal, error.to_string()).with_code(error.code()),
                _ => error,
            };
            return Outcome { settled, failure: Some(WriteFailure { error, batch: unwritten }) };
        }
    }
    Outcome { settled, failure: None }
}

fn refuse_single_row<R>(mut batch: Batch<R>, error: &SinkError) -> Batch<R> {
    let refused = batch.rows.drain(..).map(|row| row.refuse(error.code()));
    batch.rejects.extend(refused);
    batch
}
