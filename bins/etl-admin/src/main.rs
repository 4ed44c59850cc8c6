//! `etl-admin`: keys, the quarantine, dead letters and personal data, for the operator of an `etl-worker`.

mod actor;
mod audit;
mod cli;
#[cfg(test)]
mod documented;
mod erase;
mod key_file;
mod key_ids;
mod keygen;
mod masks;
mod moment;
mod policy;
mod quarantine;
mod redrive;
mod reveal;
mod rotate;
mod store;
mod vault;
mod words;

use std::io::Write as _;
use std::process::ExitCode;

use clap::Parser as _;
use etl_worker::failure::{self, Failure};
use etl_worker::telemetry::{self, Format};
use etl_worker::{hardening, report};
use tracing_subscriber::filter::LevelFilter;

use cli::{Cli, Command};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// What a command did: its result for stdout, and whether everything that it was asked for is done.
struct Outcome {
    text: String,
    complete: bool,
}

impl Outcome {
    fn done(text: impl Into<String>) -> Self {
        Self { text: text.into(), complete: true }
    }
}

fn main() -> ExitCode {
    // Before anything that may fail: a core dump or a panic message could hold personal data, or a private key.
    let not_hardened = hardening::forbid_core_dumps();
    let cli = Cli::parse();
    let outcome = telemetry::init(Format::of_stderr(), LevelFilter::WARN)
        .map_err(|error| Failure::usage(error.to_string()))
        .and_then(|()| {
            if !not_hardened.is_empty() {
                tell(&format!(
                    "warning: a crash may write this process's memory to disk ({})\n",
                    not_hardened.join(", ")
                ));
            }
            in_runtime(cli.command)
        });
    let code = match outcome {
        Ok(Outcome { text, complete }) => {
            report::print(&text);
            if complete { failure::ExitCode::Done } else { failure::ExitCode::Failed }
        }
        Err(failure) => {
            let hint = failure.hint.as_deref().map(|hint| format!("hint: {hint}\n")).unwrap_or_default();
            tell(&format!("error: {failure}\n{hint}"));
            failure.code
        }
    };
    ExitCode::from(code.number())
}

/// Says something to the person at the terminal. That nobody listens is no failure.
fn tell(text: &str) {
    let _ = std::io::stderr().write_all(text.as_bytes());
}

fn in_runtime(command: Command) -> Result<Outcome, Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .thread_name("etl-admin")
        .build()
        .map_err(|error| Failure::failed(format!("cannot start the runtime: {}", error.kind())))?;
    // A task of its own, so that a panic ends in an exit code of ours.
    let task = runtime.spawn(async move {
        match command {
            Command::Keygen(args) => keygen::run(&args),
            Command::Quarantine(command) => Box::pin(quarantine::run(command)).await,
            Command::Rotate(args) => Box::pin(rotate::run(args)).await,
            Command::Policy(command) => Box::pin(policy::run(command)).await,
            Command::Redrive(args) => Box::pin(redrive::run(args)).await,
            Command::Reveal(args) => Box::pin(reveal::run(args)).await,
            Command::Erase(args) => Box::pin(erase::run(args)).await,
            Command::Vault(command) => Box::pin(vault::run(command)).await,
            Command::Audit(command) => Box::pin(audit::run(command)).await,
        }
    });
    let outcome = runtime.block_on(task);
    runtime.shutdown_background();
    outcome
        .unwrap_or_else(|_| Err(Failure::failed("a bug made this program panic; the line above says where")))
}
