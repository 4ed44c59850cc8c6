//! `etl-worker run`: the worker.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use fetch_etl_core::login::LoginSchema;
use fetch_etl_core::pipeline::{Pipeline, Stats};
use fetch_etl_core::{Masker, MessageSource};
use fetch_etl_mask::UNKEYED_WARNING;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::cli::RunArgs;
use crate::failure::{ExitCode, Failure};
use crate::progress::Progress;
use crate::settings::{Loaded, Settings};
use crate::sinks::Database;
use crate::{masking, policy, queue, report, sealing, signals, sinks};

/// The longest long poll of a worker that ends when the queue is empty: it would spend its last seconds waiting.
const WAIT_UNTIL_EMPTY: Duration = Duration::from_secs(2);

pub(super) async fn run(args: RunArgs) -> Result<ExitCode, Failure> {
    let settings = Loaded::read(&args.config.inputs())?.settings()?;
    run_with(settings, |masker| masker, args.until_empty).await
}

/// The worker, with a masker that may be wrapped into another one.
pub(super) async fn run_with(
    mut settings: Settings,
    wrap: impl FnOnce(Arc<dyn Masker>) -> Arc<dyn Masker>,
    until_empty: bool,
) -> Result<ExitCode, Failure> {
    settings.pipeline.until_empty = until_empty;
    if until_empty && !settings.source.wait_time_is_explicit {
        settings.source.wait_time = settings.source.wait_time.min(WAIT_UNTIL_EMPTY);
    }
    queue::check(&settings.source)?;
    let plan = masking::plan(&settings.masking)?;
    let sealer = sealing::build(settings.recipient.as_ref())?;
    let stats = Arc::new(OnceLock::<Arc<Stats>>::new());
    let at_force = stats.clone();
    let forced = move || {
        if let Some(stats) = at_force.get() {
            let summary = stats.summary();
            report::log(&summary);
            report::print(&report::of(&summary));
        }
    };
    let stop = signals::cancel_on_signal_and(forced)
        .map_err(|error| Failure::failed(format!("cannot listen for signals: {}", error.kind())))?;
    if settings.masking.is_reversible() {
        warn!(event = "masks_reversible", "{UNKEYED_WARNING}");
    }
    let Some((source, database)) = connect(&settings, &stop).await? else {
        return Ok(stopped_early());
    };
    let Some(masker) = policy::agree_when_ready(&plan, database.policies(), &stop).await? else {
        return Ok(stopped_early());
    };
    let key_id = masker.key_id().get();
    info!(
        event = "started",
        version = env!("CARGO_PKG_VERSION"),
        source = %settings.source.queue,
        sink = %settings.sink.database,
        masking = settings.masking.words(),
        key_id,
        "reading, masking, writing"
    );
    let mut pipeline =
        Pipeline::new(settings.pipeline, source.clone(), LoginSchema, wrap(masker), database.sink());
    // What a second signal is to print.
    let _ = stats.set(pipeline.stats());
    let _forgetting = sealer.as_ref().map(sealing::forget_expired_keys);
    if let Some(sealer) = sealer {
        pipeline = pipeline.with_sealer(sealer);
    }
    let progress = if until_empty {
        Progress::bar(pipeline.stats(), backlog(&*source).await)
    } else {
        Progress::log(pipeline.stats())
    };
    let outcome = Box::pin(pipeline.run(stop)).await;
    drop(progress);
    database.close().await;
    let (summary, failure) = match outcome {
        Ok(summary) => (summary, None),
        Err(error) => (error.summary, Some(sinks::hinted(Failure::failed(error.cause), error.code))),
    };
    report::log(&summary);
    report::print(&report::of(&summary));
    failure.map_or(Ok(ExitCode::Done), Err)
}

fn stopped_early() -> ExitCode {
    info!(event = "stopped", "stopped before there was anything to read from or to write to");
    ExitCode::Done
}

/// The queue and the database, once both answer; `None` when a stop was asked for before.
async fn connect(
    settings: &Settings,
    stop: &CancellationToken,
) -> Result<Option<(Arc<dyn MessageSource>, Database)>, Failure> {
    let Some(database) = Database::open_when_ready(&settings.sink, stop).await? else { return Ok(None) };
    let source = queue::connect_when_ready(&settings.source, stop).await?;
    Ok(source.map(|source| (source, database)))
}

/// About how many messages there are to work off; 0 where the queue does not tell.
async fn backlog(source: &dyn MessageSource) -> u64 {
    let depth = source.depth().await.ok().flatten().unwrap_or_default();
    depth.visible + depth.in_flight + depth.delayed
}
