//! `etl-admin audit`.

use std::fmt::Write as _;

use etl_worker::failure::Failure;
use etl_worker::report;
use fetch_etl_postgres::{AuditHead, AuditRecord, AuditVerdict};

use crate::Outcome;
use crate::cli::{AuditCommand, AuditListArgs, AuditVerifyArgs};
use crate::store::PeopleStore;
use crate::words::{counted, harmless};

const HEADING: [&str; 9] = ["row", "at", "role", "user", "action", "subject", "level", "values", "reason"];

pub(crate) async fn run(command: AuditCommand) -> Result<Outcome, Failure> {
    match command {
        AuditCommand::List(args) => list(args).await,
        AuditCommand::Verify(args) => verify(args).await,
    }
}

/// What is said of the audit's end, for who notes it elsewhere.
pub(crate) fn head(head: AuditHead) -> String {
    format!("audit head: {head}\n")
}

async fn list(args: AuditListArgs) -> Result<Outcome, Failure> {
    let store = PeopleStore::open(&args.config).await?;
    let records = store.sink.audit_records(args.since, args.limit).await;
    let records = records.map_err(|error| store.failure(error))?;
    let lines: Vec<_> = records.iter().map(line).collect();
    let mut text = if lines.is_empty() { String::new() } else { report::table(HEADING, &lines) };
    let _ = writeln!(text, "{}", counted(records.len() as u64, "row", "rows"));
    if records.len() as u64 == u64::from(args.limit) {
        text.push_str("there may be older ones (--limit)\n");
    }
    Ok(Outcome::done(text))
}

fn line(record: &AuditRecord) -> [String; 9] {
    let host = record.host.as_deref().map(|host| format!(" on {}", harmless(host))).unwrap_or_default();
    [
        record.seq.to_string(),
        record.at.clone(),
        harmless(&record.db_role),
        harmless(&record.os_user) + &host,
        harmless(&record.action),
        harmless(&record.subject),
        record.level.as_deref().map(harmless).unwrap_or_default(),
        record.entries.to_string(),
        harmless(&record.reason),
    ]
}

async fn verify(args: AuditVerifyArgs) -> Result<Outcome, Failure> {
    let store = PeopleStore::open(&args.config).await?;
    let verdict = store.sink.verify_audit(args.expect_head).await;
    Ok(told(&verdict.map_err(|error| store.failure(error))?, args.expect_head))
}

fn told(verdict: &AuditVerdict, expected: Option<AuditHead>) -> Outcome {
    let AuditVerdict { rows, head: last, findings, more } = verdict;
    let rows = counted(*rows, "row", "rows");
    if findings.is_empty() {
        let known = match expected {
            Some(AuditHead { seq, .. }) => format!(", and row {seq} is the one that was noted"),
            None => {
                "; without --expect-head, that its end was not cut off is the database's own word".to_owned()
            }
        };
        return Outcome::done(format!("{rows}, each as it was written{known}\n{}", head(*last)));
    }
    let mut text = String::new();
    for finding in findings {
        let _ = writeln!(text, "{finding}");
    }
    if *more > 0 {
        let _ = writeln!(text, "and {} more", report::grouped(*more));
    }
    let _ = writeln!(text, "{rows}: the audit was tampered with, or damaged");
    Outcome { text, complete: false }
}
