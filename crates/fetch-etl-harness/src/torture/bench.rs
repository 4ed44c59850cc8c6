//! What all rows stand on: a cluster of their own, keys, and one line now and then about how far it is.

use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use fetch_etl_scratch_postgres::{Binaries, Cluster, Durability};
use tempfile::TempDir;

use super::report::Outcome;
use super::{Options, Scale};
use crate::{binary, python};

/// What is good for a company's database is good for this one; only that the slots can be used up quickly.
const SETTINGS: &str = "
max_connections = 60
log_connections = off
";

const BETWEEN_LINES: Duration = Duration::from_secs(5);

pub(super) struct Bench {
    pub(super) cluster: Cluster,
    pub(super) scale: Scale,
    seed: u64,
    directory: TempDir,
    recipient: String,
    /// Rows whose every column was compared with the second opinion.
    pub(super) compared: AtomicU64,
    progress: Mutex<Progress>,
}

struct Progress {
    row: u8,
    began: Instant,
    last_line: Instant,
}

impl Bench {
    pub(super) fn new(options: &Options) -> Result<Self, String> {
        python().ok_or("it needs Python 3.9 or newer, which recomputes every row in another way")?;
        let binaries = Binaries::find().ok_or("it needs the Postgres server binaries")?;
        let cluster = Cluster::start(&binaries, Durability::Full).map_err(|error| error.to_string())?;
        cluster
            .configure(SETTINGS)
            .and_then(|()| cluster.restart(fetch_etl_scratch_postgres::Shutdown::Fast))
            .map_err(|error| error.to_string())?;
        let directory = tempfile::Builder::new().prefix("fetch-etl-torture-").tempdir();
        let directory = directory.map_err(|error| format!("no directory for files: {error}"))?;
        let recipient = key_pair(&directory)?;
        let now = Instant::now();
        Ok(Self {
            cluster,
            scale: options.scale,
            seed: options.seed,
            directory,
            recipient,
            compared: AtomicU64::new(0),
            progress: Mutex::new(Progress { row: 0, began: now, last_line: now }),
        })
    }

    /// The seed of one part of one row: independent of which others run.
    pub(super) fn seed(&self, row: u8, part: u64) -> u64 {
        let mut rng = fastrand::Rng::with_seed(self.seed ^ (u64::from(row) << 56) ^ part.rotate_left(24));
        rng.u64(..)
    }

    /// The public key that bodies of rejects are sealed to.
    pub(super) fn recipient(&self) -> &str {
        &self.recipient
    }

    /// A file of this run, removed with it.
    pub(super) fn file(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub(super) fn begin(&self, row: u8, promise: &str) {
        let now = Instant::now();
        *self.progress() = Progress { row, began: now, last_line: now };
        say(&format!("row {row}: {promise}"));
    }

    /// Says how far a row is, but not too often.
    pub(super) fn progress_line(&self, text: impl FnOnce() -> String) {
        let mut progress = self.progress();
        if progress.last_line.elapsed() >= BETWEEN_LINES {
            progress.last_line = Instant::now();
            say(&format!("row {}: {}", progress.row, text()));
        }
    }

    pub(super) fn end(&self, outcome: &mut Outcome) {
        let progress = self.progress();
        outcome.took = progress.began.elapsed();
        let (row, seconds) = (progress.row, outcome.took.as_secs());
        let verdict = if outcome.holds() { "holds" } else { "FAILS" };
        say(&format!(
            "row {row}: {verdict}: {} {}, {} failures, in {seconds} s",
            outcome.trials,
            outcome.unit,
            outcome.failures.len()
        ));
        for failure in outcome.failures.iter().take(10) {
            say(&format!("row {row}: {failure}"));
        }
    }

    fn progress(&self) -> std::sync::MutexGuard<'_, Progress> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Under what the figures were measured.
    pub(super) fn conditions(&self) -> String {
        let said = |program: &std::path::Path, argument: &str| {
            let output = Command::new(program).arg(argument).output().ok()?;
            output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
        };
        let postgres = said(&self.cluster.binaries().program("postgres"), "--version");
        let commit = Command::new("git").args(["describe", "--always", "--dirty"]).output().ok();
        let commit = commit.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
        let cores = std::thread::available_parallelism().map_or(0, std::num::NonZero::get);
        format!(
            "commit {}, {} cores, {}, {} rows compared with the second opinion",
            commit.filter(|commit| !commit.is_empty()).as_deref().unwrap_or("unknown"),
            cores,
            postgres.as_deref().unwrap_or("PostgreSQL of unknown version"),
            self.compared.load(Relaxed)
        )
    }
}

/// A key pair by etl-admin; returns its public half.
fn key_pair(directory: &TempDir) -> Result<String, String> {
    let public = directory.path().join("recipient.pub");
    let made = Command::new(binary("etl-admin"))
        .args(["keygen", "--private-key"])
        .arg(directory.path().join("recipient.key"))
        .arg("--public-key")
        .arg(&public)
        .output()
        .map_err(|error| format!("cannot start etl-admin: {error}"))?;
    if !made.status.success() {
        return Err(format!("etl-admin keygen: {}", String::from_utf8_lossy(&made.stderr)));
    }
    let text = std::fs::read_to_string(public).map_err(|error| format!("no public key: {error}"))?;
    Ok(text.trim().to_owned())
}

#[expect(clippy::print_stderr, reason = "it talks to the person who runs it")]
fn say(line: &str) {
    eprintln!("torture: {line}");
}
