//! `cargo xtask ci`: every check that a change must pass, the slowest last.

use std::env;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::{Result, cargo, say};

mod demo;
mod deploy;
mod migrations;
mod readme;
mod security;

/// The two commands that the README promises; they are run here exactly as they stand there.
const DEMO: &str = "cargo run --release -p etl-worker -- demo";
const TEST: &str = "cargo xtask test";
/// With a seed, so that an unchanged tree meets the same faults; the workflow's nightly run takes another one each time.
const TORTURE: &str = "cargo xtask torture --quick --seed 1";

type Step = (&'static str, fn() -> Result<()>);

const STEPS: &[Step] = &[
    ("formatting", formatting),
    ("Cargo.lock is complete", lock_file),
    ("README's commands are the ones run here", || readme::promises(&[DEMO, TEST])),
    ("SECURITY.md names tests that are there", security::names_tests_that_are_there),
    ("merged migrations stay as they are", migrations::unchanged),
    ("licences, sources and bans", deny),
    ("lints", || cargo_runs("clippy --workspace --all-targets --all-features -- -D warnings")),
    ("documentation", documentation),
    (".sqlx is up to date", || cargo::run(&mut as_typed("cargo xtask prepare --check"))),
    ("what the fuzz targets check, on their seeds", fuzz),
    ("demo", || demo::shows_what_it_promises(&mut as_typed(DEMO))),
    ("torture", || cargo::run(&mut as_typed(TORTURE))),
    ("tests", || cargo::run(&mut as_typed(TEST))),
    // Last, because it uses what the tests built.
    ("deploy/ is readable for those who read it", deploy::is_readable),
];

/// Runs all steps, in order, up to the first that fails.
pub(crate) fn run() -> Result<()> {
    let started = Instant::now();
    let mut times = Vec::new();
    for &(name, step) in STEPS {
        say("ci", format!("--- {name}"));
        let started = Instant::now();
        step().map_err(|error| format!("{name}: {error}"))?;
        times.push((name, started.elapsed()));
    }
    for (name, time) in times {
        say("ci", format!("{:>7} {name}", seconds(time)));
    }
    say("ci", format!("{:>7} in all", seconds(started.elapsed())));
    Ok(())
}

fn seconds(time: Duration) -> String {
    format!("{:.1} s", time.as_secs_f64())
}

/// A line of a shell, as a command in an environment that is the user's own.
fn as_typed(line: &str) -> Command {
    let mut words = line.split_whitespace();
    let mut command = cargo::command(words.next().unwrap_or_default());
    command.args(words);
    command
}

fn cargo_runs(arguments: &str) -> Result<()> {
    cargo::run(cargo::cargo().args(arguments.split_whitespace()))
}

fn formatting() -> Result<()> {
    cargo_runs("fmt --all --check")?;
    cargo_runs("fmt --manifest-path fuzz/Cargo.toml --check")
}

fn lock_file() -> Result<()> {
    cargo::quiet(cargo::cargo().args(["metadata", "--locked", "--format-version=1"])).map(drop)
}

fn documentation() -> Result<()> {
    let mut command = cargo::cargo();
    command.args(["doc", "--workspace", "--all-features", "--no-deps"]).env("RUSTDOCFLAGS", "-D warnings");
    cargo::run(&mut command)
}

/// `fuzz/` is a workspace of its own. In our target directory it finds most dependencies built: 70 s the first time, 8 s
/// after a change of a crate. Without the feature `worker`, which would build the AWS SDK and sqlx once more.
fn fuzz() -> Result<()> {
    let mut command = cargo::cargo();
    command.args(["test", "--locked", "--manifest-path", "fuzz/Cargo.toml", "--target-dir", "target"]);
    cargo::run(&mut command)
}

/// Advisories are left to the workflow: they change from day to day, and with them whether an unchanged tree passes.
fn deny() -> Result<()> {
    if cargo::quiet(cargo::cargo().args(["deny", "--version"])).is_err() {
        if env::var_os("GITHUB_ACTIONS").is_some() {
            return Err("cargo-deny is not installed".into());
        }
        say("ci", "skipped: cargo-deny is not installed (cargo install --locked cargo-deny)");
        return Ok(());
    }
    cargo_runs("deny check --hide-inclusion-graph bans licenses sources")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_becomes_a_command() {
        let command = as_typed(DEMO);
        assert_eq!(command.get_program(), "cargo");
        let args: Vec<_> = command.get_args().collect();
        assert_eq!(args, ["run", "--release", "-p", "etl-worker", "--", "demo"]);
    }
}
