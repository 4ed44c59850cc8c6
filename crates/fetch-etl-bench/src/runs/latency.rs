//! From sent to committed, at a steady rate.
//!
//! The time of a message runs from before its SendMessage until this process is told of its row's commit. A trigger on the row sends
//! a notification, which Postgres delivers after the commit, that is after the log was flushed; both ends are read from one clock
//! of one process. So it is an upper bound: the way of the notification is in it, and the trigger's work. The alternatives are worse:
//! `track_commit_timestamp` takes the time before the flush, `ingested_at` is the transaction's beginning, and polling for the row
//! costs what is measured.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use fetch_etl_harness::LocalQueue;
use fetch_etl_testing::postgres::TestDatabase;
use sqlx::AssertSqlSafe;
use sqlx::postgres::PgListener;
use tokio::time::timeout;

use crate::load::{Values, login};
use crate::report::Run;
use crate::rig::Rig;
use crate::runs::pace::Pace;
use crate::runs::worker::{self, Setup};
use crate::sqs::Connection;
use crate::watch::Watched;
use crate::{Result, stats};

const CHANNEL: &str = "fetch_etl_bench";

/// What does not come in this time does not come.
const PATIENCE: Duration = Duration::from_secs(30);

/// Tells of the rows of timed messages, which have numbers that end in as many zeros.
fn trigger(pace: Pace) -> String {
    format!(
        "CREATE FUNCTION public.fetch_etl_bench() RETURNS trigger LANGUAGE plpgsql
        AS $$ BEGIN PERFORM pg_notify('{CHANNEL}', NEW.message_id); RETURN NULL; END $$;
        CREATE TRIGGER fetch_etl_bench AFTER INSERT ON user_logins FOR EACH ROW
        WHEN (right(NEW.user_id, 12)::bigint % {} = 0) EXECUTE FUNCTION public.fetch_etl_bench()",
        pace.timed
    )
}

pub(crate) async fn run(rig: &Rig, pace: Pace) -> Result<Run> {
    let database = rig.migrated_database().await?;
    sqlx::raw_sql(AssertSqlSafe(trigger(pace))).execute(&mut database.connect().await).await?;
    let queue = rig.queue(0, Values::New)?;
    let mut commits = Commits::listen(&database).await?;
    let worker = worker::start(rig, &Setup::usual(0), &queue, &database);
    let watched = Watched::of(rig).and_queue(&queue).and_clients([worker.id()]);
    let run = measure(rig, pace, &watched, &queue, &mut commits).await;
    worker::stop(worker)?;
    run
}

async fn measure(
    rig: &Rig,
    pace: Pace,
    watched: &Watched,
    queue: &LocalQueue,
    commits: &mut Commits,
) -> Result<Run> {
    let mut connection = Connection::open(queue.endpoint(), queue.url()).await?;
    // The worker is ready, and has its connections, once a message came through.
    connection.send(&[login(0, Values::New)]).await?;
    commits.next().await?;
    let count = pace.messages_in(rig.scale.latency);
    let before = watched.look();
    let timed = count / pace.timed;
    let (sent, committed) = tokio::try_join!(pace.send(&mut connection, count), commits.take(timed))?;
    let took = watched.look();
    let mut run = took.since(&before, count);
    run.peak_rss_bytes = watched.peak_rss_bytes();
    let times = sent.times.iter().map(|(id, at)| {
        let committed = committed.get(id).ok_or("the row of a message is not there")?;
        Ok(committed.saturating_duration_since(*at).as_secs_f64() * 1e3)
    });
    let times = times.collect::<Result<Vec<f64>>>()?;
    let mut figure =
        |name: &str, value: Option<f64>| run.figures.extend(value.map(|value| (name.to_owned(), value)));
    figure("p50_ms", stats::percentile(times.iter().copied(), 0.5));
    figure("p99_ms", stats::percentile(times.iter().copied(), 0.99));
    figure("max_ms", stats::percentile(times, 1.0));
    figure("sender_late_p99_ms", stats::percentile(sent.late_ms, 0.99));
    Ok(run)
}

struct Commits(PgListener);

impl Commits {
    async fn listen(database: &TestDatabase) -> Result<Self> {
        let mut listener =
            PgListener::connect(database.url()).await.map_err(|_| "cannot listen for commits")?;
        listener.listen(CHANNEL).await?;
        Ok(Self(listener))
    }

    /// The next row that is committed.
    async fn next(&mut self) -> Result<(String, Instant)> {
        let told = timeout(PATIENCE, self.0.recv()).await.map_err(|_| "no row was committed for 30 s")??;
        Ok((told.payload().to_owned(), Instant::now()))
    }

    async fn take(&mut self, count: u64) -> Result<BTreeMap<String, Instant>> {
        let mut taken = BTreeMap::new();
        while (taken.len() as u64) < count {
            taken.extend([self.next().await?]);
        }
        Ok(taken)
    }
}
