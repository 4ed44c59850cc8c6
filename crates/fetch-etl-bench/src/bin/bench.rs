//! What `cargo xtask bench` runs.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "it talks to the person who runs it")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use fetch_etl_bench::compare::Comparison;
use fetch_etl_bench::{Options, Report, Result, Scale, parts};
use tokio::signal::unix::{SignalKind, signal};

/// As the worker has it: whoever is measured beside it shall have no other.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Measures the worker and, in the same run, what its parts cost when they stand alone.
///
/// Each measurement has a queue process of its own, filled before, and a database of its own; CPU is read from /proc for each
/// process. Prints a page of Markdown and writes the figures as JSON. Asserts no time. Needs Linux, and Postgres: the server at
/// DATABASE_URL (where it makes databases and drops them, and the worker's roles, which stay), or the server's programs, with
/// which it makes a cluster of its own and leaves nothing behind.
#[derive(Debug, Parser)]
#[command(
    name = "cargo xtask bench",
    max_term_width = 100,
    after_help = "\
Examples:
  cargo xtask bench                                     some minutes
  cargo xtask bench --full                              most of an hour, 10 M rows, some 15 GB of disk
  cargo xtask bench --profile dist --quick              built as it is shipped; --profile comes first
  cargo xtask bench --only limit.source,worker.hmac --repeat 7
  cargo xtask bench --only worker.soak --soak 30
  cargo xtask bench --compare target/bench/1a2b3c4d5e.json
  cargo xtask bench --peer 'vector --config bench.toml' --peer 'python3 consumer.py'

A peer is a command for sh, run until the queue is empty or --peer-seconds are over. It finds in its environment:
  BENCH_QUEUE_URL, BENCH_QUEUE_NAME, BENCH_ENDPOINT_URL   the queue, filled, at an endpoint that looks at no signature
  BENCH_DATABASE_URL, BENCH_TABLE                         a database, and an empty table of the worker's columns in it
  BENCH_MESSAGES                                          how many messages are in the queue
  AWS_REGION, AWS_DEFAULT_REGION, AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY
It has to delete what it has received, and is sent SIGTERM when that is all. Its CPU is that of all its processes. Peers that are
there, with what each needs: crates/fetch-etl-bench/peers/README.md. Our own worker as a peer:
  --peer 'ETL_SOURCE__QUEUE_URL=$BENCH_QUEUE_URL ETL_SINK__DATABASE_URL=$BENCH_DATABASE_URL exec target/release/etl-worker run'

Exit codes: 0 measured, 1 something could not be measured, 2 bad command line, 128 and its number after a signal (SIGINT, SIGTERM
and SIGHUP end all that was started, and remove the databases and files)."
)]
struct Cli {
    #[command(subcommand)]
    command: Option<Hidden>,
    /// Some minutes; the default
    #[arg(long, conflicts_with_all = ["full", "smoke"])]
    quick: bool,
    /// As much as the aims speak of
    #[arg(long, conflicts_with = "smoke")]
    full: bool,
    /// Every step, with hardly anything in it: whether it works
    #[arg(long, hide = true)]
    smoke: bool,
    /// Messages of one measurement
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(100..=10_000_000))]
    messages: Option<u64>,
    /// How often each measurement is made; the median counts
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100))]
    repeat: Option<u32>,
    /// Only what has a name that begins like this
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    only: Vec<String>,
    /// Another consumer, to be measured in the worker's place; can be repeated
    #[arg(long = "peer", value_name = "COMMAND")]
    peers: Vec<String>,
    /// How long a peer may take; what it did until then counts
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=86_400))]
    peer_seconds: Option<u64>,
    /// Also watch the worker's memory at a steady rate, for so long
    #[arg(long = "soak", value_name = "MINUTES", value_parser = clap::value_parser!(u64).range(1..=1_440))]
    soak_minutes: Option<u64>,
    /// Where the figures are written to [default: target/bench/COMMIT.json]
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Figures of an earlier run, to be compared with
    #[arg(long, value_name = "FILE")]
    compare: Option<PathBuf>,
    /// With --compare: measure nothing, take these figures for the new ones
    #[arg(long, value_name = "FILE", requires = "compare")]
    with: Option<PathBuf>,
    /// A Postgres server; without it, a cluster is made
    #[arg(long, env = "DATABASE_URL", hide_env_values = true, value_name = "URL")]
    database_url: Option<String>,
}

#[derive(Debug, Subcommand)]
enum Hidden {
    /// One limit, as a process of its own
    #[command(name = parts::COMMAND, hide = true)]
    Part,
}

impl Cli {
    fn scale(&self) -> Scale {
        let mut scale = match (self.full, self.smoke) {
            (true, _) => Scale::FULL,
            (_, true) => Scale::SMOKE,
            _ => Scale::QUICK,
        };
        scale.messages = self.messages.unwrap_or(scale.messages);
        scale.repeats = self.repeat.unwrap_or(scale.repeats);
        scale.peer = self.peer_seconds.map_or(scale.peer, std::time::Duration::from_secs);
        scale
    }

    fn options(&self) -> Options {
        Options {
            scale: self.scale(),
            only: self.only.clone(),
            peers: self.peers.clone(),
            soak: self.soak_minutes.map(|minutes| std::time::Duration::from_secs(minutes * 60)),
            database_url: self.database_url.clone().filter(|url| !url.is_empty()),
            command: command_line(std::env::args().skip(1)),
        }
    }
}

/// As it was typed, without what may be a password.
fn command_line(arguments: impl Iterator<Item = String>) -> String {
    let mut line = "cargo xtask bench".to_owned();
    let mut hide = false;
    for argument in arguments {
        let shown = if hide || argument.starts_with("--database-url=") { "…" } else { &argument };
        hide = argument == "--database-url";
        line.push(' ');
        line.push_str(&if shown.contains(char::is_whitespace) {
            format!("'{shown}'")
        } else {
            shown.to_owned()
        });
    }
    line
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let done = match cli.command {
        Some(Hidden::Part) => parts::run().map(|()| ExitCode::SUCCESS),
        None => bench(&cli),
    };
    done.unwrap_or_else(|error| {
        eprintln!("bench: {error}");
        ExitCode::FAILURE
    })
}

fn bench(cli: &Cli) -> Result<ExitCode> {
    // Read first: an hour's work is not for finding out that there is no such file.
    let before = cli.compare.as_deref().map(read).transpose()?;
    if let (Some(before), Some(now)) = (&before, &cli.with) {
        println!("{}", Comparison::new(before, &read(now)?));
        return Ok(ExitCode::SUCCESS);
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let report = match runtime.block_on(run_or_end(cli.options()))? {
        Ok(report) => report,
        Err(signal) => {
            eprintln!("bench: ended by signal {signal}; nothing was written");
            return Ok(ExitCode::from(128 + signal));
        }
    };
    println!("{report}");
    let file = cli.json.clone().unwrap_or_else(|| default_file(&report));
    write(&file, &report)?;
    eprintln!("bench: figures are in {}", file.display());
    if let Some(before) = before {
        println!("{}", Comparison::new(&before, &report));
    }
    Ok(if report.failures.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Measures, or is ended by a signal, whose number it returns: then what was started ends with what holds it.
async fn run_or_end(options: Options) -> Result<std::result::Result<Report, u8>> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut hangup = signal(SignalKind::hangup())?;
    let number = |kind: SignalKind| Ok(Err(u8::try_from(kind.as_raw_value()).unwrap_or_default()));
    tokio::select! {
        report = Box::pin(fetch_etl_bench::run(options)) => report.map(Ok),
        _ = interrupt.recv() => number(SignalKind::interrupt()),
        _ = terminate.recv() => number(SignalKind::terminate()),
        _ = hangup.recv() => number(SignalKind::hangup()),
    }
}

fn default_file(report: &Report) -> PathBuf {
    Path::new("target").join("bench").join(format!("{}.json", report.conditions.commit))
}

fn read(path: &Path) -> Result<Report> {
    let text = fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
    Report::from_json(&text).map_err(|error| format!("{}: {error}", path.display()).into())
}

fn write(path: &Path, report: &Report) -> Result<()> {
    let json = report.to_json()?;
    let written = path.parent().map_or(Ok(()), fs::create_dir_all).and_then(|()| fs::write(path, json));
    written.map_err(|error| format!("{}: {error}", path.display()).into())
}
