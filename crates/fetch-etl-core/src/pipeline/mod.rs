//! The pipeline: receive, stage, write, ack.
//!
//! ```text
//! receivers (adaptive) ──▶ stage: decode + mask ──bounded channel──▶ writers ──▶ ackers
//!      ▲ a permit per message in flight     rejects travel with the rows          │
//!      └───────── heartbeat renews the leases of everything not yet settled ◀─────┘
//! ```
//!
//! - **Backpressure** is structural: a permit is taken for a message before it is received and freed when it is acked or
//!   returned, so that memory is bounded by [`PipelineConfig::max_in_flight`], whatever the backlog.
//! - **Batches** form as in a group commit: what gathers while a write is under way is the next batch. No linger.
//! - **The sink down**: receiving pauses, leases are kept, the write is tried again with backoff until it works.
//! - **A stop** receives nothing more, writes and acks what is here, gives the rest back, and takes at most
//!   [`PipelineConfig::shutdown_grace`].

mod ack;
mod backoff;
mod calls;
mod config;
mod context;
mod heartbeat;
mod histogram;
mod observer;
mod receive;
mod stats;
mod until_empty;
mod write;

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout_at};
use tokio_util::sync::CancellationToken;
use tracing::warn;

pub use calls::Operation;
pub use config::PipelineConfig;
pub use heartbeat::PARALLEL_EXTENDS;
pub use histogram::{Histogram, HistogramSnapshot};
pub use observer::{EndedBatch, Observer};
pub use stats::{Counter, ReturnCause, Stats, Summary};

use crate::{EventSchema, Masker, MessageSource, Sealer, Sink, SinkCode, Stager, Vault};
use ack::Jobs;
use context::{Cause, Context};
use until_empty::UntilEmpty;
use write::Inbox;

/// Moves messages from a source to a sink.
///
/// ```no_run
/// # use std::sync::Arc;
/// # use fetch_etl_core::{Masker, MessageSource, Sink, login::{LoginRow, LoginSchema}};
/// # use fetch_etl_core::pipeline::{Pipeline, PipelineConfig};
/// # use tokio_util::sync::CancellationToken;
/// # async fn example(source: Arc<dyn MessageSource>, masker: Arc<dyn Masker>, sink: Arc<dyn Sink<LoginRow>>) {
/// let pipeline = Pipeline::new(PipelineConfig::default(), source, LoginSchema, masker, sink);
/// let stop = CancellationToken::new();
/// match pipeline.run(stop).await {
///     Ok(summary) => println!("{summary}"),
///     Err(error) => eprintln!("{error}; until then: {}", error.summary),
/// }
/// # }
/// ```
pub struct Pipeline<S: EventSchema> {
    config: PipelineConfig,
    source: Arc<dyn MessageSource>,
    stager: Stager<S>,
    sink: Arc<dyn Sink<S::Row>>,
    stats: Arc<Stats>,
    observer: Option<Arc<dyn Observer>>,
}

/// Why a pipeline ended by itself, and what it did until then.
#[derive(Debug, thiserror::Error)]
#[error("{cause}")]
pub struct PipelineError {
    /// What failed; no value of a message.
    pub cause: String,
    /// The sink's own code, where it was the sink that failed and it has one.
    pub code: Option<SinkCode>,
    /// What was done until then. What was in flight went back to the queue.
    pub summary: Summary,
}

/// The part of the shutdown grace that is kept for giving back what could not be written: a fifth, at most five seconds.
fn reserve_for_returning(grace: Duration) -> Duration {
    (grace / 5).min(Duration::from_secs(5))
}

impl<S: EventSchema + 'static> Pipeline<S> {
    /// A pipeline; nothing happens before [`run`](Self::run).
    pub fn new(
        config: PipelineConfig,
        source: Arc<dyn MessageSource>,
        schema: S,
        masker: Arc<dyn Masker>,
        sink: Arc<dyn Sink<S::Row>>,
    ) -> Self {
        let stager = Stager::new(schema, masker);
        Self { config, source, stager, sink, stats: Arc::default(), observer: None }
    }

    /// Seals the bodies of rejected messages into the quarantine and deletes the messages, instead of leaving them in the queue
    /// for its dead-letter policy.
    #[must_use]
    pub fn with_sealer(mut self, sealer: Arc<dyn Sealer>) -> Self {
        self.stager = self.stager.with_sealer(Some(sealer));
        self
    }

    /// Keeps first-seen values in a vault, sealed to those who may have them back.
    #[must_use]
    pub fn with_vault(mut self, vault: Arc<dyn Vault>) -> Self {
        self.stager = self.stager.with_vault(Some(vault));
        self
    }

    /// Goes on counting where an earlier pipeline, which has ended, stopped.
    #[must_use]
    pub fn with_stats(mut self, stats: Arc<Stats>) -> Self {
        self.stats = stats;
        self
    }

    /// Tells somebody of each batch.
    #[must_use]
    pub fn with_observer(mut self, observer: Arc<dyn Observer>) -> Self {
        self.observer = Some(observer);
        self
    }

    /// The live counters.
    pub fn stats(&self) -> Arc<Stats> {
        self.stats.clone()
    }

    /// Runs until `shutdown` is cancelled, or the queue is empty where the configuration says so. When it returns, everything
    /// received is settled: stored and deleted, or given back. (Past the grace, what is left comes back after its lease;
    /// [`Summary::in_flight`] says how much.)
    ///
    /// Dropping the future stops everything at once, as a crash would: nothing is lost, leases run out.
    ///
    /// # Errors
    /// The source or the sink failed in a way that does not pass by itself, or a part that was plugged in panicked. What was in the
    /// hands of a part that panicked may stay in flight ([`Summary::in_flight`]) and comes back when its lease ends.
    pub async fn run(self, shutdown: CancellationToken) -> Result<Summary, PipelineError> {
        let ctx = Arc::new(Context::new(self));
        ctx.stats.watch(&ctx.leases);
        let heartbeat = async {
            // Without it leases run out, so everything goes back while they last.
            if AssertUnwindSafe(heartbeat::run(&ctx)).catch_unwind().await.is_err() {
                ctx.stop.part_panicked();
            }
            std::future::pending::<()>().await;
        };
        tokio::select! {
            () = heartbeat => {}
            () = work_and_stop(&ctx, shutdown) => {}
        }
        ctx.stats.set_receivers(0);
        let mut summary = ctx.stats.summary();
        summary.left_in_queue = ctx.until_empty.as_ref().map_or(0, UntilEmpty::messages_left);
        match ctx.stop.cause() {
            Some(Cause { text, code }) => Err(PipelineError { cause: text, code, summary }),
            None => Ok(summary),
        }
    }
}

/// Runs the tasks until all have ended, or until the deadline that a stop sets.
async fn work_and_stop<S: EventSchema + 'static>(ctx: &Arc<Context<S>>, shutdown: CancellationToken) {
    let mut tasks = Box::pin(run_tasks(ctx.clone()));
    tokio::select! {
        () = &mut tasks => return,
        () = shutdown.cancelled() => {}
        () = ctx.stop.receiving.cancelled() => {}
    }
    ctx.stop.receiving.cancel();
    let deadline = Instant::now() + ctx.config.shutdown_grace;
    let stop_writing_at = deadline - reserve_for_returning(ctx.config.shutdown_grace);
    tokio::select! {
        () = &mut tasks => return,
        () = sleep_until(stop_writing_at) => {}
    }
    warn!(
        event = "shutdown_gives_back",
        messages = ctx.permits.in_flight(),
        "the grace is nearly over; giving back what is not written"
    );
    ctx.stop.writing.cancel();
    if timeout_at(deadline, tasks).await.is_err() {
        warn!(
            event = "shutdown_incomplete",
            messages = ctx.permits.in_flight(),
            "the grace is over; the rest comes back when its leases end"
        );
    }
}

/// Receivers, writers and ackers; each stage ends when the one before it has ended and everything is passed on.
async fn run_tasks<S: EventSchema + 'static>(ctx: Arc<Context<S>>) {
    // Permits bound what is in the channels; their own bound only has to be out of the way, so that a batch can gather and
    // a writer need not wait for acks.
    let (staged, inbox) = Inbox::channel(ctx.config.max_in_flight);
    let (jobs, queue) = Jobs::channel(ctx.config.max_in_flight, ctx.limits.max_batch);
    let ackers = ctx.config.max_receivers.max(1);
    let mut tasks = JoinSet::new();
    tasks.spawn(receive::run(ctx.clone(), staged, jobs.clone()));
    for _ in 0..ctx.config.writers.max(1) {
        tasks.spawn(write::run(ctx.clone(), inbox.clone(), jobs.clone()));
    }
    // The channels close when their last user has ended; these would keep them open.
    drop((inbox, jobs));
    for _ in 0..ackers {
        tasks.spawn(ack::run(ctx.clone(), queue.clone()));
    }
    while let Some(ended) = tasks.join_next().await {
        if ended.is_err() {
            ctx.stop.part_panicked();
        }
    }
}
