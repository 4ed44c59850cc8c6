//! `etl-worker demo`: the whole way, with nothing prepared. Only the queue and the logins are made up; what receives, masks
//! and stores is what `run` uses.

mod samples;
mod shown;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use fetch_etl_core::login::LoginSchema;
use fetch_etl_core::pipeline::{Pipeline, PipelineConfig, Summary};
use fetch_etl_local_sqs::{LocalSqs, QueueConfig, RunningServer};
use fetch_etl_mask::Method;
use fetch_etl_sqs::{Credentials, Transport};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::cli::DemoArgs;
use crate::failure::{ExitCode, Failure};
use crate::progress::Progress;
use crate::settings::{
    DatabaseUrl, KeyPlace, MaskingSettings, QueueRef, Secret, SinkSettings, SourceSettings,
};
use crate::sinks::{self, Database};
use crate::{masking, policy, queue, report, signals};
use samples::Samples;

const QUEUE: &str = "logins";

/// 32 bytes of text, base64: the same masks on every machine, so that documentation can show them; and no secret.
const DEMO_KEY: &str = "ZmV0Y2gtZXRsIGRlbW8ga2V5LCBub3QgYSBzZWNyZXQ=";

/// Where the rows go.
struct Target {
    settings: SinkSettings,
    /// The SQLite file that the demo made.
    file: Option<PathBuf>,
}

pub(super) async fn run(args: DemoArgs) -> Result<ExitCode, Failure> {
    let target = target(args.database_url.as_deref())?;
    let stop = signals::cancel_on_signal()
        .map_err(|error| Failure::failed(format!("cannot listen for signals: {}", error.kind())))?;
    let server = filled_queue(args.messages)
        .await
        .map_err(|error| Failure::failed(format!("cannot start the local queue: {error}")))?;
    let told = |error| sinks::failure(&target.settings, &error);
    let database = Database::connect(&target.settings).await.map_err(told)?;
    database.migrate().await.map_err(told)?;
    database.check_schema().await.map_err(told)?;
    report::print(&shown::opening(
        args.messages,
        Samples::bad_among(args.messages),
        &target.settings.database,
    ));

    let started = Instant::now();
    let summary = move_logins(&server, &database, &stop, u64::from(args.messages)).await?;
    let took = started.elapsed();
    report::print(&shown::results(&database, &summary, took).await.map_err(told)?);
    report::print(&shown::closing(&target.settings.database, target.file.as_deref()));
    database.close().await;
    server.shutdown().await;
    if stop.is_cancelled() {
        return Err(Failure::failed("interrupted before all messages were moved"));
    }
    Ok(ExitCode::Done)
}

/// The database that was asked for, or a new SQLite file in a new directory of the system's temporary one.
fn target(database_url: Option<&str>) -> Result<Target, Failure> {
    let (database, file) = match database_url {
        Some(url) => (DatabaseUrl::parse(url), None),
        None => {
            let directory =
                tempfile::Builder::new().prefix("fetch-etl-demo-").tempdir().map_err(|error| {
                    Failure::failed(format!(
                        "cannot make a directory for the demo's SQLite file: {}",
                        error.kind()
                    ))
                })?;
            let file = directory.keep().join("logins.sqlite");
            (DatabaseUrl::parse(&format!("sqlite://{}", file.display())), Some(file))
        }
    };
    let database = database.ok_or_else(|| {
        Failure::usage(format!("--database-url: expected {}, found something else", DatabaseUrl::EXPECTED))
    })?;
    let settings = SinkSettings {
        database,
        database_url_file: None,
        max_connections: 4,
        migrate: true,
        ledger_retention_days: 35,
    };
    Ok(Target { settings, file })
}

/// A queue with a dead-letter queue, on a port of its own, and the sample logins in it.
async fn filled_queue(messages: u32) -> Result<RunningServer, Box<dyn std::error::Error + Send + Sync>> {
    let server = LocalSqs::builder()
        .queue(QueueConfig::new(QUEUE).dead_letter("logins-dead", 3))
        .bind("127.0.0.1:0")
        .await?;
    let logins = server.queue(QUEUE).ok_or("the queue was not made")?;
    // Not sent by SendMessage, which would refuse some of the bad ones: other producers would not.
    logins.inject(Samples::new().bodies(messages))?;
    Ok(server)
}

async fn move_logins(
    server: &RunningServer,
    database: &Database,
    stop: &CancellationToken,
    messages: u64,
) -> Result<Summary, Failure> {
    let source = queue::connect(&source(server)).await?;
    let key = KeyPlace::Value(Secret::new(DEMO_KEY));
    let plan = masking::plan(&MaskingSettings::of(Method::HmacSha512, Some(key), "demo")).await?;
    let masker = Arc::new(policy::agree(&plan, database.policies()).await?);
    let config = PipelineConfig { until_empty: true, ..PipelineConfig::default() };
    let pipeline = Pipeline::new(config, Arc::new(source), LoginSchema, masker, database.sink());
    let progress = Progress::bar(pipeline.stats(), messages);
    let outcome = Box::pin(pipeline.run(stop.clone())).await;
    drop(progress);
    outcome.map_err(|error| Failure::failed(error.cause))
}

fn source(server: &RunningServer) -> SourceSettings {
    SourceSettings {
        queue: QueueRef::Url(server.queue_url(QUEUE)),
        endpoint_url: Some(server.url()),
        region: Some("us-east-1".to_owned()),
        // The queue is full from the start, so there is nothing to wait for.
        wait_time: Duration::ZERO,
        wait_time_is_explicit: true,
        visibility_timeout: None,
        max_receivers: PipelineConfig::default().max_receivers,
        key_attribute: None,
        transport: Transport::Lean,
        credentials: Credentials::Placeholder,
    }
}
