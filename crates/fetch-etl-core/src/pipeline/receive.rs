//! Receivers: one while it is quiet, more while receives come back full.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use tokio::sync::mpsc::{self, error::SendError};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};
use tracing::{debug, warn};

use super::ack::Jobs;
use super::backoff::Backoff;
use super::calls::{Caller, Operation};
use super::context::Context;
use crate::stage::unusable_key;
use crate::{Delivery, ErrorClass, EventSchema, SourceError, Staged};

/// How long a receive under way may still go on once the pipeline is told to stop: messages that the queue has just handed out
/// should reach us and be returned, rather than stay invisible. An idle worker's long poll is dropped after it.
const SETTLE: Duration = Duration::from_secs(1);

/// A receive that brings nothing in less than this did not wait for messages.
const SHORT_POLL: Duration = Duration::from_millis(100);

type Output<R> = mpsc::Sender<Staged<R>>;

/// Receives until it is told to stop. Returns when the last receiver has ended.
pub(super) async fn run<S: EventSchema + 'static>(ctx: Arc<Context<S>>, output: Output<S::Row>, jobs: Jobs) {
    let (grow, mut grown) = mpsc::channel(1);
    let active = Arc::new(AtomicUsize::new(1));
    let spawn = |tasks: &mut JoinSet<()>| {
        let receiver = Receiver {
            ctx: ctx.clone(),
            output: output.clone(),
            jobs: jobs.clone(),
            grow: grow.clone(),
            active: active.clone(),
            calls: ctx.stats.caller(Operation::Receive),
        };
        tasks.spawn(receiver.run());
    };
    let mut tasks = JoinSet::new();
    spawn(&mut tasks);
    loop {
        ctx.stats.set_receivers(tasks.len());
        tokio::select! {
            Some(()) = grown.recv() => {
                let room = ctx.permits.has_room_for(ctx.limits.max_receive);
                if room && active.load(SeqCst) < ctx.config.max_receivers && !ctx.stop.receiving.is_cancelled() {
                    active.fetch_add(1, SeqCst);
                    spawn(&mut tasks);
                }
            }
            ended = tasks.join_next() => match ended {
                Some(Ok(())) => {}
                // The others are to end by themselves: an aborted receive would leave messages invisible.
                Some(Err(_)) => ctx.stop.part_panicked(),
                None => return ctx.stop.received_all.cancel(),
            },
        }
    }
}

/// What a source must not give. Nothing of such a receive is touched: its messages come back when their leases end.
fn broken_contract(given: &[Delivery], asked: usize) -> Option<String> {
    if given.len() > asked {
        return Some(format!("asked for {asked} messages, it gave {}", given.len()));
    }
    // The id is a message's key where no attribute states one, and a reject's key of last resort: no outcome of such a message
    // could be stored.
    let problem = given.iter().find_map(|delivery| unusable_key(&delivery.id))?;
    Some(format!("the id that it gave a message cannot be a key: {problem}"))
}

struct Receiver<S: EventSchema> {
    ctx: Arc<Context<S>>,
    output: Output<S::Row>,
    jobs: Jobs,
    grow: mpsc::Sender<()>,
    active: Arc<AtomicUsize>,
    calls: Arc<Caller>,
}

impl<S: EventSchema + 'static> Receiver<S> {
    async fn run(self) {
        let mut retry = Backoff::new(Duration::from_millis(100), Duration::from_secs(10));
        let mut idle = Backoff::new(Duration::from_millis(20), Duration::from_secs(1));
        while let Some(taken) = self.wait_for_permits().await {
            let asked_at = Instant::now();
            let received = self.receive(taken).await;
            let used = received.as_ref().map_or(0, |result| result.as_ref().map_or(0, Vec::len));
            let broken = received.as_ref().and_then(|result| broken_contract(result.as_ref().ok()?, taken));
            if let Some(how) = broken {
                return self.ctx.stop.source_failed(format!("the source broke its contract: {how}"));
            }
            self.ctx.permits.occupy(taken, used);
            match received {
                None => break,
                Some(Ok(deliveries)) => {
                    retry.reset();
                    self.ctx.stats.set_source_down(false);
                    self.pass_on(deliveries).await;
                    if used > 0 {
                        idle.reset();
                    } else if asked_at.elapsed() < SHORT_POLL {
                        self.pause(idle.next()).await;
                    }
                    if used == taken {
                        let _ = self.grow.try_send(());
                    } else if used == 0 && self.may_end() {
                        return;
                    }
                }
                Some(Err(error)) => self.failed(&error, &mut retry).await,
            }
        }
        self.active.fetch_sub(1, SeqCst);
    }

    /// Waits until the sink works and there is room for a whole receive. `None` means stop.
    async fn wait_for_permits(&self) -> Option<usize> {
        let ready = async {
            self.ctx.sink_gate.opened().await;
            self.ctx.permits.acquire(self.ctx.limits.max_receive).await
        };
        tokio::select! {
            biased;
            () = self.ctx.stop.receiving.cancelled() => None,
            taken = ready => Some(taken),
        }
    }

    /// One receive; `None` when it was given up because the pipeline stops.
    async fn receive(&self, max: usize) -> Option<Result<Vec<Delivery>, SourceError>> {
        let give_up = async {
            self.ctx.stop.receiving.cancelled().await;
            // Also when nothing more is written: what is handed out now is to be given back.
            sleep(SETTLE.min(self.ctx.config.shutdown_grace / 2)).await;
        };
        self.ctx.stats.receives.add(1);
        let _call = self.calls.begin();
        tokio::select! {
            biased;
            result = self.ctx.source.receive(max) => Some(result),
            () = give_up => None,
        }
    }

    async fn pass_on(&self, deliveries: Vec<Delivery>) {
        let ctx = &self.ctx;
        ctx.stats.took(deliveries.len());
        if let Some(until_empty) = &ctx.until_empty {
            until_empty.received(&deliveries);
        }
        if deliveries.is_empty() {
            return self.end_if_drained();
        }
        let staged = ctx.stager.stage(deliveries);
        ctx.stats.unknown_fields.add(staged.unknown_fields);
        ctx.stats.non_canonical.add(staged.non_canonical);
        for rejected in staged.batch.rejects() {
            ctx.stats.count_rejected(rejected.reject().reason);
            debug!(event = "message_rejected", reason = %rejected.reject(), attempt = rejected.attempt());
        }
        ctx.note_left_in_queue(staged.batch.rejects());
        ctx.leases.watch(&staged.group);
        // Fails only when the writers are gone, which ends the pipeline.
        if let Err(SendError(staged)) = self.output.send(staged).await {
            self.jobs.give_back_unwritten(staged.batch.into_returned()).await;
        }
        self.end_if_drained();
    }

    fn end_if_drained(&self) {
        let Some(until_empty) = &self.ctx.until_empty else { return };
        if until_empty.is_quiet() && self.ctx.permits.in_flight() == 0 {
            self.ctx.stop.receiving.cancel();
        }
    }

    /// Whether this receiver is one too many; the last one stays.
    fn may_end(&self) -> bool {
        self.active.fetch_update(SeqCst, SeqCst, |active| (active > 1).then(|| active - 1)).is_ok()
    }

    async fn failed(&self, error: &SourceError, retry: &mut Backoff) {
        self.ctx.stats.set_source_down(true);
        self.ctx.stats.failures.add(Operation::Receive, error.class());
        if error.class() != ErrorClass::Retryable {
            return self.ctx.stop.source_failed(format!("cannot receive: {error}"));
        }
        self.ctx.stats.receive_retries.add(1);
        self.ctx.stats.retries.add(Operation::Receive, error.class());
        let wait = retry.next();
        warn!(event = "receive_failed", error = %error, retry_in_ms = wait.as_millis() as u64, "cannot receive; trying again");
        self.pause(wait).await;
    }

    async fn pause(&self, time: Duration) {
        tokio::select! { () = sleep(time) => {}, () = self.ctx.stop.receiving.cancelled() => {} }
    }
}
