//! How far a pipeline is: a bar on a terminal, else a log line now and then while there is something to say.

use std::fmt::Write;
use std::io::{IsTerminal, Write as _};
use std::sync::Arc;
use std::time::Duration;

use fetch_etl_core::RejectReason;
use fetch_etl_core::pipeline::Stats;
use indicatif::{ProgressBar, ProgressState, ProgressStyle};
use tokio::task::JoinHandle;
use tokio::time::{Instant, MissedTickBehavior, interval_at};
use tracing::info;

use crate::report::grouped;
use crate::telemetry;

const REDRAW: Duration = Duration::from_millis(100);
const LOG_EACH: Duration = Duration::from_secs(10);
const TELL_EACH: Duration = Duration::from_secs(3);

/// Shows progress from when it is started until it is dropped.
#[derive(Debug)]
pub struct Progress {
    task: JoinHandle<()>,
    bar: Option<ProgressBar>,
}

impl Progress {
    /// A bar up to `total` messages where stderr is a terminal, else log lines. To be called within a runtime.
    pub fn bar(stats: Arc<Stats>, total: u64) -> Self {
        if !std::io::stderr().is_terminal() {
            return Self::log(stats);
        }
        let bar = ProgressBar::new(total).with_style(style());
        telemetry::make_room_for(Some(bar.clone()));
        let task = tokio::spawn(redraw(stats, bar.clone()));
        Self { task, bar: Some(bar) }
    }

    /// A bar up to `total` messages where stderr is a terminal, else a sentence every few seconds in which something happened:
    /// for a command that somebody runs by hand, or from a script. To be called within a runtime.
    pub fn for_people(stats: Arc<Stats>, total: u64) -> Self {
        if std::io::stderr().is_terminal() {
            return Self::bar(stats, total);
        }
        Self { task: tokio::spawn(tell_while_busy(stats, total)), bar: None }
    }

    /// A log line every ten seconds in which something happened.
    pub(crate) fn log(stats: Arc<Stats>) -> Self {
        Self { task: tokio::spawn(log_while_busy(stats)), bar: None }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.task.abort();
        telemetry::make_room_for(None);
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

fn style() -> ProgressStyle {
    let template = "{bar:32} {human_pos} of {human_len} messages, {rate} messages/s, {eta} left";
    // The template is a constant; were it wrong, the default style would do.
    let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
    style.with_key("rate", |state: &ProgressState, out: &mut dyn Write| {
        // The bar cannot tell that it could not be written.
        let _ = out.write_str(&grouped(state.per_sec() as u64));
    })
}

async fn redraw(stats: Arc<Stats>, bar: ProgressBar) {
    let mut ticks = interval_at(Instant::now() + REDRAW, REDRAW);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        // More may come than the queue had told; a rejected message that comes again is no progress.
        let stored = stats.inserted.get() + stats.duplicates.get() + stats.quarantined.get();
        let length = bar.length().unwrap_or(0).max(stored);
        bar.set_length(length);
        bar.set_position(settled(&stats).min(length));
    }
}

fn settled(stats: &Stats) -> u64 {
    stats.received.get().saturating_sub(stats.in_flight())
}

async fn tell_while_busy(stats: Arc<Stats>, total: u64) {
    let mut ticks = interval_at(Instant::now() + TELL_EACH, TELL_EACH);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut before = 0;
    loop {
        ticks.tick().await;
        let done = settled(&stats);
        if done != before {
            tell(&so_far(done, total));
            before = done;
        }
    }
}

/// "1,234 of 10,000 messages so far"; more may come than there were at first.
pub fn so_far(done: u64, total: u64) -> String {
    format!("{} of {} messages so far\n", grouped(done), grouped(total.max(done)))
}

/// Says something on stderr. That nobody listens is no failure.
pub fn tell(line: &str) {
    let _ = std::io::stderr().write_all(line.as_bytes());
}

async fn log_while_busy(stats: Arc<Stats>) {
    let mut ticks = interval_at(Instant::now() + LOG_EACH, LOG_EACH);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut before = 0;
    loop {
        ticks.tick().await;
        let done = settled(&stats);
        if done != before {
            let rejected: u64 = RejectReason::ALL.iter().map(|&reason| stats.rejected(reason)).sum();
            info!(
                event = "progress",
                received = stats.received.get(),
                inserted = stats.inserted.get(),
                duplicates = stats.duplicates.get(),
                quarantined = stats.quarantined.get(),
                returned = stats.returned.get(),
                rejected,
                in_flight = stats.in_flight(),
                per_second = (done - before.min(done)) / LOG_EACH.as_secs(),
                "working"
            );
            before = done;
        }
    }
}
