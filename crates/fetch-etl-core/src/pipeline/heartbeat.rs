//! The heartbeat: leases are renewed at half-life until their messages are settled.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use futures_util::stream::{FuturesUnordered, StreamExt};
use tokio::time::{Instant, MissedTickBehavior, interval};
use tracing::{debug, warn};

use super::calls::Operation;
use super::context::Context;
use crate::lease::LeaseGroup;
use crate::{EventSchema, ExtendOutcome, Held, UnixMillis};

/// How many extensions are under way at once: enough for 10,000 messages in batches of ten within a fraction of the shortest
/// sensible lease.
pub const PARALLEL_EXTENDS: usize = 16;

/// All groups of messages that may need renewing. A group whose messages are all settled is dropped by its last token and
/// disappears here by itself.
#[derive(Debug, Default)]
pub(super) struct Leases(Mutex<VecDeque<Weak<LeaseGroup>>>);

impl Leases {
    pub(super) fn watch(&self, group: &Arc<LeaseGroup>) {
        let mut groups = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // Between two beats the dead would pile up at full rate; the oldest die first.
        while groups.front().is_some_and(|oldest| oldest.strong_count() == 0) {
            groups.pop_front();
        }
        groups.push_back(Arc::downgrade(group));
    }

    fn living(&self) -> Vec<Arc<LeaseGroup>> {
        let mut groups = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        groups.retain(|group| group.strong_count() > 0);
        groups.iter().filter_map(Weak::upgrade).collect()
    }

    /// When the oldest of the messages was sent whose outcome is not known yet.
    pub(super) fn oldest_held(&self) -> Option<UnixMillis> {
        self.living().iter().filter_map(|group| group.oldest_held()).min()
    }
}

/// Beats until it is dropped. Returns at once where messages are not leased.
pub(super) async fn run<S: EventSchema>(ctx: &Context<S>) {
    let Some(lease) = ctx.limits.lease else { return std::future::pending().await };
    let mut beat = interval((lease / 8).clamp(Duration::from_millis(20), Duration::from_secs(5)));
    beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut due = VecDeque::new();
    let mut under_way = FuturesUnordered::new();
    loop {
        // Beats go on while extensions are under way: one that hangs must neither cost other messages their leases nor hide
        // that its own have run out.
        tokio::select! {
            _ = beat.tick() => due = find_due(ctx, lease),
            Some(()) = under_way.next() => {}
        }
        while under_way.len() < PARALLEL_EXTENDS && !due.is_empty() {
            let batch: Vec<_> = due.drain(..due.len().min(ctx.limits.max_batch.max(1))).collect();
            under_way.push(extend(ctx, batch, lease));
        }
    }
}

/// Marks what is lost and returns what is past half-life and not being extended.
fn find_due<S: EventSchema>(ctx: &Context<S>, lease: Duration) -> VecDeque<Held> {
    let mut due = VecDeque::new();
    let mut lost = 0_u64;
    for group in ctx.leases.living() {
        for held in Held::all(&group).filter(Held::is_held) {
            if held.age() >= lease {
                held.mark_lost();
                lost += 1;
            } else if held.age() >= lease / 2 && !held.is_extending() {
                due.push_back(held);
            }
        }
    }
    if lost > 0 {
        warn!(event = "leases_lost", messages = lost, "leases ran out before they could be renewed");
    }
    due
}

async fn extend<S: EventSchema>(ctx: &Context<S>, mut batch: Vec<Held>, lease: Duration) {
    // It waited for its turn, and some may be settled by now.
    batch.retain(Held::is_held);
    batch.iter().for_each(|held| held.set_extending(true));
    ask(ctx, &batch, lease).await;
    batch.iter().for_each(|held| held.set_extending(false));
}

/// Asks the source to extend leases, and notes what it says.
async fn ask<S: EventSchema>(ctx: &Context<S>, batch: &[Held], lease: Duration) {
    // Past the longest hold the queue refuses; near it, a shorter extension uses what is left.
    let held_for = batch.iter().map(Held::held_for).max().unwrap_or_default();
    let granted = ctx.limits.max_hold.map_or(lease, |max| lease.min(max.saturating_sub(held_for)));
    if batch.is_empty() || granted.is_zero() {
        return;
    }
    let asked_at = Instant::now();
    let outcomes = match ctx.source.extend(batch, granted).await {
        Ok(outcomes) => outcomes,
        Err(error) => {
            ctx.stats.failures.add(Operation::Extend, error.class());
            // The next beat asks again, whatever the class is: leases that cannot be kept run out.
            ctx.stats.retries.add(Operation::Extend, error.class());
            warn!(event = "extend_failed", error = %error, messages = batch.len(), "cannot extend leases; trying again at the next beat");
            return;
        }
    };
    let mut extended = 0;
    for (held, outcome) in batch.iter().zip(outcomes) {
        match outcome {
            ExtendOutcome::Extended => {
                held.renewed(asked_at, lease - granted);
                extended += 1;
            }
            ExtendOutcome::Lost => held.mark_lost(),
            ExtendOutcome::Failed => {}
        }
    }
    ctx.stats.leases_extended.add(extended);
    debug!(event = "leases_extended", extended, asked = batch.len());
}
