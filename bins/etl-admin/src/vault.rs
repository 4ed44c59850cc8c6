//! `etl-admin vault`.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use etl_worker::failure::Failure;
use etl_worker::progress::tell;
use fetch_etl_postgres::{AuditEvent, Pruned};

use crate::Outcome;
use crate::actor::Actor;
use crate::audit::head;
use crate::cli::{VaultCommand, VaultPruneArgs};
use crate::store::PeopleStore;
use crate::words::counted;

/// How often whoever waits hears how far it is.
const TELL_EACH: Duration = Duration::from_secs(3);

pub(crate) async fn run(command: VaultCommand) -> Result<Outcome, Failure> {
    match command {
        VaultCommand::Prune(args) => prune(args).await,
    }
}

async fn prune(args: VaultPruneArgs) -> Result<Outcome, Failure> {
    let store = PeopleStore::open(&args.config).await?;
    let told = |error| store.failure(error);
    let mut maintenance = store.sink.begin_maintenance().await.map_err(told)?;
    let told_at = Mutex::new(Instant::now());
    let verb = if args.dry_run { "found" } else { "deleted" };
    let progress = |pruned: Pruned| {
        // Whoever holds the lock is telling.
        let Ok(mut told_at) = told_at.try_lock() else { return };
        if told_at.elapsed() >= TELL_EACH {
            tell(&format!("{verb} {} so far\n", values(pruned)));
            *told_at = Instant::now();
        }
    };
    if args.dry_run {
        let would = maintenance.prune_vault(false, &progress).await.map_err(told)?;
        return Ok(Outcome::done(format!(
            "would delete {} from the vault that no row leads to any more\n",
            values(would)
        )));
    }
    let actor = Actor::of_this_process();
    let event = |action, entries| AuditEvent { entries, ..actor.event(action, "vault", &args.why.reason) };
    maintenance.append_audit(&event("prune", 0)).await.map_err(told)?;
    let done = maintenance.prune_vault(true, &progress).await.map_err(told)?;
    let at = maintenance.append_audit(&event("prune_finished", done.entries)).await.map_err(told)?;
    Ok(Outcome::done(format!(
        "deleted {} from the vault that no row leads to any more, and {}\n{}",
        values(done),
        counted(
            done.data_keys,
            "data key that nothing is sealed with",
            "data keys that nothing is sealed with"
        ),
        head(at)
    )))
}

fn values(pruned: Pruned) -> String {
    counted(pruned.entries, "value", "values")
}
