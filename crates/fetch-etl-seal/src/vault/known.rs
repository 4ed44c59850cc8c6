//! What the vault is known to have.

use std::hash::{BuildHasher, RandomState};
use std::time::{Duration, Instant};

use quick_cache::sync::Cache;

use crate::current_key::Clock;

/// What is known to be kept is forgotten after an hour at the latest, and sealed and offered to the vault once more.
///
/// So a value that was erased with one person comes back for the others who have it, and a vault that was emptied fills up
/// again.
pub const MAX_KNOWN_AGE: Duration = Duration::from_secs(3600);

/// A bounded set of values, by field and mask, each with the time from which it is known.
///
/// - A value is known by 128 bits of its mask, mixed with a random tag of its field. Masks are digests, so two values share
///   those bits by a chance of 2⁻¹²⁸; among 10⁹ values, any two by less than 2⁻⁶⁸. The worst that it does is that a value
///   is not kept.
/// - It takes some 80 bytes a value, as values come, and no more of them than it was made for (rounded up to
///   the number of its parts). What is used again and again stays when it is full, whatever passes by.
/// - Looking up takes a read lock on one of several parts.
///
/// `quick_cache` rather than written here: a set that is bounded, shared by threads and keeps what is used needs a list
/// through a table, and locks in parts. Without its default features it brings nothing but itself. `moka` does the ageing
/// too, which is a comparison here, with many more dependencies and more memory a value; with `lru` each look takes the lock
/// alone, and values that come once push out all others.
pub(super) struct Known {
    since: Cache<[u8; 16], u32>,
    /// Keys of the fields' tags: other ones in each process, so that nobody can aim at them.
    tags: [RandomState; 2],
    clock: Clock,
    start: Instant,
}

impl Known {
    pub(super) fn new(values: usize, clock: Clock) -> Self {
        let start = clock();
        Self { since: Cache::new(values), tags: [RandomState::new(), RandomState::new()], clock, start }
    }

    pub(super) fn contains(&self, field: &str, mask: &[u8; 64]) -> bool {
        let max_age = u32::try_from(MAX_KNOWN_AGE.as_secs()).unwrap_or(u32::MAX);
        let now = self.now();
        self.since.get(&self.key(field, mask)).is_some_and(|since| now.saturating_sub(since) < max_age)
    }

    pub(super) fn insert(&self, field: &str, mask: &[u8; 64]) {
        self.since.insert(self.key(field, mask), self.now());
    }

    /// Seconds since the start: 136 years of them.
    fn now(&self) -> u32 {
        let passed = (self.clock)().saturating_duration_since(self.start);
        u32::try_from(passed.as_secs()).unwrap_or(u32::MAX)
    }

    fn key(&self, field: &str, mask: &[u8; 64]) -> [u8; 16] {
        let [high, low] = self.tags.each_ref().map(|tag| tag.hash_one(field));
        let tag = u128::from(high) << 64 | u128::from(low);
        let (start, _) = mask.split_first_chunk().unwrap_or((&[0; 16], &[]));
        (u128::from_be_bytes(*start) ^ tag).to_be_bytes()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::current_key::tests::Seconds;

    fn known(values: usize) -> (Known, Seconds) {
        let clock = Seconds::default();
        (Known::new(values, clock.clock()), clock)
    }

    /// As evenly spread as real masks are.
    fn mask(n: u64) -> [u8; 64] {
        let half: [u8; 32] = crate::digest::sha256_start(&n.to_be_bytes());
        [half, half].concat().try_into().unwrap()
    }

    #[test]
    fn what_was_inserted_is_known_by_field_and_mask() {
        let (known, _) = known(1000);
        known.insert("ip", &mask(1));
        assert!(known.contains("ip", &mask(1)));
        assert!(!known.contains("ip", &mask(2)));
        assert!(!known.contains("device_id", &mask(1)), "the same bytes in another field");
        known.insert("device_id", &mask(1));
        assert!(known.contains("device_id", &mask(1)) && known.contains("ip", &mask(1)));
    }

    #[test]
    fn it_is_forgotten_after_an_hour_however_often_it_is_looked_at() {
        let (known, clock) = known(1000);
        clock.set(100);
        known.insert("ip", &mask(1));
        for seconds in [101, 2000, 3699] {
            clock.set(seconds);
            assert!(known.contains("ip", &mask(1)), "{seconds}");
        }
        clock.set(3700);
        assert!(!known.contains("ip", &mask(1)));
        known.insert("ip", &mask(1));
        clock.set(7299);
        assert!(known.contains("ip", &mask(1)));
        clock.set(7300);
        assert!(!known.contains("ip", &mask(1)));
    }

    #[test]
    fn it_is_bounded_and_keeps_what_is_used() {
        const VALUES: usize = 10_000;
        let (known, _) = known(VALUES);
        for n in 0..100 {
            known.insert("ip", &mask(n));
        }
        for n in 100..100_000 {
            known.insert("ip", &mask(n));
            assert!(known.contains("ip", &mask(n % 100)), "{n}: one of the hundred is always asked for");
        }
        // Each part holds its share, rounded up.
        assert!(known.since.len() <= VALUES + known.since.num_shards(), "{}", known.since.len());
        assert!(known.since.len() >= VALUES * 9 / 10, "{}", known.since.len());
        let used = known.since.memory_used();
        let bytes = (used.entries + used.map) / VALUES;
        assert!((30..=100).contains(&bytes), "{bytes} bytes a value");
    }

    #[test]
    fn with_no_room_nothing_is_known() {
        let (known, _) = known(0);
        known.insert("ip", &mask(1));
        assert!(!known.contains("ip", &mask(1)));
        assert_eq!(known.since.len(), 0);
    }

    #[test]
    fn threads_share_it() {
        let (known, _) = known(10_000);
        let known = Arc::new(known);
        std::thread::scope(|scope| {
            for thread in 0..4 {
                let known = Arc::clone(&known);
                scope.spawn(move || {
                    for n in (thread..4000).step_by(4) {
                        known.insert("ip", &mask(n));
                        assert!(known.contains("ip", &mask(n)));
                    }
                });
            }
        });
        assert!((0..4000).all(|n| known.contains("ip", &mask(n))));
    }
}
