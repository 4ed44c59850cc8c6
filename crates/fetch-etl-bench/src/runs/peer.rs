//! Somebody else's consumer, in the worker's place.

use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use fetch_etl_harness::LocalQueue;
use fetch_etl_testing::postgres::TestDatabase;

use crate::load::Values;
use crate::report::Run;
use crate::rig::{Rig, USER_LOGINS};
use crate::runs::limits::count_rows;
use crate::watch::{Until, Watched, drain};
use crate::{Result, proc};

/// How long a consumer may take to end once it is told to.
const PATIENCE: Duration = Duration::from_secs(10);
const LOOK_EACH: Duration = Duration::from_millis(20);

/// The table for its rows.
const TABLE: &str = "user_logins";

/// Runs a command until the queue is empty, or its time is over.
pub(crate) async fn run(rig: &Rig, command: &str) -> Result<Run> {
    let database = rig.database().await;
    sqlx::raw_sql(USER_LOGINS).execute(&mut database.connect().await).await?;
    let messages = rig.scale.messages;
    let queue = rig.queue(messages, Values::New)?;
    rig.settle().await?;
    let peer = Peer::start(command, &environment(&queue, &database, messages))?;
    let watched = Watched::of(rig).and_queue(&queue).and_clients([peer.0.id()]);
    let run = drain(&queue, &watched, messages, Until::EmptyOr(rig.scale.peer)).await;
    peer.stop().await;
    let mut run = run?;
    // What it deleted is what it was timed for; what it stored is for the reader to compare.
    run.figures.insert("rows".into(), count_rows(&database).await? as f64);
    Ok(run)
}

fn environment(queue: &LocalQueue, database: &TestDatabase, messages: u64) -> Vec<(String, String)> {
    let ours = [
        ("BENCH_QUEUE_NAME", LocalQueue::NAME.to_owned()),
        ("BENCH_QUEUE_URL", queue.url().to_owned()),
        ("BENCH_ENDPOINT_URL", queue.endpoint().to_owned()),
        ("BENCH_DATABASE_URL", database.url().to_owned()),
        ("BENCH_TABLE", TABLE.to_owned()),
        ("BENCH_MESSAGES", messages.to_string()),
        ("AWS_DEFAULT_REGION", "us-east-1".to_owned()),
    ];
    let ours = ours.into_iter().map(|(name, value)| (name.to_owned(), value));
    // The AWS SDKs' own names are what any consumer reads.
    let aws = queue.worker_environment().into_iter().filter(|(name, _)| name.starts_with("AWS_"));
    ours.chain(aws).collect()
}

/// A command in a process group of its own, which ends with this.
struct Peer(Child);

impl Peer {
    fn start(command: &str, environment: &[(String, String)]) -> Result<Self> {
        let mut shell = Command::new("sh");
        shell.args(["-c", command]).envs(environment.iter().cloned()).stdin(Stdio::null());
        // What it says is for whoever wrote the command; stdout is for the report.
        shell.stdout(Stdio::from(std::io::stderr())).process_group(0);
        Ok(Self(shell.spawn().map_err(|error| format!("cannot start sh: {error}"))?))
    }

    async fn stop(&self) {
        self.signal("TERM");
        let since = Instant::now();
        while proc::is_alive(self.0.id()) && since.elapsed() < PATIENCE {
            tokio::time::sleep(LOOK_EACH).await;
        }
    }

    /// To the whole group, which is still there when its first process is not. It fails when nobody is left.
    fn signal(&self, name: &str) {
        let group = format!("-{}", self.0.id());
        let _ = Command::new("kill").args(["-s", name, "--", &group]).stderr(Stdio::null()).status();
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.signal("KILL");
        let _ = self.0.wait();
    }
}
