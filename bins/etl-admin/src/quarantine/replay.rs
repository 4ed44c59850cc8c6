//! `etl-admin quarantine replay`: open, decode, mask and store again.

use std::fmt::Write as _;
use std::sync::Arc;

use etl_worker::failure::Failure;
use etl_worker::progress::Progress;
use etl_worker::settings::{Loaded, ReplaySettings};
use etl_worker::{masking, policy, report, sealing, signals};
use fetch_etl_core::login::LoginSchema;
use fetch_etl_core::pipeline::{Pipeline, PipelineConfig, Summary};
use fetch_etl_core::{Masker, QuarantineCount, RejectReason, Stager};
use fetch_etl_postgres::AuditEvent;
use fetch_etl_seal::Opener;

use super::Store;
use super::source::{Halt, KEY_UNAVAILABLE, PAGE, QuarantineSource, Unopened};
use crate::actor::{Actor, unsaid};
use crate::cli::ReplayArgs;
use crate::words::{harmless, messages};
use crate::{Outcome, key_file};

/// Messages in memory at once. Their bodies may have a megabyte each.
const MAX_IN_FLIGHT: usize = 512;

/// Keys that are listed of bodies that do not open; more than that is no accident of a few.
const SHOWN_KEYS: usize = 20;

pub(super) async fn run(args: ReplayArgs) -> Result<Outcome, Failure> {
    let pair = key_file::read_private(&args.private_key, args.insecure_permissions)?;
    let settings = Loaded::read(&args.config.inputs())?.replay()?;
    let plan = masking::plan(&settings.masking).await?;
    let ReplaySettings { sink, pipeline, vault, .. } = settings;
    let vault = sealing::vault(vault.as_ref(), &plan)?;
    let store = Store::open(sink).await?;
    let masker: Arc<dyn Masker> = Arc::new(if args.chosen.dry_run {
        policy::foresee(&plan, &*store.policies).await?
    } else {
        policy::agree(&plan, &*store.policies).await?
    });
    let filter = args.chosen.filter.open();
    let counted = store.quarantine.count(&filter).await.map_err(|error| store.failure(error))?;
    let recipient_id = pair.recipient().id().to_string();
    let ours = ours(&counted, &recipient_id)?;
    audit(&store, &recipient_id, ours, args.chosen.dry_run).await?;
    let source = QuarantineSource::new(
        store.quarantine.clone(),
        filter,
        recipient_id.clone(),
        Opener::new(pair),
        args.by_queue_id,
    );
    let mut done = if args.chosen.dry_run {
        try_out(&store, &source, masker).await?
    } else {
        let pipeline = |source: Arc<QuarantineSource>| {
            let pipeline = Pipeline::new(config(pipeline), source, LoginSchema, masker, store.sink.clone());
            // No sealer for bodies: what is rejected again keeps the sealed body that it has.
            match vault {
                Some(vault) => pipeline.with_vault(vault),
                None => pipeline,
            }
        };
        replay(source, pipeline, ours).await?
    };
    done.text.push_str(&others(&counted, &recipient_id));
    Ok(done)
}

/// Says in the audit who is about to open messages, and how many about, where there is an audit. Before anything is opened: without it,
/// nothing is.
async fn audit(store: &Store, recipient_id: &str, ours: u64, dry_run: bool) -> Result<(), Failure> {
    let Some(sink) = &store.postgres else { return Ok(()) };
    let (actor, subject) = (Actor::of_this_process(), format!("rejected messages sealed to {recipient_id}"));
    let reason = if dry_run { "quarantine replay --dry-run" } else { "quarantine replay" };
    let event = AuditEvent { entries: ours, ..actor.event("replay", &subject, reason) };
    sink.append_audit(&event).await.map(drop).map_err(|error| unsaid("opened", store.failure(error)))
}

/// How many messages this key can open.
fn ours(counted: &QuarantineCount, recipient_id: &str) -> Result<u64, Failure> {
    let ours = counted.by_recipient.iter().find(|(id, _)| id == recipient_id).map_or(0, |(_, count)| *count);
    let sealed = counted.messages - counted.without_body;
    if ours == 0 && sealed > 0 {
        let ids: Vec<_> = counted.by_recipient.iter().map(|(id, _)| harmless(id)).collect();
        return Err(Failure::failed(format!(
            "this key is the recipient {recipient_id}, and none of the {} is sealed to it, but to {}",
            messages(sealed),
            ids.join(", ")
        ))
        .hint("use the private key of that recipient"));
    }
    Ok(ours)
}

/// What this key cannot do anything about.
fn others(counted: &QuarantineCount, recipient_id: &str) -> String {
    let mut text = String::new();
    for (id, count) in counted.by_recipient.iter().filter(|(id, _)| id != recipient_id) {
        let _ =
            writeln!(text, "left out: {}, sealed to another recipient, {}", messages(*count), harmless(id));
    }
    if counted.without_body > 0 {
        let _ = writeln!(
            text,
            "left out: {} without a sealed body (in the queue or its dead-letter queue; etl-admin redrive sends them again)",
            messages(counted.without_body)
        );
    }
    text
}

/// The worker's bounds, but one thing at a time: all batches of known keys wait for one lock anyway.
fn config(worker: PipelineConfig) -> PipelineConfig {
    PipelineConfig {
        max_in_flight: MAX_IN_FLIGHT.max(PAGE as usize),
        max_receivers: 1,
        writers: 1,
        until_empty: true,
        ..worker
    }
}

async fn replay(
    source: QuarantineSource,
    pipeline: impl FnOnce(Arc<QuarantineSource>) -> Pipeline<LoginSchema>,
    total: u64,
) -> Result<Outcome, Failure> {
    let stop = signals::cancel_on_signal()
        .map_err(|error| Failure::failed(format!("cannot listen for signals: {}", error.kind())))?;
    let source = Arc::new(source);
    let pipeline = pipeline(source.clone());
    let progress = Progress::for_people(pipeline.stats(), total);
    let outcome = Box::pin(pipeline.run(stop.clone())).await;
    drop(progress);
    let (summary, cause) = match outcome {
        Ok(summary) => (summary, None),
        Err(error) => (error.summary, Some(error.cause)),
    };
    let interrupted = stop.is_cancelled();
    let done = told(&summary, &source, interrupted);
    if let Some(cause) = cause {
        report::print(&done.text);
        return Err(Failure::failed(cause).hint("run it again: it goes on with what is still open"));
    }
    Ok(done)
}

fn told(summary: &Summary, source: &QuarantineSource, interrupted: bool) -> Outcome {
    let mut text = format!(
        "replayed {}: {} stored now, {} stored before\n",
        messages(summary.inserted + summary.duplicates),
        report::grouped(summary.inserted),
        report::grouped(summary.duplicates)
    );
    let rejected = push_rejected(&mut text, "rejected again, and still open", &summary.rejected);
    let left = push_left(&mut text, source);
    if summary.ack_failures > 0 {
        let _ = writeln!(
            text,
            "{} stored, but still marked as open: run it again",
            messages(summary.ack_failures)
        );
    }
    if interrupted {
        text.push_str("interrupted: run it again, and it goes on with what is still open\n");
    }
    let complete = rejected == 0 && left == 0 && summary.ack_failures == 0 && !interrupted;
    Outcome { text, complete }
}

/// Opens, decodes and masks, and stores nothing.
async fn try_out(
    store: &Store,
    source: &QuarantineSource,
    masker: Arc<dyn Masker>,
) -> Result<Outcome, Failure> {
    let stager = Stager::new(LoginSchema, masker);
    let mut rows = 0;
    let mut rejected = RejectReason::ALL.map(|reason| (reason, 0));
    loop {
        let deliveries = source.next(PAGE).await.map_err(|halt| match halt {
            Halt::Store(error) => store.failure(error),
            Halt::KeyUnavailable => Failure::failed(KEY_UNAVAILABLE),
        })?;
        if deliveries.is_empty() {
            break;
        }
        let staged = stager.stage(deliveries);
        rows += staged.batch.rows().len() as u64;
        for reject in staged.batch.rejects() {
            if let Some((_, count)) = rejected.get_mut(reject.reject().reason.index()) {
                *count += 1;
            }
        }
    }
    let mut text = format!("would replay {}, unless the database refuses some\n", messages(rows));
    let rejects = push_rejected(&mut text, "would be rejected again", &rejected);
    let left = push_left(&mut text, source);
    Ok(Outcome { text, complete: rejects == 0 && left == 0 })
}

fn push_rejected(text: &mut String, words: &str, rejected: &[(RejectReason, u64)]) -> u64 {
    let reasons: Vec<_> = rejected.iter().filter(|(_, count)| *count > 0).collect();
    if !reasons.is_empty() {
        let reasons: Vec<_> = reasons.iter().map(|(reason, count)| format!("{reason} {count}")).collect();
        let _ = writeln!(text, "{words}: {}", reasons.join(", "));
    }
    rejected.iter().map(|(_, count)| count).sum()
}

/// What was not even tried, and how much that is.
fn push_left(text: &mut String, source: &QuarantineSource) -> u64 {
    let without_key = source.without_key();
    if without_key > 0 {
        let _ = writeln!(
            text,
            "{} left open, for the producer's key is unusable (empty, too long, or with a NUL character): --by-queue-id \
             stores them under the queue's ids, and an event that was sent twice becomes two rows",
            messages(without_key)
        );
    }
    without_key + push_unopened(text, &source.unopened())
}

fn push_unopened(text: &mut String, unopened: &Unopened) -> u64 {
    for (why, keys) in unopened {
        let count = messages(keys.len() as u64);
        let _ = writeln!(text, "{count} left open, for the body does not open: {why}:");
        for key in keys.iter().take(SHOWN_KEYS) {
            let _ = writeln!(text, "  {}", harmless(key));
        }
        if keys.len() > SHOWN_KEYS {
            let _ = writeln!(text, "  … and {} more", keys.len() - SHOWN_KEYS);
        }
    }
    unopened.values().map(|keys| keys.len() as u64).sum()
}
