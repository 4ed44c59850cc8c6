use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// Upper bounds of buckets of messages: up to the largest batch that can be configured.
const ROWS: &[u64] = &[1, 10, 25, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 100_000];

/// Upper bounds of buckets of microseconds: from a write to a local file to a batch that outlives an outage.
const MICROS: &[u64] = &[
    1_000,
    2_500,
    5_000,
    10_000,
    25_000,
    50_000,
    100_000,
    250_000,
    500_000,
    1_000_000,
    2_500_000,
    5_000_000,
    10_000_000,
    30_000_000,
    60_000_000,
    300_000_000,
];

/// How often something took how much: counts in fixed buckets. Noted once for each batch or call, never for each message.
#[derive(Debug)]
pub struct Histogram {
    bounds: &'static [u64],
    /// One for each bound, and one for what is over the last.
    buckets: Box<[AtomicU64]>,
    sum: AtomicU64,
}

/// A [`Histogram`] at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HistogramSnapshot {
    /// How many lie in each bucket, by the bucket's upper bound, itself included; not added up. The last has no bound.
    pub buckets: Vec<(Option<u64>, u64)>,
    /// The sum of all values.
    pub sum: u64,
}

impl HistogramSnapshot {
    /// How many values there are.
    pub fn count(&self) -> u64 {
        self.buckets.iter().map(|(_, count)| count).sum()
    }
}

impl Histogram {
    fn new(bounds: &'static [u64]) -> Self {
        let buckets = (0..=bounds.len()).map(|_| AtomicU64::new(0)).collect();
        Self { bounds, buckets, sum: AtomicU64::new(0) }
    }

    /// Of numbers of messages.
    pub(super) fn of_rows() -> Self {
        Self::new(ROWS)
    }

    /// Of times, in microseconds.
    pub(super) fn of_micros() -> Self {
        Self::new(MICROS)
    }

    pub(super) fn note(&self, value: u64) {
        let bucket = self.bounds.partition_point(|&bound| bound < value);
        self.buckets[bucket].fetch_add(1, Relaxed);
        self.sum.fetch_add(value, Relaxed);
    }

    pub(super) fn note_time(&self, time: Duration) {
        self.note(u64::try_from(time.as_micros()).unwrap_or(u64::MAX));
    }

    /// All counts at this moment.
    pub fn snapshot(&self) -> HistogramSnapshot {
        let bounds = self.bounds.iter().copied().map(Some).chain([None]);
        let counts = self.buckets.iter().map(|bucket| bucket.load(Relaxed));
        HistogramSnapshot { buckets: bounds.zip(counts).collect(), sum: self.sum.load(Relaxed) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_in_the_first_bucket_that_it_fits_into() {
        let histogram = Histogram::of_rows();
        for value in [0, 1, 2, 10, 11, 100_000, 100_001] {
            histogram.note(value);
        }
        let snapshot = histogram.snapshot();
        let filled: Vec<_> = snapshot.buckets.iter().filter(|(_, count)| *count > 0).copied().collect();
        assert_eq!(filled, [(Some(1), 2), (Some(10), 2), (Some(25), 1), (Some(100_000), 1), (None, 1)]);
        assert_eq!((snapshot.count(), snapshot.sum), (7, 200_025));
    }

    #[test]
    fn bounds_grow_and_times_are_microseconds() {
        for bounds in [ROWS, MICROS] {
            assert!(bounds.is_sorted_by(|a, b| a < b), "{bounds:?}");
        }
        let histogram = Histogram::of_micros();
        histogram.note_time(Duration::from_millis(5));
        assert_eq!(histogram.snapshot().sum, 5_000);
        assert!(histogram.snapshot().buckets.contains(&(Some(5_000), 1)));
    }
}
