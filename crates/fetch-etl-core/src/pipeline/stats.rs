use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::{RejectReason, WriteReport};

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
///
/// A message is in flight from its receipt until its outcome is known, and then in one of `inserted`, `duplicates`,
/// `quarantined` and `returned`. The step from the one to the other is a single one for [`summary`](Self::summary), so that
/// its sum is right whenever it is taken.
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
    /// Messages that nothing was stored of: given back to the queue, or left to it because their lease was lost.
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
    /// Rows of persons who were erased, stored without their masks; each delivery counted.
    pub erased: Counter,
    rejected: [Counter; RejectReason::ALL.len()],
    sink_down: AtomicBool,
    /// Counted message by message as their tokens change hands, not computed from the others: a message that was counted twice, or
    /// that an outcome forgot, shows.
    in_flight: AtomicI64,
    /// Held while a message steps from one counter to another, once for a whole batch.
    stepping: Mutex<()>,
}

impl Stats {
    pub(crate) fn count_rejected(&self, reason: RejectReason) {
        self.rejected[reason.index()].add(1);
    }

    fn step(&self) -> MutexGuard<'_, ()> {
        // No code that can panic runs under this lock.
        self.stepping.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn leave_flight(&self, messages: usize) {
        self.in_flight.fetch_sub(messages as i64, Relaxed);
    }

    /// So many messages are in flight from now on.
    pub(super) fn took(&self, messages: usize) {
        let _step = self.step();
        self.received.add(messages as u64);
        self.in_flight.fetch_add(messages as i64, Relaxed);
    }

    /// A write has succeeded, and so many messages are to be acked for it.
    pub(super) fn stored(&self, report: WriteReport, quarantined: usize, messages: usize) {
        let _step = self.step();
        self.inserted.add(report.inserted);
        self.duplicates.add(report.duplicates);
        self.erased.add(report.erased);
        self.quarantined.add(quarantined as u64);
        self.leave_flight(messages);
    }

    /// So many messages went back to the queue.
    pub(super) fn gave_back(&self, messages: usize) {
        let _step = self.step();
        self.returned.add(messages as u64);
        self.leave_flight(messages);
    }

    /// So many messages belong to somebody else.
    pub(super) fn lost(&self, messages: usize) {
        let _step = self.step();
        self.leases_lost.add(messages as u64);
        self.returned.add(messages as u64);
        self.leave_flight(messages);
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
        u64::try_from(self.in_flight.load(Relaxed)).unwrap_or(0)
    }

    /// All counters at this moment.
    pub fn summary(&self) -> Summary {
        let _step = self.step();
        Summary {
            in_flight: self.in_flight.load(Relaxed),
            received: self.received.get(),
            inserted: self.inserted.get(),
            duplicates: self.duplicates.get(),
            quarantined: self.quarantined.get(),
            returned: self.returned.get(),
            leases_lost: self.leases_lost.get(),
            ack_failures: self.ack_failures.get(),
            unknown_fields: self.unknown_fields.get(),
            non_canonical: self.non_canonical.get(),
            erased: self.erased.get(),
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
    /// Messages that nothing was stored of: given back to the queue, or left to it because their lease was lost; each delivery
    /// counted.
    pub returned: u64,
    /// Messages whose outcome was not known yet: 0 after a clean stop. What is in flight when a process ends comes back when
    /// its lease does.
    pub in_flight: i64,
    /// Of the returned: those whose lease was lost.
    pub leases_lost: u64,
    /// Messages that could not be deleted after their row was stored: they come back and count as duplicates then.
    pub ack_failures: u64,
    /// Fields that the schema does not know; dropped.
    pub unknown_fields: u64,
    /// Values that were masked as text because they are not what their field's name says.
    pub non_canonical: u64,
    /// Rows of persons who were erased, stored without their masks; each delivery counted.
    pub erased: u64,
    /// With `until_empty`: different messages that were rejected and left in the queue for its dead-letter policy.
    pub left_in_queue: u64,
    /// Deliveries rejected, by reason.
    pub rejected: [(RejectReason, u64); RejectReason::ALL.len()],
}

impl Summary {
    /// received − (inserted + duplicates + quarantined + returned): what is in flight, and 0 once everything is settled.
    pub fn unsettled(&self) -> i128 {
        let settled = [self.inserted, self.duplicates, self.quarantined, self.returned];
        i128::from(self.received) - settled.into_iter().map(i128::from).sum::<i128>()
    }

    /// received − (inserted + duplicates + quarantined + returned + in flight): 0, or else this crate has a bug, by which it lost
    /// track of messages or counted some twice.
    pub fn unaccounted(&self) -> i128 {
        self.unsettled() - i128::from(self.in_flight)
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "received {} = inserted {} + duplicates {} + quarantined {} + returned {} + in flight {}",
            self.received, self.inserted, self.duplicates, self.quarantined, self.returned, self.in_flight
        )?;
        match self.unaccounted() {
            0 => Ok(()),
            difference => write!(f, " + unaccounted for {difference}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_step_keeps_the_sum() {
        let stats = Stats::default();
        stats.took(10);
        stats.stored(WriteReport { inserted: 3, duplicates: 1, quarantined: 2, erased: 0 }, 1, 5);
        stats.gave_back(1);
        stats.lost(2);
        let summary = stats.summary();
        assert_eq!((summary.in_flight, summary.returned, summary.leases_lost), (2, 3, 2));
        assert_eq!((summary.unsettled(), summary.unaccounted(), stats.in_flight()), (2, 0, 2));
        assert_eq!(
            summary.to_string(),
            "received 10 = inserted 3 + duplicates 1 + quarantined 1 + returned 3 + in flight 2"
        );
    }

    #[test]
    fn a_message_that_is_counted_twice_or_not_at_all_shows() {
        let stats = Stats::default();
        stats.took(2);
        stats.stored(WriteReport { inserted: 2, ..WriteReport::default() }, 0, 1);
        assert_eq!(stats.summary().unaccounted(), -1);
        assert!(
            stats.summary().to_string().ends_with("in flight 1 + unaccounted for -1"),
            "{}",
            stats.summary()
        );
        stats.gave_back(2);
        assert_eq!((stats.summary().in_flight, stats.in_flight()), (-1, 0));
    }
}
