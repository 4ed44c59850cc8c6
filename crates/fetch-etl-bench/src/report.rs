//! What was measured: written as JSON, so that two commits can be compared.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::stats;

/// What the numbers of a report mean; raised when they mean something else.
pub const FORMAT: u32 = 1;

/// The process between queue and database: worker, limit or peer.
pub const CLIENT: &str = "client";
/// The queue's process.
pub const QUEUE: &str = "queue";
/// All processes of the Postgres server.
pub const POSTGRES: &str = "postgres";
/// The benchmark itself.
pub const OBSERVER: &str = "observer";

/// One run of the benchmark.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// [`FORMAT`].
    pub format: u32,
    /// On what, of what.
    pub conditions: Conditions,
    /// What was measured, in the order of the plan.
    pub measurements: Vec<Measurement>,
    /// What could not be measured, and why.
    pub failures: Vec<String>,
}

/// On what the figures were measured.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Conditions {
    /// As git describes it; `-dirty` where there were changes.
    pub commit: String,
    /// Cargo's profile.
    pub profile: String,
    /// How much was measured.
    pub scale: String,
    /// The command line.
    pub command: String,
    /// When it began, UTC.
    pub started: String,
    /// The CPU's name.
    pub cpu: String,
    /// Cores that this process may use.
    pub cores: usize,
    /// Memory of the machine.
    pub memory_bytes: u64,
    /// The kernel's version.
    pub kernel: String,
    /// The server's version, and whose it is.
    pub postgres: String,
    /// The load average of the minute before.
    pub load_before: f64,
}

/// One thing that was measured, once for each round.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Measurement {
    /// Such as `limit.source`.
    pub name: String,
    /// What that is.
    pub what: String,
    /// One for each round.
    pub runs: Vec<Run>,
}

/// One time that it was measured.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Run {
    /// How many messages, or rows.
    pub messages: u64,
    /// How long they took.
    pub seconds: f64,
    /// CPU seconds that each process took meanwhile, its children included.
    pub cpu_seconds: BTreeMap<String, f64>,
    /// The most memory that the client had at once.
    pub peak_rss_bytes: Option<u64>,
    /// The share of the machine's CPU time that others took meanwhile, on this machine or in its place.
    pub others: Option<f64>,
    /// Whatever else was measured, such as `p99_ms`.
    #[serde(default)]
    pub figures: BTreeMap<String, f64>,
}

impl Run {
    /// Messages a second.
    pub fn rate(&self) -> f64 {
        if self.seconds > 0.0 { self.messages as f64 / self.seconds } else { 0.0 }
    }

    /// CPU microseconds a message.
    pub fn cpu_us(&self, process: &str) -> Option<f64> {
        let seconds = self.cpu_seconds.get(process)?;
        (self.messages > 0).then(|| seconds * 1e6 / self.messages as f64)
    }
}

impl Measurement {
    /// The median rate, in messages a second.
    pub fn rate(&self) -> Option<f64> {
        stats::median(self.runs.iter().map(Run::rate))
    }

    /// The median of CPU microseconds a message.
    pub fn cpu_us(&self, process: &str) -> Option<f64> {
        stats::median(self.runs.iter().filter_map(|run| run.cpu_us(process)))
    }

    /// How far the rates of single runs are from the median at most, as a share of it.
    pub fn spread(&self) -> Option<f64> {
        stats::spread(self.runs.iter().map(Run::rate))
    }

    /// The most memory of any run.
    pub fn peak_rss_bytes(&self) -> Option<u64> {
        self.runs.iter().filter_map(|run| run.peak_rss_bytes).max()
    }

    /// The median share of the machine that others took.
    pub fn others(&self) -> Option<f64> {
        stats::median(self.runs.iter().filter_map(|run| run.others))
    }

    /// The median of another figure.
    pub fn figure(&self, name: &str) -> Option<f64> {
        stats::median(self.runs.iter().filter_map(|run| run.figures.get(name).copied()))
    }
}

impl Report {
    /// The measurement of that name.
    pub fn get(&self, name: &str) -> Option<&Measurement> {
        self.measurements.iter().find(|measurement| measurement.name == name)
    }

    /// Reads what [`to_json`](Self::to_json) wrote.
    ///
    /// # Errors
    /// It is no report, or one of another format.
    pub fn from_json(text: &str) -> crate::Result<Self> {
        let report: Self =
            serde_json::from_str(text).map_err(|error| format!("it is no report of a benchmark: {error}"))?;
        if report.format != FORMAT {
            return Err(
                format!("it has format {}, and this program knows format {FORMAT}", report.format).into()
            );
        }
        Ok(report)
    }

    /// The report as JSON.
    ///
    /// # Errors
    /// A figure is no number.
    pub fn to_json(&self) -> crate::Result<String> {
        Ok(serde_json::to_string_pretty(self)? + "\n")
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A report with these rates, client CPU in µs a message, and nothing else.
    pub(crate) fn report(figures: &[(&str, f64, f64)]) -> Report {
        let measurement = |&(name, rate, cpu_us): &(&str, f64, f64)| {
            let messages = 1_000;
            let seconds = 1_000.0 / rate;
            let cpu_seconds = [(CLIENT.to_owned(), cpu_us / 1e3), (POSTGRES.to_owned(), 2e-3)].into();
            let run = Run { messages, seconds, cpu_seconds, others: Some(0.1), ..Run::default() };
            Measurement { name: name.to_owned(), what: format!("what {name} is"), runs: vec![run] }
        };
        Report {
            format: FORMAT,
            conditions: Conditions {
                commit: "abc".into(),
                profile: "release".into(),
                scale: "quick".into(),
                command: "cargo xtask bench".into(),
                started: "2026-01-01T00:00:00Z".into(),
                cpu: "a CPU".into(),
                cores: 2,
                memory_bytes: 8 << 30,
                kernel: "6.1".into(),
                postgres: "PostgreSQL 15".into(),
                load_before: 0.5,
            },
            measurements: figures.iter().map(measurement).collect(),
            failures: Vec::new(),
        }
    }

    #[test]
    fn json_and_back_is_the_same() {
        let mut report = report(&[("worker.hmac", 10_000.0, 20.0)]);
        report.measurements[0].runs[0].peak_rss_bytes = Some(1 << 20);
        report.measurements[0].runs[0].figures.insert("p99_ms".into(), 1.5);
        report.failures.push("peer: it ended".into());
        assert_eq!(Report::from_json(&report.to_json().unwrap()).unwrap(), report);
    }

    #[test]
    fn what_is_no_report_or_another_format_is_refused() {
        assert!(Report::from_json("{}").unwrap_err().to_string().contains("no report"));
        let newer = Report { format: FORMAT + 1, ..report(&[]) }.to_json().unwrap();
        assert!(Report::from_json(&newer).unwrap_err().to_string().contains("format 2"));
    }

    #[test]
    fn the_median_run_counts() {
        let run = |seconds, cpu| Run {
            messages: 100,
            seconds,
            cpu_seconds: [(CLIENT.to_owned(), cpu)].into(),
            ..Run::default()
        };
        let runs = vec![run(1.0, 0.001), run(2.0, 0.003), run(50.0, 0.002)];
        let measurement = Measurement { name: "x".into(), what: String::new(), runs };
        assert_eq!(measurement.rate(), Some(50.0));
        assert!((measurement.cpu_us(CLIENT).unwrap() - 20.0).abs() < 1e-9);
        assert_eq!(measurement.cpu_us(QUEUE), None);
        assert_eq!(measurement.spread(), Some(1.0));
        assert_eq!(Run::default().rate(), 0.0);
        assert_eq!(Run::default().cpu_us(CLIENT), None);
    }
}
