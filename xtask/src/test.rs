//! `cargo xtask test`.

use std::ffi::OsString;
use std::process::{self, Command};
use std::time::{SystemTime, UNIX_EPOCH};

use fetch_etl_scratch_postgres::Guardian;

use crate::cargo::{self, Executable};
use crate::postgres::{self, Choice, Postgres};
use crate::{Result, SCHEMA_URL, say};

/// The Postgres on which every test makes a database of its own.
const DATABASE_URL: &str = "FETCH_ETL_TEST_DATABASE_URL";
/// What the names of those databases begin with, so that this run's leftovers can be told from another run's.
const DATABASE_PREFIX: &str = "FETCH_ETL_TEST_DATABASE_PREFIX";

const SELECTION: [&str; 2] = ["--workspace", "--all-features"];

/// Runs the tests; with `cargo_args` only `cargo test` with them.
pub(crate) fn run(choice: Choice, cargo_args: &[OsString]) -> Result<()> {
    let postgres = postgres::provide(choice)?;
    let environment = Environment { url: &postgres.url, prefix: new_prefix()? };
    let executables = build(&environment)?;
    let _guardian = drop_leftovers(&postgres, &environment.prefix, &executables)?;
    if cargo_args.is_empty() {
        run_everything(&environment, &executables)
    } else {
        cargo::run(environment.cargo().arg("test").args(selection(cargo_args)).args(cargo_args))
    }
}

/// What our tests and examples see.
struct Environment<'a> {
    url: &'a str,
    prefix: String,
}

impl Environment<'_> {
    fn cargo(&self) -> Command {
        self.in_command(cargo::cargo())
    }

    fn in_command(&self, mut command: Command) -> Command {
        command.env_remove("DATABASE_URL").env(DATABASE_URL, self.url).env(DATABASE_PREFIX, &self.prefix);
        command
    }
}

fn new_prefix() -> Result<String> {
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
    Ok(format!("fetch_etl_test_{seconds:x}_{:x}_", process::id()))
}

/// All binaries, because end-to-end tests of one package start the binaries of another, which cargo would not build for
/// them; and all examples, because they are run. One selection of packages and features for this and for the tests: each
/// further selection would compile the dependencies once more.
fn build(environment: &Environment<'_>) -> Result<Vec<Executable>> {
    let mut command = environment.cargo();
    command.arg("build").args(SELECTION).args(["--bins", "--examples"]);
    command.arg("--message-format=json-render-diagnostics");
    Ok(cargo::executables(&cargo::stdout_of(&mut command)?))
}

/// The whole workspace, unless the user names packages.
fn selection(cargo_args: &[OsString]) -> &'static [&'static str] {
    let names_packages = cargo_args.iter().take_while(|arg| *arg != "--").any(|arg| {
        let arg = arg.to_string_lossy();
        arg.starts_with("-p")
            || arg == "--package"
            || arg.starts_with("--package=")
            || arg == "--manifest-path"
    });
    if names_packages { &SELECTION[1..] } else { &SELECTION }
}

/// Everything runs, also after a failure; the first one is reported.
fn run_everything(environment: &Environment<'_>, executables: &[Executable]) -> Result<()> {
    let test = |arguments: &[&str]| {
        let mut command = environment.cargo();
        command.arg("test").args(SELECTION).arg("--no-fail-fast").args(arguments);
        cargo::run(&mut command)
    };
    // Examples show tests of an embedder's own; `cargo test` compiles them but does not run them unless asked to.
    let in_examples = test(&["--examples"]);
    let examples = run_examples(environment, executables);
    let tests = test(&[]);
    tests.and(in_examples).and(examples)
}

fn run_examples(environment: &Environment<'_>, executables: &[Executable]) -> Result<()> {
    let mut failed = Vec::new();
    for example in executables.iter().filter(|executable| executable.kind == "example") {
        say("example", &example.name);
        if let Err(error) = cargo::run(&mut environment.in_command(cargo::command(&example.path))) {
            say("example", error);
            failed.push(example.name.as_str());
        }
    }
    if failed.is_empty() { Ok(()) } else { Err(format!("examples failed: {}", failed.join(", ")).into()) }
}

/// Databases that a killed test could not drop, on a server that outlives this run, are dropped when the guardian is.
fn drop_leftovers(postgres: &Postgres, prefix: &str, executables: &[Executable]) -> Result<Option<Guardian>> {
    if !postgres.outlives_us {
        return Ok(None);
    }
    let schema =
        executables.iter().find(|executable| executable.kind == "bin" && executable.name == "schema");
    let schema = schema.ok_or("cargo did not build xtask's binary `schema`")?;
    let arguments = [schema.path.as_os_str(), prefix.as_ref()];
    let guardian = Guardian::start("\"$1\" drop-by-prefix \"$2\"", arguments, |shell| {
        shell.env(SCHEMA_URL, &postgres.url);
    })?;
    Ok(Some(guardian))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn selected(args: &[&str]) -> &'static [&'static str] {
        selection(&args.iter().map(OsString::from).collect::<Vec<_>>())
    }

    #[test]
    fn the_workspace_is_tested_unless_packages_are_named() {
        assert_eq!(selected(&["ledger", "--", "-p"]), SELECTION);
        for args in [&["-p", "x"][..], &["-px"], &["--package", "x"], &["--package=x"]] {
            assert_eq!(selected(args), ["--all-features"], "{args:?}");
        }
    }
}
