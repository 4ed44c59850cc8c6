//! Row 3: connections that end before or after a COMMIT is forwarded.

use std::sync::Arc;

use fetch_etl_testing::proxy::{CommitFault, Ending, FaultPlan};

use super::bench::Bench;
use super::report::Outcome;
use super::rig::{Rig, last_line, until};
use super::{Trial, caught};
use crate::Conservation;

/// One commit in three breaks.
const PROBABILITY: f64 = 1.0 / 3.0;

/// Small batches, so that there are many commits.
const SMALL: [(&str, &str); 2] = [("pipeline.max_batch_rows", "20"), ("pipeline.max_in_flight", "200")];

pub(super) async fn cuts(bench: Arc<Bench>) -> Outcome {
    let mut outcome = Outcome::of("cuts");
    let each = bench.scale.of(25, 100);
    let kinds = [
        ("cut before", CommitFault::Before(Ending::Cut)),
        ("reset before", CommitFault::Before(Ending::Reset)),
        ("cut after", CommitFault::After(Ending::Cut)),
        ("reset after", CommitFault::After(Ending::Reset)),
    ];
    for (part, (name, fault)) in (0..).zip(kinds) {
        bench.progress_line(|| name.to_owned());
        let result = caught(cut(&bench, part, fault, each)).await.and_then(|result| result);
        outcome.add(each, name, result);
    }
    if outcome.holds() {
        outcome.note(format!("{} before and {} after COMMIT: 0 lost, 0 doubled", 2 * each, 2 * each));
    }
    outcome
}

async fn cut(bench: &Arc<Bench>, part: u64, fault: CommitFault, cuts: u64) -> Trial {
    let seed = bench.seed(3, part);
    let mut rig = Rig::new(bench, seed, 10).await;
    rig.proxy.inject(FaultPlan::with_probability(PROBABILITY, seed, fault).at_most(cuts));
    let worker = rig.worker(&SMALL);
    let injected = |rig: &Rig| {
        let injected = rig.proxy.stats().injected;
        injected.before_commit + injected.after_commit
    };
    // Never so many at once that few large batches take them all.
    while injected(&rig) < cuts {
        bench.progress_line(|| format!("{} of {cuts} cuts of kind {part}", injected(&rig)));
        let (before, reached) = (rig.sent(), injected(&rig));
        rig.send_logins(20).await;
        until("rows are stored or a commit breaks", async || {
            injected(&rig) > reached || rig.count_rows().await > before
        })
        .await?;
    }
    rig.until_rows(rig.sent()).await?;
    worker.signal("TERM");
    let ended = worker.wait();
    if ended.status.code() != Some(0) {
        return Err(format!("the worker failed: {}", last_line(&ended.stderr)));
    }
    Conservation::settled(&ended.stdout)?;
    rig.settle().await
}
