//! `etl-admin redrive`.

use std::fmt::Write as _;
use std::io::IsTerminal as _;
use std::time::{Duration, Instant};

use etl_worker::failure::Failure;
use etl_worker::progress::{so_far, tell};
use etl_worker::settings::{Loaded, QueueRef, SourceSettings};
use etl_worker::{queue, report, signals};
use fetch_etl_core::{ErrorClass, QueueDepth, SourceError};
use fetch_etl_sqs::{Queue, Redrive, SqsConfig, Tally};
use indicatif::{ProgressBar, ProgressStyle};
use tokio_util::sync::CancellationToken;

use crate::Outcome;
use crate::cli::RedriveArgs;
use crate::words::messages;

/// Receives in a row that bring nothing new, until the dead-letter queue counts as empty.
const QUIET_RECEIVES: u32 = 2;

/// Tries in a row after one that failed for a reason that may pass; the waits between double.
const MAX_RETRIES: u32 = 5;
const FIRST_WAIT: Duration = Duration::from_millis(500);

/// How often the queue is asked what is left, where its answer may be an old one.
const MAX_ASKED: u32 = 5;
const ASK_EACH: Duration = Duration::from_secs(1);

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
    let mut redrive = redrive.map_err(|error| queue::failure(&error))?;
    let told = |error: SourceError| Failure::failed(format!("{from}: {error}"));
    let there = redrive.depth().await.map_err(told)?;
    if args.dry_run {
        let there = there.map_or_else(|| "an unknown number of messages".to_owned(), held);
        return Ok(Outcome::done(format!("would send {there} from {from} to {to}\n")));
    }
    let there = there.map(total);
    // Not more than there were: what is rejected again comes back here, and would go round for ever.
    let limit = [args.limit, there].into_iter().flatten().min();
    let limit = limit.ok_or_else(|| {
        Failure::usage(format!(
            "how many messages {from} holds is not known (sqs:GetQueueAttributes is denied): set --limit, for what is \
             rejected again comes back there and would be sent for ever"
        ))
    })?;
    let stop = signals::cancel_on_signal()
        .map_err(|error| Failure::failed(format!("cannot listen for signals: {}", error.kind())))?;
    let mut shown = Shown::new(limit);
    let worked = work(&mut redrive, limit, &stop, &mut shown).await;
    shown.bar.finish_and_clear();
    let done = redrive.tally();
    let mut text = summary(done);
    let worked = match worked {
        Ok(()) => left(&redrive, there, &stop).await,
        Err(error) => Err(error),
    };
    let left = worked.map_err(|error| {
        report::print(&text);
        told(error).hint("run it again: it goes on with what is left")
    })?;
    if total(left) > 0 {
        let verb = if total(left) == 1 { "is" } else { "are" };
        let _ = writeln!(text, "{} {verb} left in {from}", held(left));
    }
    if stop.is_cancelled() {
        text.push_str("interrupted: run it again, and it goes on with what is left\n");
    }
    let as_asked = args.limit.is_some_and(|limit| done.sent >= limit);
    let complete =
        done.left == 0 && done.undeleted == 0 && !stop.is_cancelled() && (as_asked || total(left) == 0);
    Ok(Outcome { text, complete })
}

/// All that a queue holds. What is invisible now, such as what a killed redrive had received, is visible soon.
fn total(depth: QueueDepth) -> u64 {
    depth.visible + depth.in_flight + depth.delayed
}

/// "3 messages, 1 of them invisible for now".
fn held(depth: QueueDepth) -> String {
    let invisible = depth.in_flight + depth.delayed;
    let all = messages(total(depth));
    if invisible == 0 {
        return all;
    }
    format!("{all} ({} of them invisible for now)", report::grouped(invisible))
}

/// What the dead-letter queue holds in the end; nothing where it does not tell.
async fn left(
    redrive: &Redrive,
    there: Option<u64>,
    stop: &CancellationToken,
) -> Result<QueueDepth, SourceError> {
    let sent = redrive.tally().sent;
    let mut asked = 1;
    loop {
        let depth = redrive.depth().await?.unwrap_or_default();
        // SQS's numbers lag behind a little: what was just deleted may still be in them.
        let may_lag = there.is_some_and(|there| sent > 0 && sent >= there) && total(depth) > 0;
        if !may_lag || asked == MAX_ASKED || stop.is_cancelled() {
            return Ok(depth);
        }
        asked += 1;
        pause(ASK_EACH, stop).await;
    }
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

/// Moves messages until the queue is empty, the limit is reached, a stop is asked for, or a call fails for good.
async fn work(
    redrive: &mut Redrive,
    limit: u64,
    stop: &CancellationToken,
    shown: &mut Shown,
) -> Result<(), SourceError> {
    let (mut quiet, mut failed) = (0, 0);
    loop {
        let Tally { sent, left, .. } = redrive.tally();
        shown.note(sent);
        let room = limit.saturating_sub(sent + left);
        if room == 0 || quiet == QUIET_RECEIVES || stop.is_cancelled() {
            return Ok(());
        }
        match step(redrive, room, stop).await {
            Ok(true) => (quiet, failed) = (0, 0),
            // Nothing came, or only what stays here anyway.
            Ok(false) => (quiet, failed) = (quiet + 1, 0),
            Err(error) if error.class() == ErrorClass::Retryable && failed < MAX_RETRIES => {
                pause(FIRST_WAIT * (1 << failed), stop).await;
                failed += 1;
            }
            Err(error) => return Err(error),
        }
    }
}

/// Moves the messages of one receive; says whether any of them was new. A stop ends a receive that waits for messages: should
/// it have been given some, they are visible again when their lease ends.
async fn step(redrive: &mut Redrive, room: u64, stop: &CancellationToken) -> Result<bool, SourceError> {
    let max = usize::try_from(room.min(MAX_RECEIVE)).unwrap_or_default();
    let received = tokio::select! {
        biased;
        () = stop.cancelled() => return Ok(false),
        received = redrive.receive(max) => received?,
    };
    redrive.forward(received).await
}

/// Waits, but not longer than until a stop is asked for.
async fn pause(time: Duration, stop: &CancellationToken) {
    tokio::select! {
        () = stop.cancelled() => {}
        () = tokio::time::sleep(time) => {}
    }
}

/// How far it is: a bar on a terminal, else a sentence every few seconds.
struct Shown {
    /// Draws nothing where stderr is no terminal.
    bar: ProgressBar,
    limit: u64,
    told_at: Instant,
}

impl Shown {
    fn new(limit: u64) -> Self {
        // The template is a constant; were it wrong, the default style would do.
        let style = ProgressStyle::with_template("{bar:32} {human_pos} of {human_len} messages, {eta} left");
        let bar = ProgressBar::new(limit).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        Self { bar, limit, told_at: Instant::now() }
    }

    fn note(&mut self, sent: u64) {
        self.bar.set_position(sent);
        if !std::io::stderr().is_terminal() && self.told_at.elapsed() >= TELL_EACH {
            tell(&so_far(sent, self.limit));
            self.told_at = Instant::now();
        }
    }
}

fn summary(done: Tally) -> String {
    let mut text = format!("sent {}\n", messages(done.sent));
    if done.left > 0 {
        let _ = writeln!(
            text,
            "{} not sent, and left where they are: refused, or too large or with too many attributes to add ours",
            messages(done.left)
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
