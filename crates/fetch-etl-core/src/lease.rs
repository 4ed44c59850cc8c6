//! Leases on received messages, and the tokens by which they end.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use tokio::time::Instant;

use crate::{Receipt, TraceParent, UnixMillis};

/// The receipts of the messages that came with one receive.
#[derive(Debug)]
pub(crate) struct LeaseGroup {
    slots: Vec<Slot>,
    received_at: Instant,
}

#[derive(Debug)]
struct Slot {
    receipt: Receipt,
    sent_at: UnixMillis,
    trace: Option<TraceParent>,
    state: AtomicU8,
    /// Milliseconds from `received_at` to the last moment at which the lease was known to be renewed.
    renewed_ms: AtomicU64,
    extending: AtomicBool,
}

/// States of a slot. An atomic number rather than a lock: the heartbeat looks at every slot, the flow changes each a few times.
const HELD: u8 = 0;
const SETTLING: u8 = 1;
const LOST: u8 = 2;

/// What a lease needs to know of a delivery.
pub(crate) struct Leased {
    pub(crate) receipt: Receipt,
    pub(crate) sent_at: UnixMillis,
    pub(crate) trace: Option<TraceParent>,
}

impl LeaseGroup {
    pub(crate) fn new(deliveries: Vec<Leased>) -> Arc<Self> {
        let slot = |Leased { receipt, sent_at, trace }| Slot {
            receipt,
            sent_at,
            trace,
            state: AtomicU8::new(HELD),
            renewed_ms: AtomicU64::new(0),
            extending: AtomicBool::new(false),
        };
        let slots = deliveries.into_iter().map(slot).collect();
        Arc::new(Self { slots, received_at: Instant::now() })
    }

    /// When the oldest of the messages was sent whose outcome is not known yet.
    pub(crate) fn oldest_held(&self) -> Option<UnixMillis> {
        let held = self.slots.iter().filter(|slot| slot.state.load(Relaxed) == HELD);
        held.map(|slot| slot.sent_at).min()
    }
}

/// A message that this process holds: its lease can be extended, but it cannot be acked.
#[derive(Clone)]
pub struct Held {
    group: Arc<LeaseGroup>,
    index: usize,
}

impl Held {
    pub(crate) fn all(group: &Arc<LeaseGroup>) -> impl Iterator<Item = Held> + '_ {
        (0..group.slots.len()).map(|index| Held::nth(group, index))
    }

    pub(crate) fn nth(group: &Arc<LeaseGroup>, index: usize) -> Held {
        Held { group: group.clone(), index }
    }

    /// The source's receipt, for [`MessageSource::extend`](crate::MessageSource::extend).
    pub fn receipt(&self) -> &Receipt {
        &self.slot().receipt
    }

    /// The trace that the message belongs to.
    pub(crate) fn trace(&self) -> Option<TraceParent> {
        self.slot().trace
    }

    fn slot(&self) -> &Slot {
        &self.group.slots[self.index]
    }

    /// For how long the lease has not been renewed.
    pub(crate) fn age(&self) -> Duration {
        self.held_for().saturating_sub(Duration::from_millis(self.slot().renewed_ms.load(Relaxed)))
    }

    /// For how long the message is held, from its receipt on.
    pub(crate) fn held_for(&self) -> Duration {
        self.group.received_at.elapsed()
    }

    /// Notes a renewal that was asked for at `asked_at` (the lease may count from any moment after it) and is shorter than
    /// a full lease by `short_of`.
    pub(crate) fn renewed(&self, asked_at: Instant, short_of: Duration) {
        let since_receipt =
            asked_at.saturating_duration_since(self.group.received_at).saturating_sub(short_of);
        self.slot().renewed_ms.store(since_receipt.as_millis() as u64, Relaxed);
    }

    /// Whether an extension is under way.
    pub(crate) fn is_extending(&self) -> bool {
        self.slot().extending.load(Relaxed)
    }

    pub(crate) fn set_extending(&self, extending: bool) {
        self.slot().extending.store(extending, Relaxed);
    }

    /// Whether the lease needs renewing: held, and neither lost nor on its way back.
    pub(crate) fn is_held(&self) -> bool {
        self.slot().state.load(Relaxed) == HELD
    }

    /// Whether the lease has run out or was taken away: the message belongs to somebody else now.
    pub(crate) fn is_lost(&self) -> bool {
        self.slot().state.load(Relaxed) == LOST
    }

    pub(crate) fn mark_lost(&self) {
        // A message that is being acked stays so: its outcome is known.
        let _ = self.slot().state.compare_exchange(HELD, LOST, Relaxed, Relaxed);
    }

    fn mark_settling(&self) {
        self.slot().state.store(SETTLING, Relaxed);
    }

    fn mark_held(&self) {
        self.slot().state.store(HELD, Relaxed);
    }
}

impl fmt::Debug for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Held({})", self.index)
    }
}

/// A message whose outcome is durable: made only after [`Sink::write`](crate::Sink::write) returned `Ok`, and the
/// only thing that [`MessageSource::ack`](crate::MessageSource::ack) accepts.
///
/// It cannot be forged:
///
/// ```compile_fail,E0423
/// # use fetch_etl_core::{Committed, Held};
/// fn forge(held: Held) -> Committed {
///     Committed(held)
/// }
/// ```
///
/// and not acked twice, because `ack` takes it by value:
///
/// ```compile_fail,E0382
/// # use fetch_etl_core::{Committed, MessageSource};
/// async fn twice(source: &dyn MessageSource, token: Committed) {
///     let _ = source.ack(vec![token]).await;
///     let _ = source.ack(vec![token]).await;
/// }
/// ```
#[must_use = "a committed message that is not acked comes back"]
#[derive(Debug)]
pub struct Committed(pub(crate) Held);

impl Committed {
    /// The source's receipt.
    pub fn receipt(&self) -> &Receipt {
        self.0.receipt()
    }

    /// The ack is under way: the heartbeat leaves it alone.
    pub(crate) fn settling(&self) {
        self.0.mark_settling();
    }

    /// The ack failed and will be tried again: the lease is to be kept.
    pub(crate) fn still_held(&self) {
        self.0.mark_held();
    }
}

/// A message that goes back to the queue: nothing of it was stored as a row.
///
/// ```compile_fail,E0423
/// # use fetch_etl_core::{Held, Returned};
/// fn forge(held: Held) -> Returned {
///     Returned(held)
/// }
/// ```
#[must_use = "a returned message that is not nacked stays invisible until its lease ends"]
#[derive(Debug)]
pub struct Returned(pub(crate) Held);

impl Returned {
    /// The source's receipt.
    pub fn receipt(&self) -> &Receipt {
        self.0.receipt()
    }

    pub(crate) fn settling(&self) {
        self.0.mark_settling();
    }
}
