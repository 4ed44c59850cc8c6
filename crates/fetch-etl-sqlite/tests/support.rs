//! What all tests use: a migrated file with a sink, and batches.

use std::path::PathBuf;
use std::sync::Arc;

use fetch_etl_core::login::{LoginRow, LoginSchema};
use fetch_etl_core::{Batch, Delivery, Pii, Receipt, Sink, SinkError, Stager, UnixMillis, WriteReport};
use fetch_etl_sqlite::{SqliteSink, SqliteSinkConfig};
use fetch_etl_testing::FakeMasker;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions, SqliteConnection};
use tempfile::TempDir;

pub(crate) const MILLIS_PER_DAY: i64 = 86_400_000;

/// A migrated file, and a sink on it.
pub(crate) struct Bench {
    pub(crate) sink: Arc<SqliteSink>,
    pub(crate) directory: TempDir,
}

impl Bench {
    pub(crate) async fn open() -> Self {
        let bench = Self::unmigrated().await;
        bench.sink.migrate().await.unwrap();
        bench
    }

    pub(crate) async fn unmigrated() -> Self {
        let directory = TempDir::new().unwrap();
        let sink = sink_on(&directory).await;
        Self { sink: Arc::new(sink), directory }
    }

    pub(crate) fn file(&self) -> PathBuf {
        self.directory.path().join(FILE)
    }

    /// A connection beside the sink's.
    pub(crate) async fn outside(&self) -> SqliteConnection {
        SqliteConnectOptions::new().filename(self.file()).connect().await.unwrap()
    }

    pub(crate) async fn write(&self, messages: Vec<Message>) -> Result<WriteReport, SinkError> {
        self.sink.write(&batch(messages)).await
    }

    pub(crate) async fn execute(&self, sql: &str) {
        sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut self.outside().await).await.unwrap();
    }

    /// The only value of the only row.
    pub(crate) async fn one<T>(&self, sql: &str) -> T
    where
        T: for<'r> sqlx::Decode<'r, sqlx::Sqlite> + sqlx::Type<sqlx::Sqlite> + Send + Unpin,
    {
        sqlx::query_scalar(AssertSqlSafe(sql)).fetch_one(&mut self.outside().await).await.unwrap()
    }
}

const FILE: &str = "logins.sqlite";

pub(crate) fn config(directory: &TempDir) -> SqliteSinkConfig {
    SqliteSinkConfig::new(format!("sqlite://{}", directory.path().join(FILE).display()))
}

pub(crate) async fn sink_on(directory: &TempDir) -> SqliteSink {
    SqliteSink::connect(config(directory)).await.unwrap()
}

/// A message for a batch.
#[derive(Clone)]
pub(crate) struct Message {
    /// The queue's id.
    pub(crate) id: String,
    /// The producer's key.
    pub(crate) key: Option<String>,
    pub(crate) body: String,
    pub(crate) attempt: u32,
    pub(crate) sent_at: i64,
}

impl Message {
    pub(crate) fn sent_days_ago(self, days: i64) -> Self {
        Self { sent_at: UnixMillis::now().get() - days * MILLIS_PER_DAY, ..self }
    }

    /// The same event, sent by a producer that names its events.
    pub(crate) fn named_by_producer(self) -> Self {
        let key = Some(self.id.clone());
        Self { id: format!("sent-{}-{}", self.id, self.sent_at), key, ..self }
    }
}

/// A message that becomes a row.
pub(crate) fn good(id: &str) -> Message {
    let body = format!(
        r#"{{"user_id":"user of {id}","app_version":"2.3.0","device_type":"android","ip":"203.0.113.7","locale":"US","device_id":"593-47-5928"}}"#
    );
    Message { id: id.to_owned(), key: None, body, attempt: 1, sent_at: UnixMillis::now().get() }
}

pub(crate) fn goods(ids: impl IntoIterator<Item = u32>) -> Vec<Message> {
    ids.into_iter().map(|id| good(&format!("m-{id:05}"))).collect()
}

/// A message that is rejected.
pub(crate) fn bad(id: &str) -> Message {
    Message { body: "no JSON".to_owned(), ..good(id) }
}

pub(crate) fn batch(messages: Vec<Message>) -> Batch<LoginRow> {
    let deliveries = messages.into_iter().map(|message| Delivery {
        id: message.id.into(),
        key: message.key.map(Into::into),
        attempt: message.attempt,
        sent_at: Some(UnixMillis::new(message.sent_at)),
        trace: None,
        body: Pii::new(message.body.into_bytes()),
        receipt: Receipt::new("receipt"),
    });
    Stager::new(LoginSchema, Arc::new(FakeMasker)).stage(deliveries.collect()).batch
}

pub(crate) fn report(inserted: u64, duplicates: u64, quarantined: u64) -> WriteReport {
    WriteReport { inserted, duplicates, quarantined, erased: 0 }
}
