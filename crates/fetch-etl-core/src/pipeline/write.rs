//! Writers: batches form while a write is under way, and each is written until its outcome is known.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use tokio::sync::{Mutex, mpsc};
use tokio::time::{Instant, sleep};
use tracing::{debug, info, warn};

use super::PipelineConfig;
use super::ack::Jobs;
use super::backoff::Backoff;
use super::calls::{Caller, Operation};
use super::context::Context;
use super::observer::EndedBatch;
use crate::batch::write_checked;
use crate::{
    Batch, ErrorClass, EventSchema, Masked, RejectReason, Settled, SinkError, Staged, Vault, WriteReport,
};

const SINK_PANICKED: &str = "the sink panicked, which is a bug of it";

/// What is staged and not yet in a batch. A group commit: whoever comes to write takes all that has gathered, up to the caps,
/// and an idle writer takes the first message at once.
pub(super) struct Inbox<R> {
    staged: mpsc::Receiver<Staged<R>>,
    /// What did not fit into the last batch.
    carry: Option<Batch<R>>,
}

/// The writers' shared inbox.
pub(super) type SharedInbox<R> = Arc<Mutex<Inbox<R>>>;

impl<R> Inbox<R> {
    pub(super) fn channel(capacity: usize) -> (mpsc::Sender<Staged<R>>, SharedInbox<R>) {
        let (sender, staged) = mpsc::channel(capacity.max(1));
        (sender, Arc::new(Mutex::new(Self { staged, carry: None })))
    }

    /// The next batch; `None` when the receivers are gone and everything is taken. Cancel-safe: nothing is taken off the
    /// channel before the last wait.
    async fn next_batch(&mut self, config: &PipelineConfig) -> Option<Batch<R>> {
        let mut gathered = match self.carry.take() {
            Some(carry) => carry,
            None => self.staged.recv().await?.batch,
        };
        let (mut messages, mut bytes) = (gathered.len(), gathered.body_bytes());
        let mut more = Vec::new();
        while messages < config.max_batch_rows && bytes < config.max_batch_bytes {
            let Ok(staged) = self.staged.try_recv() else { break };
            messages += staged.batch.len();
            bytes += staged.batch.body_bytes();
            more.push(staged.batch);
        }
        // Rows are large: each moves once, and none while the batch grows.
        gathered.reserve(more.iter().map(|batch| batch.rows().len()).sum());
        more.into_iter().for_each(|batch| gathered.append(batch));
        if gathered.len() <= config.max_batch_rows && bytes <= config.max_batch_bytes {
            return Some(gathered);
        }
        let batch = gathered.take_front(config.max_batch_rows, config.max_batch_bytes);
        self.carry = (!gathered.is_empty()).then_some(gathered);
        Some(batch)
    }
}

/// Writes until the receivers are gone and everything is settled or given back.
pub(super) async fn run<S: EventSchema>(ctx: Arc<Context<S>>, inbox: SharedInbox<S::Row>, jobs: Jobs) {
    let calls = ctx.stats.caller(Operation::Write);
    loop {
        let batch = inbox.lock().await.next_batch(&ctx.config).await;
        let Some(batch) = batch else { return };
        let taken_at = Instant::now();
        ctx.stats.batch_rows.note(batch.len() as u64);
        let ended = ctx.observer.is_some().then(|| EndedBatch::begin(&batch));
        let is_settled = settle(&ctx, Work::new(batch, &calls), &jobs).await;
        let took = taken_at.elapsed();
        ctx.stats.batch_time.note_time(took);
        if let Some((observer, ended)) = ctx.observer.as_ref().zip(ended) {
            observer.batch_ended(&EndedBatch { took, is_settled, ..ended });
        }
    }
}

/// Writes one batch, however long it takes, unless the pipeline is told to write no more; and says whether all of it is written.
async fn settle<S: EventSchema>(ctx: &Context<S>, mut work: Work<'_, S::Row>, jobs: &Jobs) -> bool {
    let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(3));
    let mut failing_since = None;
    while !ctx.stop.writing.is_cancelled() {
        drop_lost(ctx, &mut work);
        let result = tokio::select! {
            biased;
            () = ctx.stop.writing.cancelled() => break,
            result = work.advance(ctx) => result,
        };
        pass_on_settled(&mut work, jobs).await;
        match result {
            Ok(()) => break,
            Err(error) if error.class() == ErrorClass::Retryable => {
                if failing_since.is_none() {
                    failing_since = Some(Instant::now());
                    sink_went_down(ctx, &error);
                }
                ctx.stats.write_retries.add(1);
                ctx.stats.retries.add(Operation::Write, error.class());
                let wait = backoff.next();
                debug!(event = "write_retried", error = %error, code = ?error.code(), retry_in_ms = wait.as_millis() as u64);
                tokio::select! { () = sleep(wait) => {}, () = ctx.stop.writing.cancelled() => {} }
            }
            Err(error) => ctx.stop.sink_failed(&error),
        }
    }
    // Cut short, it may have settled some parts.
    pass_on_settled(&mut work, jobs).await;
    if let Some(since) = failing_since {
        sink_is_settled(ctx, since, work.wrote_any);
    }
    // The rest is left to the queue, but what somebody else has already.
    drop_lost(ctx, &mut work);
    let is_settled = work.lost == 0 && work.pending.iter().all(Batch::is_empty);
    let unwritten: Vec<_> = work.pending.into_iter().flat_map(Batch::into_returned).collect();
    if !unwritten.is_empty() {
        // A receive that is under way would be handed what goes back now, and each delivery counts towards the dead-letter queue.
        ctx.stop.received_all.cancelled().await;
        jobs.give_back_unwritten(unwritten).await;
    }
    is_settled
}

/// Tells the vault what it has now. With duplicates among the rows, or persons who were erased, nobody knows which entries were kept, so
/// none counts; the next message with such a value brings it again.
fn note_kept<R>(part: &Batch<R>, report: WriteReport, vault: Option<&dyn Vault>) {
    let Some(vault) = vault.filter(|_| report.erased == 0 && report.duplicates == 0) else { return };
    let entries: Vec<_> = part.rows().iter().flat_map(Masked::vault_entries).collect();
    if !entries.is_empty() {
        vault.stored(&entries);
    }
}

async fn pass_on_settled<R>(work: &mut Work<'_, R>, jobs: &Jobs) {
    for settled in work.settled.drain(..) {
        jobs.settle(settled).await;
    }
}

fn drop_lost<S: EventSchema>(ctx: &Context<S>, work: &mut Work<'_, S::Row>) {
    let lost: usize = work.pending.iter_mut().map(Batch::drop_lost).sum();
    work.lost += lost;
    ctx.stats.lost(lost);
    ctx.permits.release(lost);
}

fn sink_went_down<S: EventSchema>(ctx: &Context<S>, error: &SinkError) {
    if ctx.sink_gate.shut() {
        ctx.stats.set_sink_down(true);
        warn!(
            event = "sink_unavailable", error = %error, code = ?error.code(),
            "cannot write; receiving is paused, leases are kept, writing is tried again until it works"
        );
    }
}

fn sink_is_settled<S: EventSchema>(ctx: &Context<S>, since: Instant, recovered: bool) {
    if !ctx.sink_gate.open() {
        return;
    }
    // Where all that was to be written was lost meanwhile, only the next write will tell.
    ctx.stats.set_sink_down(false);
    if recovered {
        info!(event = "sink_recovered", down_s = since.elapsed().as_secs_f64(), "writing works again");
    }
}

/// A batch on its way: parts still to write, the next one last, and what is settled already.
///
/// Where the sink says that a row is to blame, the part is halved until that row is alone, and it becomes a reject: k bad rows
/// among n cost O(k·log n) writes, and nothing but themselves.
struct Work<'c, R> {
    calls: &'c Caller,
    pending: Vec<Batch<R>>,
    settled: Vec<Settled>,
    wrote_any: bool,
    /// Messages whose lease was lost on the way.
    lost: usize,
}

impl<'c, R: Send + Sync + 'static> Work<'c, R> {
    fn new(batch: Batch<R>, calls: &'c Caller) -> Self {
        Self { calls, pending: vec![batch], settled: Vec::new(), wrote_any: false, lost: 0 }
    }

    /// Writes part after part. Cancel-safe: a part leaves `pending` only when its outcome is known.
    async fn advance<S: EventSchema<Row = R>>(&mut self, ctx: &Context<S>) -> Result<(), SinkError> {
        while let Some(part) = self.pending.last() {
            if part.is_empty() {
                self.pending.pop();
                continue;
            }
            ctx.stats.writes.add(1);
            // A panic is kept to the sink, so that its batch can be given back.
            let writing = AssertUnwindSafe(write_checked(&*ctx.sink, part)).catch_unwind();
            let asked_at = Instant::now();
            let call = self.calls.begin();
            let result =
                writing.await.unwrap_or_else(|_| Err(SinkError::new(ErrorClass::Fatal, SINK_PANICKED)));
            drop(call);
            let error = match result {
                Ok(report) => {
                    let took = asked_at.elapsed();
                    ctx.stats.commit_time.note_time(took);
                    if let Some(observer) = &ctx.observer {
                        observer.committed(took);
                    }
                    self.wrote(report, ctx);
                    continue;
                }
                Err(error) => error,
            };
            ctx.stats.failures.add(Operation::Write, error.class());
            if error.class() != ErrorClass::BadRow {
                return Err(error);
            }
            ctx.stats.retries.add(Operation::Write, ErrorClass::BadRow);
            self.isolate(&error, ctx)?;
        }
        Ok(())
    }

    fn wrote<S: EventSchema<Row = R>>(&mut self, report: WriteReport, ctx: &Context<S>) {
        let Some(part) = self.pending.pop() else { return };
        self.wrote_any = true;
        note_kept(&part, report, ctx.stager.vault());
        for sealed in part.rejects().iter().filter(|reject| reject.sealed().is_some()) {
            ctx.stats.count_quarantined(sealed.reject().reason);
        }
        let settled = part.settle(report);
        ctx.stats.stored(report, settled.quarantined, settled.committed.len());
        self.settled.push(settled);
    }

    fn isolate<S: EventSchema<Row = R>>(
        &mut self,
        error: &SinkError,
        ctx: &Context<S>,
    ) -> Result<(), SinkError> {
        let Some(mut part) = self.pending.pop() else { return Ok(()) };
        match part.rows().len() {
            0 => {
                // Trying again would not end.
                self.pending.push(part);
                let text = format!("the sink blames a row of a batch without rows: {error}");
                return Err(SinkError::new(ErrorClass::Fatal, text).with_code(error.code()));
            }
            1 => {
                part.refuse_rows(error.code(), ctx.stager.sealer());
                ctx.stats.count_rejected(RejectReason::RefusedBySink);
                ctx.note_left_in_queue(part.rejects());
                warn!(event = "row_refused", error = %error, code = ?error.code(), "the sink refused a row; it goes to the quarantine");
                self.pending.push(part);
            }
            _ => {
                let (first, second) = part.split();
                self.pending.extend([second, first]);
            }
        }
        Ok(())
    }
}
