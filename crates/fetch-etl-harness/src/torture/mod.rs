//! `cargo xtask torture`: what fetch-etl promises, tried on the real programs in separate processes and on a real Postgres, with kills,
//! cuts, outages and hostile messages, and counted.
//!
//! Each row of the table is a promise. A trial is what its name says: a kill, a cut, an outage, a message. N trials without a
//! failure bound the rate of failures at 3/N with a confidence of 95 % (the rule of three: (1 − p)ᴺ ≤ 0.05 for p ≥ 3/N), and that is
//! what the table says, not "never".
//!
//! Everything random follows from one seed: what is sent, which faults the queue and the connection commit, when and where
//! processes are killed. The scheduling of processes does not, so a failure may need several runs with its seed to show again.

mod bench;
mod commits;
mod crash;
mod load;
mod masks;
mod memory;
mod outages;
mod parser;
mod points;
mod poison;
mod redelivery;
mod report;
mod rig;
mod secrecy;
mod stops;

use std::collections::BTreeSet;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::Arc;

use futures_util::FutureExt as _;

use bench::Bench;
pub use report::Report;
use report::{Line, Outcome};

/// What to run.
#[derive(Debug, Clone)]
pub struct Options {
    /// How much of it.
    pub scale: Scale,
    /// What everything random follows from.
    pub seed: u64,
    /// The rows to run; empty for all.
    pub rows: BTreeSet<u8>,
}

/// How many trials.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scale {
    /// Some minutes, for every change.
    Quick,
    /// The figures that are published.
    Full,
}

impl Scale {
    /// The one or the other.
    pub(crate) fn of<T>(self, quick: T, full: T) -> T {
        match self {
            Self::Quick => quick,
            Self::Full => full,
        }
    }
}

/// Whether something held, and if not, what was seen instead: never a value of a message.
type Trial<T = ()> = Result<T, String>;

type Run = fn(Arc<Bench>) -> Pin<Box<dyn Future<Output = Outcome>>>;

/// A promise, and how it is tried.
struct Row {
    number: u8,
    promise: &'static str,
    run: Run,
}

const ROWS: [Row; 10] = [
    Row { number: 1, promise: "no loss, no duplicate on crash", run: |bench| Box::pin(crash::kills(bench)) },
    Row { number: 2, promise: "redelivery harmless", run: |bench| Box::pin(redelivery::faulty_queue(bench)) },
    Row { number: 3, promise: "ambiguous commit harmless", run: |bench| Box::pin(commits::cuts(bench)) },
    Row { number: 4, promise: "Postgres outages survived", run: |bench| Box::pin(outages::outages(bench)) },
    Row { number: 5, promise: "poison isolated", run: |bench| Box::pin(poison::poisoned(bench)) },
    Row { number: 6, promise: "nothing in clear", run: |bench| Box::pin(secrecy::canaries(bench)) },
    Row { number: 7, promise: "masks right", run: |bench| Box::pin(masks::recomputed(bench)) },
    Row { number: 8, promise: "parser never panics", run: |bench| Box::pin(parser::damaged_messages(bench)) },
    Row { number: 9, promise: "clean stop", run: |bench| Box::pin(stops::stops(bench)) },
    Row { number: 10, promise: "bounded memory", run: |bench| Box::pin(memory::backlog(bench)) },
];

/// How many rows there are.
pub const ROW_COUNT: u8 = ROWS.len() as u8;

/// Runs the rows, says on stderr how far it is, and returns the table. It waits for processes by blocking, so it is for the main
/// thread of a runtime with several others, on which the proxy and its like go on meanwhile.
///
/// # Errors
/// Something that the rows stand on is not there: Postgres's server binaries, Python 3.
pub async fn run(options: Options) -> Result<Report, String> {
    let chosen = |row: &&Row| options.rows.is_empty() || options.rows.contains(&row.number);
    let bench = Arc::new(Bench::new(&options)?);
    let mut lines = Vec::new();
    for row in ROWS.iter().filter(chosen) {
        bench.begin(row.number, row.promise);
        let mut outcome = caught((row.run)(bench.clone())).await.unwrap_or_else(Outcome::did_not_run);
        bench.end(&mut outcome);
        lines.push(Line { number: row.number, promise: row.promise, outcome });
    }
    Ok(Report::new(&options, bench.conditions(), lines))
}

/// The parts of the harness say what is wrong by panicking; here that is a failure among others.
async fn caught<T>(trial: impl Future<Output = T>) -> Trial<T> {
    AssertUnwindSafe(trial).catch_unwind().await.map_err(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
        text.unwrap_or("a panic without words").to_owned()
    })
}
