//! The service's time, which its signature check goes by.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, SystemTime};

use aws_smithy_runtime_api::http::Headers;
use aws_smithy_types::DateTime;
use aws_smithy_types::date_time::Format;

/// AWS refuses what is 5 minutes off; the SDK takes less than this for another error.
const NOTEWORTHY: Duration = Duration::from_secs(4 * 60);
/// An answer that took longer says nothing about the time.
const TOO_SLOW: Duration = Duration::from_secs(15 * 60);

/// How far the service's clock is ahead of this machine's, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Skew(i64);

impl Skew {
    pub(super) fn apply(self, time: SystemTime) -> SystemTime {
        let by = Duration::from_millis(self.0.unsigned_abs());
        let moved = if self.0 < 0 { time.checked_sub(by) } else { time.checked_add(by) };
        moved.unwrap_or(time)
    }

    /// Whether a signature made with this one could be refused for what another one says.
    pub(super) fn misses(self, other: Self) -> bool {
        Duration::from_millis(self.0.abs_diff(other.0)) > NOTEWORTHY
    }
}

/// What is known of the service's clock; every answer says it anew, as it does to the SDK.
#[derive(Debug, Default)]
pub(super) struct ServiceClock(AtomicI64);

impl ServiceClock {
    pub(super) fn skew(&self) -> Skew {
        Skew(self.0.load(Ordering::Relaxed))
    }

    /// Learns from an answer; `None` where it says nothing.
    pub(super) fn learn(&self, headers: &Headers, sent: SystemTime, received: SystemTime) -> Option<Skew> {
        // What comes from a cache is old.
        if headers.contains_key("age") {
            return None;
        }
        let took = received.duration_since(sent).unwrap_or_default();
        if took > TOO_SLOW {
            return None;
        }
        let date = DateTime::from_str(headers.get("date")?, Format::HttpDate).ok()?;
        let skew = Skew(date.to_millis().ok()? - DateTime::from(sent + took / 2).to_millis().ok()?);
        self.0.store(skew.0, Ordering::Relaxed);
        Some(skew)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DATE: &str = "Tue, 14 Nov 2023 22:13:20 GMT";
    const AT: Duration = Duration::from_secs(1_700_000_000);

    fn headers(pairs: &[(&'static str, &'static str)]) -> Headers {
        let mut headers = Headers::new();
        for (name, value) in pairs {
            headers.insert(*name, *value);
        }
        headers
    }

    #[test]
    fn an_answer_tells_the_time_at_its_middle() {
        let clock = ServiceClock::default();
        let here = SystemTime::UNIX_EPOCH + AT - Duration::from_secs(600);
        let skew = clock.learn(&headers(&[("date", DATE)]), here, here + Duration::from_secs(2)).unwrap();
        assert_eq!((skew, clock.skew()), (Skew(599_000), skew));
        assert_eq!(skew.apply(here), here + Duration::from_secs(599));
        assert!(skew.misses(Skew(0)) && Skew(0).misses(skew) && !skew.misses(Skew(400_000)));
        let ahead = here + Duration::from_secs(1200);
        assert_eq!(clock.learn(&headers(&[("date", DATE)]), ahead, ahead), Some(Skew(-600_000)));
        assert_eq!(clock.skew().apply(ahead), ahead - Duration::from_secs(600));
    }

    #[test]
    fn what_says_nothing_changes_nothing() {
        let clock = ServiceClock::default();
        let here = SystemTime::UNIX_EPOCH + AT;
        clock.learn(&headers(&[("date", DATE)]), here + Duration::from_secs(5), here);
        let known = clock.skew();
        for pairs in [&[][..], &[("date", "yesterday")], &[("date", DATE), ("age", "1")]] {
            assert_eq!(clock.learn(&headers(pairs), here, here), None);
        }
        assert_eq!(clock.learn(&headers(&[("date", DATE)]), here, here + Duration::from_secs(901)), None);
        assert_eq!(clock.skew(), known);
    }
}
