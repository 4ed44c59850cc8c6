//! The commands, and the one place where their failure is told.

mod check;
mod demo;
mod health;
mod leak_test;
mod migrate;
mod run;

pub(crate) use check::codes as check_codes;

use std::io::Write as _;

use tracing_subscriber::filter::LevelFilter;

use crate::cli::{Cli, Command};
use crate::failure::{ExitCode, Failure};
use crate::telemetry::{self, Format};

/// Does what the command line says, and returns the exit code.
pub fn execute(cli: Cli, not_hardened: &[&str]) -> u8 {
    let format = Format::of_stderr();
    let is_worker = matches!(cli.command, Command::Run(_) | Command::LeakTestWorker(_));
    // What the other commands have to say is their result.
    let level = if is_worker { LevelFilter::INFO } else { LevelFilter::WARN };
    let outcome = telemetry::init(format, level).map_err(|error| Failure::usage(error.to_string())).and_then(|()| {
        if !not_hardened.is_empty() {
            tracing::warn!(event = "not_hardened", missing = ?not_hardened, "a crash may write this process's memory to disk");
        }
        in_runtime(cli.command)
    });
    match outcome {
        Ok(done) => done.number(),
        Err(failure) => {
            tell(&failure, if is_worker { format } else { Format::Text });
            failure.code.number()
        }
    }
}

fn in_runtime(command: Command) -> Result<ExitCode, Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .thread_name("etl-worker")
        .build()
        .map_err(|error| Failure::failed(format!("cannot start the runtime: {}", error.kind())))?;
    // A task of its own, so that a panic ends in an exit code of ours.
    let task = runtime.spawn(async move {
        match command {
            Command::Run(args) => Box::pin(run::run(args)).await,
            Command::Demo(args) => Box::pin(demo::run(args)).await,
            Command::Check(args) => Box::pin(check::run(args)).await,
            Command::Migrate(args) => migrate::run(args).await,
            // It blocks, and there is nothing beside it that waits.
            Command::Health(args) => health::run(&args),
            Command::LeakTest(args) => Box::pin(leak_test::run(args)).await,
            Command::LeakTestWorker(args) => Box::pin(leak_test::misdeeds::run(&args)).await,
        }
    });
    let outcome = runtime.block_on(task);
    // What still runs, such as a name lookup, must not hold up the end.
    runtime.shutdown_background();
    outcome
        .unwrap_or_else(|_| Err(Failure::failed("a bug made this program panic; the line above says where")))
}

/// A machine that reads the worker's log gets its end as a log line, whoever sits at a terminal as a sentence. What is wrong
/// with a configuration is always for people.
fn tell(failure: &Failure, format: Format) {
    let hint = failure.hint.as_deref();
    if format == Format::Json && failure.code == ExitCode::Failed {
        tracing::error!(event = "failed", hint, "{failure}");
        return;
    }
    let hint = hint.map(|hint| format!("hint: {hint}\n")).unwrap_or_default();
    let _ = std::io::stderr().write_all(format!("error: {failure}\n{hint}").as_bytes());
}
