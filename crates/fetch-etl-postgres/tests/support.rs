//! What all tests use: a migrated database with a sink, and batches.

use std::sync::Arc;

use fetch_etl_core::login::{LoginRow, LoginSchema};
use fetch_etl_core::{
    Batch, Delivery, KeyId, MaskedValue, Masker, Pii, Receipt, SealError, SealedDataKey, Sink, SinkError,
    Stager, UnixMillis, Vault, VaultEntry, WriteReport,
};
use fetch_etl_postgres::{PostgresSink, PostgresSinkConfig};
use fetch_etl_testing::FakeMasker;
use fetch_etl_testing::postgres::TestDatabase;
use sqlx::{AssertSqlSafe, PgConnection};

pub(crate) const MILLIS_PER_DAY: i64 = 86_400_000;

/// A migrated database, a sink on it, and a connection to look at it from outside.
pub(crate) struct Bench {
    pub(crate) sink: Arc<PostgresSink>,
    pub(crate) outside: PgConnection,
    pub(crate) database: TestDatabase,
}

impl Bench {
    pub(crate) async fn open() -> Self {
        let database = TestDatabase::create().await;
        let sink = sink_on(&database).await;
        sink.migrate().await.unwrap();
        let outside = database.connect().await;
        Self { sink: Arc::new(sink), outside, database }
    }

    pub(crate) async fn write(&self, messages: Vec<Message>) -> Result<WriteReport, SinkError> {
        self.sink.write(&batch(messages)).await
    }

    pub(crate) async fn execute(&mut self, sql: &str) {
        execute(&mut self.outside, sql).await;
    }

    /// As a worker with a vault writes.
    pub(crate) async fn write_with_vault(&self, messages: Vec<Message>) -> Result<WriteReport, SinkError> {
        self.sink.write(&batch_with_vault(messages)).await
    }

    /// The only value of the only row.
    pub(crate) async fn one<T>(&mut self, sql: &str) -> T
    where
        T: for<'r> sqlx::Decode<'r, sqlx::Postgres> + sqlx::Type<sqlx::Postgres> + Send + Unpin,
    {
        sqlx::query_scalar(AssertSqlSafe(sql)).fetch_one(&mut self.outside).await.unwrap()
    }

    pub(crate) async fn keys(&mut self) -> Vec<String> {
        let sql = "SELECT message_id FROM user_logins ORDER BY 1";
        sqlx::query_scalar(sql).fetch_all(&mut self.outside).await.unwrap()
    }
}

pub(crate) async fn execute(connection: &mut PgConnection, sql: &str) {
    sqlx::raw_sql(AssertSqlSafe(sql)).execute(connection).await.unwrap();
}

pub(crate) fn config(database: &TestDatabase) -> PostgresSinkConfig {
    PostgresSinkConfig {
        application_name: "fetch-etl-test".to_owned(),
        ..PostgresSinkConfig::new(database.url())
    }
}

pub(crate) async fn sink_on(database: &TestDatabase) -> PostgresSink {
    PostgresSink::connect(config(database)).await.unwrap()
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

    /// The same event, sent by a producer that names its events; each sending has an id of its own.
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

/// A login of a person from an address, with a device.
pub(crate) fn login(id: &str, user: &str, ip: &str, device: &str) -> Message {
    let body = format!(
        r#"{{"user_id":"{user}","app_version":"2.3.0","device_type":"android","ip":"{ip}","locale":"US","device_id":"{device}"}}"#
    );
    Message { body, ..good(id) }
}

/// The mask that a value has in these tests.
pub(crate) fn mask(field: &str, value: &str) -> [u8; 64] {
    *FakeMasker.mask(field, Pii::wrap(value)).unwrap().digest().unwrap()
}

/// The same as the database holds it.
pub(crate) fn mask_text(field: &str, value: &str) -> String {
    MaskedValue::from_digest(mask(field, value)).to_text()
}

/// A vault that seals every value every time, to nobody: its ciphertext is a piece of the mask.
pub(crate) struct FakeVault;

impl Vault for FakeVault {
    fn seal(
        &self,
        field: &str,
        _: &Pii<str>,
        mask: &MaskedValue,
        mask_key_id: KeyId,
    ) -> Result<Option<VaultEntry>, SealError> {
        let data_key = SealedDataKey { id: [7; 16], recipient_id: "r".into(), bytes: [1, 2, 3].into() };
        let Some(digest) = mask.digest() else { return Ok(None) };
        Ok(Some(VaultEntry {
            field: field.into(),
            mask: mask.clone(),
            mask_key_id,
            data_key: Arc::new(data_key),
            ciphertext: digest[..20].into(),
        }))
    }

    fn stored(&self, _: &[&VaultEntry]) {}
}

pub(crate) fn batch(messages: Vec<Message>) -> Batch<LoginRow> {
    staged(messages, None)
}

pub(crate) fn batch_with_vault(messages: Vec<Message>) -> Batch<LoginRow> {
    staged(messages, Some(Arc::new(FakeVault)))
}

fn staged(messages: Vec<Message>, vault: Option<Arc<dyn Vault>>) -> Batch<LoginRow> {
    let deliveries = messages.into_iter().map(|message| Delivery {
        id: message.id.into(),
        key: message.key.map(Into::into),
        attempt: message.attempt,
        sent_at: Some(UnixMillis::new(message.sent_at)),
        body: Pii::new(message.body.into_bytes()),
        receipt: Receipt::new("receipt"),
    });
    Stager::new(LoginSchema, Arc::new(FakeMasker)).with_vault(vault).stage(deliveries.collect()).batch
}

pub(crate) fn report(inserted: u64, duplicates: u64, quarantined: u64) -> WriteReport {
    WriteReport { inserted, duplicates, quarantined, erased: 0 }
}

/// How many migrations there are.
pub(crate) fn migrations() -> i64 {
    let files = std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/migrations")).unwrap();
    i64::try_from(files.count()).unwrap()
}
