//! What the pipeline asks of source and sink: which calls failed and were made again, and which are under way.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use tokio::time::Instant;

use super::Counter;
use crate::ErrorClass;

/// A call to the source or the sink.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Operation {
    /// [`MessageSource::receive`](crate::MessageSource::receive).
    Receive,
    /// [`Sink::write`](crate::Sink::write).
    Write,
    /// [`MessageSource::ack`](crate::MessageSource::ack).
    Ack,
    /// [`MessageSource::nack`](crate::MessageSource::nack).
    Nack,
    /// [`MessageSource::extend`](crate::MessageSource::extend).
    Extend,
}

impl Operation {
    /// All of them, in order.
    pub const ALL: [Self; 5] = [Self::Receive, Self::Write, Self::Ack, Self::Nack, Self::Extend];

    /// The name that metrics use.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Receive => "receive",
            Self::Write => "write",
            Self::Ack => "ack",
            Self::Nack => "nack",
            Self::Extend => "extend",
        }
    }
}

/// For each operation and class of error a number.
#[derive(Debug, Default)]
pub(super) struct ByClass([[Counter; ErrorClass::ALL.len()]; Operation::ALL.len()]);

impl ByClass {
    pub(super) fn add(&self, operation: Operation, class: ErrorClass) {
        self.of(operation, class).add(1);
    }

    pub(super) fn get(&self, operation: Operation, class: ErrorClass) -> u64 {
        self.of(operation, class).get()
    }

    fn of(&self, operation: Operation, class: ErrorClass) -> &Counter {
        &self.0[operation as usize][class as usize]
    }
}

/// No call is under way.
const NONE: u64 = u64::MAX;

/// The calls of one task, which makes one at a time.
#[derive(Debug)]
pub(super) struct Caller {
    operation: Operation,
    start: Instant,
    /// Milliseconds from `start` to the beginning of the call.
    since_ms: AtomicU64,
}

impl Caller {
    /// Notes that a call begins; it ends with what this returns.
    pub(super) fn begin(&self) -> UnderWay<'_> {
        self.since_ms.store(self.start.elapsed().as_millis() as u64, Relaxed);
        UnderWay(self)
    }

    fn under_way_for(&self) -> Option<Duration> {
        let since = self.since_ms.load(Relaxed);
        (since != NONE).then(|| self.start.elapsed().saturating_sub(Duration::from_millis(since)))
    }
}

/// A call that is under way.
#[derive(Debug)]
pub(super) struct UnderWay<'c>(&'c Caller);

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.0.since_ms.store(NONE, Relaxed);
    }
}

/// All tasks that make calls.
#[derive(Debug, Default)]
pub(super) struct Callers(Mutex<Vec<Weak<Caller>>>);

impl Callers {
    pub(super) fn register(&self, operation: Operation) -> Arc<Caller> {
        let caller = Arc::new(Caller { operation, start: Instant::now(), since_ms: AtomicU64::new(NONE) });
        let mut callers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        callers.retain(|caller| caller.strong_count() > 0);
        callers.push(Arc::downgrade(&caller));
        caller
    }

    /// The call that is under way for the longest time.
    pub(super) fn longest(&self) -> Option<(Operation, Duration)> {
        let callers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let living = callers.iter().filter_map(Weak::upgrade);
        let under_way = living.filter_map(|caller| Some((caller.operation, caller.under_way_for()?)));
        under_way.max_by_key(|(_, time)| *time)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_longest_call_is_the_one_that_began_first_and_has_not_ended() {
        let callers = Callers::default();
        let (receiver, writer) = (callers.register(Operation::Receive), callers.register(Operation::Write));
        assert_eq!(callers.longest(), None);
        let write = writer.begin();
        tokio::time::advance(Duration::from_secs(5)).await;
        let receive = receiver.begin();
        tokio::time::advance(Duration::from_secs(2)).await;
        assert_eq!(callers.longest(), Some((Operation::Write, Duration::from_secs(7))));
        drop(write);
        assert_eq!(callers.longest(), Some((Operation::Receive, Duration::from_secs(2))));
        drop(receive);
        assert_eq!(callers.longest(), None);
    }

    #[test]
    fn each_operation_and_class_counts_for_itself() {
        let numbers = ByClass::default();
        numbers.add(Operation::Write, ErrorClass::BadRow);
        for (index, operation) in Operation::ALL.into_iter().enumerate() {
            assert_eq!(operation as usize, index);
            for class in ErrorClass::ALL {
                let expected = u64::from(operation == Operation::Write && class == ErrorClass::BadRow);
                assert_eq!(numbers.get(operation, class), expected, "{operation:?} {class:?}");
            }
        }
    }
}
