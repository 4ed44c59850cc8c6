//! Starting this program as a worker, in an environment of its own, and keeping all that it says.

use std::process::{Output, Stdio};
use std::time::Duration;

use fetch_etl_canary::Canaries;
use fetch_etl_local_sqs::{FaultKind, FaultPlan, LocalSqs, PlanError, QueueConfig, RunningServer};
use tokio::io::AsyncReadExt as _;
use tokio::process::Command;
use tokio_util::sync::CancellationToken;

use super::scraping::{self, Address};
use crate::failure::Failure;
use crate::settings::ENV_PREFIX;

/// How long messages stay hidden that got lost on the way.
const VISIBILITY_TIMEOUT: Duration = Duration::from_secs(2);

/// How long a worker waits for more: longer than the above, so that it mostly sees them again.
const WAIT_TIME_S: u64 = 3;

/// The queues of a leak test: one for each worker, served by this process.
pub(super) struct Queues {
    server: RunningServer,
}

impl Queues {
    pub(super) async fn start(names: &[&str]) -> Result<Self, Failure> {
        let queue = |name: &&str| QueueConfig::new(*name).visibility_timeout(VISIBILITY_TIMEOUT);
        let builder =
            names.iter().map(queue).fold(LocalSqs::builder(), |builder, queue| builder.queue(queue));
        let server = builder
            .bind("127.0.0.1:0")
            .await
            .map_err(|error| Failure::failed(format!("cannot start the local queue: {error}")))?;
        Ok(Self { server })
    }

    /// Puts the messages in, with their attributes.
    pub(super) fn fill(&self, name: &str, canaries: &Canaries) -> Result<(), Failure> {
        let queue = self.server.queue(name).ok_or_else(|| Failure::failed("a local queue is not there"))?;
        queue
            .inject_with_attributes(canaries.messages().map(|message| (message.body(), message.attributes())))
            .map_err(|error| Failure::failed(format!("cannot fill the local queue: {error}")))?;
        Ok(())
    }

    /// Lets everything go wrong that a queue and a network may do, often at first.
    pub(super) fn misbehave(&self, name: &str, seed: u64) -> Result<(), Failure> {
        let plan = faults(seed).map_err(|error| Failure::failed(error.to_string()))?;
        if let Some(queue) = self.server.queue(name) {
            queue.faults(plan);
        }
        Ok(())
    }

    /// How many faults there were.
    pub(super) fn faults(&self, name: &str) -> u64 {
        self.server.queue(name).map_or(0, |queue| queue.stats().faults.total())
    }

    /// How many messages are in a queue.
    pub(super) fn left(&self, name: &str) -> u64 {
        let stats = self.server.queue(name).map(|queue| queue.stats());
        stats.map_or(0, |stats| (stats.ready + stats.in_flight + stats.delayed) as u64)
    }

    /// Where a worker finds a queue.
    fn environment(&self, name: &str) -> Vec<(&'static str, String)> {
        vec![
            ("ETL_SOURCE__QUEUE_URL", self.server.queue_url(name)),
            ("ETL_SOURCE__ENDPOINT_URL", self.server.url()),
            ("ETL_SOURCE__REGION", "us-east-1".to_owned()),
            ("ETL_SOURCE__WAIT_TIME_S", WAIT_TIME_S.to_string()),
            // The local queue looks at neither.
            ("AWS_ACCESS_KEY_ID", "local".to_owned()),
            ("AWS_SECRET_ACCESS_KEY", "local".to_owned()),
            ("AWS_EC2_METADATA_DISABLED", "true".to_owned()),
        ]
    }

    pub(super) async fn shutdown(self) {
        self.server.shutdown().await;
    }
}

fn faults(seed: u64) -> Result<FaultPlan, PlanError> {
    FaultPlan::new(seed)
        .with(FaultKind::Redeliver, 0.1)?
        .with(FaultKind::EntryServiceFault, 0.05)?
        .times(FaultKind::InternalError, 0.2, 20)?
        .times(FaultKind::InternalErrorAfter, 0.1, 5)?
        .times(FaultKind::Throttle, 0.1, 10)?
        .times(FaultKind::CutBefore, 0.1, 10)?
        .times(FaultKind::CutAfter, 0.1, 5)
}

/// What a worker is told to do, and with what.
pub(super) struct Job<'a> {
    /// What the user reads.
    pub(super) name: &'static str,
    pub(super) command: &'a [&'a str],
    pub(super) queue: &'a str,
    pub(super) database_url: &'a str,
    /// More of its environment.
    pub(super) with: &'a [(&'static str, String)],
}

/// What a worker has said.
pub(super) struct Ran {
    pub(super) name: &'static str,
    pub(super) exit_code: Option<i32>,
    pub(super) stdout: Vec<u8>,
    pub(super) stderr: Vec<u8>,
    /// What it answered over HTTP.
    pub(super) answers: Vec<u8>,
}

impl Ran {
    /// Adds what the next worker on the same queue has said.
    pub(super) fn go_on(&mut self, next: Self) {
        self.exit_code = next.exit_code;
        self.stdout.extend(next.stdout);
        self.stderr.extend(next.stderr);
        self.answers.extend(next.answers);
    }

    /// Whether a log line says this event.
    pub(super) fn has_event(&self, event: &str) -> bool {
        let mark = format!("\"event\":\"{event}\"");
        String::from_utf8_lossy(&self.stderr).lines().any(|line| line.contains(&mark))
    }
}

/// Runs a worker to its end.
pub(super) async fn run(
    queues: &Queues,
    job: Job<'_>,
    messages: u32,
    stop: &CancellationToken,
) -> Result<Ran, Failure> {
    let name = job.name;
    let failed = |text: String| Failure::failed(format!("{name}: {text}"));
    let program = std::env::current_exe()
        .map_err(|error| failed(format!("this program cannot find itself: {}", error.kind())))?;
    let mut command = Command::new(program);
    command.args(job.command).stdin(Stdio::null()).kill_on_drop(true);
    for (variable, _) in std::env::vars_os() {
        if is_a_setting(&variable.to_string_lossy()) {
            command.env_remove(variable);
        }
    }
    command
        .env("RUST_LOG", "trace")
        .env("RUST_BACKTRACE", "full")
        .env("ETL_SINK__DATABASE_URL", job.database_url)
        .env("ETL_TELEMETRY__LISTEN", "127.0.0.1:0")
        .envs(queues.environment(job.queue))
        .envs(job.with.iter().map(|(name, value)| (name, value)));
    // Far longer than it takes; a worker that hangs must end the test all the same.
    let patience = Duration::from_secs(120) + Duration::from_millis(50) * messages;
    let mut answers = Vec::new();
    let output = tokio::select! {
        output = tokio::time::timeout(patience, look_at_all_it_says(&mut command, &mut answers)) => output,
        () = stop.cancelled() => return Err(Failure::failed("interrupted")),
    };
    let output = output
        .map_err(|_| failed(format!("the worker did not end within {} s", patience.as_secs())))?
        .map_err(|error| failed(format!("the worker cannot be started: {}", error.kind())))?;
    Ok(Ran { name, exit_code: output.status.code(), stdout: output.stdout, stderr: output.stderr, answers })
}

/// Runs a worker to its end, and asks over HTTP for all that it tells meanwhile.
async fn look_at_all_it_says(command: &mut Command, answers: &mut Vec<u8>) -> std::io::Result<Output> {
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    let pipes = child.stdout.take().zip(child.stderr.take());
    let (mut out, log) = pipes.ok_or(std::io::ErrorKind::BrokenPipe)?;
    let address = Address::new(None);
    let ended = async {
        let mut stdout = Vec::new();
        let (read, stderr) = tokio::join!(out.read_to_end(&mut stdout), scraping::read_log(log, &address));
        read?;
        Ok(Output { status: child.wait().await?, stdout, stderr })
    };
    tokio::select! {
        output = ended => output,
        never = async {
            scraping::scrape(&address, answers).await;
            std::future::pending().await
        } => never,
    }
}

/// What of the user's environment is meant for the user's own worker.
fn is_a_setting(variable: &str) -> bool {
    variable.starts_with(ENV_PREFIX) || variable.starts_with("AWS_") || variable == "DATABASE_URL"
}
