//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::settings::Inputs;

/// Reads login events from a queue, masks the personal fields, writes rows to a database.
#[derive(Debug, Parser)]
#[command(
    name = "etl-worker",
    version,
    arg_required_else_help = true,
    max_term_width = 100,
    after_help = "\
Examples:
  etl-worker demo                                 see it work, with nothing prepared
  etl-worker check --config etl.toml              what is wrong with a configuration, what is unsafe
  etl-worker run --config etl.toml                run until SIGTERM or SIGINT
  etl-worker run --config etl.toml --until-empty  work off the queue, then end

Exit codes: 0 done, 1 failed at run time, 2 bad command line or configuration."
)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Move messages from the queue to the database, until a signal or until the queue is empty
    #[command(after_help = "\
Examples:
  etl-worker run --config etl.toml
  etl-worker run --config etl.toml --until-empty
  ETL_SOURCE__QUEUE_NAME=login-queue DATABASE_URL=postgres://etl@db/logins etl-worker run

The first SIGTERM or SIGINT finishes what was received and ends with 0; a second one ends at once.
The configuration is the file, then ETL_… variables, then --set: later wins. Logs go to stderr (RUST_LOG chooses),
the summary to stdout.")]
    Run(RunArgs),
    /// See it work: a local queue filled with sample logins, real masking, an SQLite file; nothing to prepare
    #[command(after_help = "\
Examples:
  etl-worker demo
  etl-worker demo --messages 100000
  etl-worker demo --database-url postgres://postgres@127.0.0.1:5432/logins")]
    Demo(DemoArgs),
    /// Check the configuration, the queue and the database, and list what is unsafe
    #[command(after_help = "\
Examples:
  etl-worker check --config etl.toml
  etl-worker check --config etl.toml --set pipeline.writers=4

Exit codes: 0 nothing found, 1 with findings, 2 the configuration is wrong.")]
    Check(ConfigArgs),
    /// Apply the database migrations (run does so too unless sink.migrate = false)
    #[command(after_help = "\
Examples:
  etl-worker migrate --config etl.toml
  DATABASE_URL=postgres://owner@db/logins etl-worker migrate")]
    Migrate(ConfigArgs),
}

/// Where the configuration comes from.
#[derive(Debug, Args)]
pub struct ConfigArgs {
    /// The configuration file (TOML); without it, the environment alone
    #[arg(short, long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Sets one key, over the file and the environment; can be repeated
    #[arg(long, value_name = "KEY=VALUE")]
    pub set: Vec<String>,
}

impl ConfigArgs {
    /// The layers to read.
    pub fn inputs(&self) -> Inputs {
        Inputs::new(self.config.clone(), self.set.clone())
    }
}

/// What `run` takes.
#[derive(Debug, Args)]
pub struct RunArgs {
    /// Where the configuration comes from.
    #[command(flatten)]
    pub config: ConfigArgs,
    /// End when the queue is empty, or holds only messages that were rejected
    #[arg(long)]
    pub until_empty: bool,
}

/// What `demo` takes.
#[derive(Debug, Args)]
pub struct DemoArgs {
    /// How many sample logins to send, bad ones among them
    #[arg(short = 'n', long, value_name = "N", default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub messages: u32,
    /// Write to this database instead of a new SQLite file
    #[arg(long, value_name = "URL")]
    pub database_url: Option<String>,
}
