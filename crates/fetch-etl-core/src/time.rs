//! Points in time as the queue states them.

use std::time::{SystemTime, UNIX_EPOCH};

const MILLIS_PER_DAY: i64 = 86_400_000;

/// A point in time in milliseconds since 1970-01-01T00:00:00Z, the unit in which queues state when a message was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UnixMillis(i64);

impl UnixMillis {
    /// Wraps milliseconds since the epoch.
    pub const fn new(millis: i64) -> Self {
        Self(millis)
    }

    /// The wall clock's time.
    pub fn now() -> Self {
        // A clock before 1970 or past the year 292278994 is not worth an error path: it counts as the epoch.
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self(i64::try_from(since_epoch.as_millis()).unwrap_or(0))
    }

    /// Milliseconds since the epoch.
    pub const fn get(self) -> i64 {
        self.0
    }

    /// By how many milliseconds our clock is at least ahead of another's; negative where it is behind. 0 where nothing can be said: the
    /// other was asked between `before` and `after` by our clock, and its time then was between `earliest` and `latest`.
    ///
    /// ```
    /// use fetch_etl_core::UnixMillis;
    ///
    /// let at = UnixMillis::new;
    /// assert_eq!(UnixMillis::ahead(at(100), at(40), at(50), at(120)), 50);
    /// assert_eq!(UnixMillis::ahead(at(100), at(150), at(160), at(120)), -30);
    /// assert_eq!(UnixMillis::ahead(at(100), at(115), at(130), at(120)), 0);
    /// ```
    pub const fn ahead(before: Self, earliest: Self, latest: Self, after: Self) -> i64 {
        if latest.0 < before.0 {
            before.0 - latest.0
        } else if earliest.0 > after.0 {
            after.0 - earliest.0
        } else {
            0
        }
    }

    /// Whole UTC days since 1970-01-01; the day before it is −1.
    pub const fn utc_day(self) -> i64 {
        self.0.div_euclid(MILLIS_PER_DAY)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_change_at_midnight_utc() {
        assert_eq!(UnixMillis::new(0).utc_day(), 0);
        assert_eq!(UnixMillis::new(MILLIS_PER_DAY - 1).utc_day(), 0);
        assert_eq!(UnixMillis::new(MILLIS_PER_DAY).utc_day(), 1);
        assert_eq!(UnixMillis::new(-1).utc_day(), -1);
    }
}
