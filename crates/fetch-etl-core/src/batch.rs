//! What a sink writes: masked rows and rejected messages, and what becomes of them.

use std::cmp::Reverse;
use std::fmt;

use crate::stage::seal;
use crate::{
    Committed, ErrorClass, Held, MessageKey, Pii, Reject, RejectReason, Rejected, Returned, Sealer, Sink,
    SinkCode, SinkError, UnixMillis, VaultEntry, WriteReport,
};

/// A row whose personal fields went through a [`Masker`](crate::Masker), with what the ledger needs to know of its message.
///
/// Made by the staging step ([`Stager`](crate::Stager)) only:
///
/// ```compile_fail,E0451
/// # use fetch_etl_core::{Held, Masked, MessageKey, UnixMillis};
/// fn forge(row: String, key: MessageKey, held: Held) -> Masked<String> {
///     let sent_at = UnixMillis::new(0);
///     Masked { row, key, id: None, attempt: 1, sent_at, queued_at: None, body_bytes: 0, body: None, vault: vec![], held }
/// }
/// ```
///
/// Its `Debug` shows no value of the row.
pub struct Masked<R> {
    pub(crate) row: R,
    pub(crate) key: MessageKey,
    /// The queue's id of the message, where that is not the key.
    pub(crate) id: Option<Box<str>>,
    pub(crate) attempt: u32,
    pub(crate) sent_at: UnixMillis,
    pub(crate) queued_at: Option<UnixMillis>,
    pub(crate) body_bytes: u32,
    pub(crate) body: Option<Pii<Vec<u8>>>,
    pub(crate) vault: Vec<VaultEntry>,
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
    /// When the message was sent (or received, where the source does not know): its UTC day is the row's `create_date`.
    pub fn sent_at(&self) -> UnixMillis {
        self.sent_at
    }
    /// When the queue says that the message was sent, where key and time are the same at every delivery: the ledger may keep the key
    /// under that time. `None` for a producer's key, which may be sent again, and where the source knows no times.
    pub fn queued_at(&self) -> Option<UnixMillis> {
        self.queued_at
    }
    /// The hold on the message.
    pub fn held(&self) -> &Held {
        &self.held
    }
    /// Values of the row that the vault does not have yet, to be stored with it.
    pub fn vault_entries(&self) -> &[VaultEntry] {
        &self.vault
    }

    fn refuse(self, code: Option<SinkCode>, sealer: Option<&dyn Sealer>) -> Rejected {
        let sealed = self.body.and_then(|body| seal(sealer, &self.key, body.as_bytes()));
        Rejected {
            sealed,
            reject: Reject::of_message(RejectReason::RefusedBySink).with_length(self.body_bytes as usize),
            code,
            key: self.key,
            id: self.id,
            attempt: self.attempt,
            sent_at: self.sent_at,
            queued_at: self.queued_at,
            body_bytes: self.body_bytes,
            held: self.held,
        }
    }
}

impl<R> fmt::Debug for Masked<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Masked")
            .field("key", &self.key)
            .field("sent_at", &self.sent_at)
            .finish_non_exhaustive()
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
    /// What the quarantine is to know of the rejected messages: each key once, in the order of the keys' bytes.
    ///
    /// Of several deliveries with one key it is the newest, among those with a sealed body if there are any: such a message is
    /// about to be deleted, and that body is all that will be left of it.
    pub fn rejects_by_key(&self) -> Vec<&Rejected> {
        let mut rejects: Vec<_> = self.rejects.iter().collect();
        rejects.sort_by_key(|reject| {
            (reject.key().as_str(), reject.sealed().is_none(), Reverse(reject.attempt()))
        });
        rejects.dedup_by(|b, a| a.key().as_str() == b.key().as_str());
        rejects
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

    /// Makes room for so many more rows.
    pub(crate) fn reserve(&mut self, rows: usize) {
        self.rows.reserve_exact(rows);
    }

    /// Takes out the messages whose lease was lost, and says how many they were: somebody else may have them now.
    pub(crate) fn drop_lost(&mut self) -> usize {
        let before = self.len();
        self.rows.retain(|row| !row.held.is_lost());
        self.rejects.retain(|reject| !reject.held.is_lost());
        before - self.len()
    }

    /// Takes messages off the front, as many as fit, but at least one.
    pub(crate) fn take_front(&mut self, max_rows: usize, max_bytes: usize) -> Self {
        let mut room = Room { rows: max_rows.max(1), bytes: max_bytes, empty: true };
        let rejects = self.rejects.iter().take_while(|reject| room.admits(reject.body_bytes)).count();
        let rows = self.rows.iter().take_while(|row| room.admits(row.body_bytes)).count();
        // What is left is less than what is taken, so that is what moves.
        let rest = Self { rows: self.rows.split_off(rows), rejects: self.rejects.split_off(rejects) };
        std::mem::replace(self, rest)
    }

    /// Halves the rows; the rejects stay with the first half.
    pub(crate) fn split(mut self) -> (Self, Self) {
        let second = self.rows.split_off(self.rows.len() / 2);
        (self, Self { rows: second, rejects: Vec::new() })
    }

    /// Turns all rows into rejects that the sink refused.
    pub(crate) fn refuse_rows(&mut self, code: Option<SinkCode>, sealer: Option<&dyn Sealer>) {
        self.rejects.extend(self.rows.drain(..).map(|row| row.refuse(code, sealer)));
    }

    pub(crate) fn settle(self, report: WriteReport) -> Settled {
        let (sealed, unsealed): (Vec<_>, Vec<_>) =
            self.rejects.into_iter().partition(|reject| reject.sealed.is_some());
        let quarantined = sealed.len();
        let rows = self.rows.into_iter().map(|row| row.held);
        Settled {
            committed: rows.chain(sealed.into_iter().map(|reject| reject.held)).map(Committed).collect(),
            rejected: unsealed.into_iter().map(SettledReject::from).collect(),
            quarantined,
            report,
        }
    }
}

impl<R> fmt::Debug for Batch<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Batch").field("rows", &self.rows.len()).field("rejects", &self.rejects.len()).finish()
    }
}

/// A rejected message whose quarantine row is durable, but whose body nobody could keep.
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
        Self { reason: rejected.reject.reason, attempt: rejected.attempt, returned: Returned(rejected.held) }
    }
}

/// What a successful write leaves to do.
#[derive(Debug)]
#[must_use = "the messages are still leased: ack what is committed, nack what is returned"]
pub struct Settled {
    /// To be acked: their rows are stored, now or before, or their bodies are sealed in the quarantine.
    pub committed: Vec<Committed>,
    /// Known to the quarantine without their body, and to be given back to the queue.
    pub rejected: Vec<SettledReject>,
    /// How many of the committed are sealed in the quarantine.
    pub quarantined: usize,
    /// What the sink counted.
    pub report: WriteReport,
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
    match write_checked(sink, &batch).await {
        Ok(report) => Ok(batch.settle(report)),
        Err(error) => Err(WriteFailure { error, batch }),
    }
}

/// Calls the sink and checks its report.
pub(crate) async fn write_checked<R: Send + Sync + 'static>(
    sink: &dyn Sink<R>,
    batch: &Batch<R>,
) -> Result<WriteReport, SinkError> {
    let report = sink.write(batch).await?;
    let WriteReport { inserted, duplicates, quarantined, erased } = report;
    let (rows, rejects) = (batch.rows.len(), batch.rejects.len());
    if inserted + duplicates == rows as u64 && quarantined == rejects as u64 && erased <= rows as u64 {
        return Ok(report);
    }
    let text = format!(
        "the sink broke its contract: of {rows} rows and {rejects} rejects it reports {inserted} inserted, \
         {duplicates} duplicates, {quarantined} quarantined, {erased} of erased persons"
    );
    Err(SinkError::new(ErrorClass::Fatal, text))
}

/// What still fits into a batch.
struct Room {
    rows: usize,
    bytes: usize,
    empty: bool,
}

impl Room {
    fn admits(&mut self, body_bytes: u32) -> bool {
        let bytes = body_bytes as usize;
        // A message larger than the cap must still be written: alone.
        let fits = self.rows > 0 && (bytes <= self.bytes || self.empty);
        if fits {
            self.rows -= 1;
            self.bytes = self.bytes.saturating_sub(bytes);
            self.empty = false;
        }
        fits
    }
}
