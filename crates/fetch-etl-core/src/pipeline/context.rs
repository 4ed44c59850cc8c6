use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, OnceLock};

use tokio::sync::{Semaphore, watch};
use tokio_util::sync::CancellationToken;

use super::heartbeat::Leases;
use super::until_empty::UntilEmpty;
use super::{Observer, Pipeline, PipelineConfig, Stats};
use crate::{EventSchema, MessageSource, Rejected, Sink, SinkCode, SinkError, SourceLimits, Stager};

/// What all tasks of one pipeline share.
pub(super) struct Context<S: EventSchema> {
    pub(super) config: PipelineConfig,
    pub(super) limits: SourceLimits,
    pub(super) source: Arc<dyn MessageSource>,
    pub(super) stager: Stager<S>,
    pub(super) sink: Arc<dyn Sink<S::Row>>,
    pub(super) stats: Arc<Stats>,
    pub(super) observer: Option<Arc<dyn Observer>>,
    pub(super) leases: Arc<Leases>,
    pub(super) permits: Permits,
    pub(super) sink_gate: SinkGate,
    pub(super) until_empty: Option<UntilEmpty>,
    pub(super) stop: Stop,
}

impl<S: EventSchema> Context<S> {
    pub(super) fn new(pipeline: Pipeline<S>) -> Self {
        let Pipeline { config, source, stager, sink, stats, observer } = pipeline;
        Self {
            limits: source.limits(),
            source,
            stager,
            sink,
            stats,
            observer,
            leases: Arc::default(),
            permits: Permits::new(config.max_in_flight),
            sink_gate: SinkGate::new(),
            until_empty: config.until_empty.then(UntilEmpty::default),
            stop: Stop::new(),
            config,
        }
    }

    /// Notes which rejects stay in the queue, for whoever waits until it is empty.
    pub(super) fn note_left_in_queue(&self, rejects: &[Rejected]) {
        if let Some(until_empty) = &self.until_empty {
            until_empty.left(rejects.iter().filter(|rejected| rejected.sealed().is_none()));
        }
    }
}

/// One permit for each message in flight: memory is bounded by their number.
pub(super) struct Permits {
    semaphore: Semaphore,
    total: usize,
    in_flight: AtomicUsize,
}

impl Permits {
    pub(super) fn new(total: usize) -> Self {
        let total = total.clamp(1, Semaphore::MAX_PERMITS);
        Self { semaphore: Semaphore::new(total), total, in_flight: AtomicUsize::new(0) }
    }

    /// Waits for `wanted` permits (or all there are, if that is less) and says how many it took.
    pub(super) async fn acquire(&self, wanted: usize) -> usize {
        let wanted = wanted.min(self.total);
        let wanted_u32 = u32::try_from(wanted).unwrap_or(u32::MAX);
        // The semaphore is never closed, so this cannot fail; 0 permits would only mean a receive of nothing.
        self.semaphore.acquire_many(wanted_u32).await.map_or(0, |permits| {
            permits.forget();
            wanted
        })
    }

    /// Whether a further receiver would find permits at once.
    pub(super) fn has_room_for(&self, wanted: usize) -> bool {
        self.semaphore.available_permits() >= wanted
    }

    /// Of `taken` permits, `used` stand for messages now; the others are free again.
    pub(super) fn occupy(&self, taken: usize, used: usize) {
        self.in_flight.fetch_add(used, SeqCst);
        self.semaphore.add_permits(taken - used);
    }

    /// `settled` messages are not in flight any more.
    pub(super) fn release(&self, settled: usize) {
        self.in_flight.fetch_sub(settled, SeqCst);
        self.semaphore.add_permits(settled);
    }

    pub(super) fn in_flight(&self) -> usize {
        self.in_flight.load(SeqCst)
    }
}

/// The breaker between sink and receivers: closed to receives while any writer cannot write, so that good messages do not
/// burn their redrive count on a database that is down.
pub(super) struct SinkGate(watch::Sender<usize>);

impl SinkGate {
    pub(super) fn new() -> Self {
        Self(watch::Sender::new(0))
    }

    /// A writer fails; true if it is the first one.
    pub(super) fn shut(&self) -> bool {
        let mut first = false;
        self.0.send_modify(|failing| {
            first = *failing == 0;
            *failing += 1;
        });
        first
    }

    /// A writer that failed got through or gave up; true if it was the last one.
    pub(super) fn open(&self) -> bool {
        let mut last = false;
        self.0.send_modify(|failing| {
            *failing -= 1;
            last = *failing == 0;
        });
        last
    }

    pub(super) async fn opened(&self) {
        // Nearly always so; a subscription is not free.
        if *self.0.borrow() == 0 {
            return;
        }
        // Fails only when the sender is gone, and we hold it.
        let _ = self.0.subscribe().wait_for(|&failing| failing == 0).await;
    }
}

/// The two stages of a stop, and its cause.
pub(super) struct Stop {
    /// Receive nothing more, finish what is here.
    pub(super) receiving: CancellationToken,
    /// Write nothing more either, give everything back.
    pub(super) writing: CancellationToken,
    /// The last receive has ended.
    pub(super) received_all: CancellationToken,
    cause: OnceLock<Cause>,
}

/// Why a pipeline ends by itself.
#[derive(Clone)]
pub(super) struct Cause {
    pub(super) text: String,
    pub(super) code: Option<SinkCode>,
}

const PANICKED: &str = "a task panicked; this is a bug of the source, schema, masker or sink that was plugged in, or of this crate";

impl Stop {
    pub(super) fn new() -> Self {
        Self {
            receiving: CancellationToken::new(),
            writing: CancellationToken::new(),
            received_all: CancellationToken::new(),
            cause: OnceLock::new(),
        }
    }

    /// The source is of no more use; what is in flight can still be written.
    pub(super) fn source_failed(&self, text: String) {
        // Only the first cause is told; what fails after it may be its consequence.
        let _ = self.cause.set(Cause { text, code: None });
        self.receiving.cancel();
    }

    /// The sink is of no more use: everything goes back.
    pub(super) fn sink_failed(&self, error: &SinkError) {
        self.give_up(Cause { text: format!("cannot write: {error}"), code: error.code() });
    }

    /// A task is gone: everything else goes back.
    pub(super) fn part_panicked(&self) {
        self.give_up(Cause { text: PANICKED.to_owned(), code: None });
    }

    fn give_up(&self, cause: Cause) {
        let _ = self.cause.set(cause);
        self.receiving.cancel();
        self.writing.cancel();
    }

    pub(super) fn cause(&self) -> Option<Cause> {
        self.cause.get().cloned()
    }
}
