mod state;

use std::collections::HashMap;
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use fetch_etl_core::{
    AckFailure, Committed, Delivery, ExtendOutcome, Held, MessageSource, QueueDepth, Returned, SourceError,
    SourceLimits, TraceParent, UnixMillis,
};
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::Fault;
use crate::faults::{Course, Script};
use state::State;

/// How an [`InMemorySource`] behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SourceSettings {
    /// The visibility timeout. Default 30 s.
    pub lease: Duration,
    /// How long a receive waits for a message. Default 100 ms, so that draining a queue on a running clock is quick.
    pub wait: Duration,
    /// Most messages of one receive. Default 10.
    pub max_receive: usize,
    /// Most entries of one ack, nack or extend. Default 10.
    pub max_batch: usize,
    /// How long one delivery can be held in all. Default 12 h.
    pub max_hold: Duration,
    /// Whether [`depth`](MessageSource::depth) tells. Default true.
    pub tells_depth: bool,
}

impl Default for SourceSettings {
    fn default() -> Self {
        Self {
            lease: Duration::from_secs(30),
            wait: Duration::from_millis(100),
            max_receive: 10,
            max_batch: 10,
            max_hold: Duration::from_secs(12 * 60 * 60),
            tells_depth: true,
        }
    }
}

/// A message to be sent, with what a plain body does not say.
#[derive(Debug, Clone)]
pub struct Outgoing {
    /// The key that an attribute of the message states.
    pub key: Option<String>,
    /// When it was sent; `None` where the queue is one that does not know.
    pub sent_at: Option<UnixMillis>,
    /// The trace that its sender keeps of it.
    pub trace: Option<TraceParent>,
    /// How long it stays invisible at first.
    pub delay: Duration,
}

impl Default for Outgoing {
    fn default() -> Self {
        Self { key: None, sent_at: Some(UnixMillis::now()), trace: None, delay: Duration::ZERO }
    }
}

/// What a source is asked to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SourceOp {
    /// [`MessageSource::receive`]
    Receive,
    /// [`MessageSource::extend`]
    Extend,
    /// [`MessageSource::ack`]
    Ack,
    /// [`MessageSource::nack`]
    Nack,
    /// [`MessageSource::depth`]
    Depth,
}

/// A queue in memory that delivers at least once: visibility timeouts on tokio's clock (which a test may pause), receive
/// counts, redelivery when a lease ends, and faults on request.
///
/// A receipt that is not the newest of its message does nothing, and an ack with one succeeds all the same, as with SQS.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), fetch_etl_core::SourceError> {
/// use fetch_etl_core::{MessageSource, SourceError};
/// use fetch_etl_testing::{Fault, InMemorySource, SourceOp};
///
/// let source = InMemorySource::new();
/// source.send("{}");
/// source.next(SourceOp::Receive, Fault::Fail(SourceError::retryable("503")));
/// assert!(source.receive(10).await.is_err());
/// assert_eq!(source.receive(10).await?.len(), 1);
/// assert_eq!(source.left(), 1, "received, but not acked");
/// # Ok(()) }
/// ```
pub struct InMemorySource {
    settings: SourceSettings,
    inner: Mutex<Inner>,
    arrival: Notify,
}

#[derive(Default)]
struct Inner {
    state: State,
    scripts: HashMap<SourceOp, Script<SourceError>>,
    failing_entries: Option<(Vec<usize>, SourceError)>,
}

impl Default for InMemorySource {
    fn default() -> Self {
        Self::with(SourceSettings::default())
    }
}

impl InMemorySource {
    /// An empty queue with default settings.
    pub fn new() -> Self {
        Self::default()
    }

    /// An empty queue.
    pub fn with(settings: SourceSettings) -> Self {
        Self { settings, inner: Mutex::default(), arrival: Notify::new() }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sends a message and returns its id.
    pub fn send(&self, body: impl Into<Vec<u8>>) -> String {
        self.send_with(body, Outgoing::default())
    }

    /// Sends a message with more than a body, and returns its id.
    pub fn send_with(&self, body: impl Into<Vec<u8>>, outgoing: Outgoing) -> String {
        let id = self.inner().state.send(body.into(), outgoing, Instant::now());
        self.arrival.notify_waiters();
        id
    }

    /// How many messages there are, visible or not.
    pub fn left(&self) -> usize {
        self.inner().state.len()
    }

    /// The ids of the messages that there are, in the order in which they were sent.
    pub fn left_ids(&self) -> Vec<String> {
        self.inner().state.ids()
    }

    /// The ids of the messages that were acked, in the order in which they were.
    pub fn deleted(&self) -> Vec<String> {
        self.inner().state.deleted().to_vec()
    }

    /// Queues a fault: each call of `op` takes one, in order.
    pub fn next(&self, op: SourceOp, fault: Fault<SourceError>) {
        self.inner().scripts.entry(op).or_default().push(fault);
    }

    /// Fails every call of `op` that has no fault of its own, until it is called with `None`.
    pub fn set_outage(&self, op: SourceOp, error: Option<SourceError>) {
        self.inner().scripts.entry(op).or_default().set_outage(error);
    }

    /// Lets the entries at these places of the next ack fail, and the others succeed.
    pub fn fail_entries_of_next_ack(&self, entries: impl IntoIterator<Item = usize>, error: SourceError) {
        self.inner().failing_entries = Some((entries.into_iter().collect(), error));
    }

    /// Delivers each of the next `count` messages that are received a second time, at once, whether it was acked by then
    /// or not.
    pub fn deliver_twice(&self, count: usize) {
        self.inner().state.deliver_twice(count);
    }

    async fn course(&self, op: SourceOp) -> Course<SourceError> {
        // A fake that never waits would starve the other tasks of its thread.
        tokio::task::yield_now().await;
        let fault = self.inner().scripts.get_mut(&op).and_then(Script::take);
        Course::begin(fault).await
    }

    async fn wait_for_messages(&self, max: usize) -> Vec<Delivery> {
        let deadline = Instant::now() + self.settings.wait;
        loop {
            // Made before looking, so that a message sent between looking and waiting wakes this receive.
            let arrival = self.arrival.notified();
            let now = Instant::now();
            let (deliveries, next_visible) = {
                let mut inner = self.inner();
                (inner.state.receive(max, self.settings.lease, now), inner.state.next_visible())
            };
            if !deliveries.is_empty() || now >= deadline {
                return deliveries;
            }
            let until = next_visible.map_or(deadline, |visible| visible.min(deadline));
            tokio::select! {
                () = arrival => {}
                () = tokio::time::sleep_until(until) => {}
            }
        }
    }

    fn ack_all(&self, committed: Vec<Committed>) -> Result<(), AckFailure> {
        let mut inner = self.inner();
        let (failing, error) = match inner.failing_entries.take() {
            Some((entries, error)) => (entries, Some(error)),
            None => (Vec::new(), None),
        };
        let mut unacked = Vec::new();
        for (index, token) in committed.into_iter().enumerate() {
            if failing.contains(&index) {
                unacked.push(token);
            } else {
                inner.state.ack(token.receipt().handle());
            }
        }
        match error {
            Some(error) if !unacked.is_empty() => Err(AckFailure { error, unacked }),
            _ => Ok(()),
        }
    }

    fn check_batch(&self, len: usize) -> Result<(), SourceError> {
        if len <= self.settings.max_batch {
            Ok(())
        } else {
            Err(SourceError::fatal(format!(
                "{len} entries in one call, of at most {}",
                self.settings.max_batch
            )))
        }
    }
}

#[async_trait]
impl MessageSource for InMemorySource {
    fn limits(&self) -> SourceLimits {
        let SourceSettings { lease, max_receive, max_batch, max_hold, .. } = self.settings;
        SourceLimits { max_receive, max_batch, lease: Some(lease), max_hold: Some(max_hold) }
    }

    async fn receive(&self, max: usize) -> Result<Vec<Delivery>, SourceError> {
        if max == 0 || max > self.settings.max_receive {
            let text = format!("asked for {max} messages, of 1 to {}", self.settings.max_receive);
            return Err(SourceError::fatal(text));
        }
        match self.course(SourceOp::Receive).await {
            Course::Normal => Ok(self.wait_for_messages(max).await),
            Course::Fail(error) => Err(error),
            Course::DoneThenFail(error) => {
                // The answer is lost on its way: the messages stay leased, and nobody knows of it.
                drop(self.wait_for_messages(max).await);
                Err(error)
            }
        }
    }

    async fn extend(&self, held: &[Held], lease: Duration) -> Result<Vec<ExtendOutcome>, SourceError> {
        self.check_batch(held.len())?;
        let extend = || {
            let mut inner = self.inner();
            let (now, max_hold) = (Instant::now(), self.settings.max_hold);
            let mut one = |held: &Held| inner.state.extend(held.receipt().handle(), lease, max_hold, now);
            held.iter().map(&mut one).collect()
        };
        match self.course(SourceOp::Extend).await {
            Course::Normal => Ok(extend()),
            Course::Fail(error) => Err(error),
            Course::DoneThenFail(error) => {
                extend();
                Err(error)
            }
        }
    }

    async fn ack(&self, committed: Vec<Committed>) -> Result<(), AckFailure> {
        if let Err(error) = self.check_batch(committed.len()) {
            return Err(AckFailure { error, unacked: committed });
        }
        match self.course(SourceOp::Ack).await {
            Course::Normal => self.ack_all(committed),
            Course::Fail(error) => Err(AckFailure { error, unacked: committed }),
            Course::DoneThenFail(error) => {
                let mut inner = self.inner();
                committed.iter().for_each(|token| inner.state.ack(token.receipt().handle()));
                Err(AckFailure { error, unacked: committed })
            }
        }
    }

    async fn nack(&self, returned: Vec<Returned>, delay: Duration) -> Result<(), SourceError> {
        self.check_batch(returned.len())?;
        let nack = || {
            let now = Instant::now();
            let mut inner = self.inner();
            returned.iter().for_each(|token| inner.state.nack(token.receipt().handle(), delay, now));
            self.arrival.notify_waiters();
        };
        match self.course(SourceOp::Nack).await {
            Course::Normal => {
                nack();
                Ok(())
            }
            Course::Fail(error) => Err(error),
            Course::DoneThenFail(error) => {
                nack();
                Err(error)
            }
        }
    }

    async fn depth(&self) -> Result<Option<QueueDepth>, SourceError> {
        match self.course(SourceOp::Depth).await {
            Course::Normal if self.settings.tells_depth => Ok(Some(self.inner().state.depth(Instant::now()))),
            Course::Normal => Ok(None),
            Course::Fail(error) | Course::DoneThenFail(error) => Err(error),
        }
    }
}

impl fmt::Debug for InMemorySource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InMemorySource").field("left", &self.left()).finish_non_exhaustive()
    }
}
