//! Row 9: SIGTERM under load.

use std::sync::Arc;
use std::time::Duration;

use fastrand::Rng;

use super::bench::Bench;
use super::report::Outcome;
use super::rig::{Rig, last_line};
use super::{Trial, caught};
use crate::Conservation;

const GRACE: Duration = Duration::from_secs(10);

/// Stops between two looks at everything that is stored.
const STOPS_A_ROUND: u64 = 10;

pub(super) async fn stops(bench: Arc<Bench>) -> Outcome {
    let mut outcome = Outcome::of("stops");
    let rounds = bench.scale.of(1, 10);
    let mut slowest = Duration::ZERO;
    for round in 0..rounds {
        let result = caught(one_round(&bench, round, &mut slowest)).await.and_then(|result| result);
        outcome.add(STOPS_A_ROUND, &format!("round {round}"), result);
    }
    outcome.note(format!(
        "exit 0, nothing left invisible, slowest {:.1} s of {} s",
        slowest.as_secs_f64(),
        GRACE.as_secs()
    ));
    if !outcome.holds() {
        outcome.measured.clear();
    }
    outcome
}

async fn one_round(bench: &Arc<Bench>, round: u64, slowest: &mut Duration) -> Trial {
    let mut rng = Rng::with_seed(bench.seed(9, round));
    // What is left invisible stays so for the whole run, and is seen.
    let mut rig = Rig::new(bench, rng.u64(..), 3_600).await;
    for stop in 0..STOPS_A_ROUND {
        bench.progress_line(|| format!("{} stops", round * STOPS_A_ROUND + stop));
        let took = one_stop(&mut rig, &mut rng).await.map_err(|why| format!("stop {stop}: {why}"))?;
        *slowest = took.max(*slowest);
    }
    rig.settle().await
}

async fn one_stop(rig: &mut Rig, rng: &mut Rng) -> Trial<Duration> {
    let before = rig.count_rows().await;
    rig.send_logins(3_000).await;
    let grace = GRACE.as_secs().to_string();
    let worker = rig.worker(&[("pipeline.max_batch_rows", "50"), ("pipeline.shutdown_grace_s", &grace)]);
    rig.until_rows(before + 1).await?;
    tokio::time::sleep(Duration::from_millis(rng.u64(..100))).await;
    worker.signal("TERM");
    let ended = worker.wait();
    if ended.status.code() != Some(0) {
        return Err(format!("exit {:?}: {}", ended.status.code(), last_line(&ended.stderr)));
    }
    if ended.waited > GRACE {
        return Err(format!("it took {:.1} s", ended.waited.as_secs_f64()));
    }
    Conservation::settled(&ended.stdout)?;
    let (visible, invisible) = rig.queue.depth().await;
    if invisible != 0 {
        return Err(format!("{invisible} messages are left invisible"));
    }
    let rows = rig.count_rows().await;
    if rows + visible != rig.sent() {
        return Err(format!("{rows} rows and {visible} messages in the queue, of {}", rig.sent()));
    }
    Ok(ended.waited)
}
