//! A worker with nothing to do.

use std::time::{Duration, Instant};

use crate::Result;
use crate::load::Values;
use crate::report::{CLIENT, POSTGRES, Run};
use crate::rig::Rig;
use crate::runs::worker::{self, Setup};
use crate::sqs::Connection;
use crate::watch::Watched;

const PATIENCE: Duration = Duration::from_secs(30);
const LOOK_EACH: Duration = Duration::from_millis(20);
/// Until what starting up left to do is done.
const CALM: Duration = Duration::from_secs(2);

pub(crate) async fn run(rig: &Rig) -> Result<Run> {
    let database = rig.migrated_database().await?;
    let queue = rig.queue(0, Values::New)?;
    let mut connection = Connection::open(queue.endpoint(), queue.url()).await?;
    let worker = worker::start(rig, &Setup::usual(0), &queue, &database);
    let watched = Watched::of(rig).and_queue(&queue).and_clients([worker.id()]);
    let since = Instant::now();
    while connection.figures().await?.waiting_receives == 0 {
        if since.elapsed() > PATIENCE {
            return Err("the worker does not wait for messages".into());
        }
        tokio::time::sleep(LOOK_EACH).await;
    }
    tokio::time::sleep(CALM).await;
    let before = watched.look();
    tokio::time::sleep(rig.scale.idle).await;
    let mut run = watched.look().since(&before, 0);
    run.peak_rss_bytes = worker.peak_memory();
    let percent = |process: &str| run.cpu_seconds.get(process).map(|cpu| cpu / run.seconds * 100.0);
    let figures = [("cpu_percent", percent(CLIENT)), ("postgres_cpu_percent", percent(POSTGRES))];
    let figures: Vec<_> =
        figures.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect();
    run.figures.extend(figures);
    worker::stop(worker)?;
    Ok(run)
}
