//! What was found, for people and for programs. docs/CHECK.md describes the JSON.

use std::fmt::Write as _;

use serde::Serialize;

use super::code::{About, Severity};
use super::finding::{Finding, NotChecked};
use crate::failure::ExitCode;

/// All that `check` has to say.
pub(super) struct Told {
    pub(super) queue: Looked,
    pub(super) database: Looked,
    pub(super) masking: String,
    /// By what they are about, the worst first.
    pub(super) findings: Vec<Finding>,
    /// Found, and known to whoever runs the check.
    pub(super) accepted: Vec<Finding>,
    pub(super) not_checked: Vec<NotChecked>,
}

/// What was looked at.
#[derive(Serialize)]
pub(super) struct Looked {
    pub(super) name: String,
    pub(super) state: String,
}

impl Told {
    /// What the process ends with.
    pub(super) fn exit_code(&self) -> ExitCode {
        match (self.not_checked.as_slice(), self.findings.as_slice()) {
            ([], []) => ExitCode::Done,
            ([], _) => ExitCode::Failed,
            _ => ExitCode::NotChecked,
        }
    }

    /// For people.
    pub(super) fn text(&self) -> String {
        let Looked { name: queue, state: of_queue } = &self.queue;
        let Looked { name: database, state: of_database } = &self.database;
        let mut text = format!(
            "queue     {queue}: {of_queue}\ndatabase  {database}: {of_database}\nmasking   {}\n\n{}\n",
            self.masking,
            self.headline()
        );
        for about in About::ALL {
            let mut group = String::new();
            for missing in self.not_checked.iter().filter(|missing| missing.about == about) {
                let _ = writeln!(group, "  not checked: {}", missing.why);
            }
            for Finding { code, what, fix } in self.findings.iter().filter(|found| found.code.about == about)
            {
                let _ = writeln!(group, "  {}, {}: {what}", code.severity.word(), code.id);
                let _ = writeln!(group, "      why: {}\n      fix: {fix}", code.why);
            }
            if !group.is_empty() {
                let _ = write!(text, "\n{}\n{group}", about.word());
            }
        }
        if !self.accepted.is_empty() {
            let ids: Vec<_> = self.accepted.iter().map(|found| found.code.id).collect();
            let _ = writeln!(text, "\naccepted: {}", ids.join(", "));
        }
        text
    }

    fn headline(&self) -> String {
        let mut words = match self.findings.as_slice() {
            [] => "no findings".to_owned(),
            [_] => "1 finding".to_owned(),
            several => format!("{} findings", several.len()),
        };
        let counts = [Severity::High, Severity::Medium, Severity::Low].map(|severity| {
            (self.findings.iter().filter(|found| found.code.severity == severity).count(), severity)
        });
        let counts: Vec<_> = counts
            .into_iter()
            .filter(|(count, _)| *count > 0)
            .map(|(count, severity)| format!("{count} {}", severity.word()))
            .collect();
        if !counts.is_empty() {
            let _ = write!(words, ": {}", counts.join(", "));
        }
        if !self.not_checked.is_empty() {
            words.push_str("; not everything could be checked");
        }
        words
    }

    /// For programs: one object.
    pub(super) fn json(&self) -> String {
        let report = Report {
            schema: SCHEMA,
            verdict: match self.exit_code() {
                ExitCode::Done => "clean",
                ExitCode::NotChecked => "not-checked",
                ExitCode::Failed | ExitCode::Usage => "findings",
            },
            queue: &self.queue,
            database: &self.database,
            masking: &self.masking,
            findings: self.findings.iter().map(Entry::of).collect(),
            accepted: self.accepted.iter().map(Entry::of).collect(),
            not_checked: &self.not_checked,
        };
        // Of texts and lists there is nothing that JSON could not hold.
        let json = serde_json::to_string_pretty(&report).unwrap_or_default();
        format!("{json}\n")
    }
}

/// Grows when something is renamed or taken away, not when something is added.
const SCHEMA: u32 = 1;

#[derive(Serialize)]
struct Report<'a> {
    schema: u32,
    verdict: &'static str,
    queue: &'a Looked,
    database: &'a Looked,
    masking: &'a str,
    findings: Vec<Entry<'a>>,
    accepted: Vec<Entry<'a>>,
    not_checked: &'a [NotChecked],
}

#[derive(Serialize)]
struct Entry<'a> {
    code: &'static str,
    severity: Severity,
    about: About,
    what: &'a str,
    why: &'static str,
    fix: &'a str,
}

impl<'a> Entry<'a> {
    fn of(finding: &'a Finding) -> Self {
        let Finding { code, what, fix } = finding;
        Self { code: code.id, severity: code.severity, about: code.about, what, why: code.why, fix }
    }
}
