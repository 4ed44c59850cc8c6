//! What `cargo xtask torture` runs.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "it talks to the person who runs it")]

use std::process::ExitCode;

use clap::Parser;
use fetch_etl_harness::torture::{self, Options, ROW_COUNT, Scale};

/// Tries what fetch-etl promises: kills, cuts, outages and hostile messages, on the real programs and a real Postgres.
///
/// Prints a table of the promises with the trials, the failures and what rate of failures they leave possible. Makes a Postgres
/// cluster of its own, and leaves nothing behind. Needs Linux, Python 3.9 and the Postgres server's programs.
#[derive(Debug, Parser)]
#[command(
    name = "cargo xtask torture",
    max_term_width = 100,
    after_help = "\
Examples:
  cargo xtask torture                     some minutes, as CI does
  cargo xtask torture --full              the figures of docs/RELIABILITY.md; about half an hour
  cargo xtask torture --rows 1,3 --seed 7

Exit codes: 0 all rows hold, 1 a row fails or could not be tried, 2 bad command line."
)]
struct Cli {
    /// Some minutes; the default
    #[arg(long, conflicts_with = "full")]
    quick: bool,
    /// As many trials as the published figures stand for
    #[arg(long)]
    full: bool,
    /// What is sent, which faults there are, and when; another seed for each run where none is given
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// Only these rows of the table
    #[arg(long, value_name = "N", value_delimiter = ',', value_parser = clap::value_parser!(u8).range(1..=i64::from(ROW_COUNT)))]
    rows: Vec<u8>,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let options = Options {
        scale: if cli.full { Scale::Full } else { Scale::Quick },
        // Small enough to be typed again.
        seed: cli.seed.unwrap_or_else(|| fastrand::u64(..1_000_000)),
        rows: cli.rows.into_iter().collect(),
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(4).enable_all().build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("torture: cannot start the runtime: {error}");
            return ExitCode::FAILURE;
        }
    };
    match runtime.block_on(torture::run(options)) {
        Ok(report) => {
            println!("{report}");
            if report.holds() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Err(why) => {
            eprintln!("torture: {why}");
            ExitCode::FAILURE
        }
    }
}
