//! Ackers: what is written is acked, what is not goes back, in batches as large as the source takes.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Mutex, mpsc};
use tokio::time::sleep;
use tracing::{debug, warn};

use super::backoff::{Backoff, reject_delay};
use super::calls::{Caller, Operation};
use super::context::Context;
use super::stats::ReturnCause;
use crate::{AckFailure, Committed, ErrorClass, EventSchema, Returned, Settled, SettledReject};

/// How often an ack is tried. What still is not acked then comes back after its lease and counts as a duplicate.
const ATTEMPTS: u32 = 6;

/// One call to the source.
pub(super) enum Job {
    Ack(Vec<Committed>),
    Return(Vec<Returned>, Duration, ReturnCause),
}

/// Where writers put what is to be acked or returned.
#[derive(Clone)]
pub(super) struct Jobs {
    sender: mpsc::Sender<Job>,
    max_batch: usize,
}

/// The ackers' end of [`Jobs`].
pub(super) type JobQueue = Arc<Mutex<mpsc::Receiver<Job>>>;

impl Jobs {
    pub(super) fn channel(capacity: usize, max_batch: usize) -> (Self, JobQueue) {
        let (sender, receiver) = mpsc::channel(capacity.max(1));
        (Self { sender, max_batch: max_batch.max(1) }, Arc::new(Mutex::new(receiver)))
    }

    /// Acks what is committed and gives rejects back, each with the delay of its attempt.
    pub(super) async fn settle(&self, settled: Settled) {
        for batch in chunks(settled.committed, self.max_batch) {
            self.send(Job::Ack(batch)).await;
        }
        let mut by_delay = BTreeMap::<Duration, Vec<Returned>>::new();
        for SettledReject { attempt, returned, .. } in settled.rejected {
            by_delay.entry(reject_delay(attempt)).or_default().push(returned);
        }
        for (delay, returned) in by_delay {
            self.give_back(returned, delay, ReturnCause::Rejected).await;
        }
    }

    /// Gives back what could not be written.
    pub(super) async fn give_back_unwritten(&self, returned: Vec<Returned>) {
        self.give_back(returned, Duration::ZERO, ReturnCause::NotWritten).await;
    }

    async fn give_back(&self, returned: Vec<Returned>, delay: Duration, cause: ReturnCause) {
        for batch in chunks(returned, self.max_batch) {
            self.send(Job::Return(batch, delay, cause)).await;
        }
    }

    async fn send(&self, job: Job) {
        // Fails only when the ackers are gone, past the deadline; the leases run out then.
        let _ = self.sender.send(job).await;
    }
}

fn chunks<T>(mut items: Vec<T>, size: usize) -> impl Iterator<Item = Vec<T>> {
    std::iter::from_fn(move || {
        if items.is_empty() {
            return None;
        }
        // From the back, so that nothing is moved but the chunk itself.
        Some(items.split_off(items.len().saturating_sub(size)))
    })
}

/// Works until the writers are gone and the queue is empty.
pub(super) async fn run<S: EventSchema>(ctx: Arc<Context<S>>, jobs: JobQueue) {
    let (acks, nacks) = (ctx.stats.caller(Operation::Ack), ctx.stats.caller(Operation::Nack));
    loop {
        let job = jobs.lock().await.recv().await;
        match job {
            None => return,
            Some(Job::Ack(committed)) => ack(&ctx, &acks, committed).await,
            Some(Job::Return(returned, delay, cause)) => {
                let call = nacks.begin();
                give_back(&ctx, returned, delay, cause).await;
                drop(call);
            }
        }
    }
}

async fn ack<S: EventSchema>(ctx: &Context<S>, calls: &Caller, committed: Vec<Committed>) {
    let all = committed.len();
    let mut pending = committed;
    let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(5));
    for attempt in 1..=ATTEMPTS {
        pending.iter().for_each(Committed::settling);
        let call = calls.begin();
        let outcome = ctx.source.ack(pending).await;
        drop(call);
        let AckFailure { error, unacked } = match outcome {
            Ok(()) => {
                pending = Vec::new();
                break;
            }
            Err(failure) => failure,
        };
        ctx.stats.failures.add(Operation::Ack, error.class());
        pending = unacked;
        pending.iter().for_each(Committed::still_held);
        let give_up =
            attempt == ATTEMPTS || error.class() != ErrorClass::Retryable || ctx.stop.writing.is_cancelled();
        if give_up {
            warn!(
                event = "ack_failed", messages = pending.len(), error = %error,
                "cannot delete messages whose rows are stored; they will come back and be counted as duplicates"
            );
            break;
        }
        ctx.stats.retries.add(Operation::Ack, error.class());
        debug!(event = "ack_retried", messages = pending.len(), error = %error);
        tokio::select! { () = sleep(backoff.next()) => {}, () = ctx.stop.writing.cancelled() => {} }
    }
    // What is given up is not ours to keep any more.
    pending.iter().for_each(Committed::settling);
    ctx.stats.acked.add((all - pending.len()) as u64);
    ctx.stats.ack_failures.add(pending.len() as u64);
    ctx.permits.release(all);
}

async fn give_back<S: EventSchema>(
    ctx: &Context<S>,
    returned: Vec<Returned>,
    delay: Duration,
    cause: ReturnCause,
) {
    let messages = returned.len();
    returned.iter().for_each(Returned::settling);
    if let Err(error) = ctx.source.nack(returned, delay).await {
        ctx.stats.failures.add(Operation::Nack, error.class());
        warn!(event = "nack_failed", messages, error = %error, "cannot give messages back; they come back when their lease ends");
    }
    ctx.stats.gave_back(messages, cause);
    ctx.permits.release(messages);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_hold_everything_once_and_never_too_much() {
        for (items, size, lengths) in
            [(0, 10, vec![]), (10, 10, vec![10]), (23, 10, vec![10, 10, 3]), (3, 1, vec![1, 1, 1])]
        {
            let chunks: Vec<_> = chunks((0..items).collect(), size).collect();
            assert_eq!(chunks.iter().map(Vec::len).collect::<Vec<_>>(), lengths);
            let mut all = chunks.concat();
            all.sort_unstable();
            assert_eq!(all, (0..items).collect::<Vec<_>>());
        }
    }
}
