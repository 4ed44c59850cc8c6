//! Where a worker is killed.

use std::time::Duration;

use fastrand::Rng;
use fetch_etl_testing::proxy::{CommitFault, FaultPlan};
use serde_json::json;

use super::Trial;
use super::rig::{Rig, until};
use crate::{LocalQueue, Running};

/// A point on a message's way at which a worker can be stopped from outside, exactly.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Point {
    /// The queue has handed messages out, and the worker has not got them.
    HandedOut,
    /// The worker has messages, and nothing is written.
    Received,
    /// A batch is written and not committed.
    Written,
    /// A batch is committed, and the worker does not know.
    Committed,
    /// The worker knows, and nothing is deleted.
    Known,
    /// Messages are deleted, and the worker does not know.
    Deleted,
    /// Leases are extended, and the worker does not know.
    Extended,
    /// It was told to stop, and is stopping.
    Stopping,
}

impl Point {
    pub(super) const ALL: [Self; 8] = [
        Self::HandedOut,
        Self::Received,
        Self::Written,
        Self::Committed,
        Self::Known,
        Self::Deleted,
        Self::Extended,
        Self::Stopping,
    ];

    /// Runs a worker up to this point, whatever it is, and returns it there.
    pub(super) async fn reach(self, rig: &mut Rig, set: &[(&str, &str)], rng: &mut Rng) -> Trial<Running> {
        match self {
            Self::HandedOut => at_call(rig, set, "receive", "slow").await,
            Self::Known => at_call(rig, set, "delete", "cut-before").await,
            Self::Deleted => at_call(rig, set, "delete", "slow").await,
            Self::Written => at_commit(rig, set, CommitFault::HoldBefore).await,
            Self::Committed => at_commit(rig, set, CommitFault::HoldAfter).await,
            Self::Received => with_stalled_database(rig, set, None).await,
            Self::Extended => with_stalled_database(rig, set, Some("change-visibility")).await,
            Self::Stopping => {
                let worker = working(rig, set).await?;
                worker.signal("TERM");
                tokio::time::sleep(Duration::from_millis(rng.u64(..60))).await;
                Ok(worker)
            }
        }
    }

    /// Lets the queue and the database work again.
    pub(super) async fn leave(rig: &Rig) {
        rig.queue.clear_faults().await;
        rig.proxy.clear_plans();
        rig.proxy.release();
        // Whatever is still held has lost its client.
        rig.proxy.cut_all();
    }
}

/// A worker that stores rows, and deletes their messages.
async fn working(rig: &mut Rig, set: &[(&str, &str)]) -> Trial<Running> {
    let before = deleted(rig).await;
    rig.send_logins(200).await;
    let worker = rig.worker(set);
    // Not rows: a commit of the worker that was killed before may land as late as now, and then this one would be taken for one that
    // works before it has begun. The dead delete nothing.
    until("the worker deletes what it has stored", async || deleted(rig).await > before).await?;
    Ok(worker)
}

async fn deleted(rig: &Rig) -> u64 {
    rig.queue.figures(LocalQueue::NAME).await["deleted"].as_u64().unwrap_or_default()
}

async fn at_call(rig: &mut Rig, set: &[(&str, &str)], call: &str, fault: &str) -> Trial<Running> {
    rig.send_logins(50).await;
    let before = rig.queue.injected(fault).await;
    rig.queue.set_faults(&json!({"faults": {fault: 1.0}, "slow-ms": 600_000, "calls": [call]})).await;
    let worker = rig.worker(set);
    until("the call is held up", async || rig.queue.injected(fault).await > before).await?;
    Ok(worker)
}

async fn at_commit(rig: &mut Rig, set: &[(&str, &str)], fault: CommitFault) -> Trial<Running> {
    rig.send_logins(50).await;
    let before = held(rig);
    rig.proxy.inject(FaultPlan::next_commit(fault));
    let worker = rig.worker(set);
    until("the commit is held up", async || held(rig) > before).await?;
    Ok(worker)
}

fn held(rig: &Rig) -> u64 {
    let injected = rig.proxy.stats().injected;
    injected.held_before + injected.held_after
}

/// The database answers nothing more, and the worker holds messages; then, if so wanted, until a call of this kind had its effect.
async fn with_stalled_database(rig: &mut Rig, set: &[(&str, &str)], call: Option<&str>) -> Trial<Running> {
    let worker = working(rig, set).await?;
    let before = rig.queue.injected("slow").await;
    if let Some(call) = call {
        // Before the stall: the first extension after it must not be missed.
        rig.queue.set_faults(&json!({"faults": {"slow": 1.0}, "slow-ms": 600_000, "calls": [call]})).await;
    }
    rig.proxy.stall();
    rig.send_logins(50).await;
    until("the worker holds messages", async || rig.queue.depth().await.1 > 0).await?;
    if call.is_some() {
        until("leases are extended", async || rig.queue.injected("slow").await > before).await?;
    }
    Ok(worker)
}
