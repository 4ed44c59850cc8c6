//! `etl-worker check`: what is wrong, and what is unsafe.

mod code;
mod configuration;
mod database;
mod facts;
mod finding;
mod queue;
mod told;

use facts::Expected;
use finding::Finding;
use told::{Looked, Told};

use crate::cli::{CheckArgs, OutputFormat};
use crate::failure::{ExitCode, Failure};
use crate::settings::{Loaded, show};
use crate::{masking, report, sealing};

/// Every code of a finding, for the command line.
pub(crate) fn codes() -> impl Iterator<Item = &'static str> {
    code::CODES.iter().map(|code| code.id)
}

pub(super) async fn run(args: CheckArgs) -> Result<ExitCode, Failure> {
    let loaded = Loaded::read(&args.config.inputs())?;
    let settings = loaded.settings()?;
    crate::queue::check(&settings.source)?;
    let plan = masking::plan(&settings.masking).await?;
    let sealer = sealing::build(settings.recipient.as_ref())?;
    let vault = sealing::vault(settings.vault.as_ref(), &plan)?;
    let expected = Expected { plan: &plan, sealer: sealer.as_ref(), vault: vault.as_ref() };
    let (queue, database) =
        tokio::join!(facts::look_at_queue(&settings), facts::look_at_database(&settings.sink, &expected));

    let mut findings = [queue.findings, database.findings].concat();
    findings.extend(queue.posture.iter().flat_map(|posture| queue::list(&settings, posture)));
    findings.extend(database::connection(&settings.sink));
    findings.extend(database.posture.iter().flat_map(|posture| database::list(&settings.sink, posture)));
    findings.extend(configuration::masking(&plan));
    let queue_clock = queue.posture.as_ref().and_then(|posture| posture.clock_ahead_ms);
    let database_clock = database.posture.as_ref().map(|posture| posture.clock_ahead_ms);
    findings.extend(configuration::clocks(queue_clock, database_clock));
    findings.extend(configuration::list(&loaded, &settings, queue.posture.as_ref()));
    // Stable: what is equal stays in the order in which it was looked at.
    findings.sort_by_key(|found| (found.code.about, found.code.severity));

    let is_accepted = |found: &Finding| args.accept.iter().any(|code| code == found.code.id);
    let (accepted, findings) = findings.into_iter().partition(is_accepted);
    let told = Told {
        queue: Looked { name: settings.source.queue.to_string(), state: queue.words },
        database: Looked { name: settings.sink.database.to_string(), state: database.words },
        masking: settings.masking.words(),
        findings,
        accepted,
        not_checked: [queue.not_checked, database.not_checked].concat(),
    };
    report::print(&match args.format {
        OutputFormat::Text => format!("{}\n{}", show(&loaded), told.text()),
        OutputFormat::Json => told.json(),
    });
    Ok(told.exit_code())
}
