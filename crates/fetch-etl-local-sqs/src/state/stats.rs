//! Figures of a queue.

use serde::Serialize;

use crate::fault::FaultCounts;

/// What happened in a queue since it was created.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Counters {
    pub(crate) sent: u64,
    pub(crate) deliveries: u64,
    pub(crate) deleted: u64,
    pub(crate) stale_deletes: u64,
    pub(crate) moved_in: u64,
    pub(crate) moved_out: u64,
    pub(crate) expired: u64,
    pub(crate) purged: u64,
    pub(crate) faults: FaultCounts,
    /// Entries of any list, tree or table that an operation looked at: the work done, without a clock.
    pub(crate) steps: u64,
}

/// A snapshot of a queue.
///
/// No message is ever lost or doubled by the queue itself, under faults neither:
/// `sent + moved_in + revived == ready + delayed + in_flight + deleted + moved_out + expired + purged`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub struct QueueStats {
    /// Messages that a receive would get.
    pub ready: usize,
    /// Messages that were received and neither deleted nor timed out.
    pub in_flight: usize,
    /// Messages whose delay is not over.
    pub delayed: usize,
    /// Receives that wait in a long poll.
    pub waiting_receives: usize,
    /// Messages sent to this queue.
    pub sent: u64,
    /// Messages handed out, each time counted.
    pub deliveries: u64,
    /// Messages deleted.
    pub deleted: u64,
    /// Deletes that succeeded without deleting anything, because the receipt was not the latest or the message gone.
    pub stale_deletes: u64,
    /// Messages that came from another queue, as to its dead-letter queue.
    pub moved_in: u64,
    /// Messages that went to this queue's dead-letter queue.
    pub moved_out: u64,
    /// Messages that outlived the retention period.
    pub expired: u64,
    /// Messages that a purge took.
    pub purged: u64,
    /// Messages that came back after they were deleted, by the fault
    /// [`RedeliverDeleted`](crate::FaultKind::RedeliverDeleted).
    pub revived: u64,
    /// Faults that the queue was told to commit, and did.
    pub faults: FaultCounts,
}

impl QueueStats {
    /// Messages in the queue, in whatever place.
    pub fn messages(&self) -> usize {
        self.ready + self.in_flight + self.delayed
    }

    /// Whether the equation of this type holds.
    pub fn is_conserved(&self) -> bool {
        let gone = self.deleted + self.moved_out + self.expired + self.purged;
        self.sent + self.moved_in + self.revived == self.messages() as u64 + gone
    }
}
