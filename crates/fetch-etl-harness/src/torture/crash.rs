//! Row 1: kill -9, anywhere and at each named point.

use std::sync::Arc;
use std::time::Duration;

use fastrand::Rng;

use super::bench::Bench;
use super::points::Point;
use super::report::Outcome;
use super::rig::Rig;
use super::{Trial, caught};

/// Kills between two checks of everything that is stored.
const KILLS_A_ROUND: u64 = 40;

/// Small batches, so that there is much to be in the middle of.
const SMALL: [(&str, &str); 2] = [("pipeline.max_batch_rows", "20"), ("pipeline.max_in_flight", "200")];

pub(super) async fn kills(bench: Arc<Bench>) -> Outcome {
    let mut outcome = Outcome::of("kills");
    let rounds = bench.scale.of(5, 25);
    let mut sent = 0;
    for round in 0..rounds {
        let killed = caught(one_round(&bench, round, rounds)).await.and_then(|sent| sent);
        sent += killed.as_ref().copied().unwrap_or_default();
        outcome.add(KILLS_A_ROUND, &format!("round {round}"), killed.map(drop));
    }
    let all = rounds * KILLS_A_ROUND;
    let each = all / 2 / Point::ALL.len() as u64;
    outcome.note(format!(
        "half at random times, half at {} named points, {each} each; {sent} messages: 0 lost, 0 doubled",
        Point::ALL.len()
    ));
    if !outcome.holds() {
        outcome.measured.clear();
    }
    outcome
}

/// Kills, and then a look at everything; returns how many messages there were.
async fn one_round(bench: &Arc<Bench>, round: u64, rounds: u64) -> Trial<u64> {
    let mut rng = Rng::with_seed(bench.seed(1, round));
    let mut rig = Rig::new(bench, rng.u64(..), 2).await;
    for kill in 0..KILLS_A_ROUND {
        bench.progress_line(|| {
            format!("{} of {} kills", round * KILLS_A_ROUND + kill, rounds * KILLS_A_ROUND)
        });
        let named = Point::ALL[(kill / 2) as usize % Point::ALL.len()];
        let point = (kill % 2 == 1).then_some(named);
        one_kill(&mut rig, point, &mut rng).await.map_err(|why| format!("kill {kill}, {point:?}: {why}"))?;
    }
    rig.settle().await?;
    Ok(rig.sent())
}

async fn one_kill(rig: &mut Rig, point: Option<Point>, rng: &mut Rng) -> Trial {
    let worker = match point {
        Some(point) => point.reach(rig, &SMALL, rng).await?,
        None => {
            rig.send_logins(100).await;
            let worker = rig.worker(&SMALL);
            // Its start and its migrations are part of its life.
            tokio::time::sleep(Duration::from_millis(rng.u64(..250))).await;
            worker
        }
    };
    worker.kill();
    Point::leave(rig).await;
    Ok(())
}
