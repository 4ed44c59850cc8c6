//! A queue, a database and workers between them.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use fetch_etl_testing::postgres::TestDatabase;
use fetch_etl_testing::proxy::PgProxy;

use super::Trial;
use super::bench::Bench;
use super::load::Logins;
use crate::{Conservation, LocalQueue, Masking, Opinion, Running, Sent, binary, rows};

/// How often a condition is looked at.
const LOOK_EACH: Duration = Duration::from_millis(4);

/// Longer than anything here takes; what has not come then does not come.
pub(super) const PATIENCE: Duration = Duration::from_secs(120);

pub(super) struct Rig {
    pub(super) bench: Arc<Bench>,
    pub(super) queue: LocalQueue,
    pub(super) database: TestDatabase,
    /// Between the workers and the database, unless they go [`direct`](Self::direct).
    pub(super) proxy: PgProxy,
    pub(super) logins: Logins,
    masking: Masking,
    recipient: bool,
    url: String,
    sent: Vec<Sent>,
}

impl Rig {
    /// A new queue, with this visibility timeout in seconds, and a new database.
    pub(super) async fn new(bench: &Arc<Bench>, seed: u64, visibility_timeout_s: u32) -> Self {
        Self::with_queue(bench, seed, LocalQueue::start(visibility_timeout_s, &[])).await
    }

    pub(super) async fn with_queue(bench: &Arc<Bench>, seed: u64, queue: LocalQueue) -> Self {
        let database = TestDatabase::create_on(&bench.cluster.url()).await;
        let proxy = PgProxy::in_front_of(database.url()).await.expect("the proxy listens");
        let url = proxy.url_for(database.url()).expect("the database is reached over TCP");
        Self {
            bench: bench.clone(),
            queue,
            database,
            proxy,
            logins: Logins::new(seed),
            masking: Masking::keyed(),
            recipient: false,
            url,
            sent: Vec::new(),
        }
    }

    /// Masks in another way.
    pub(super) fn masking(mut self, masking: Masking) -> Self {
        self.masking = masking;
        self
    }

    /// Seals the bodies of rejects and deletes their messages.
    pub(super) fn with_recipient(mut self) -> Self {
        self.recipient = true;
        self
    }

    /// Lets workers reach the database without the proxy, as this user.
    pub(super) fn direct(mut self, user: &str) -> Self {
        self.url = self.database.url().replace("postgres@", &format!("{user}@"));
        self
    }

    /// Sends valid logins.
    pub(super) async fn send_logins(&mut self, count: usize) {
        let bodies = self.logins.take(count);
        self.send(bodies).await;
    }

    /// Sends anything; what should become of it is for the second opinion to say.
    pub(super) async fn send(&mut self, bodies: Vec<String>) {
        self.sent.extend(self.queue.send(bodies).await);
    }

    pub(super) fn sent(&self) -> u64 {
        self.sent.len() as u64
    }

    /// Starts `etl-worker run` with these further arguments, each pair a `--set`.
    pub(super) fn worker(&self, set: &[(&str, &str)]) -> Running {
        self.run(set, &[])
    }

    fn run(&self, set: &[(&str, &str)], flags: &[&str]) -> Running {
        let mut environment = self.queue.worker_environment();
        environment.push(("ETL_SINK__DATABASE_URL".into(), self.url.clone()));
        environment.push(("RUST_LOG".into(), "warn".into()));
        if self.recipient {
            environment.push(("ETL_QUARANTINE__RECIPIENT".into(), self.bench.recipient().to_owned()));
        }
        environment.extend(self.masking.worker_environment());
        let set = set.iter().flat_map(|(key, value)| ["--set".to_owned(), format!("{key}={value}")]);
        let arguments = ["run"].iter().chain(flags).map(|&text| text.to_owned()).chain(set);
        Running::start(&binary("etl-worker"), arguments, environment)
    }

    /// Rows stored so far; 0 before there is a table, and while the database cannot be asked.
    pub(super) async fn count_rows(&self) -> u64 {
        self.ask("SELECT count(*) FROM user_logins").await
    }

    /// Rejects in the quarantine.
    pub(super) async fn count_rejects(&self) -> u64 {
        self.ask("SELECT count(*) FROM etl.quarantine").await
    }

    async fn ask(&self, count: &'static str) -> u64 {
        use sqlx::Connection as _;
        let Ok(mut connection) = sqlx::PgConnection::connect(self.database.url()).await else { return 0 };
        let count: Result<i64, _> = sqlx::query_scalar(count).fetch_one(&mut connection).await;
        let _ = connection.close().await;
        count.map_or(0, i64::unsigned_abs)
    }

    /// Waits until at least so many rows are stored.
    pub(super) async fn until_rows(&self, count: u64) -> Trial {
        until("rows are stored", async || self.count_rows().await >= count).await
    }

    /// Runs workers until the queue is empty: what a killed one held comes back after the visibility timeout. Each must account
    /// for all that it received.
    pub(super) async fn drain(&self) -> Trial {
        let since = Instant::now();
        while self.queue.depth().await != (0, 0) {
            if since.elapsed() > PATIENCE {
                return Err(format!("the queue does not get empty: {:?} are left", self.queue.depth().await));
            }
            let worker = self.run(&[("source.wait_time_s", "1")], &["--until-empty"]);
            let ended = worker.wait();
            if ended.status.code() != Some(0) {
                return Err(format!("the worker failed: {}", last_line(&ended.stderr)));
            }
            Conservation::settled(&ended.stdout)?;
        }
        Ok(())
    }

    /// Whether everything that was sent is stored exactly once and as it should be, every column of it.
    pub(super) async fn exact(&self) -> Trial {
        let stored = rows(&mut self.database.connect().await).await;
        let opinion = Opinion::ask(&self.masking, &self.sent).ok_or("there is no Python 3")?;
        opinion.compare(&stored)?;
        self.bench.compared.fetch_add(stored.len() as u64, Relaxed);
        Ok(())
    }

    /// [`drain`](Self::drain), then [`exact`](Self::exact).
    pub(super) async fn settle(&self) -> Trial {
        self.drain().await?;
        self.exact().await
    }
}

/// Looks until it holds.
pub(super) async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) -> Trial {
    let since = Instant::now();
    while !holds().await {
        if since.elapsed() > PATIENCE {
            return Err(format!("waited in vain until {what}"));
        }
        tokio::time::sleep(LOOK_EACH).await;
    }
    Ok(())
}

/// What a worker said last; it says no value of a message.
pub(super) fn last_line(stderr: &str) -> &str {
    stderr.lines().last().unwrap_or("it said nothing")
}
