use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

use crate::RejectReason;

/// A counter that only grows.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn add(&self, n: u64) {
        self.0.fetch_add(n, Relaxed);
    }

    /// The count so far.
    pub fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// Live counters of a running pipeline, for progress bars and metrics; [`summary`](Self::summary) reads them all.
#[derive(Debug, Default)]
pub struct Stats {
    /// Messages received, every delivery of each.
    pub received: Counter,
    /// Rows stored.
    pub inserted: Counter,
    /// Rows whose key was known: not stored again.
    pub duplicates: Counter,
    /// Rejected messages that are safe in the quarantine and deleted from the queue.
    pub quarantined: Counter,
    /// Messages given back to the queue, or whose lease was lost.
    pub returned: Counter,
    /// Of the returned: those whose lease was lost.
    pub leases_lost: Counter,
    /// Messages deleted from the queue.
    pub acked: Counter,
    /// Messages that could not be deleted: they come back and count as duplicates then.
    pub ack_failures: Counter,
    /// Writes, and those that were tried again.
    pub writes: Counter,
    /// Writes that failed and were tried again.
    pub write_retries: Counter,
    /// Receives, empty ones included.
    pub receives: Counter,
    /// Receives that failed and were tried again.
    pub receive_retries: Counter,
    /// Leases that were extended.
    pub leases_extended: Counter,
    /// Fields that the schema does not know; dropped.
    pub unknown_fields: Counter,
    /// Values that were masked as text because they are not what their field's name says.
    pub non_canonical: Counter,
    rejected: [Counter; RejectReason::ALL.len()],
    sink_down: AtomicBool,
}

impl Stats {
    pub(crate) fn count_rejected(&self, reason: RejectReason) {
        self.rejected[reason.index()].add(1);
    }

    pub(crate) fn set_sink_down(&self, down: bool) {
        self.sink_down.store(down, Relaxed);
    }

    /// Whether writes are failing and receiving is paused for it.
    pub fn sink_is_down(&self) -> bool {
        self.sink_down.load(Relaxed)
    }

    /// Deliveries rejected for this reason, each delivery counted.
    pub fn rejected(&self, reason: RejectReason) -> u64 {
        self.rejected[reason.index()].get()
    }

    /// Messages received whose outcome is not known yet.
    pub fn in_flight(&self) -> u64 {
        let settled =
            self.inserted.get() + self.duplicates.get() + self.quarantined.get() + self.returned.get();
        self.received.get().saturating_sub(settled)
    }

    /// All counters at this moment.
    pub fn summary(&self) -> Summary {
        Summary {
            received: self.received.get(),
            inserted: self.inserted.get(),
            duplicates: self.duplicates.get(),
            quarantined: self.quarantined.get(),
            returned: self.returned.get(),
            leases_lost: self.leases_lost.get(),
            ack_failures: self.ack_failures.get(),
            unknown_fields: self.unknown_fields.get(),
            non_canonical: self.non_canonical.get(),
            left_in_queue: 0,
            rejected: RejectReason::ALL.map(|reason| (reason, self.rejected(reason))),
        }
    }
}

/// What a pipeline did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Summary {
    /// Messages received, every delivery of each.
    pub received: u64,
    /// Rows stored.
    pub inserted: u64,
    /// Rows whose key was known: not stored again.
    pub duplicates: u64,
    /// Rejected messages that are safe in the quarantine and deleted from the queue.
    pub quarantined: u64,
    /// Messages given back to the queue, or whose lease was lost; each delivery counted.
    pub returned: u64,
    /// Of the returned: those whose lease was lost.
    pub leases_lost: u64,
    /// Messages that could not be deleted after their row was stored: they come back and count as duplicates then.
    pub ack_failures: u64,
    /// Fields that the schema does not know; dropped.
    pub unknown_fields: u64,
    /// Values that were masked as text because they are not what their field's name says.
    pub non_canonical: u64,
    /// With `until_empty`: different messages that were rejected and left in the queue for its dead-letter policy.
    pub left_in_queue: u64,
    /// Deliveries rejected, by reason.
    pub rejected: [(RejectReason, u64); RejectReason::ALL.len()],
}

impl Summary {
    /// received − (inserted + duplicates + quarantined + returned): what was in flight, and 0 once everything is settled.
    pub fn unsettled(&self) -> i128 {
        let settled = [self.inserted, self.duplicates, self.quarantined, self.returned];
        i128::from(self.received) - settled.into_iter().map(i128::from).sum::<i128>()
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "received {} = inserted {} + duplicates {} + quarantined {} + returned {} + in flight {}",
            self.received,
            self.inserted,
            self.duplicates,
            self.quarantined,
            self.returned,
            self.unsettled()
        )
    }
}
