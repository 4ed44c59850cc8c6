//! `cargo xtask torture`: the promises of docs/RELIABILITY.md, tried on the real programs.

use std::ffi::OsString;

use crate::{Result, cargo, postgres, say};

/// The programs that are tried, the queue, and the one that tries them. Release builds, because rates and memory are among what
/// is promised.
const BUILD: &str =
    "build --release --bins -p etl-worker -p etl-admin -p fetch-etl-local-sqs -p fetch-etl-harness";

/// Builds everything and hands the arguments on.
pub(crate) fn run(arguments: &[OsString]) -> Result<()> {
    postgres::need_server_binaries()?;
    say("torture", "building in release");
    let mut build = cargo::cargo();
    build.args(BUILD.split_whitespace()).arg("--message-format=json-render-diagnostics");
    let built = cargo::executables(&cargo::stdout_of(&mut build)?);
    let torture = built.iter().find(|executable| executable.name == "torture");
    let torture = torture.ok_or("cargo did not build fetch-etl-harness's binary `torture`")?;
    cargo::run(cargo::command(&torture.path).args(arguments))
}
