//! The figures held against what is aimed at: ratios within one run, since absolute figures are the machine's.

use crate::report::{CLIENT, Measurement, POSTGRES, Report};

/// What is aimed at, and what it came to.
#[derive(Debug, Clone, PartialEq)]
pub struct Aim {
    /// The figure's name.
    pub what: String,
    /// What was measured.
    pub figure: f64,
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
        match self.bound {
            Bound::AtLeast(bound) => self.figure >= bound,
            Bound::AtMost(bound) => self.figure <= bound,
        }
    }
}

const MIB: f64 = 1024.0 * 1024.0;

/// All aims for which there are figures.
pub fn of(report: &Report) -> Vec<Aim> {
    let mut aims = Vec::new();
    aims.extend(against_peers(report));
    let aim = |what: &str, figure: Option<f64>, unit, bound, note| {
        figure.map(|figure| Aim { what: what.to_owned(), figure, unit, bound, note })
    };
    let worker = report.get("worker.hmac");
    let rss = worker.and_then(Measurement::peak_rss_bytes).map(|bytes| bytes as f64 / MIB);
    let figure = |name, figure| report.get(name).and_then(|m: &Measurement| m.figure(figure));
    let rows = figure("worker.stored", "stored_rows").map(|rows| format!("{} M", rows / 1e6));
    let rows = format!("rate with {} rows stored / with none", rows.unwrap_or_default());
    use Bound::{AtLeast, AtMost};
    aims.extend(
        [
            aim(
                "rate: worker.sha512 / limit.pipeline",
                rates(report, "worker.sha512", "limit.pipeline"),
                "",
                AtLeast(0.80),
                "the same masks",
            ),
            aim(
                "efficiency",
                efficiency(report, "worker.sha512", "limit.sink.unnest"),
                "",
                AtLeast(0.80),
                "limits: source, mask.sha512, sink.unnest",
            ),
            aim(
                "efficiency, with the ledger among the limits",
                efficiency(report, "worker.sha512", "limit.sink.ledger"),
                "",
                AtLeast(0.80),
                "limits: source, mask.sha512, sink.ledger",
            ),
            aim(
                "worker CPU a message",
                worker.and_then(|worker| worker.cpu_us(CLIENT)),
                " µs",
                AtMost(20.0),
                "worker.hmac; ≤ 8 is where this should end",
            ),
            aim(
                "core alone",
                report.get("core").and_then(Measurement::rate),
                " messages/s",
                AtLeast(1e6),
                "on one core",
            ),
            aim(
                &rows,
                rates(report, "worker.stored", "worker.hmac"),
                "",
                AtLeast(0.90),
                "the aim is for 10 M",
            ),
            aim(
                "rate with a long backlog / with a short one",
                rates(report, "worker.backlog.long", "worker.backlog.short"),
                "",
                AtLeast(0.95),
                "the aim is for 1 M and 10 k",
            ),
            aim(
                "p99 sent→committed at 100 messages/s",
                figure("worker.latency", "p99_ms"),
                " ms",
                AtMost(50.0),
                "worker.hmac",
            ),
            aim(
                "peak RSS at full rate",
                rss,
                " MiB",
                AtMost(64.0),
                "worker.hmac; with Postgres stalled: torture, row 10",
            ),
            aim("an idle worker", figure("worker.idle", "cpu_percent"), " % of a core", AtMost(0.1), ""),
        ]
        .into_iter()
        .flatten(),
    );
    aims
}

fn rates(report: &Report, above: &str, below: &str) -> Option<f64> {
    let below = report.get(below)?.rate().filter(|rate| *rate > 0.0)?;
    Some(report.get(above)?.rate()? / below)
}

fn against_peers(report: &Report) -> Vec<Aim> {
    let peers = report.measurements.iter().filter(|measurement| measurement.name.starts_with("peer."));
    let aim = |peer: &Measurement| {
        let figure = rates(report, "worker.hmac", &peer.name)?;
        let what = format!("rate: worker.hmac / {}", peer.name);
        let note = "≥ 5 is where this should end; against the first version ≥ 1,000";
        Some(Aim { what, figure, unit: " ×", bound: Bound::AtLeast(3.0), note })
    };
    peers.filter_map(aim).collect()
}

/// What the parts cost that nobody can do without, divided by what the worker and its Postgres cost.
fn efficiency(report: &Report, worker: &str, sink: &str) -> Option<f64> {
    let cpu = |name: &str, process| report.get(name)?.cpu_us(process);
    let limits = cpu("limit.source", CLIENT)?
        + cpu("limit.mask.sha512", CLIENT)?
        + cpu(sink, CLIENT)?
        + cpu(sink, POSTGRES)?;
    let all = cpu(worker, CLIENT)? + cpu(worker, POSTGRES)?;
    (all > 0.0).then_some(limits / all)
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
            ("limit.source", 40_000.0, 10.0),
            ("limit.mask.sha512", 1e6, 1.0),
            ("limit.sink.unnest", 1e5, 1.0),
            ("limit.pipeline", 100_000.0, 6.0),
            ("worker.sha512", 50_000.0, 18.0),
            ("worker.hmac", 48_000.0, 21.0),
            ("peer.1", 16_000.0, 54.0),
        ]);
        let aims = of(&report);
        // 10 + 1 + 1 and Postgres's 2, of 18 and Postgres's 2.
        assert!((find(&aims, "efficiency").figure - 0.7).abs() < 1e-9);
        assert!(!find(&aims, "efficiency").is_met());
        assert!((find(&aims, "limit.pipeline").figure - 0.5).abs() < 1e-9);
        assert!((find(&aims, "peer.1").figure - 3.0).abs() < 1e-9);
        assert!(find(&aims, "peer.1").is_met());
        assert!(!find(&aims, "worker CPU").is_met());
    }

    #[test]
    fn what_was_not_measured_has_no_aim() {
        assert_eq!(of(&report(&[])), []);
    }
}
