//! `check_schema` on real tables.

use fetch_etl_core::ErrorClass;
use fetch_etl_testing::postgres::TestDatabase;

use crate::support::{Bench, execute, migrations, sink_on};

async fn refusal(bench: &Bench) -> String {
    let error = bench.sink.check_schema().await.unwrap_err();
    assert_eq!(error.class(), ErrorClass::Fatal);
    error.to_string()
}

#[tokio::test]
async fn what_we_migrated_fits() {
    Bench::open().await.sink.check_schema().await.unwrap();
}

#[tokio::test]
async fn a_column_too_short_for_a_mask_is_refused() {
    let mut bench = Bench::open().await;
    bench.execute("ALTER TABLE user_logins ALTER COLUMN masked_ip TYPE varchar(64), ALTER COLUMN locale TYPE varchar(2)").await;
    assert_eq!(
        refusal(&bench).await,
        "the table user_logins does not fit: masked_ip is character varying(64), needed is varchar(128) or longer, or text; \
         locale is character varying(2), needed is varchar(32) or longer, or text"
    );
}

#[tokio::test]
async fn wider_columns_are_welcome() {
    let mut bench = Bench::open().await;
    bench
        .execute(
            "ALTER TABLE user_logins ALTER COLUMN masked_ip TYPE text, ALTER COLUMN user_id TYPE varchar",
        )
        .await;
    bench.sink.check_schema().await.unwrap();
}

#[tokio::test]
async fn a_column_that_we_cannot_fill_is_refused() {
    let mut bench = Bench::open().await;
    bench.execute("ALTER TABLE user_logins ADD COLUMN id bigint GENERATED ALWAYS AS IDENTITY, ADD COLUMN tag text NOT NULL DEFAULT ''").await;
    bench.sink.check_schema().await.unwrap();
    bench.execute("ALTER TABLE user_logins ADD COLUMN tenant integer NOT NULL").await;
    assert!(
        refusal(&bench).await.ends_with("tenant is NOT NULL without a default, and we have no value for it")
    );
}

#[tokio::test]
async fn missing_tables_are_named_with_the_way_to_make_them() {
    let database = TestDatabase::create().await;
    let sink = sink_on(&database).await;
    let error = sink.check_schema().await.unwrap_err();
    assert_eq!(error.class(), ErrorClass::Fatal);
    let text = error.to_string();
    for expected in ["user_logins", "etl.ledger", "etl.quarantine", "`etl-worker migrate`"] {
        assert!(text.contains(expected), "{text}");
    }
}

#[tokio::test]
async fn what_migrating_would_do_is_known_before() {
    let database = TestDatabase::create().await;
    let sink = sink_on(&database).await;
    assert_eq!(sink.pending_migrations().await.unwrap(), usize::try_from(migrations()).unwrap());
    let mut outside = database.connect().await;
    execute(&mut outside, "CREATE TABLE user_logins (user_id text, masked_ip varchar(64))").await;
    let error = sink.pending_migrations().await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "the table user_logins does not fit: masked_ip is character varying(64), needed is varchar(128) or longer, or text"
    );
    execute(&mut outside, "DROP TABLE user_logins").await;
    sink.migrate().await.unwrap();
    assert_eq!(sink.pending_migrations().await.unwrap(), 0);
    execute(
        &mut outside,
        "DELETE FROM etl.schema_migrations WHERE version = (SELECT max(version) FROM etl.schema_migrations)",
    )
    .await;
    assert_eq!(sink.pending_migrations().await.unwrap(), 1);
}

#[tokio::test]
async fn a_quarantine_of_an_older_version_is_not_written_to() {
    let mut bench = Bench::open().await;
    bench.execute("ALTER TABLE etl.quarantine DROP COLUMN closed_at").await;
    assert_eq!(refusal(&bench).await, "etl.quarantine.closed_at missing: `etl-worker migrate` makes them");
}
