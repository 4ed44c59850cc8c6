//! Row 5: one message in ten is bad.

use std::sync::Arc;

use sqlx::Row as _;

use super::bench::Bench;
use super::load::{Logins, hostile};
use super::report::Outcome;
use super::rig::Rig;
use super::{Trial, caught};

/// One message in this many is bad.
const BAD_EACH: usize = 10;

/// The share of the clean rate at which good rows must still come.
const LEAST_RATE: f64 = 0.5;

pub(super) async fn poisoned(bench: Arc<Bench>) -> Outcome {
    let mut outcome = Outcome::of("bad messages");
    let messages = bench.scale.of(10_000, 40_000);
    let mut ratios = Vec::new();
    // In turn, so that a machine that gets slower meets both.
    for part in 0..3 {
        bench.progress_line(|| format!("{part} of 3 pairs of runs"));
        let result = caught(pair(&bench, part, messages)).await.and_then(|result| result);
        if let Ok(ratio) = result {
            ratios.push(ratio);
        }
        outcome.add((messages / BAD_EACH) as u64, &format!("pair {part}"), result.map(drop));
    }
    ratios.sort_by(f64::total_cmp);
    if let Some(median) = ratios.get(ratios.len() / 2) {
        if *median < LEAST_RATE {
            outcome.failures.push(format!("good rows come at {:.0} % of the clean rate", median * 100.0));
        }
        outcome.note(format!(
            "every kind of hostile.json, 1 in {BAD_EACH}; all good rows stored, at {:.0} % of the clean rate (median of {})",
            median * 100.0,
            ratios.len()
        ));
    }
    outcome
}

/// A clean run and a poisoned one; the rate of good rows in the second, as a share of the first.
async fn pair(bench: &Arc<Bench>, part: u64, messages: usize) -> Trial<f64> {
    let seed = bench.seed(5, part);
    let clean = rate(bench, seed, Logins::new(seed).take(messages)).await?;
    let bad = hostile(true);
    let mut bodies = Logins::new(seed).take(messages);
    for (n, body) in bodies.iter_mut().step_by(BAD_EACH).enumerate() {
        body.clone_from(&bad[n % bad.len()]);
    }
    Ok(rate(bench, seed, bodies).await? / clean)
}

/// Rows a second from the first commit to the last, by the database's clock.
async fn rate(bench: &Arc<Bench>, seed: u64, bodies: Vec<String>) -> Trial<f64> {
    let mut rig = Rig::new(bench, seed, 60).await.direct("postgres").with_recipient();
    rig.send(bodies).await;
    rig.settle().await?;
    let mut connection = rig.database.connect().await;
    let query =
        "SELECT count(*), extract(epoch FROM max(ingested_at) - min(ingested_at))::float8 FROM user_logins";
    let row = sqlx::query(query).fetch_one(&mut connection).await.map_err(|error| error.to_string())?;
    let (rows, seconds): (i64, f64) = (row.get(0), row.get(1));
    if seconds <= 0.0 {
        return Err("all rows came with one commit".to_owned());
    }
    Ok(rows as f64 / seconds)
}
