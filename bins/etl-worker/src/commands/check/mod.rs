//! `etl-worker check`: what is wrong, and what is unsafe.

mod findings;

use std::fmt::Write as _;
use std::sync::Arc;

use fetch_etl_core::{MessageSource as _, SinkError};
use fetch_etl_mask::MaskPlan;
use fetch_etl_seal::{EnvelopeSealer, VaultSealer};
use findings::QueueFacts;

use crate::cli::ConfigArgs;
use crate::failure::{ExitCode, Failure};
use crate::policy::{self, Disagreement};
use crate::settings::{Loaded, Settings, SinkSettings, show};
use crate::sinks::{self, Database};
use crate::{masking, queue, recipients, report, sealing};

pub(super) async fn run(args: ConfigArgs) -> Result<ExitCode, Failure> {
    let loaded = Loaded::read(&args.inputs())?;
    let settings = loaded.settings()?;
    queue::check(&settings.source)?;
    let plan = masking::plan(&settings.masking).await?;
    let sealer = sealing::build(settings.recipient.as_ref())?;
    let vault = sealing::vault(settings.vault.as_ref(), &plan)?;
    let look_at_database = look_at_database(&settings.sink, &plan, sealer.as_ref(), vault.as_ref());
    let (queue, database) = tokio::join!(look_at_queue(&settings), look_at_database);
    let facts = queue.as_ref().map(|seen| seen.facts).unwrap_or_default();
    let queue = queue.map(|seen| seen.words);
    let recipients = database.as_ref().map(|seen| seen.recipients.clone()).unwrap_or_default();
    let database = database.map(|seen| seen.words);
    let mut findings: Vec<_> =
        [queue.as_ref().err(), database.as_ref().err()].into_iter().flatten().cloned().collect();
    // As a ring alone may be, the key of which is none.
    let is_plain = plan.masker(plan.newest()).is_some_and(|masker| masker.is_reversible());
    findings.extend(recipients);
    findings.extend(findings::list(&loaded, &settings, &facts, is_plain));
    report::print(&format!("{}\n{}", show(&loaded), told(&settings, &queue, &database, &findings)));
    Ok(if findings.is_empty() { ExitCode::Done } else { ExitCode::Failed })
}

fn told(
    settings: &Settings,
    queue: &Result<String, String>,
    database: &Result<String, String>,
    findings: &[String],
) -> String {
    let state =
        |part: &Result<String, String>| part.clone().unwrap_or_else(|_| "not usable, see below".to_owned());
    let mut text = format!(
        "queue     {}: {}\ndatabase  {}: {}\nmasking   {}\n",
        settings.source.queue,
        state(queue),
        settings.sink.database,
        state(database),
        settings.masking.words()
    );
    match findings {
        [] => text.push_str("\nno findings\n"),
        [_] => text.push_str("\n1 finding\n"),
        several => {
            let _ = writeln!(text, "\n{} findings", several.len());
        }
    }
    for (number, finding) in findings.iter().enumerate() {
        let _ = writeln!(text, "{:>3}. {finding}", number + 1);
    }
    text
}

struct SeenQueue {
    words: String,
    facts: QueueFacts,
}

async fn look_at_queue(settings: &Settings) -> Result<SeenQueue, String> {
    let source = queue::connect(&settings.source).await.map_err(|error| format!("source: {error}"))?;
    // What may not be asked is not known, and no finding.
    let depth = source.depth().await.ok().flatten();
    let words = match depth {
        Some(depth) => {
            format!("answers; about {} messages wait, {} are being worked on", depth.visible, depth.in_flight)
        }
        None => "answers; it does not tell how many messages wait".to_owned(),
    };
    let policy = source.policy().await.ok().flatten();
    let facts = QueueFacts {
        has_dead_letter_queue: policy.map(|policy| policy.has_dead_letter_queue),
        retention: policy.and_then(|policy| policy.retention),
    };
    Ok(SeenQueue { words, facts })
}

struct SeenDatabase {
    words: String,
    /// What is said of recipients that are not those of before.
    recipients: Vec<String>,
}

impl SeenDatabase {
    fn of(words: String) -> Self {
        Self { words, recipients: Vec::new() }
    }
}

async fn look_at_database(
    settings: &SinkSettings,
    plan: &MaskPlan,
    sealer: Option<&Arc<EnvelopeSealer>>,
    vault: Option<&Arc<VaultSealer>>,
) -> Result<SeenDatabase, String> {
    let told = |error| format!("sink: {}", sinks::failure(settings, &error));
    let database = Database::connect(settings).await.map_err(told)?;
    let seen = match look_at_tables(settings, &database).await {
        Ok(Tables { words, are_there: true }) => match policy::compare(plan, database.policies()).await {
            Ok(()) => match recipients::changed(&database, sealer, vault).await {
                Ok(changed) => {
                    Ok(SeenDatabase { words, recipients: changed.iter().map(ToString::to_string).collect() })
                }
                Err(error) => Err(told(error)),
            },
            Err(Disagreement::Store(error)) => Err(told(error)),
            Err(disagreement) => Err(format!("masking: {disagreement}")),
        },
        Ok(tables) => Ok(SeenDatabase::of(tables.words)),
        Err(error) => Err(told(error)),
    };
    database.close().await;
    seen
}

/// What is known of the tables.
struct Tables {
    words: String,
    are_there: bool,
}

/// Tables that `run` will make are no finding.
async fn look_at_tables(settings: &SinkSettings, database: &Database) -> Result<Tables, SinkError> {
    let Err(error) = database.check_schema().await else {
        return Ok(Tables { words: "answers; its tables fit".to_owned(), are_there: true });
    };
    if !settings.migrate {
        return Err(error);
    }
    match database.pending_migrations().await? {
        0 => Err(error),
        pending => {
            let noun = if pending == 1 { "migration is" } else { "migrations are" };
            let words =
                format!("answers; {pending} {noun} to be applied, and run does that (sink.migrate = true)");
            Ok(Tables { words, are_there: false })
        }
    }
}
