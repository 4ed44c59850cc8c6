//! `etl-admin redrive`.

use std::fmt::Write as _;
use std::io::IsTerminal as _;
use std::time::{Duration, Instant};

use etl_worker::failure::Failure;
use etl_worker::progress::{so_far, tell};
use etl_worker::settings::{Loaded, QueueRef, SourceSettings};
use etl_worker::{queue, report, signals};
use fetch_etl_core::SourceError;
use fetch_etl_sqs::{Queue, Redrive, SqsConfig, Step};
use indicatif::{ProgressBar, ProgressStyle};
use tokio_util::sync::CancellationToken;

use crate::Outcome;
use crate::cli::RedriveArgs;
use crate::words::messages;

/// Receives in a row that bring nothing, until the dead-letter queue counts as empty.
const QUIET_RECEIVES: u32 = 2;

/// How often a script hears how far it is.
const TELL_EACH: Duration = Duration::from_secs(3);

/// Most messages of one receive.
const MAX_RECEIVE: u64 = 10;

pub(crate) async fn run(args: RedriveArgs) -> Result<Outcome, Failure> {
    let settings = Loaded::read(&args.config.inputs())?.source()?;
    let (from, to) = (named(&args.from), args.to.as_deref().map_or_else(|| of(&settings), named));
    if let Some(queue) = [&from, &to].into_iter().find(|queue| queue.to_string().ends_with(".fifo")) {
        return Err(Failure::usage(format!(
            "{queue} is a FIFO queue; redrive works on standard queues only"
        )));
    }
    let config = |queue| SqsConfig { queue, ..queue::config(&settings) };
    let redrive = Redrive::connect(config(from.clone()), config(to.clone())).await;
    let redrive = redrive.map_err(|error| queue::failure(&error))?;
    let told = |error: SourceError| Failure::failed(format!("{from}: {error}"));
    let there = redrive.depth().await.map_err(told)?.map(|depth| depth.visible);
    if args.dry_run {
        let there = there.map_or_else(|| "an unknown number of messages".to_owned(), messages);
        return Ok(Outcome::done(format!("would send {there} from {from} to {to}\n")));
    }
    // Not more than there were: what is rejected again comes back here, and would go round for ever.
    let limit = [args.limit, there].into_iter().flatten().min().unwrap_or(u64::MAX);
    let stop = signals::cancel_on_signal()
        .map_err(|error| Failure::failed(format!("cannot listen for signals: {}", error.kind())))?;
    let mut shown = Shown::new(limit);
    let (done, error) = work(&redrive, limit, &stop, &mut shown).await;
    shown.bar.finish_and_clear();
    let text = summary(&done);
    if let Some(error) = error {
        report::print(&text);
        return Err(told(error).hint("run it again: it goes on with what is left"));
    }
    let complete = done.sent == done.received && !stop.is_cancelled();
    Ok(Outcome { text, complete })
}

/// A queue as it was named on the command line.
fn named(text: &str) -> Queue {
    if text.contains("://") { Queue::Url(text.to_owned()) } else { Queue::Name(text.to_owned()) }
}

/// The queue that the workers read.
fn of(settings: &SourceSettings) -> Queue {
    match &settings.queue {
        QueueRef::Url(url) => Queue::Url(url.clone()),
        QueueRef::Name(name) => Queue::Name(name.clone()),
    }
}

/// Moves messages until the queue is empty, the limit is reached, a stop is asked for, or a call fails.
async fn work(
    redrive: &Redrive,
    limit: u64,
    stop: &CancellationToken,
    shown: &mut Shown,
) -> (Step, Option<SourceError>) {
    let mut all = Step::default();
    let mut quiet = 0;
    while all.received < limit && quiet < QUIET_RECEIVES && !stop.is_cancelled() {
        let max = usize::try_from((limit - all.received).min(MAX_RECEIVE)).unwrap_or_default();
        match redrive.step(max).await {
            Ok(step) => {
                quiet = if step.received == 0 { quiet + 1 } else { 0 };
                all.received += step.received;
                all.sent += step.sent;
                all.undeleted += step.undeleted;
                shown.note(all.sent);
            }
            Err(error) => return (all, Some(error)),
        }
    }
    (all, None)
}

/// How far it is: a bar on a terminal, else a sentence every few seconds.
struct Shown {
    /// Draws nothing where stderr is no terminal.
    bar: ProgressBar,
    limit: Option<u64>,
    told_at: Instant,
}

impl Shown {
    fn new(limit: u64) -> Self {
        let limit = (limit != u64::MAX).then_some(limit);
        let bar = limit.map_or_else(ProgressBar::no_length, ProgressBar::new);
        // The template is a constant; were it wrong, the default style would do.
        let style = ProgressStyle::with_template("{bar:32} {human_pos} of {human_len} messages, {eta} left");
        let bar = bar.with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        Self { bar, limit, told_at: Instant::now() }
    }

    fn note(&mut self, sent: u64) {
        self.bar.set_position(sent);
        if !std::io::stderr().is_terminal() && self.told_at.elapsed() >= TELL_EACH {
            tell(&so_far(sent, self.limit.unwrap_or_default()));
            self.told_at = Instant::now();
        }
    }
}

fn summary(done: &Step) -> String {
    let mut text = format!("sent {}\n", messages(done.sent));
    let left = done.received - done.sent;
    if left > 0 {
        let _ = writeln!(
            text,
            "{} not sent, and left where they are: refused, or too large or with too many attributes to add ours",
            messages(left)
        );
    }
    if done.undeleted > 0 {
        let _ = writeln!(
            text,
            "{} sent, but not deleted: they will be sent again, and stored once",
            messages(done.undeleted)
        );
    }
    text
}
