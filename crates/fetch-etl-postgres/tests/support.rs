//! What all tests use: a migrated database with a sink, batches, and roles.

use std::sync::{Arc, LazyLock};

use fetch_etl_core::login::{LoginRow, LoginSchema};
use fetch_etl_core::{
    Batch, Delivery, KeyId, MaskPolicy, MaskedValue, Masker, Pii, Receipt, SealError, SealedDataKey, Sink,
    SinkError, Stager, UnixMillis, Vault, VaultEntry, WriteReport,
};
use fetch_etl_postgres::{PostgresSink, PostgresSinkConfig};
use fetch_etl_testing::FakeMasker;
use fetch_etl_testing::postgres::TestDatabase;
use sqlx::{AssertSqlSafe, Connection, PgConnection};

pub(crate) const MILLIS_PER_DAY: i64 = 86_400_000;

/// When messages are sent, if nothing else is said: the same time at every delivery.
static TODAY: LazyLock<i64> = LazyLock::new(|| UnixMillis::now().get());

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
    /// Whether the source says when it was sent.
    pub(crate) timed: bool,
}

impl Message {
    pub(crate) fn sent_days_ago(self, days: i64) -> Self {
        Self { sent_at: *TODAY - days * MILLIS_PER_DAY, ..self }
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
    Message { id: id.to_owned(), key: None, body, attempt: 1, sent_at: *TODAY, timed: true }
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

/// A vault that seals nothing, and everything that it is shown: its entries say by which of the vaults they were made.
pub(crate) struct FakeVault {
    data_key: Arc<SealedDataKey>,
}

impl FakeVault {
    pub(crate) fn new(number: u8) -> Arc<Self> {
        let data_key =
            SealedDataKey { id: [number; 16], recipient_id: "suite".into(), bytes: [number; 94].into() };
        Arc::new(Self { data_key: data_key.into() })
    }
}

impl Vault for FakeVault {
    fn seal(
        &self,
        field: &str,
        _: &Pii<str>,
        mask: &MaskedValue,
        mask_key_id: KeyId,
    ) -> Result<Option<VaultEntry>, SealError> {
        let data_key = Arc::clone(&self.data_key);
        let ciphertext = [data_key.id[0]; 93].into();
        Ok(Some(VaultEntry { field: field.into(), mask: mask.clone(), mask_key_id, data_key, ciphertext }))
    }

    fn stored(&self, _: &[&VaultEntry]) {}
}

pub(crate) fn batch(messages: Vec<Message>) -> Batch<LoginRow> {
    staged(messages, None)
}

/// A batch whose values all go to the vault: sealed every time, to nobody; the ciphertext is a piece of the mask.
pub(crate) fn batch_with_vault(messages: Vec<Message>) -> Batch<LoginRow> {
    staged(messages, Some(Arc::new(MaskVault)))
}

struct MaskVault;

impl Vault for MaskVault {
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

/// A batch with entries for the vault: two for each good message, whose values are the same in all of them.
pub(crate) fn batch_with_entries(messages: Vec<Message>, vault: &Arc<FakeVault>) -> Batch<LoginRow> {
    staged(messages, Some(Arc::clone(vault) as Arc<dyn Vault>))
}

fn staged(messages: Vec<Message>, vault: Option<Arc<dyn Vault>>) -> Batch<LoginRow> {
    let deliveries = messages.into_iter().map(|message| Delivery {
        id: message.id.into(),
        key: message.key.map(Into::into),
        attempt: message.attempt,
        sent_at: message.timed.then(|| UnixMillis::new(message.sent_at)),
        trace: None,
        body: Pii::new(message.body.into_bytes()),
        receipt: Receipt::new("receipt"),
    });
    Stager::new(LoginSchema, Arc::new(FakeMasker)).with_vault(vault).stage(deliveries.collect()).batch
}

/// A masking policy.
pub(crate) fn policy(methods: &str) -> MaskPolicy {
    MaskPolicy {
        methods: methods.to_owned(),
        key_id: FakeMasker::KEY_ID,
        key_check: "ab".to_owned(),
        domain: "default".to_owned(),
        canonical_version: 1,
    }
}

/// Waits until a session of the sink waits for a lock, and returns its process.
pub(crate) async fn blocked_backend(bench: &mut Bench) -> i32 {
    let sql = "SELECT max(pid) FROM pg_stat_activity
        WHERE datname = current_database() AND application_name = 'fetch-etl-test' AND wait_event_type = 'Lock'";
    loop {
        if let Some(pid) = bench.one::<Option<i32>>(sql).await {
            return pid;
        }
    }
}

pub(crate) fn report(inserted: u64, duplicates: u64, quarantined: u64) -> WriteReport {
    WriteReport { inserted, duplicates, quarantined, erased: 0 }
}

/// How many migrations there are.
pub(crate) fn migrations() -> i64 {
    let files = std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/migrations")).unwrap();
    i64::try_from(files.count()).unwrap()
}

/// A role of its own that can log in, since roles belong to the server and outlive a database.
pub(crate) struct Role {
    pub(crate) name: String,
}

impl Role {
    pub(crate) async fn create(bench: &mut Bench, suffix: &str) -> Self {
        let name = format!("{}_{suffix}", bench.database.name());
        bench.execute(&format!("CREATE ROLE \"{name}\" LOGIN")).await;
        Self { name }
    }

    /// A role that has what one of the migration's roles has.
    pub(crate) async fn member_of(bench: &mut Bench, group: &str) -> Self {
        let role = Self::create(bench, group).await;
        bench.execute(&format!("GRANT {group} TO \"{}\"", role.name)).await;
        role
    }

    pub(crate) fn quoted(&self) -> String {
        format!("\"{}\"", self.name)
    }

    /// Drops it with everything it owns.
    pub(crate) async fn drop(self, bench: &mut Bench) {
        bench.execute(&format!("DROP OWNED BY \"{0}\"; DROP ROLE \"{0}\"", self.name)).await;
    }

    fn url(&self, database: &TestDatabase) -> String {
        let (_, address) = database.url().split_once('@').unwrap();
        format!("postgres://{}@{address}", self.name)
    }

    pub(crate) async fn sink(&self, database: &TestDatabase) -> PostgresSink {
        PostgresSink::connect(PostgresSinkConfig::new(self.url(database))).await.unwrap()
    }

    pub(crate) async fn connect(&self, database: &TestDatabase) -> PgConnection {
        PgConnection::connect(&self.url(database)).await.unwrap()
    }
}

/// Checks that the role of the connection lacks the right for each of these.
pub(crate) async fn assert_denied(connection: &mut PgConnection, statements: &[&str]) {
    for sql in statements {
        let error = match sqlx::raw_sql(AssertSqlSafe(*sql)).execute(&mut *connection).await {
            Ok(_) => panic!("allowed: {sql}"),
            Err(error) => error,
        };
        let code = error.as_database_error().and_then(|error| error.code()).map(|code| code.into_owned());
        assert_eq!(code.as_deref(), Some("42501"), "{sql}: {error}");
    }
}
