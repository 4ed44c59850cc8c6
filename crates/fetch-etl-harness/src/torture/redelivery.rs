//! Row 2: a queue that delivers again, forgets deletes, hands out old receipts, fails in part and breaks off.

use std::sync::Arc;

use serde_json::{Value, json};

use super::bench::Bench;
use super::report::Outcome;
use super::rig::{Rig, last_line, until};
use super::{Trial, caught};
use crate::Conservation;

/// What the queue does wrong, and how often. Every fifth delivery is a repeat.
const FAULTS: [(&str, f64); 13] = [
    ("redeliver", 0.2),
    ("redeliver-deleted", 0.02),
    ("reorder", 0.2),
    ("keep", 0.05),
    ("stale-handle", 0.05),
    ("entry-sender-fault", 0.02),
    ("entry-service-fault", 0.05),
    ("throttle", 0.01),
    ("internal-error", 0.01),
    ("drop", 0.01),
    ("cut-before", 0.01),
    ("internal-error-after", 0.01),
    ("cut-after", 0.01),
];

pub(super) async fn faulty_queue(bench: Arc<Bench>) -> Outcome {
    let mut outcome = Outcome::of("messages");
    let messages = bench.scale.of(20_000, 100_000);
    match caught(two_workers(&bench, messages)).await.and_then(|seen| seen) {
        Ok(seen) => {
            let Seen { faults, received, duplicates } = seen;
            outcome.add(messages as u64, "all", Ok(()));
            outcome.note(format!("2 workers, {received} deliveries, {duplicates} known again, {faults} faults of 13 kinds; exact equality"));
        }
        Err(why) => outcome.add(messages as u64, "all", Err(why)),
    }
    outcome
}

struct Seen {
    faults: u64,
    received: u64,
    duplicates: u64,
}

async fn two_workers(bench: &Arc<Bench>, messages: usize) -> Trial<Seen> {
    let seed = bench.seed(2, 0);
    // Long enough that leases are not lost while calls are tried again.
    let mut rig = Rig::new(bench, seed, 5).await;
    rig.send_logins(messages).await;
    let faults: serde_json::Map<String, Value> =
        FAULTS.iter().map(|&(kind, probability)| (kind.to_owned(), probability.into())).collect();
    rig.queue.set_faults(&json!({"seed": seed, "faults": faults})).await;
    let workers = [rig.worker(&[]), rig.worker(&[])];
    let all = messages as u64;
    until("all rows are stored", async || {
        let rows = rig.count_rows().await;
        bench.progress_line(|| format!("{rows} of {messages} messages"));
        rows >= all
    })
    .await?;
    let mut seen = Seen { faults: 0, received: 0, duplicates: 0 };
    for worker in workers {
        worker.signal("TERM");
        let ended = worker.wait();
        if ended.status.code() != Some(0) {
            return Err(format!("a worker failed: {}", last_line(&ended.stderr)));
        }
        let account = Conservation::settled(&ended.stdout)?;
        seen.received += account.received;
        seen.duplicates += account.duplicates;
    }
    for (kind, _) in FAULTS {
        let count = rig.queue.injected(kind).await;
        if count == 0 {
            return Err(format!("the queue never did this: {kind}"));
        }
        seen.faults += count;
    }
    rig.queue.clear_faults().await;
    rig.settle().await?;
    Ok(seen)
}
