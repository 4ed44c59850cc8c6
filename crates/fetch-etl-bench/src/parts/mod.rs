//! The limits: what the parts of the work cost where nothing else is done. Each runs as a process of its own, this program started
//! again, so that its CPU can be told from everybody else's.

mod core;
mod mask;
mod pipeline;
mod queue;
mod sink;
mod source;

pub(crate) use pipeline::LEDGER;

use std::io::Write as _;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::{Result, proc};

/// In which variable a part finds what it is to do: a URL, which may hold a password, is no argument.
pub const TASK: &str = "FETCH_ETL_BENCH_TASK";

/// The command that runs a part.
pub const COMMAND: &str = "part";

/// What a process of its own does.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) enum Task {
    /// Receive and delete by bare HTTP.
    Queue { place: QueuePlace },
    /// All steps by bare means.
    Pipeline { place: QueuePlace, database_url: String },
    /// Receive and delete through the worker's source, by itself or by the SDK's client.
    Source { place: QueuePlace, by_sdk: bool },
    /// Decode and mask in a loop.
    Mask { messages: u64, method: MaskMethod },
    /// Store rows.
    Sink { rows: u64, way: SinkWay, database_url: String },
    /// The pipeline between a source and a sink that do nothing.
    Core { messages: u64 },
}

/// Where a queue is, and how much is in it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct QueuePlace {
    pub(crate) endpoint: String,
    pub(crate) url: String,
    pub(crate) messages: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum MaskMethod {
    Sha512,
    Hmac,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum SinkWay {
    /// INSERT … SELECT FROM UNNEST.
    Unnest,
    /// The same, for keys that a ledger did not know.
    Ledger,
    /// Binary COPY.
    Copy,
    /// Binary COPY into a temporary table, and from there as with [`Ledger`](Self::Ledger).
    Staged,
}

/// What a part that measures itself says, on a line of its own.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Line {
    /// What is measured begins.
    Begin,
    /// It has ended.
    End(Took),
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Took {
    pub(crate) messages: u64,
    pub(crate) seconds: f64,
    pub(crate) cpu_seconds: f64,
}

/// Does what [`TASK`] says.
///
/// # Errors
/// There is no task, or it failed.
pub fn run() -> Result<()> {
    let task = std::env::var(TASK).map_err(|_| "this command is for the benchmark itself")?;
    match serde_json::from_str(&task)? {
        Task::Queue { place } => one_thread()?.block_on(queue::run(place)),
        Task::Pipeline { place, database_url } => one_thread()?.block_on(pipeline::run(place, &database_url)),
        Task::Source { place, by_sdk } => many_threads()?.block_on(source::run(place, by_sdk)),
        Task::Mask { messages, method } => mask::run(messages, method),
        Task::Sink { rows, way, database_url } => one_thread()?.block_on(sink::run(rows, way, &database_url)),
        Task::Core { messages } => one_thread()?.block_on(core::run(messages)),
    }
}

fn one_thread() -> Result<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_current_thread().enable_all().build()?)
}

/// As the worker's own.
fn many_threads() -> Result<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_multi_thread().enable_all().build()?)
}

/// A stretch of work that a part measures itself.
struct Stretch {
    since: Instant,
    cpu: Duration,
}

impl Stretch {
    fn begin() -> Result<Self> {
        tell(&Line::Begin)?;
        Ok(Self { cpu: proc::own_cpu(), since: Instant::now() })
    }

    fn end(self, messages: u64) -> Result<()> {
        let seconds = self.since.elapsed().as_secs_f64();
        let cpu_seconds = proc::own_cpu().saturating_sub(self.cpu).as_secs_f64();
        tell(&Line::End(Took { messages, seconds, cpu_seconds }))
    }
}

fn tell(line: &Line) -> Result<()> {
    let mut stdout = std::io::stdout().lock();
    writeln!(stdout, "{}", serde_json::to_string(line)?)?;
    Ok(stdout.flush()?)
}
