use std::sync::Arc;

use async_trait::async_trait;
use fetch_etl_core::login::LoginRow;
use fetch_etl_core::{Quarantine, SealedBody, Sink};
use fetch_etl_sqlite::{SqliteSink, SqliteSinkConfig};
use fetch_etl_testing::sink_contract::{
    self, Columns, LoginEvents, PolicySink, PolicyStorage, QuarantineRow, QuarantineStore, SinkHarness,
    Store, Stored,
};
use sqlx::Row;
use sqlx::sqlite::SqliteRow;

use crate::support::{Bench, config, sink_on};

struct OnSqlite;

#[async_trait]
impl SinkHarness for OnSqlite {
    type Events = LoginEvents;
    type Store = Bench;

    async fn open(&self) -> Bench {
        Bench::open().await
    }
}

#[async_trait]
impl Store<LoginRow> for Bench {
    fn sink(&self) -> Arc<dyn Sink<LoginRow>> {
        self.sink.clone()
    }

    async fn reopened(&self) -> Arc<dyn Sink<LoginRow>> {
        Arc::new(sink_on(&self.directory).await)
    }

    async fn stored(&self) -> Stored {
        let mut connection = self.outside().await;
        let rows = "SELECT user_id, device_type, masked_ip, masked_device_id, locale,
            CAST(app_version AS TEXT) AS app_version, create_date, app_version_text, message_id,
            CAST(mask_key_id AS TEXT) AS mask_key_id FROM user_logins";
        let quarantine = "SELECT * FROM etl_quarantine";
        Stored {
            rows: sqlx::query(rows).fetch_all(&mut connection).await.unwrap().iter().map(columns).collect(),
            quarantine: sqlx::query(quarantine)
                .fetch_all(&mut connection)
                .await
                .unwrap()
                .iter()
                .map(rejected)
                .collect(),
        }
    }

    async fn refuse_key(&self, key: &str) {
        self.execute(&format!(
            "CREATE TRIGGER refusal BEFORE INSERT ON user_logins WHEN new.message_id = '{key}'
            BEGIN SELECT raise(ABORT, 'refused'); END"
        ))
        .await;
    }

    async fn refuse_nothing(&self) {
        self.execute("DROP TRIGGER refusal").await;
    }
}

fn columns(row: &SqliteRow) -> Columns {
    let names = [
        "user_id",
        "device_type",
        "masked_ip",
        "masked_device_id",
        "locale",
        "app_version",
        "create_date",
        "app_version_text",
        "message_id",
        "mask_key_id",
    ];
    names.into_iter().map(|name| (name, row.get(name))).collect()
}

fn rejected(row: &SqliteRow) -> QuarantineRow {
    let number = |name| row.get::<Option<i64>, _>(name).map(|number| u32::try_from(number).unwrap());
    QuarantineRow {
        key: row.get("key"),
        reason: row.get("reason"),
        field: row.get("field"),
        position: number("line").zip(number("column_number")),
        length: number("length"),
        attempt: number("receive_count").unwrap(),
        sealed: row
            .get::<Option<String>, _>("recipient_id")
            .map(|id| SealedBody::new(id, row.get("sealed_body"))),
    }
}

#[async_trait]
impl QuarantineStore<LoginRow> for Bench {
    fn quarantine(&self) -> Arc<dyn Quarantine> {
        self.sink.clone()
    }

    async fn replaying(&self) -> Arc<dyn Sink<LoginRow>> {
        let config = SqliteSinkConfig { replays: true, ..config(&self.directory) };
        Arc::new(SqliteSink::connect(config).await.unwrap())
    }
}

#[async_trait]
impl PolicyStorage<LoginRow> for Bench {
    async fn worker(&self) -> Arc<dyn PolicySink<LoginRow>> {
        Arc::new(sink_on(&self.directory).await)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn writes_are_held_to_the_policy_in_force() {
    sink_contract::run_on_policies(&OnSqlite).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_quarantine_can_be_worked_on() {
    sink_contract::run_on_quarantine(&OnSqlite).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_sink_keeps_its_contract() {
    sink_contract::run(&OnSqlite).await;
}
