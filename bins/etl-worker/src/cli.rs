//! The command line.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::builder::PossibleValuesParser;
use clap::{Args, Parser, Subcommand, ValueEnum};

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
  etl-worker leak-test                            look for values where none may be

Exit codes: 0 done, 1 failed at run time, 2 bad command line or configuration; check also has 3:
not everything could be checked."
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

The first SIGTERM or SIGINT finishes what was received and ends with 0; a second one ends at once, and tells what was
in flight.
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
  etl-worker check --config etl.toml --format json
  etl-worker check --config etl.toml --accept masking-partial --accept queue-visibility-long

Each finding has a code, says what is so, why it matters, and the command or setting that changes
it; docs/CHECK.md lists them all. Nothing is written, and no message is received.

Exit codes: 0 nothing found, 1 with findings, 2 the configuration is wrong, 3 not everything could
be checked: the queue or the database cannot be reached, or may not be asked (what was found
elsewhere is shown).")]
    Check(CheckArgs),
    /// Apply the database migrations (run does so too unless sink.migrate = false)
    #[command(after_help = "\
Examples:
  etl-worker migrate --config etl.toml
  DATABASE_URL=postgres://owner@db/logins etl-worker migrate")]
    Migrate(ConfigArgs),
    /// Ask a worker on this machine whether it is well (for images without curl)
    #[command(after_help = "\
Examples:
  etl-worker health                              as HEALTHCHECK in a Dockerfile
  etl-worker health --ready --address 127.0.0.1:9600

The worker listens where telemetry.listen says. Where the environment says it (ETL_TELEMETRY__LISTEN),
it need not be said again; an address that stands for all of a machine's is asked by loopback.

Exit codes: 0 it is well, 1 it is not, or nobody answers.")]
    Health(HealthArgs),
    /// Send made-up logins through real workers, and look for their values wherever none may be
    #[command(after_help = "\
Examples:
  etl-worker leak-test
  etl-worker leak-test --database-url postgres://postgres@127.0.0.1:5432/postgres
  etl-worker leak-test --plant stderr        a leak on purpose: it must be found, and the exit code is 1
  etl-worker leak-test --seed 7 --keep       keep the database, to look through it by other means

It starts this program as workers, on a local queue that misbehaves, with RUST_LOG=trace; makes one of them panic and the
database refuse rows; and scans outputs and database for every value of every message: raw, JSON-escaped, in hex, base64 and
percent-encoding, other spellings of an address, MD5, SHA-1, SHA-256 and SHA-512 without a key. Before it says that nothing
was found, it proves for each place that a planted value is found. A Postgres gets databases of its own, which are dropped
in the end; without --database-url it is an SQLite file.

It does not look at: the workers' memory, swap space, the queue (it holds the messages by design), and what is inside of
sealed bodies (the message, for whoever holds the private key).

Exit codes: 0 nothing found, 1 something found or the test could not be done, 2 bad command line.")]
    LeakTest(LeakTestArgs),
    /// A worker that leak-test starts: it masks as no worker should
    #[command(hide = true)]
    LeakTestWorker(LeakTestWorkerArgs),
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

/// What `check` takes.
#[derive(Debug, Args)]
pub struct CheckArgs {
    /// Where the configuration comes from.
    #[command(flatten)]
    pub config: ConfigArgs,
    /// How to tell what was found
    #[arg(long, value_enum, default_value_t = OutputFormat::Text)]
    pub format: OutputFormat,
    /// A finding that is meant to be so: it does not count; can be repeated
    #[arg(long, value_name = "CODE", value_parser = codes(), hide_possible_values = true)]
    pub accept: Vec<String>,
}

fn codes() -> PossibleValuesParser {
    PossibleValuesParser::new(crate::commands::check_codes())
}

/// What `health` takes.
#[derive(Debug, Args)]
pub struct HealthArgs {
    /// Where the worker listens [default: what ETL_TELEMETRY__LISTEN says, else 127.0.0.1:9600]
    #[arg(long, value_name = "IP:PORT")]
    pub address: Option<SocketAddr>,
    /// Ask whether it is ready to work (/ready), not only whether it is alive (/live)
    #[arg(long)]
    pub ready: bool,
}

/// How results are told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum OutputFormat {
    /// For people
    Text,
    /// One JSON object, for programs
    Json,
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

/// What `leak-test` takes.
#[derive(Debug, Args)]
pub struct LeakTestArgs {
    /// A Postgres server: databases of our own are made there, and the one that the URL names is not touched
    #[arg(long, value_name = "URL")]
    pub database_url: Option<String>,
    /// How many made-up logins to send, a third of them bad; each holds about six values that are looked for
    #[arg(short = 'n', long, value_name = "N", default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(100..=20_000))]
    pub messages: u32,
    /// Makes the same logins again; random by default, and printed
    #[arg(long, value_name = "N")]
    pub seed: Option<u64>,
    /// Keep the databases, and say which they are
    #[arg(long)]
    pub keep: bool,
    /// Leak a value on purpose, there: the proof that it would be found
    #[arg(long, value_name = "PLACE")]
    pub plant: Option<PlantPlace>,
}

/// Where a value can be leaked on purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum PlantPlace {
    /// A worker prints it
    Stdout,
    /// A worker logs it
    Stderr,
    /// A worker stores it in place of its mask
    Database,
}

/// What `leak-test-worker` takes.
#[derive(Debug, Args)]
pub struct LeakTestWorkerArgs {
    /// What it does with a value that it should mask
    #[arg(long)]
    pub masker: Misdeed,
}

/// What can be done with a value instead of masking it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Misdeed {
    /// Panic, with the value in the message
    Panic,
    /// Print it to stdout, and mask it
    Print,
    /// Log it, and mask it
    Log,
    /// Return it as its own mask
    Store,
}
