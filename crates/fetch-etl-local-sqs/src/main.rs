//! `fetch-etl-local-sqs`: the server as a process of its own.

mod cli;

use std::error::Error;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Write};
use std::path::Path;
use std::process::ExitCode;

use clap::Parser;
use fetch_etl_local_sqs::{LocalSqs, QueueHandle, RunningServer};
use serde_json::json;
use tokio::signal::unix::{SignalKind, signal};

use crate::cli::Cli;

#[tokio::main]
async fn main() -> ExitCode {
    match run(Cli::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Nothing is left to tell if stderr is closed.
            let _ = writeln!(io::stderr(), "error: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(cli: Cli) -> Result<(), Box<dyn Error>> {
    // Before the ready line, so that whoever reads it can stop the server.
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let queues = cli.queues()?;
    let first = queues.first().map(|queue| queue.name().to_owned());
    let builder = queues.into_iter().fold(LocalSqs::builder(), |builder, queue| builder.queue(queue));
    let builder = cli.seed.into_iter().fold(builder, |builder, seed| builder.seed(seed));
    let server = builder.region(&cli.region).bind((cli.host.as_str(), cli.port)).await?;
    if let Some(file) = &cli.load {
        let queue = first.and_then(|name| server.queue(&name)).ok_or("--load needs a --queue to fill")?;
        load(&queue, file).map_err(|error| format!("failed to load {}: {error}", file.display()))?;
    }
    for (name, plan) in cli.faults() {
        let queue = server.queue(name);
        queue.ok_or_else(|| format!("--fault names the queue {name}, which does not exist"))?.faults(plan);
    }
    announce(&server)?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    server.shutdown().await;
    Ok(())
}

/// Sends each line of the file that is not empty.
fn load(queue: &QueueHandle, file: &Path) -> Result<(), Box<dyn Error>> {
    let mut unreadable = None;
    let lines = BufReader::new(File::open(file)?)
        .lines()
        .map_while(|line| line.map_err(|error| unreadable = Some(error)).ok())
        .filter(|line| !line.is_empty());
    queue.send_many(lines)?;
    unreadable.map_or(Ok(()), |error| Err(error.into()))
}

/// Tells that the server is ready: one line of JSON for programs on stdout, a hint for people on stderr.
fn announce(server: &RunningServer) -> io::Result<()> {
    let queues: serde_json::Map<_, _> =
        server.queue_names().into_iter().map(|name| (name.clone(), server.queue_url(&name).into())).collect();
    let mut stdout = io::stdout().lock();
    writeln!(stdout, "{}", json!({ "endpoint": server.url(), "queues": queues }))?;
    stdout.flush()?;
    writeln!(
        io::stderr(),
        "ready; try: aws --endpoint-url {} sqs list-queues (any credentials will do)",
        server.url()
    )
}
