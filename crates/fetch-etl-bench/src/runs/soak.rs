//! A worker at a steady rate for a long time: whether its memory grows.

use std::time::{Duration, Instant};

use tokio::time::interval;

use crate::load::Values;
use crate::report::Run;
use crate::rig::Rig;
use crate::runs::pace::Pace;
use crate::runs::worker::{self, Setup};
use crate::sqs::Connection;
use crate::watch::Watched;
use crate::{Result, proc, say, stats};

/// Enough for a million messages in ten minutes, and not so much that the machine has nothing left.
const PER_SECOND: f64 = 2_000.0;
const LOOK_EACH: Duration = Duration::from_secs(1);
/// Until pools are filled and the allocator has what it keeps: this part of the time does not count.
const WARM_UP: f64 = 0.2;

pub(crate) async fn run(rig: &Rig, time: Duration) -> Result<Run> {
    let database = rig.migrated_database().await?;
    let queue = rig.queue(0, Values::New)?;
    let worker = worker::start(rig, &Setup::usual(0), &queue, &database);
    let watched = Watched::of(rig).and_queue(&queue).and_clients([worker.id()]);
    let before = watched.look();
    let pace = Pace::busy(PER_SECOND);
    let messages = pace.messages_in(time);
    let mut connection = Connection::open(queue.endpoint(), queue.url()).await?;
    let (sent, memory) = tokio::join!(pace.send(&mut connection, messages), watch_memory(worker.id(), time));
    sent?;
    let mut run = watched.look().since(&before, messages);
    run.peak_rss_bytes = watched.peak_rss_bytes();
    run.figures.extend(Growth::of(&memory).figures());
    let stored = worker::stop(worker)?;
    if stored > messages {
        return Err(format!("{stored} rows of {messages} messages").into());
    }
    Ok(run)
}

/// The process's memory, second by second.
async fn watch_memory(id: u32, time: Duration) -> Vec<f64> {
    let mut timetable = interval(LOOK_EACH);
    let since = Instant::now();
    let mut seen = Vec::new();
    while since.elapsed() < time {
        timetable.tick().await;
        seen.extend(proc::memory(id).map(|bytes| bytes as f64));
        if seen.len().is_multiple_of(60) {
            say(&format!("soak: {} of {} s", since.elapsed().as_secs(), time.as_secs()));
        }
    }
    seen
}

/// Medians of the first and of the last third of what comes after warming up.
#[derive(Debug, PartialEq)]
struct Growth {
    early: Option<f64>,
    late: Option<f64>,
}

impl Growth {
    fn of(memory: &[f64]) -> Self {
        let settled = &memory[(memory.len() as f64 * WARM_UP) as usize..];
        let third = settled.len().div_ceil(3);
        let early = stats::median(settled.iter().take(third).copied());
        let late = stats::median(settled.iter().rev().take(third).copied());
        Self { early, late }
    }

    fn figures(&self) -> Vec<(String, f64)> {
        const MIB: f64 = 1024.0 * 1024.0;
        let (Some(early), Some(late)) = (self.early, self.late) else { return Vec::new() };
        vec![
            ("rss_early_mib".into(), early / MIB),
            ("rss_late_mib".into(), late / MIB),
            ("rss_late_to_early".into(), late / early),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn growth_is_what_is_left_after_warming_up() {
        // Ten seconds of warming up, then level, but for one look.
        let memory: Vec<_> = (0..10).map(f64::from).chain([50.0; 39]).chain([90.0]).collect();
        assert_eq!(Growth::of(&memory), Growth { early: Some(50.0), late: Some(50.0) });
        let growing: Vec<_> = (1..=100).map(f64::from).collect();
        let Growth { early, late } = Growth::of(&growing);
        assert!(late > early.map(|early| early * 2.0), "{early:?} {late:?}");
        assert_eq!(Growth::of(&[]).figures(), []);
    }
}
