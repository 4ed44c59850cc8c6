//! Tasks of the people who work on fetch-etl: `cargo xtask test`, `prepare`, `torture`, `bench` and `ci`.
//!
//! A recipe lives here when it needs logic: a Postgres to be found, a process to be cleaned up after, an output to be
//! checked. Everything else is a plain cargo command.

#![expect(clippy::print_stderr, reason = "a task talks to the person who runs it")]

use std::ffi::OsString;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

mod bench;
mod cargo;
mod ci;
mod postgres;
mod prepare;
mod test;
mod torture;

/// An error is one message for a person: nothing here is handled by kind.
type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// Where the helper binary `schema` reads its database's URL.
const SCHEMA_URL: &str = "SCHEMA_DATABASE_URL";

#[derive(Parser)]
#[command(name = "cargo xtask", about, disable_help_subcommand = true)]
struct Cli {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Run all tests, doctests and examples, on a Postgres that is found or provided.
    #[command(after_help = "Examples:\n  cargo xtask test\n  cargo xtask test --postgres binaries\n  \
                            cargo xtask test -- -p fetch-etl-postgres ledger -- --nocapture")]
    Test {
        /// Where the Postgres comes from.
        #[arg(long, value_enum, default_value_t = postgres::Choice::Auto)]
        postgres: postgres::Choice,
        /// Arguments for `cargo test`; with any, only it runs, and the examples do not.
        #[arg(last = true)]
        cargo_args: Vec<OsString>,
    },
    /// Refresh the `.sqlx` directories, against which the crates check their SQL when they are compiled.
    #[command(after_help = "Examples:\n  cargo xtask prepare\n  cargo xtask prepare --check")]
    Prepare {
        /// Change nothing; fail if what is committed is out of date.
        #[arg(long)]
        check: bool,
        /// Where the Postgres comes from.
        #[arg(long, value_enum, default_value_t = postgres::Choice::Auto)]
        postgres: postgres::Choice,
    },
    /// Try the reliability promises on the real programs, with kills, cuts and outages; see `cargo xtask torture --help`.
    #[command(disable_help_flag = true)]
    Torture {
        /// Handed on to the program that does it.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<OsString>,
    },
    /// Measure the worker beside what its parts cost alone, and beside other consumers; see `cargo xtask bench --help`.
    #[command(disable_help_flag = true)]
    Bench {
        /// Cargo's profile to build with: `release`, or `dist`, as it is shipped. Comes before all other arguments.
        #[arg(long, default_value = "release")]
        profile: String,
        /// Handed on to the program that does it.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<OsString>,
    },
    /// Run every check that a change must pass; `.ci/run` is this.
    #[command(after_help = "Example:\n  cargo xtask ci")]
    Ci,
}

fn main() -> ExitCode {
    let done = match Cli::parse().task {
        Task::Test { postgres, cargo_args } => test::run(postgres, &cargo_args),
        Task::Prepare { check, postgres } => prepare::run(postgres, check),
        Task::Torture { arguments } => torture::run(&arguments),
        Task::Bench { profile, arguments } => bench::run(&profile, &arguments),
        Task::Ci => ci::run(),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error}");
            error
                .downcast_ref::<cargo::Failed>()
                .and_then(cargo::Failed::code)
                .map_or(ExitCode::FAILURE, ExitCode::from)
        }
    }
}

/// One line about what was found, started or removed.
fn say(topic: &str, text: impl std::fmt::Display) {
    eprintln!("xtask: {topic}: {text}");
}

/// What a command printed and we looked at.
fn show(output: &str) {
    eprint!("{output}");
}
