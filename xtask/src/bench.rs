//! `cargo xtask bench`: the figures of docs/PERFORMANCE.md, measured again.

use std::ffi::OsString;
use std::os::unix::process::CommandExt as _;

use crate::{Result, cargo, say};

/// The worker, the queue, and the one that measures.
const PACKAGES: [&str; 6] = ["-p", "etl-worker", "-p", "fetch-etl-local-sqs", "-p", "fetch-etl-bench"];

/// Builds everything and hands the arguments on.
pub(crate) fn run(profile: &str, arguments: &[OsString]) -> Result<()> {
    say("bench", format!("building with the profile {profile}"));
    let mut build = cargo::cargo();
    build.args(["build", "--bins", "--profile", profile]).args(PACKAGES);
    build.arg("--message-format=json-render-diagnostics");
    let built = cargo::executables(&cargo::stdout_of(&mut build)?);
    let bench = built.iter().find(|executable| executable.name == "fetch-etl-bench");
    let bench = bench.ok_or("cargo did not build fetch-etl-bench")?;
    // In our place: a signal then reaches the one who knows what it has started.
    Err(format!("cannot start fetch-etl-bench: {}", cargo::command(&bench.path).args(arguments).exec())
        .into())
}
