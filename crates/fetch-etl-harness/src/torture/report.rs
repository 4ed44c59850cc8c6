//! The table.

use std::fmt;
use std::time::Duration;

use super::{Options, Scale};

/// What trials of one kind came to.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    /// How many there were.
    pub(super) trials: u64,
    /// What one of them is, in the plural.
    pub(super) unit: &'static str,
    /// What went wrong, a text each.
    pub(super) failures: Vec<String>,
    /// Further figures, in words.
    pub(super) measured: Vec<String>,
    /// How long it took.
    pub(super) took: Duration,
}

impl Outcome {
    pub(super) fn of(unit: &'static str) -> Self {
        Self { unit, ..Self::default() }
    }

    /// A row that broke before it could count anything.
    pub(super) fn did_not_run(why: String) -> Self {
        Self { trials: 1, unit: "run", failures: vec![why], ..Self::default() }
    }

    /// Counts trials that stand or fall together.
    pub(super) fn add(&mut self, trials: u64, what: &str, result: Result<(), String>) {
        self.trials += trials;
        if let Err(why) = result {
            self.failures.push(format!("{what}: {why}"));
        }
    }

    pub(super) fn note(&mut self, text: impl Into<String>) {
        self.measured.push(text.into());
    }

    /// The rule of three.
    fn bound(&self) -> String {
        match (self.trials, self.failures.len()) {
            (0, _) => "nothing was tried".to_owned(),
            (trials, 0) => format!("≤ {}", percent(3.0 / trials as f64)),
            (..) => "does not hold".to_owned(),
        }
    }

    pub(super) fn holds(&self) -> bool {
        self.trials > 0 && self.failures.is_empty()
    }
}

/// Two digits that count.
fn percent(share: f64) -> String {
    let percent = (share * 100.0).min(100.0);
    let decimals = if percent >= 10.0 { 0 } else { (1.0 - percent.log10().floor()).clamp(0.0, 6.0) as usize };
    format!("{percent:.decimals$} %")
}

/// One row of the table.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) number: u8,
    pub(super) promise: &'static str,
    pub(super) outcome: Outcome,
}

/// What all rows came to. Its `Display` is the table, in Markdown.
#[derive(Debug)]
pub struct Report {
    scale: Scale,
    seed: u64,
    conditions: String,
    lines: Vec<Line>,
}

impl Report {
    pub(super) fn new(options: &Options, conditions: String, lines: Vec<Line>) -> Self {
        Self { scale: options.scale, seed: options.seed, conditions, lines }
    }

    /// Whether every row was tried and none failed.
    pub fn holds(&self) -> bool {
        !self.lines.is_empty() && self.lines.iter().all(|line| line.outcome.holds())
    }

    fn command(&self, rows: &str) -> String {
        let scale = self.scale.of("quick", "full");
        format!("cargo xtask torture --{scale} --seed {}{rows}", self.seed)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "`{}`, {}\n", self.command(""), self.conditions)?;
        writeln!(f, "| # | promise | trials | failures | rate of failures, 95 % | measured | took |")?;
        writeln!(f, "|---|---|---|---|---|---|---|")?;
        for Line { number, promise, outcome } in &self.lines {
            let Outcome { trials, unit, failures, measured, took } = outcome;
            let (bound, measured, failures) = (outcome.bound(), measured.join("; "), failures.len());
            let took = took.as_secs();
            writeln!(
                f,
                "| {number} | {promise} | {trials} {unit} | {failures} | {bound} | {measured} | {took} s |"
            )?;
        }
        for Line { number, outcome, .. } in self.lines.iter().filter(|line| !line.outcome.holds()) {
            writeln!(f, "\nrow {number} fails; again: {}", self.command(&format!(" --rows {number}")))?;
            for failure in outcome.failures.iter().take(10) {
                writeln!(f, "  {failure}")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(outcomes: [Outcome; 2]) -> Report {
        let options = Options { scale: Scale::Quick, seed: 7, rows: [1, 2].into() };
        let lines = outcomes.into_iter().zip(1..).map(|(outcome, number)| Line {
            number,
            promise: "it works",
            outcome,
        });
        Report::new(&options, "here".into(), lines.collect())
    }

    #[test]
    fn trials_without_failure_bound_the_rate() {
        let mut good = Outcome::of("kills");
        good.add(200, "round 1", Ok(()));
        let mut bad = Outcome::of("cuts");
        bad.add(40, "round 1", Ok(()));
        bad.add(40, "round 2", Err("2 rows are missing".into()));
        let report = report([good, bad]);
        assert!(!report.holds());
        let text = report.to_string();
        assert!(text.contains("| 1 | it works | 200 kills | 0 | ≤ 1.5 % |"), "{text}");
        assert!(text.contains("| 2 | it works | 80 cuts | 1 | does not hold |"), "{text}");
        assert!(
            text.contains("row 2 fails; again: cargo xtask torture --quick --seed 7 --rows 2\n"),
            "{text}"
        );
        assert!(text.contains("round 2: 2 rows are missing"), "{text}");
    }

    #[test]
    fn what_was_not_tried_does_not_hold() {
        assert!(!Outcome::of("kills").holds());
        assert!(!Outcome::did_not_run("no Postgres".into()).holds());
    }

    #[test]
    fn a_share_has_two_digits_that_count() {
        for (share, text) in [(0.003, "0.30 %"), (0.000_03, "0.0030 %"), (0.15, "15 %"), (3.0, "100 %")] {
            assert_eq!(percent(share), text);
        }
    }
}
