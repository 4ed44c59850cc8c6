//! Two reports side by side.

use std::fmt::{self, Display};

use crate::report::{CLIENT, Measurement, POSTGRES, Report};
use crate::table::number;

/// What changed from one report to another, for what both have measured.
#[derive(Debug, Clone, PartialEq)]
pub struct Comparison {
    before: String,
    now: String,
    lines: Vec<Line>,
}

#[derive(Debug, Clone, PartialEq)]
struct Line {
    name: String,
    rate: Option<f64>,
    client: Option<f64>,
    postgres: Option<f64>,
    noise: Option<f64>,
}

impl Comparison {
    /// Of a report with an older one.
    pub fn new(before: &Report, now: &Report) -> Self {
        let lines = now.measurements.iter().filter_map(|now| Some(Line::new(before.get(&now.name)?, now)));
        let title = |report: &Report| {
            format!("{} ({}, {})", report.conditions.commit, report.conditions.scale, report.conditions.cpu)
        };
        Self { before: title(before), now: title(now), lines: lines.collect() }
    }
}

impl Line {
    fn new(before: &Measurement, now: &Measurement) -> Self {
        let ratio = |figure: &dyn Fn(&Measurement) -> Option<f64>| {
            let below = figure(before).filter(|figure| *figure > 0.0)?;
            Some(figure(now)? / below)
        };
        Self {
            name: now.name.clone(),
            rate: ratio(&Measurement::rate),
            client: ratio(&|measurement| measurement.cpu_us(CLIENT)),
            postgres: ratio(&|measurement| measurement.cpu_us(POSTGRES)),
            noise: before.spread().zip(now.spread()).map(|(before, now)| before.max(now)),
        }
    }
}

impl Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} against {}\n", self.now, self.before)?;
        writeln!(f, "| measured | rate | its CPU a message | Postgres CPU a message | ± of single runs |")?;
        writeln!(f, "| --- | --: | --: | --: | --: |")?;
        let ratio =
            |ratio: Option<f64>| ratio.map_or_else(|| "–".to_owned(), |ratio| format!("× {}", number(ratio)));
        for Line { name, rate, client, postgres, noise } in &self.lines {
            let noise = noise.map_or_else(|| "–".to_owned(), |noise| format!("{:.0} %", noise * 100.0));
            writeln!(
                f,
                "| {name} | {} | {} | {} | {noise} |",
                ratio(*rate),
                ratio(*client),
                ratio(*postgres)
            )?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::tests::report;

    #[test]
    fn what_both_have_is_compared() {
        let before = report(&[("worker.hmac", 40_000.0, 20.0), ("gone", 1.0, 1.0)]);
        let now = report(&[("worker.hmac", 50_000.0, 10.0), ("new", 1.0, 1.0)]);
        let text = Comparison::new(&before, &now).to_string();
        assert!(text.contains("| worker.hmac | × 1.25 | × 0.50 | × 1.00 | 0 % |"), "{text}");
        assert!(!text.contains("gone") && !text.contains("new |"), "{text}");
    }
}
