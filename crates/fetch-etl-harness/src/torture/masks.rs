//! Row 7: every stored row recomputed by another implementation.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use super::bench::Bench;
use super::report::Outcome;
use super::rig::Rig;
use super::{Trial, caught};
use crate::Masking;

/// Rows of its own in both methods; the rows that other parts of this run compared count as well.
pub(super) async fn recomputed(bench: Arc<Bench>) -> Outcome {
    let mut outcome = Outcome::of("rows");
    let messages = bench.scale.of(2_000, 50_000);
    for (part, masking) in (0..).zip([Masking::Sha512, Masking::keyed()]) {
        let result = caught(one_method(&bench, part, masking, messages)).await.and_then(|result| result);
        if result.is_err() {
            outcome.add(1, "sha512 and hmac-sha512", result);
        }
    }
    outcome.trials += bench.compared.load(Relaxed);
    outcome.note("every column of every row of this run so far, both methods: 100 % equal");
    if !outcome.holds() {
        outcome.measured.clear();
    }
    outcome
}

async fn one_method(bench: &Arc<Bench>, part: u64, masking: Masking, messages: usize) -> Trial {
    let mut rig = Rig::new(bench, bench.seed(7, part), 30).await.masking(masking);
    rig.send_logins(messages).await;
    rig.settle().await
}
