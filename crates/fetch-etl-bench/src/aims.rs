//! The figures held against what is aimed at: ratios within one run, since absolute figures are the machine's.
//!
//! A ratio is taken within each round, and the median of the rounds counts: what drifts hits both sides of it.

use crate::report::{CLIENT, Measurement, POSTGRES, Report, Run};
use crate::stats;

/// What is aimed at, and what it came to.
#[derive(Debug, Clone, PartialEq)]
pub struct Aim {
    /// The figure's name.
    pub what: String,
    /// What was measured.
    pub figure: f64,
    /// How far the round is from it that is farthest, as a share of it; `None` with one round.
    pub noise: Option<f64>,
    /// Its unit, behind the number.
    pub unit: &'static str,
    /// The aim.
    pub bound: Bound,
    /// What is to be known besides.
    pub note: &'static str,
}

/// From which side.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Bound {
    /// As much or more.
    AtLeast(f64),
    /// As much or less.
    AtMost(f64),
}

impl Aim {
    /// Whether it is met.
    pub fn is_met(&self) -> bool {
        self.would_be_met_by(self.figure)
    }

    /// Whether some round says otherwise, for all that is known.
    pub fn is_within_noise(&self) -> bool {
        let by = self.figure * self.noise.unwrap_or_default();
        self.would_be_met_by(self.figure - by) != self.would_be_met_by(self.figure + by)
    }

    fn would_be_met_by(&self, figure: f64) -> bool {
        match self.bound {
            Bound::AtLeast(bound) => figure >= bound,
            Bound::AtMost(bound) => figure <= bound,
        }
    }
}

/// The peer that works as the first version did, of `peers/`.
const FIRST_VERSION: &str = "/one_at_a_time.py";

const MIB: f64 = 1024.0 * 1024.0;

/// All aims for which there are figures.
pub fn of(report: &Report) -> Vec<Aim> {
    let mut aims = against_peers(report);
    aims.extend(
        [against_limits(report), absolute(report), growth(report), generator(report)].into_iter().flatten(),
    );
    aims
}

/// A figure of each round, for aims about it.
struct Rounds(Vec<f64>);

impl Rounds {
    /// From the runs of these measurements in the same round. Nothing where one of them was not measured.
    fn of<const N: usize>(
        report: &Report,
        names: [&str; N],
        figure: impl Fn([&Run; N]) -> Option<f64>,
    ) -> Self {
        let measurements =
            names.map(|name| report.get(name).map_or(&[][..], |measurement| &measurement.runs));
        let rounds = measurements.iter().map(|runs| runs.len()).min().unwrap_or(0);
        Self((0..rounds).filter_map(|round| figure(measurements.map(|runs| &runs[round]))).collect())
    }

    fn rates(report: &Report, above: &str, below: &str) -> Self {
        Self::of(report, [above, below], |[above, below]| {
            (below.rate() > 0.0).then(|| above.rate() / below.rate())
        })
    }

    fn aim(
        self,
        what: impl Into<String>,
        unit: &'static str,
        bound: Bound,
        note: &'static str,
    ) -> Option<Aim> {
        let figure = stats::median(self.0.iter().copied())?;
        let noise = if self.0.len() > 1 { stats::spread(self.0) } else { None };
        Some(Aim { what: what.into(), figure, noise, unit, bound, note })
    }
}

fn against_peers(report: &Report) -> Vec<Aim> {
    let peers = report.measurements.iter().filter(|measurement| measurement.name.starts_with("peer."));
    let aim = |peer: &Measurement| {
        let what = format!("rate: worker.hmac / {}", peer.name);
        let (bound, note) = if peer.what.contains(FIRST_VERSION) {
            (1_000.0, "the way of the first version")
        } else {
            (3.0, "≥ 5 is where this should end")
        };
        Rounds::rates(report, "worker.hmac", &peer.name).aim(what, " ×", Bound::AtLeast(bound), note)
    };
    peers.filter_map(aim).collect()
}

fn against_limits(report: &Report) -> Vec<Aim> {
    let bound = Bound::AtLeast(0.80);
    let rate = Rounds::rates(report, "worker.sha512", "limit.pipeline");
    let sdk = efficiency(report, "limit.source", "limit.sink.unnest");
    let bare = efficiency(report, "limit.source.lean", "limit.sink.unnest");
    let ledger = efficiency(report, "limit.source.lean", "limit.sink.ledger");
    let aims = [
        rate.aim("rate: worker.sha512 / limit.pipeline", "", bound, "the same masks"),
        sdk.aim(
            "efficiency",
            "",
            bound,
            "of CPU; limits: source (the SDK's client), mask.sha512, sink.unnest",
        ),
        bare.aim(
            "efficiency, with our own three calls as the limit",
            "",
            bound,
            "of CPU; source.lean instead",
        ),
        ledger.aim(
            "efficiency, with the ledger among the limits, too",
            "",
            bound,
            "of CPU; source.lean, sink.ledger",
        ),
    ];
    aims.into_iter().flatten().collect()
}

/// What the parts cost that nobody can do without, divided by what the worker and its Postgres cost.
fn efficiency(report: &Report, source: &str, sink: &str) -> Rounds {
    Rounds::of(
        report,
        [source, "limit.mask.sha512", sink, "worker.sha512"],
        |[source, mask, sink, worker]| {
            let limits = source.cpu_us(CLIENT)?
                + mask.cpu_us(CLIENT)?
                + sink.cpu_us(CLIENT)?
                + sink.cpu_us(POSTGRES)?;
            let all = worker.cpu_us(CLIENT)? + worker.cpu_us(POSTGRES)?;
            (all > 0.0).then_some(limits / all)
        },
    )
}

fn absolute(report: &Report) -> Vec<Aim> {
    let worker_cpu = Rounds::of(report, ["worker.hmac"], |[run]| run.cpu_us(CLIENT));
    let core = Rounds::of(report, ["core"], |[run]| Some(run.rate()));
    let latency = Rounds::of(report, ["worker.latency"], |[run]| run.figures.get("p99_ms").copied());
    // Of bounds on memory the worst run counts.
    let peak = report.get("worker.hmac").and_then(Measurement::peak_rss_bytes);
    let peak = Rounds(peak.into_iter().map(|bytes| bytes as f64 / MIB).collect());
    let idle = Rounds::of(report, ["worker.idle"], |[run]| run.figures.get("cpu_percent").copied());
    let at_most = Bound::AtMost;
    let aims = [
        worker_cpu.aim(
            "worker CPU a message",
            " µs",
            at_most(20.0),
            "worker.hmac; ≤ 8 is where this should end",
        ),
        core.aim("core alone", " messages/s", Bound::AtLeast(1e6), "on one core"),
        latency.aim("p99 sent→committed at 100 messages/s", " ms", at_most(50.0), "worker.hmac"),
        peak.aim(
            "peak RSS at full rate",
            " MiB",
            at_most(64.0),
            "worker.hmac; with Postgres stalled: torture, row 10",
        ),
        idle.aim("an idle worker", " % of a core", at_most(0.1), ""),
    ];
    aims.into_iter().flatten().collect()
}

fn growth(report: &Report) -> Vec<Aim> {
    let rows = report.get("worker.stored").and_then(|measurement| measurement.figure("stored_rows"));
    let rows = rows.map_or_else(String::new, |rows| format!("{} M ", rows / 1e6));
    let stored = Rounds::rates(report, "worker.stored", "worker.hmac");
    let soak = Rounds::of(report, ["worker.soak"], |[run]| run.figures.get("rss_late_to_early").copied());
    let backlog = Rounds::rates(report, "worker.backlog.long", "worker.backlog.short");
    let aims = [
        stored.aim(
            format!("rate with {rows}rows stored / with none"),
            "",
            Bound::AtLeast(0.90),
            "the aim is for 10 M: --full",
        ),
        backlog.aim(
            "rate with a long backlog / with a short one",
            "",
            Bound::AtLeast(0.95),
            "the aim is for 1 M and 10 k: --full",
        ),
        soak.aim("memory at the end of a soak / at its beginning", "", Bound::AtMost(1.05), "no growth"),
    ];
    aims.into_iter().flatten().collect()
}

/// Not an aim of the worker's: whether it is the worker that was measured.
fn generator(report: &Report) -> Vec<Aim> {
    let queue = Rounds::rates(report, "limit.queue", "worker.hmac");
    let what = "check: limit.queue / worker.hmac";
    let note = "the queue must not be what is measured";
    queue.aim(what, " ×", Bound::AtLeast(2.0), note).into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::tests::report;

    fn find(aims: &[Aim], what: &str) -> Aim {
        aims.iter()
            .find(|aim| aim.what.contains(what))
            .unwrap_or_else(|| panic!("no aim about {what}"))
            .clone()
    }

    #[test]
    fn ratios_are_of_one_run() {
        let report = report(&[
            ("limit.source", 30_000.0, 14.0),
            ("limit.source.lean", 40_000.0, 10.0),
            ("limit.mask.sha512", 1e6, 1.0),
            ("limit.sink.unnest", 1e5, 1.0),
            ("limit.pipeline", 100_000.0, 6.0),
            ("worker.sha512", 50_000.0, 18.0),
            ("worker.hmac", 48_000.0, 21.0),
            ("peer.1", 16_000.0, 54.0),
        ]);
        let aims = of(&report);
        // 14 or 10, + 1 + 1 and Postgres's 2, of 18 and Postgres's 2.
        assert!((find(&aims, "efficiency").figure - 0.9).abs() < 1e-9);
        assert!(find(&aims, "efficiency").is_met());
        assert!((find(&aims, "our own three calls").figure - 0.7).abs() < 1e-9);
        assert!(!find(&aims, "our own three calls").is_met());
        assert!((find(&aims, "limit.pipeline").figure - 0.5).abs() < 1e-9);
        assert!((find(&aims, "peer.1").figure - 3.0).abs() < 1e-9);
        assert_eq!(find(&aims, "peer.1").noise, None);
        assert!(!find(&aims, "worker CPU").is_met());
    }

    #[test]
    fn more_is_aimed_at_against_the_first_version() {
        let mut report =
            report(&[("worker.hmac", 48_000.0, 21.0), ("peer.1", 480.0, 1e3), ("peer.2", 16_000.0, 54.0)]);
        report.measurements[1].what = "`python3 peers/one_at_a_time.py`".into();
        let aims = of(&report);
        assert_eq!(find(&aims, "peer.1").bound, Bound::AtLeast(1_000.0));
        assert_eq!(find(&aims, "peer.2").bound, Bound::AtLeast(3.0));
    }

    #[test]
    fn a_ratio_is_taken_within_each_round() {
        let mut report = report(&[("limit.pipeline", 100.0, 1.0), ("worker.sha512", 80.0, 1.0)]);
        // The machine was half as fast in the second round, and the third has no other side.
        for measurement in &mut report.measurements {
            let mut slow = measurement.runs[0].clone();
            slow.seconds *= 2.0;
            measurement.runs.push(slow);
        }
        report.measurements[0].runs.push(Run::default());
        let aim = find(&of(&report), "limit.pipeline");
        assert!((aim.figure - 0.8).abs() < 1e-9 && aim.noise < Some(1e-9), "{aim:?}");
    }

    #[test]
    fn what_a_round_may_contradict_is_within_the_noise() {
        let aim = |figure, noise| Aim {
            what: String::new(),
            figure,
            noise,
            unit: "",
            bound: Bound::AtLeast(0.9),
            note: "",
        };
        assert!(aim(0.95, Some(0.1)).is_within_noise());
        assert!(aim(0.85, Some(0.1)).is_within_noise());
        assert!(!aim(0.95, Some(0.01)).is_within_noise());
        assert!(!aim(0.1, None).is_within_noise());
    }

    #[test]
    fn what_was_not_measured_has_no_aim() {
        assert_eq!(of(&report(&[])), []);
    }
}
