use std::time::Duration;

use fetch_etl_harness::{LocalQueue, Masking, Running, Sent, binary};
use fetch_etl_testing::postgres::TestDatabase;

/// A queue, a database, and how the worker is told to mask.
pub(crate) struct Stage {
    pub(crate) queue: LocalQueue,
    pub(crate) database: TestDatabase,
    pub(crate) masking: Masking,
    /// What else workers and tools need in their environment.
    pub(crate) besides: Vec<(String, String)>,
}

impl Stage {
    pub(crate) async fn new(masking: Masking, visibility_timeout_s: u32) -> Self {
        Self::with_queue(masking, LocalQueue::start(visibility_timeout_s, &[])).await
    }

    pub(crate) async fn with_queue(masking: Masking, queue: LocalQueue) -> Self {
        Self { queue, database: TestDatabase::create().await, masking, besides: Vec::new() }
    }

    /// Starts `etl-worker run` with these arguments.
    pub(crate) fn worker(&self, arguments: &[&str]) -> Running {
        self.worker_on(self.database.url(), arguments)
    }

    /// Starts `etl-worker run` on another way to the database, or another database.
    pub(crate) fn worker_on(&self, database_url: &str, arguments: &[&str]) -> Running {
        let environment = self.environment_on(database_url);
        Running::start(&binary("etl-worker"), [&["run"], arguments].concat(), environment)
    }

    /// What a worker, or an operator's tool, needs in its environment.
    pub(crate) fn worker_environment(&self) -> Vec<(String, String)> {
        self.environment_on(self.database.url())
    }

    fn environment_on(&self, database_url: &str) -> Vec<(String, String)> {
        self.environment(database_url, &self.masking)
    }

    fn environment(&self, database_url: &str, masking: &Masking) -> Vec<(String, String)> {
        let mut environment = self.queue.worker_environment();
        environment.push(("ETL_SINK__DATABASE_URL".into(), database_url.into()));
        environment.extend(masking.worker_environment());
        environment.extend(self.besides.iter().cloned());
        environment
    }

    /// What a worker that masks otherwise needs in its environment.
    pub(crate) fn environment_masking(&self, masking: &Masking) -> Vec<(String, String)> {
        self.environment(self.database.url(), masking)
    }

    /// Starts `etl-worker run` with these arguments, masking otherwise.
    pub(crate) fn worker_masking(&self, masking: &Masking, arguments: &[&str]) -> Running {
        let environment = self.environment_masking(masking);
        Running::start(&binary("etl-worker"), [&["run"], arguments].concat(), environment)
    }

    /// Runs SQL.
    pub(crate) async fn execute(&self, sql: &'static str) {
        sqlx::raw_sql(sql).execute(&mut self.database.connect().await).await.expect("the statement is right");
    }

    /// The keys beside the rows, each once.
    pub(crate) async fn key_ids(&self) -> Vec<i32> {
        let query = "SELECT DISTINCT mask_key_id FROM user_logins ORDER BY 1";
        let mut connection = self.database.connect().await;
        sqlx::query_scalar(query).fetch_all(&mut connection).await.expect("every row has a key's id")
    }

    /// Waits until fewer rows than now are of this key, or the process that sees to it has ended; at most a minute.
    pub(crate) async fn wait_for_fewer_of_key(&self, key_id: i32, process: &mut Running) {
        let mut connection = self.database.connect().await;
        let mut count = async || {
            let query = "SELECT count(*) FROM user_logins WHERE mask_key_id = $1";
            let counting = sqlx::query_scalar::<_, i64>(query).bind(key_id).fetch_one(&mut connection);
            counting.await.expect("rows can be counted")
        };
        let before = count().await;
        let waiting = async {
            while process.is_running() && count().await >= before {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        let in_time = tokio::time::timeout(Duration::from_secs(60), waiting).await;
        assert!(in_time.is_ok(), "still {before} rows of key {key_id}");
    }

    /// Rows stored so far; 0 before there is a table.
    pub(crate) async fn count_rows(&self) -> u64 {
        let mut connection = self.database.connect().await;
        let exists: bool = sqlx::query_scalar("SELECT to_regclass('user_logins') IS NOT NULL")
            .fetch_one(&mut connection)
            .await
            .expect("the database answers");
        if !exists {
            return 0;
        }
        let count: i64 = sqlx::query_scalar("SELECT count(*) FROM user_logins")
            .fetch_one(&mut connection)
            .await
            .expect("rows can be counted");
        count.unsigned_abs()
    }

    /// Waits until `count` rows are stored; at most a minute.
    pub(crate) async fn wait_for_rows(&self, count: u64) {
        let waiting = async {
            while self.count_rows().await < count {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let in_time = tokio::time::timeout(Duration::from_secs(60), waiting).await;
        assert!(in_time.is_ok(), "{} rows instead of {count}", self.count_rows().await);
    }

    /// Runs workers until the queue is empty: what a killed one held comes back after the visibility timeout.
    pub(crate) async fn drain(&self) {
        for _ in 0..30 {
            self.worker(&["--until-empty"]).wait().assert_code(0);
            if self.queue.depth().await == (0, 0) {
                return;
            }
        }
        panic!("the queue does not get empty: {:?}", self.queue.depth().await);
    }
}

/// Different valid logins; every tenth shares its address and device with another one.
pub(crate) fn logins(count: usize) -> impl Iterator<Item = String> {
    (0..count).map(|n| {
        let who = if n % 10 == 0 { n / 2 } else { n };
        format!(
            r#"{{"user_id":"u-{n}","app_version":"2.{}.1","device_type":"ios","ip":"10.{}.{}.{}","locale":null,"device_id":"{who:09}"}}"#,
            n % 1000,
            who / 65536 % 256,
            who / 256 % 256,
            who % 256
        )
    })
}

/// What was sent, without what the second opinion would reject.
pub(crate) fn ids(sent: &[Sent]) -> std::collections::BTreeSet<&str> {
    sent.iter().map(|sent| sent.id.as_str()).collect()
}
