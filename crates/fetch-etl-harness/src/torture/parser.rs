//! Row 8: damaged messages.

use std::sync::Arc;

use super::bench::Bench;
use super::load::Damaged;
use super::report::Outcome;
use super::rig::Rig;
use super::{Trial, caught};

/// Messages between two looks at what became of them.
const AT_ONCE: usize = 5_000;

pub(super) async fn damaged_messages(bench: Arc<Bench>) -> Outcome {
    let mut outcome = Outcome::of("messages");
    let rounds: u64 = bench.scale.of(2, 40);
    let mut rows = 0;
    for round in 0..rounds {
        bench.progress_line(|| format!("{} of {} messages", round * AT_ONCE as u64, rounds * AT_ONCE as u64));
        let stored = caught(one_round(&bench, round)).await.and_then(|stored| stored);
        rows += stored.as_ref().copied().unwrap_or_default();
        outcome.add(AT_ONCE as u64, &format!("round {round}"), stored.map(drop));
    }
    if outcome.holds() {
        outcome.note(format!(
            "{rows} rows and {} rejects, each as another implementation says; 0 panics",
            outcome.trials - rows
        ));
    }
    outcome
}

/// Returns how many became rows.
async fn one_round(bench: &Arc<Bench>, round: u64) -> Trial<u64> {
    let seed = bench.seed(8, round);
    let mut rig = Rig::new(bench, seed, 30).await.with_recipient();
    rig.send(Damaged::new(seed).take(AT_ONCE)).await;
    rig.settle().await?;
    let (rows, rejects) = (rig.count_rows().await, rig.count_rejects().await);
    if rows + rejects != rig.sent() {
        return Err(format!("{rows} rows and {rejects} rejects of {} messages", rig.sent()));
    }
    Ok(rows)
}
