//! The real worker, end to end.

use fetch_etl_harness::{Conservation, LocalQueue, Masking, Running, binary};
use fetch_etl_testing::postgres::TestDatabase;

use crate::Result;
use crate::load::Values;
use crate::report::Run;
use crate::rig::{Rig, succeeded};
use crate::watch::{Until, Watched, drain};

/// How workers are started, on what.
#[derive(Debug, Clone)]
pub(crate) struct Setup {
    pub(crate) masking: Masking,
    pub(crate) vault: bool,
    pub(crate) values: Values,
    pub(crate) messages: u64,
    pub(crate) workers: usize,
    pub(crate) by_sdk: bool,
}

impl Setup {
    /// One worker, keyed masks, no vault.
    pub(crate) fn usual(messages: u64) -> Self {
        Self {
            masking: Masking::keyed(),
            vault: false,
            values: Values::New,
            messages,
            workers: 1,
            by_sdk: false,
        }
    }
}

/// Starts a worker that runs until it is told to stop.
pub(crate) fn start(rig: &Rig, setup: &Setup, queue: &LocalQueue, database: &TestDatabase) -> Running {
    let mut environment = queue.worker_environment();
    environment.push(("ETL_SINK__DATABASE_URL".into(), database.url().into()));
    environment.push(("RUST_LOG".into(), "warn".into()));
    environment.extend(setup.masking.worker_environment());
    if setup.by_sdk {
        environment.push(("ETL_SOURCE__TRANSPORT".into(), "sdk".into()));
    }
    if setup.vault {
        environment.push(("ETL_VAULT__RECIPIENT".into(), rig.recipient().into()));
    }
    Running::start(&binary("etl-worker"), ["run"], environment)
}

/// Stops a worker, and returns how many rows it says that it stored.
pub(crate) fn stop(worker: Running) -> Result<u64> {
    worker.signal("TERM");
    let ended = worker.wait();
    succeeded("etl-worker", &ended)?;
    Ok(Conservation::settled(&ended.stdout)?.inserted)
}

/// Work off a backlog into a new database.
pub(crate) async fn rate(rig: &Rig, setup: &Setup) -> Result<Run> {
    rate_into(rig, setup, &rig.migrated_database().await?).await
}

/// Work off a backlog into this database, which has the worker's tables.
pub(crate) async fn rate_into(rig: &Rig, setup: &Setup, database: &TestDatabase) -> Result<Run> {
    let queue = rig.queue(setup.messages, setup.values)?;
    rig.settle().await?;
    let workers: Vec<_> = (0..setup.workers).map(|_| start(rig, setup, &queue, database)).collect();
    let watched = Watched::of(rig).and_queue(&queue).and_clients(workers.iter().map(Running::id));
    let run = drain(&queue, &watched, setup.messages, Until::Empty).await;
    let mut stored = 0;
    for worker in workers {
        stored += stop(worker)?;
    }
    let run = run?;
    if stored != setup.messages {
        return Err(format!("{stored} rows of {} messages", setup.messages).into());
    }
    Ok(run)
}
