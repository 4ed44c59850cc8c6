//! Messages at a steady rate, for what is measured while they come.

use std::time::{Duration, Instant};

use tokio::time::{MissedTickBehavior, interval};

use crate::Result;
use crate::load::{Values, login};
use crate::sqs::{Connection, MOST};

/// Messages that are sent at a steady rate.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pace {
    /// Messages of one call: one, or as many as a call takes where there are thousands a second.
    at_once: u64,
    calls_per_second: u64,
    /// Every so many messages one is timed.
    pub(super) timed: u64,
}

impl Pace {
    /// Each message by itself, and each of them timed.
    pub(crate) const QUIET: Self = Self { at_once: 1, calls_per_second: 100, timed: 1 };

    /// About so many messages a second, one of a hundred timed: a notification for each would be what is measured.
    pub(crate) fn busy(messages_per_second: f64) -> Self {
        Self { at_once: MOST, calls_per_second: (messages_per_second as u64 / MOST).max(1), timed: 100 }
    }

    /// How many are sent in this time.
    pub(crate) fn messages_in(self, time: Duration) -> u64 {
        let calls = self.calls_per_second * time.as_secs();
        // A whole number of timed ones.
        (calls * self.at_once).next_multiple_of(self.timed.max(self.at_once))
    }

    /// Sends messages with the numbers from 1 on, so many at least.
    pub(crate) async fn send(self, connection: &mut Connection, count: u64) -> Result<Sent> {
        let mut sent = Sent { times: Vec::new(), late_ms: Vec::new() };
        let mut timetable = interval(Duration::from_secs(1) / self.calls_per_second as u32);
        timetable.set_missed_tick_behavior(MissedTickBehavior::Burst);
        for first in (1..=count).step_by(self.at_once as usize) {
            let due = timetable.tick().await.into_std();
            let numbers = first..first + self.at_once;
            let bodies: Vec<_> = numbers.clone().map(|number| login(number, Values::New)).collect();
            let at = Instant::now();
            let ids = connection.send(&bodies).await?;
            let timed = numbers.zip(ids).filter(|(number, _)| number.is_multiple_of(self.timed));
            sent.times.extend(timed.map(|(_, id)| (id, at)));
            sent.late_ms.push(at.saturating_duration_since(due).as_secs_f64() * 1e3);
        }
        Ok(sent)
    }
}

/// What was sent.
pub(crate) struct Sent {
    /// The ids of timed messages, and when each was sent.
    pub(crate) times: Vec<(String, Instant)>,
    /// How late the sender was each time, against its own timetable: it is not to be what is measured.
    pub(crate) late_ms: Vec<f64>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pace_sends_whole_calls_and_whole_numbers_of_timed_messages() {
        assert_eq!(Pace::QUIET.messages_in(Duration::from_secs(20)), 2_000);
        let busy = Pace::busy(9_876.0);
        assert_eq!(busy.calls_per_second, 987);
        assert_eq!(busy.messages_in(Duration::from_secs(2)), 19_800);
        // A machine that is all but stopped.
        assert_eq!(Pace::busy(3.0).messages_in(Duration::from_secs(1)), 100);
    }
}
