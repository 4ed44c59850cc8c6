//! Leases on received messages, and the tokens by which they end.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::time::Instant;

use crate::Receipt;

/// The receipts of the messages that came with one receive: they share their deadline.
#[derive(Debug)]
pub(crate) struct LeaseGroup {
    receipts: Vec<Receipt>,
    lost: Vec<AtomicBool>,
    received_at: Instant,
}

impl LeaseGroup {
    pub(crate) fn new(receipts: Vec<Receipt>) -> Arc<Self> {
        let lost = receipts.iter().map(|_| AtomicBool::new(false)).collect();
        Arc::new(Self { receipts, lost, received_at: Instant::now() })
    }

    pub(crate) fn received_at(&self) -> Instant {
        self.received_at
    }
}

/// A message that this process holds: it can be extended, not acked.
#[derive(Clone)]
pub struct Held {
    group: Arc<LeaseGroup>,
    index: usize,
}

impl Held {
    pub(crate) fn all(group: &Arc<LeaseGroup>) -> Vec<Held> {
        (0..group.receipts.len()).map(|index| Held { group: group.clone(), index }).collect()
    }

    pub(crate) fn nth(group: &Arc<LeaseGroup>, index: usize) -> Held {
        Held { group: group.clone(), index }
    }

    /// The source's receipt, for [`MessageSource::extend`](crate::MessageSource::extend).
    pub fn receipt(&self) -> &Receipt {
        &self.group.receipts[self.index]
    }

    pub(crate) fn group(&self) -> &Arc<LeaseGroup> {
        &self.group
    }

    /// Whether the lease has run out or was taken away: the message belongs to somebody else now.
    pub(crate) fn is_lost(&self) -> bool {
        self.group.lost[self.index].load(Ordering::Relaxed)
    }

    /// Marks the lease as lost; true for the first caller only.
    pub(crate) fn mark_lost(&self) -> bool {
        !self.group.lost[self.index].swap(true, Ordering::Relaxed)
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
}
