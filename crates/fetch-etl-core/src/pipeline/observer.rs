use std::collections::HashSet;
use std::time::Duration;

use crate::{Batch, TraceParent};

/// Most traces that one batch names.
const MAX_TRACES: usize = 128;

/// A batch whose outcome is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndedBatch {
    /// How many messages it was made of.
    pub messages: usize,
    /// Of these: those that were rejected before they came to the sink.
    pub rejected: usize,
    /// The recorded traces that they belong to, each once, 128 at most.
    pub traces: Vec<TraceParent>,
    /// From when a writer took it until now.
    pub took: Duration,
    /// Whether all of it is written; else some went back to the queue, or was lost to somebody else.
    pub is_settled: bool,
}

/// Whoever wants to know of each batch, to make a trace of it for example. It is called by the writers, who wait for it: it must
/// neither block nor panic.
pub trait Observer: Send + Sync {
    /// The outcome of a batch is known.
    fn batch_ended(&self, batch: &EndedBatch);

    /// The sink has made a write durable.
    fn committed(&self, took: Duration);
}

impl EndedBatch {
    /// What is known of a batch before it is written.
    pub(super) fn begin<R>(batch: &Batch<R>) -> Self {
        let held = batch.rows().iter().map(|row| row.held());
        let held = held.chain(batch.rejects().iter().map(|reject| reject.held()));
        let mut seen = HashSet::new();
        let recorded = held.filter_map(|held| held.trace()).filter(TraceParent::is_sampled);
        Self {
            messages: batch.len(),
            rejected: batch.rejects().len(),
            traces: recorded.filter(|trace| seen.insert(*trace)).take(MAX_TRACES).collect(),
            took: Duration::ZERO,
            is_settled: false,
        }
    }
}
