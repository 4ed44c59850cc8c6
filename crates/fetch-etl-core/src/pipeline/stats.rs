use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use super::calls::{ByClass, Caller, Callers, Operation};
use super::heartbeat::Leases;
use super::histogram::{Histogram, HistogramSnapshot};
use crate::{ErrorClass, RejectReason, UnixMillis, WriteReport};

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

/// Why nothing was stored of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ReturnCause {
    /// It was rejected, and its body could not be kept: it is left to the queue's dead-letter policy.
    Rejected,
    /// The pipeline ended, or its grace was over, before it could be written.
    NotWritten,
    /// Its lease was lost: somebody else may have it.
    LeaseLost,
}

impl ReturnCause {
    /// All of them, in order.
    pub const ALL: [Self; 3] = [Self::Rejected, Self::NotWritten, Self::LeaseLost];

    /// The name that metrics use.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Rejected => "rejected",
            Self::NotWritten => "not_written",
            Self::LeaseLost => "lease_lost",
        }
    }
}

/// Live counters of a running pipeline, for progress bars and metrics; [`summary`](Self::summary) reads them all.
///
/// A message is in flight from its receipt until its outcome is known, and then in one of `inserted`, `duplicates`,
/// `quarantined` and `returned`. The step from the one to the other is a single one for [`summary`](Self::summary), so that
/// its sum is right whenever it is taken.
#[derive(Debug)]
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
    quarantined_for: [Counter; RejectReason::ALL.len()],
    returned_for: [Counter; ReturnCause::ALL.len()],
    pub(super) failures: ByClass,
    pub(super) retries: ByClass,
    pub(super) callers: Callers,
    pub(super) batch_rows: Histogram,
    pub(super) batch_time: Histogram,
    pub(super) commit_time: Histogram,
    receivers: AtomicUsize,
    sink_down: AtomicBool,
    source_down: AtomicBool,
    /// The leases of the pipeline that counts here now.
    leases: Mutex<Weak<Leases>>,
    /// Counted message by message as their tokens change hands, not computed from the others: a message that was counted twice, or
    /// that an outcome forgot, shows.
    in_flight: AtomicI64,
    /// Held while a message steps from one counter to another, once for a whole batch.
    stepping: Mutex<()>,
}

impl Default for Stats {
    fn default() -> Self {
        Self {
            received: Counter::default(),
            inserted: Counter::default(),
            duplicates: Counter::default(),
            quarantined: Counter::default(),
            returned: Counter::default(),
            leases_lost: Counter::default(),
            acked: Counter::default(),
            ack_failures: Counter::default(),
            writes: Counter::default(),
            write_retries: Counter::default(),
            receives: Counter::default(),
            receive_retries: Counter::default(),
            leases_extended: Counter::default(),
            unknown_fields: Counter::default(),
            non_canonical: Counter::default(),
            erased: Counter::default(),
            rejected: Default::default(),
            quarantined_for: Default::default(),
            returned_for: Default::default(),
            failures: ByClass::default(),
            retries: ByClass::default(),
            callers: Callers::default(),
            batch_rows: Histogram::of_rows(),
            batch_time: Histogram::of_micros(),
            commit_time: Histogram::of_micros(),
            receivers: AtomicUsize::default(),
            sink_down: AtomicBool::default(),
            source_down: AtomicBool::default(),
            leases: Mutex::default(),
            in_flight: AtomicI64::default(),
            stepping: Mutex::default(),
        }
    }
}

impl Stats {
    pub(super) fn count_quarantined(&self, reason: RejectReason) {
        self.quarantined_for[reason.index()].add(1);
    }

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
    pub(super) fn gave_back(&self, messages: usize, cause: ReturnCause) {
        let _step = self.step();
        self.returned.add(messages as u64);
        self.returned_for[cause as usize].add(messages as u64);
        self.leave_flight(messages);
    }

    /// So many messages belong to somebody else.
    pub(super) fn lost(&self, messages: usize) {
        let _step = self.step();
        self.leases_lost.add(messages as u64);
        self.returned.add(messages as u64);
        self.returned_for[ReturnCause::LeaseLost as usize].add(messages as u64);
        self.leave_flight(messages);
    }

    /// Whose leases tell how old what is in flight is.
    pub(super) fn watch(&self, leases: &Arc<Leases>) {
        *self.leases.lock().unwrap_or_else(PoisonError::into_inner) = Arc::downgrade(leases);
    }

    /// Of a task that makes calls.
    pub(super) fn caller(&self, operation: Operation) -> Arc<Caller> {
        self.callers.register(operation)
    }

    pub(super) fn set_receivers(&self, receivers: usize) {
        self.receivers.store(receivers, Relaxed);
    }

    pub(super) fn set_source_down(&self, down: bool) {
        // It is said at every receive, and hardly ever changes.
        if self.source_down.load(Relaxed) != down {
            self.source_down.store(down, Relaxed);
        }
    }

    pub(crate) fn set_sink_down(&self, down: bool) {
        self.sink_down.store(down, Relaxed);
    }

    /// Whether writes are failing and receiving is paused for it.
    pub fn sink_is_down(&self) -> bool {
        self.sink_down.load(Relaxed)
    }

    /// Whether the last receive that ended has failed.
    pub fn source_is_down(&self) -> bool {
        self.source_down.load(Relaxed)
    }

    /// Receivers at work.
    pub fn receivers(&self) -> usize {
        self.receivers.load(Relaxed)
    }

    /// Of the quarantined: those for this reason.
    pub fn quarantined_for(&self, reason: RejectReason) -> u64 {
        self.quarantined_for[reason.index()].get()
    }

    /// Of the returned: those for this cause.
    pub fn returned_for(&self, cause: ReturnCause) -> u64 {
        self.returned_for[cause as usize].get()
    }

    /// Calls that failed, altogether or in part, with an error of this class.
    pub fn failures(&self, operation: Operation, class: ErrorClass) -> u64 {
        self.failures.get(operation, class)
    }

    /// Calls that were made again for an error of this class. For a [`BadRow`](ErrorClass::BadRow) each halving counts once.
    pub fn retries(&self, operation: Operation, class: ErrorClass) -> u64 {
        self.retries.get(operation, class)
    }

    /// The call that is under way for the longest time. Extensions are not looked at: one that hangs costs its leases, which shows.
    pub fn longest_call(&self) -> Option<(Operation, Duration)> {
        self.callers.longest()
    }

    /// Messages of each batch that a writer took.
    pub fn batch_rows(&self) -> HistogramSnapshot {
        self.batch_rows.snapshot()
    }

    /// Microseconds from when a writer took a batch until its outcome was known: retries, halvings and outages included.
    pub fn batch_micros(&self) -> HistogramSnapshot {
        self.batch_time.snapshot()
    }

    /// Microseconds of each write that the sink made durable.
    pub fn commit_micros(&self) -> HistogramSnapshot {
        self.commit_time.snapshot()
    }

    /// When the oldest message was sent whose outcome is not known yet. It looks at each message in flight, so it is for whoever
    /// asks now and then.
    pub fn oldest_in_flight(&self) -> Option<UnixMillis> {
        let leases = self.leases.lock().unwrap_or_else(PoisonError::into_inner).upgrade();
        leases?.oldest_held()
    }

    /// A number that has grown when it is asked for again, unless nothing at all has happened in between.
    pub fn activity(&self) -> u64 {
        let counters = [
            &self.received,
            &self.inserted,
            &self.duplicates,
            &self.quarantined,
            &self.returned,
            &self.acked,
            &self.ack_failures,
            &self.writes,
            &self.receives,
        ];
        let calls = Operation::ALL
            .iter()
            .flat_map(|&operation| ErrorClass::ALL.map(|class| self.failures(operation, class)));
        counters.into_iter().map(Counter::get).chain(calls).fold(0, u64::wrapping_add)
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
        stats.gave_back(1, ReturnCause::Rejected);
        stats.lost(2);
        let summary = stats.summary();
        assert_eq!((summary.in_flight, summary.returned, summary.leases_lost), (2, 3, 2));
        assert_eq!((summary.unsettled(), summary.unaccounted(), stats.in_flight()), (2, 0, 2));
        assert_eq!(ReturnCause::ALL.map(|cause| stats.returned_for(cause)), [1, 0, 2]);
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
        stats.gave_back(2, ReturnCause::NotWritten);
        assert_eq!((stats.summary().in_flight, stats.in_flight()), (-1, 0));
    }
}
