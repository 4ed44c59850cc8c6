use std::time::Duration;

/// Exponential backoff with jitter: each wait is a random time between half and all of base·2ⁿ, at most the cap.
///
/// The lower half is never drawn so that a failing dependency is not hammered; the upper half is random so that several
/// workers do not come back in step.
#[derive(Debug)]
pub(super) struct Backoff {
    base: Duration,
    cap: Duration,
    attempt: u32,
}

impl Backoff {
    pub(super) const fn new(base: Duration, cap: Duration) -> Self {
        Self { base, cap, attempt: 0 }
    }

    pub(super) fn reset(&mut self) {
        self.attempt = 0;
    }

    pub(super) fn next(&mut self) -> Duration {
        let full = self.base.saturating_mul(1 << self.attempt.min(20)).min(self.cap);
        self.attempt = self.attempt.saturating_add(1);
        full.mul_f64(0.5 + fastrand::f64() / 2.0)
    }
}

/// For how long a rejected message stays invisible once it is given back: 1 s after the first delivery, twice as long after
/// each further one, at most a quarter of an hour. It will be rejected again unless somebody changes something; the queue's
/// dead-letter policy takes it after its own number of deliveries.
pub(super) fn reject_delay(attempt: u32) -> Duration {
    const CAP_S: u64 = 900;
    let exponent = attempt.saturating_sub(1).min(10);
    Duration::from_secs((1_u64 << exponent).min(CAP_S))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_the_cap_and_start_over_after_a_success() {
        let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(3));
        for full_ms in [100, 200, 400, 800, 1600, 3000, 3000] {
            let wait = backoff.next().as_millis();
            assert!((full_ms / 2..=full_ms).contains(&wait), "{wait} of {full_ms}");
        }
        assert!((0..100).map(|_| backoff.next()).all(|wait| wait <= Duration::from_secs(3)));
        backoff.reset();
        assert!(backoff.next() <= Duration::from_millis(100));
    }

    #[test]
    fn a_rejected_message_waits_longer_each_time() {
        let seconds: Vec<_> = [0, 1, 2, 3, 10, 11, u32::MAX].map(|n| reject_delay(n).as_secs()).into();
        assert_eq!(seconds, [1, 1, 2, 4, 512, 900, 900]);
    }
}
