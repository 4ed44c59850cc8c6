//! The report as a page of Markdown.

use std::fmt::{self, Display};

use crate::aims::{self, Aim, Bound};
use crate::report::{CLIENT, Conditions, Measurement, POSTGRES, QUEUE, Report};

impl Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}\n", self.conditions)?;
        let head = [
            "measured",
            "messages/s",
            "± at most",
            "its CPU",
            "Postgres",
            "queue",
            "peak RSS",
            "others",
            "what it is",
        ];
        row(f, head)?;
        row(f, ["---", "--:", "--:", "--:", "--:", "--:", "--:", "--:", "---"])?;
        for measurement in &self.measurements {
            line(f, measurement)?;
        }
        writeln!(
            f,
            "\nCPU in µs a message, each process with its children. Medians of {} runs, interleaved; \"±\" is the run that is \
             farthest from the median; \"others\" is the share of the machine that somebody else took meanwhile.\n",
            self.measurements.iter().map(|measurement| measurement.runs.len()).max().unwrap_or(0)
        )?;
        row(f, ["aim", "figure", "± at most", "aimed at", "", ""])?;
        row(f, ["---", "--:", "--:", "--:", "---", "---"])?;
        for aim in aims::of(self) {
            aim_line(f, &aim)?;
        }
        for failure in &self.failures {
            writeln!(f, "\nnot measured: {failure}")?;
        }
        Ok(())
    }
}

impl Display for Conditions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            commit,
            profile,
            command,
            started,
            cpu,
            cores,
            memory_bytes,
            kernel,
            postgres,
            load_before,
            ..
        } = self;
        write!(
            f,
            "`{command}`, commit {commit}, profile {profile}, {started}; {cpu}, {cores} cores, {} GiB, Linux {kernel}, {postgres}; \
             load average before: {load_before}",
            memory_bytes.div_ceil(1 << 30)
        )
    }
}

fn line(f: &mut fmt::Formatter<'_>, measurement: &Measurement) -> fmt::Result {
    let micros = |process| {
        cell(measurement.cpu_us(process).map(|us| format!("{us:.*}", if us < 1.0 { 2 } else { 1 })))
    };
    let figures = measurement.runs.first().into_iter().flat_map(|run| run.figures.keys());
    let figures: Vec<_> = figures
        .filter_map(|name| Some(format!("{} {}", name.replace('_', " "), number(measurement.figure(name)?))))
        .collect();
    let what = [vec![measurement.what.clone()], figures].concat().join("; ");
    row(
        f,
        [
            &measurement.name,
            &cell(measurement.rate().filter(|rate| *rate > 0.0).map(grouped)),
            &cell(measurement.spread().filter(|_| measurement.runs.len() > 1).map(percent)),
            &micros(CLIENT),
            &micros(POSTGRES),
            &micros(QUEUE),
            &cell(measurement.peak_rss_bytes().map(|bytes| format!("{} MiB", bytes.div_ceil(1 << 20)))),
            &cell(measurement.others().map(percent)),
            what.as_str(),
        ],
    )
}

fn aim_line(f: &mut fmt::Formatter<'_>, aim: &Aim) -> fmt::Result {
    let bound = match aim.bound {
        Bound::AtLeast(bound) => format!("≥ {}{}", number(bound), aim.unit),
        Bound::AtMost(bound) => format!("≤ {}{}", number(bound), aim.unit),
    };
    let met = if aim.is_met() { "met" } else { "**not met**" };
    let met = if aim.is_within_noise() { format!("{met}, within the noise") } else { met.to_owned() };
    let figure = format!("{}{}", number(aim.figure), aim.unit);
    row(f, [&aim.what, &figure, &cell(aim.noise.map(percent)), &bound, &met, aim.note])
}

fn row<const N: usize>(f: &mut fmt::Formatter<'_>, cells: [&str; N]) -> fmt::Result {
    // A command of a user's may hold what ends a cell.
    let cells = cells.map(|cell| cell.replace('|', "\\|").replace('\n', " "));
    writeln!(f, "| {} |", cells.join(" | "))
}

fn cell(text: Option<String>) -> String {
    text.unwrap_or_else(|| "–".to_owned())
}

fn percent(share: f64) -> String {
    format!("{:.0} %", share * 100.0)
}

/// Three digits that count, or all before the point.
pub(crate) fn number(value: f64) -> String {
    match value.abs() {
        size if size >= 100.0 => grouped(value),
        size if size >= 10.0 => format!("{value:.1}"),
        size if size >= 0.1 || size == 0.0 => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    }
}

/// A whole number with commas between the thousands.
fn grouped(value: f64) -> String {
    let digits = format!("{:.0}", value.max(0.0));
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::tests::report;

    #[test]
    fn numbers_show_what_counts() {
        for (value, text) in [
            (0.0, "0.00"),
            (0.0123, "0.012"),
            (0.1, "0.10"),
            (0.8, "0.80"),
            (8.126, "8.13"),
            (54.36, "54.4"),
            (1_234_567.8, "1,234,568"),
        ] {
            assert_eq!(number(value), text);
        }
    }

    #[test]
    fn the_page_has_figures_aims_and_failures() {
        let mut report = report(&[("limit.pipeline", 100_000.0, 6.0), ("worker.sha512", 50_000.0, 18.25)]);
        report.measurements[1].what = "a | b".to_owned();
        report.measurements[1].runs[0].peak_rss_bytes = Some(41 << 20);
        report.measurements[1].runs[0].figures.insert("p99_ms".into(), 12.34);
        report.failures.push("peer.1: it ended".to_owned());
        let page = report.to_string();
        for expected in [
            "`cargo xtask bench`, commit abc, profile release",
            "| limit.pipeline | 100,000 | – | 6.0 | 2.0 | – | – | 10 % | what limit.pipeline is |",
            "| worker.sha512 | 50,000 | – | 18.2 | 2.0 | – | 41 MiB | 10 % | a \\| b; p99 ms 12.3 |",
            "| rate: worker.sha512 / limit.pipeline | 0.50 | – | ≥ 0.80 | **not met** |",
            "not measured: peer.1: it ended",
        ] {
            assert!(page.contains(expected), "{expected}\nin\n{page}");
        }
    }
}
