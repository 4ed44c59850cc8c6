//! `etl-worker`: reads login events from a queue, masks the personal fields, writes rows to a database.

use std::process::ExitCode;

use clap::Parser as _;
use etl_worker::cli::Cli;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    // Before anything that may fail: a core dump or a panic message could hold personal data.
    let not_hardened = etl_worker::hardening::forbid_core_dumps();
    ExitCode::from(etl_worker::commands::execute(Cli::parse(), &not_hardened))
}
