//! Row 6: values that are unlike anything else, and a search for them in everything that is left behind.

use std::fs::File;
use std::process::{Command, Stdio};
use std::sync::Arc;

use fetch_etl_canary::{Campaign, Findings, Place, Scanner};
use sqlx::{Connection as _, PgConnection};

use super::bench::Bench;
use super::report::Outcome;
use super::rig::last_line;
use super::{Trial, caught};
use crate::{Ended, Running, binary};

/// A server that writes down all that it can about each statement.
const TALKATIVE: &str = "
log_statement = 'all'
log_min_duration_statement = 0
log_min_error_statement = debug5
log_min_messages = debug1
";

const QUIET: &str = "
log_statement = 'none'
log_min_duration_statement = -1
log_min_error_statement = error
log_min_messages = warning
";

/// Where `leak-test` can leak on purpose.
const PLANTS: [&str; 3] = ["stdout", "stderr", "database"];

/// Findings that are told one by one.
const TOLD: usize = 5;

pub(super) async fn canaries(bench: Arc<Bench>) -> Outcome {
    let mut outcome = Outcome::of("canaries");
    let cluster = &bench.cluster;
    let talk = cluster.configure(TALKATIVE).and_then(|()| cluster.reload());
    let seed = bench.seed(6, 0);
    let messages = bench.scale.of(250, 2_500);
    let campaign = Campaign::new(seed, messages);
    let count: usize = campaign.parts().iter().map(|part| part.all().len()).sum();
    let result = match talk {
        Ok(()) => caught(leak_test(&bench, seed, messages, &campaign)).await.and_then(|bytes| bytes),
        Err(error) => Err(error.to_string()),
    };
    if let Ok(bytes) = &result {
        outcome.note(format!(
            "{} MB scanned: pg_dump, data directory with WAL, the server's log with every statement, stdout and stderr at TRACE, \
             panics, quarantine, sessions",
            bytes / 1_000_000
        ));
    }
    outcome.add(count as u64, "leak-test", result.map(drop));
    bench.progress_line(|| "leaks on purpose".to_owned());
    // At the same time: each waits more than it works. With other seeds, for they share the WAL.
    let leaking: Vec<_> =
        (1..).zip(PLANTS).map(|(n, place)| (place, leaking(&bench, seed ^ n, place))).collect();
    for (place, worker) in leaking {
        if let Err(why) = caught(async { must_be_caught(worker.wait()) }).await.and_then(|caught| caught) {
            outcome.failures.push(format!("a leak planted in {place}: {why}"));
        }
    }
    if outcome.holds() {
        outcome.note(format!("0 found; leaks planted in {} all found", PLANTS.join(", ")));
    }
    if let Err(error) = cluster.configure(QUIET).and_then(|()| cluster.reload()) {
        outcome.failures.push(error.to_string());
    }
    outcome
}

/// Runs the worker's own test and then looks at what only we can see. Returns how many bytes were looked at.
async fn leak_test(bench: &Bench, seed: u64, messages: u32, campaign: &Campaign) -> Trial<u64> {
    let arguments = ["--seed", &seed.to_string(), "--messages", &messages.to_string(), "--keep"];
    let ended = start(bench, &arguments).wait();
    if ended.status.code() != Some(0) {
        return Err(format!("it ends with {:?}: {}{}", ended.status.code(), ended.stdout, ended.stderr));
    }
    let scanner = campaign.scanner();
    let mut bytes = 0;
    bench.progress_line(|| "scanning what is left behind".to_owned());
    // What it said itself, too.
    for (name, text) in [("leak-test's stdout", &ended.stdout), ("leak-test's stderr", &ended.stderr)] {
        bytes += clean(scanner.scan(&Place::nowhere(name), text.as_bytes()))?.bytes;
    }
    bytes += dump(bench, &scanner, 0).await?;
    let mut admin = connect(bench).await?;
    sqlx::query("CHECKPOINT").execute(&mut admin).await.map_err(|error| error.to_string())?;
    let place = Place::with_rows("the data directory");
    let files = scanner.scan_directory(&place, &bench.cluster.data_directory());
    let files = files.map_err(|error| format!("the data directory: {error}"))?;
    if let Some((path, why)) = files.unreadable.first() {
        return Err(format!("{} cannot be read: {why}", path.display()));
    }
    bytes += with_rows(clean(Ok(files.findings))?, "the data directory")?.bytes;
    let log = File::open(bench.cluster.log_file()).map_err(|error| format!("the server's log: {error}"))?;
    bytes += clean(scanner.scan(&Place::nowhere("the server's log"), log))?.bytes;
    // And once more with a value where none may be: this scan, too, must see it.
    plant_in_a_table(&mut admin, campaign).await?;
    bytes += dump(bench, &scanner, 1).await?;
    Ok(bytes)
}

/// Scans what pg_dumpall gives, in which there must be so many values that may not be there.
async fn dump(bench: &Bench, scanner: &Scanner, expected: u64) -> Trial<u64> {
    let mut dumping = Command::new(bench.cluster.binaries().program("pg_dumpall"))
        .args(["--host=127.0.0.1", "--username=postgres", "--no-password"])
        .arg(format!("--port={}", bench.cluster.port()))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|error| format!("pg_dumpall: {error}"))?;
    let stdout = dumping.stdout.take().ok_or("pg_dumpall has no stdout")?;
    let findings =
        scanner.scan(&Place::with_rows("pg_dump"), stdout).map_err(|error| format!("pg_dumpall: {error}"))?;
    if !dumping.wait().is_ok_and(|status| status.success()) {
        return Err("pg_dumpall failed".to_owned());
    }
    let findings = with_rows(findings, "pg_dump")?;
    if expected == 0 {
        clean(Ok(findings)).map(|findings| findings.bytes)
    } else if findings.total == expected {
        Ok(findings.bytes)
    } else {
        Err(format!("{} values are planted in the dump, {} were found", expected, findings.total))
    }
}

async fn plant_in_a_table(admin: &mut PgConnection, campaign: &Campaign) -> Trial {
    let nowhere = campaign.planted.all().iter().find(|canary| canary.field().as_str() == "device_id");
    let value = nowhere.ok_or("there is no canary to plant")?.value();
    sqlx::raw_sql("CREATE TABLE planted (value text)")
        .execute(&mut *admin)
        .await
        .map_err(|error| error.to_string())?;
    let planted = sqlx::query("INSERT INTO planted VALUES ($1)").bind(value).execute(admin).await;
    planted.map(drop).map_err(|error| error.to_string())
}

/// A leak test of a worker that leaks on purpose.
fn leaking(bench: &Bench, seed: u64, place: &str) -> Running {
    start(bench, &["--seed", &seed.to_string(), "--messages", "100", "--plant", place])
}

fn must_be_caught(ended: Ended) -> Trial {
    if ended.status.code() == Some(1) && ended.stdout.contains("found: ") {
        return Ok(());
    }
    Err(format!("it was not found: {:?}: {}", ended.status.code(), last_line(&ended.stderr)))
}

fn start(bench: &Bench, arguments: &[&str]) -> Running {
    let url = bench.cluster.url();
    let all = ["leak-test", "--database-url", &url].into_iter().chain(arguments.iter().copied());
    Running::start(&binary("etl-worker"), all, [])
}

fn clean(scanned: std::io::Result<Findings>) -> Trial<Findings> {
    let findings = scanned.map_err(|error| error.to_string())?;
    if findings.is_clean() {
        return Ok(findings);
    }
    let first: Vec<_> = findings.first.iter().take(TOLD).map(ToString::to_string).collect();
    Err(format!("{} values: {}", findings.total, first.join("; ")))
}

/// A place that holds no rows was not the place.
fn with_rows(findings: Findings, place: &str) -> Trial<Findings> {
    if findings.allowed == 0 { Err(format!("no row is in {place}")) } else { Ok(findings) }
}

async fn connect(bench: &Bench) -> Trial<PgConnection> {
    PgConnection::connect(&bench.cluster.url()).await.map_err(|error| format!("cannot connect: {error}"))
}
