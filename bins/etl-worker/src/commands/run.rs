//! `etl-worker run`: the worker.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use fetch_etl_core::login::LoginSchema;
use fetch_etl_core::pipeline::{Pipeline, Stats, Summary};
use fetch_etl_core::{KeyId, Masker, MessageSource, PolicyStore, SinkCode};
use fetch_etl_mask::{FieldMasker, MaskPlan, UNKEYED_WARNING};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::cli::RunArgs;
use crate::failure::{ExitCode, Failure};
use crate::monitoring::Monitoring;
use crate::progress::Progress;
use crate::settings::{Loaded, Settings};
use crate::sinks::Database;
use crate::{masking, policy, queue, recipients, report, sealing, signals, sinks};

/// The longest long poll of a worker that ends when the queue is empty: it would spend its last seconds waiting.
const WAIT_UNTIL_EMPTY: Duration = Duration::from_secs(2);

pub(super) async fn run(args: RunArgs) -> Result<ExitCode, Failure> {
    let settings = Loaded::read(&args.config.inputs())?.settings()?;
    run_with(settings, |masker| masker, args.until_empty).await
}

/// The worker, with a masker that may be wrapped into another one.
pub(super) async fn run_with(
    mut settings: Settings,
    wrap: impl Fn(Arc<dyn Masker>) -> Arc<dyn Masker>,
    until_empty: bool,
) -> Result<ExitCode, Failure> {
    settings.pipeline.until_empty = until_empty;
    if until_empty && !settings.source.wait_time_is_explicit {
        settings.source.wait_time = settings.source.wait_time.min(WAIT_UNTIL_EMPTY);
    }
    queue::check(&settings.source)?;
    let plan = masking::plan(&settings.masking).await?;
    let sealer = sealing::build(settings.recipient.as_ref())?;
    let vault = sealing::vault(settings.vault.as_ref(), &plan)?;
    let (stats, stop) = stop_on_signal()?;
    let counted = Arc::<Stats>::default();
    let mut monitoring = Monitoring::start(&settings, counted.clone(), stop.clone()).await?;
    let connected = connect(&settings, &stop, &mut monitoring).await?;
    let Some((source, database)) = connected else { return Ok(stopped_early()) };
    let Some(masker) = policy::agree_when_ready(&plan, database.policies(), &stop).await? else {
        return Ok(stopped_early());
    };
    if masker.is_reversible() {
        warn!(event = "masks_reversible", "{UNKEYED_WARNING}");
    }
    recipients::warn_if_changed(&database, sealer.as_ref(), vault.as_ref()).await;
    tell_start(&settings, masker.key_id());
    monitoring.agreed(masker.key_id());
    // Set here and nowhere else, so it is empty until now.
    let _ = stats.set(counted.clone());
    let _forgetting = sealing::forget_expired_keys(sealer.clone(), vault.clone());
    let progress = if until_empty {
        Progress::bar(counted.clone(), backlog(&*source).await)
    } else {
        Progress::log(counted.clone())
    };
    let observer = monitoring.observer();
    let pipeline = |masker| {
        let (config, sink) = (settings.pipeline.clone(), database.sink());
        let pipeline = Pipeline::new(config, source.clone(), LoginSchema, wrap(masker), sink);
        let mut pipeline = pipeline.with_stats(counted.clone());
        if let Some(sealer) = &sealer {
            pipeline = pipeline.with_sealer(sealer.clone());
        }
        if let Some(vault) = &vault {
            pipeline = pipeline.with_vault(vault.clone());
        }
        if let Some(observer) = &observer {
            pipeline = pipeline.with_observer(observer.clone());
        }
        pipeline
    };
    monitoring.running();
    let (summary, failure) =
        follow_policy(&plan, database.policies(), &stop, &monitoring, masker, pipeline).await;
    monitoring.ended();
    drop(progress);
    database.close().await;
    report::log(&summary);
    report::print(&report::of(&summary));
    monitoring.end().await;
    failure.map_or(Ok(ExitCode::Done), Err)
}

/// Runs pipelines until one ends for another reason than that the masking policy was changed, as a rotation of keys does: a worker that
/// has the new key goes on with that. What was not written under the old one is received again.
async fn follow_policy(
    plan: &MaskPlan,
    policies: &dyn PolicyStore,
    stop: &CancellationToken,
    monitoring: &Monitoring,
    mut masker: Arc<FieldMasker>,
    pipeline: impl Fn(Arc<dyn Masker>) -> Pipeline<LoginSchema>,
) -> (Summary, Option<Failure>) {
    loop {
        let error = match Box::pin(pipeline(masker).run(stop.clone())).await {
            Ok(summary) => return (summary, None),
            Err(error) => error,
        };
        let failure = || sinks::hinted(Failure::failed(error.cause.clone()), error.code);
        if error.code != Some(SinkCode::POLICY_CHANGED) {
            return (error.summary, Some(failure()));
        }
        monitoring.disagreed();
        masker = match policy::agree_when_ready(plan, policies, stop).await {
            Ok(Some(masker)) => masker,
            // It was told to stop just then, and all that it had is given back.
            Ok(None) => return (error.summary, None),
            Err(failure) => return (error.summary, Some(failure)),
        };
        monitoring.agreed(masker.key_id());
        info!(
            event = "policy_followed",
            key_id = masker.key_id().get(),
            "the masking policy was changed; going on under the new one"
        );
    }
}

/// Counters that a second signal is to print, once there are any.
type SharedStats = Arc<OnceLock<Arc<Stats>>>;

/// What a second signal prints, and what the first one cancels.
fn stop_on_signal() -> Result<(SharedStats, CancellationToken), Failure> {
    let stats = SharedStats::default();
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
    Ok((stats, stop))
}

fn tell_start(settings: &Settings, key_id: KeyId) {
    info!(
        event = "started",
        version = env!("CARGO_PKG_VERSION"),
        source = %settings.source.queue,
        sink = %settings.sink.database,
        masking = settings.masking.words(),
        key_id = key_id.get(),
        "reading, masking, writing"
    );
}

fn stopped_early() -> ExitCode {
    info!(event = "stopped", "stopped before there was anything to read from or to write to");
    ExitCode::Done
}

/// The queue and the database, once both answer; `None` when a stop was asked for before.
async fn connect(
    settings: &Settings,
    stop: &CancellationToken,
    monitoring: &mut Monitoring,
) -> Result<Option<(Arc<dyn MessageSource>, Database)>, Failure> {
    let Some(database) = Database::open_when_ready(&settings.sink, stop).await? else { return Ok(None) };
    monitoring.has_sink(&database);
    let Some(source) = queue::connect_when_ready(&settings.source, stop).await? else { return Ok(None) };
    monitoring.has_source(&source);
    Ok(Some((source, database)))
}

/// About how many messages there are to work off; 0 where the queue does not tell.
async fn backlog(source: &dyn MessageSource) -> u64 {
    let depth = source.depth().await.ok().flatten().unwrap_or_default();
    depth.visible + depth.in_flight + depth.delayed
}
