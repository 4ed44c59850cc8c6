//! Where the time comes from, so that tests of twelve-hour limits need no waiting.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::sync::watch;
use tokio::time::Instant;

/// Milliseconds since the Unix epoch.
pub(crate) type Millis = u64;

/// The time that a server lives by.
///
/// [`Clock::system`] is the real one. It runs on tokio's timer, so `tokio::time::pause` stops it too.
/// [`Clock::manual`] stands still until its [`ManualClock`] is advanced.
#[derive(Clone, Debug)]
pub struct Clock(Source);

#[derive(Clone, Debug)]
enum Source {
    System { epoch_ms: Millis, started: Instant },
    Manual(watch::Receiver<Millis>),
}

impl Clock {
    /// The machine's time at this moment, and from here on monotonic: a step of the wall clock moves no deadline.
    pub fn system() -> Self {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self(Source::System { epoch_ms: to_millis(since_epoch), started: Instant::now() })
    }

    /// A clock that shows `start` (since the Unix epoch) until it is advanced.
    pub fn manual(start: Duration) -> (Self, ManualClock) {
        let (sender, receiver) = watch::channel(to_millis(start));
        (Self(Source::Manual(receiver)), ManualClock(Arc::new(sender)))
    }

    pub(crate) fn now(&self) -> Millis {
        match &self.0 {
            Source::System { epoch_ms, started } => epoch_ms + to_millis(started.elapsed()),
            Source::Manual(time) => *time.borrow(),
        }
    }

    /// Completes as soon as [`now`](Self::now) is `deadline` or later.
    pub(crate) async fn sleep_until(&self, deadline: Millis) {
        match &self.0 {
            Source::System { epoch_ms, started } => {
                let offset = Duration::from_millis(deadline.saturating_sub(*epoch_ms));
                // A deadline past what the platform's clock can show never comes.
                match started.checked_add(offset) {
                    Some(instant) => tokio::time::sleep_until(instant).await,
                    None => std::future::pending().await,
                }
            }
            Source::Manual(time) => {
                let mut time = time.clone();
                if time.wait_for(|now| *now >= deadline).await.is_err() {
                    // Nobody is left who could move this clock.
                    std::future::pending::<()>().await;
                }
            }
        }
    }
}

/// The hand of a [`Clock::manual`].
#[derive(Clone, Debug)]
pub struct ManualClock(Arc<watch::Sender<u64>>);

impl ManualClock {
    /// Moves the time forward; whoever waits for a moment in between wakes up.
    pub fn advance(&self, by: Duration) {
        self.0.send_modify(|now| *now += to_millis(by));
    }
}

fn to_millis(duration: Duration) -> Millis {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_manual_clock_moves_only_when_it_is_told_and_wakes_sleepers() {
        let (clock, hand) = Clock::manual(Duration::from_secs(100));
        assert_eq!(clock.now(), 100_000);
        let sleeper = tokio::spawn({
            let clock = clock.clone();
            async move {
                clock.sleep_until(103_000).await;
                clock.now()
            }
        });
        hand.advance(Duration::from_secs(2));
        tokio::task::yield_now().await;
        assert!(!sleeper.is_finished());
        hand.advance(Duration::from_secs(1));
        assert_eq!(sleeper.await.unwrap(), 103_000);
    }

    #[tokio::test(start_paused = true)]
    async fn the_system_clock_follows_tokio_s_paused_time() {
        let clock = Clock::system();
        let start = clock.now();
        clock.sleep_until(start + 43_200_000).await;
        assert_eq!(clock.now(), start + 43_200_000);
    }
}
