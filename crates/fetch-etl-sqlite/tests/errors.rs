//! Real failures have the right class, and no error shows a value.

use std::time::Duration;

use fetch_etl_core::{ErrorClass, Sink, SinkError};
use fetch_etl_sqlite::{SqliteSink, SqliteSinkConfig};
use sqlx::Connection;

use crate::support::{Bench, Message, batch, config, good, report};

fn assert_failed(error: &SinkError, class: ErrorClass, code: Option<&str>) {
    let found = error.code();
    assert_eq!((error.class(), found.as_ref().map(|code| code.as_str())), (class, code), "{error}");
}

async fn connect_error(url: String) -> SinkError {
    SqliteSink::connect(SqliteSinkConfig::new(url)).await.unwrap_err()
}

#[tokio::test]
async fn a_dropped_table_is_fatal() {
    let bench = Bench::open().await;
    bench.execute("DROP TABLE user_logins").await;
    let error = bench.write(vec![good("m-1")]).await.unwrap_err();
    assert_failed(&error, ErrorClass::Fatal, Some("1"));
    assert!(error.to_string().contains("`etl-worker migrate`"), "{error}");
}

#[tokio::test]
async fn another_writer_may_end() {
    let bench = Bench::open().await;
    let config = SqliteSinkConfig { busy_timeout: Duration::from_millis(50), ..config(&bench.directory) };
    let impatient = SqliteSink::connect(config).await.unwrap();
    let mut other = bench.outside().await;
    let under_way = other.begin_with("BEGIN IMMEDIATE").await.unwrap();
    let error = impatient.write(&batch(vec![good("m-1")])).await.unwrap_err();
    assert_failed(&error, ErrorClass::Retryable, Some("5"));
    under_way.rollback().await.unwrap();
    assert_eq!(impatient.write(&batch(vec![good("m-1")])).await.unwrap(), report(1, 0, 0));
}

#[tokio::test]
async fn a_file_that_is_no_database_is_fatal() {
    let bench = Bench::unmigrated().await;
    std::fs::write(bench.file(), "canary, and nothing that SQLite could read".repeat(100)).unwrap();
    let error = connect_error(config(&bench.directory).database_url).await;
    assert_failed(&error, ErrorClass::Fatal, Some("26"));
}

#[tokio::test]
async fn a_missing_directory_is_named() {
    let bench = Bench::unmigrated().await;
    let missing = bench.directory.path().join("missing");
    let error = connect_error(format!("sqlite://{}/logins.sqlite", missing.display())).await;
    assert_eq!(error.class(), ErrorClass::Fatal);
    assert!(error.to_string().contains(&missing.display().to_string()), "{error}");
    assert_failed(
        &connect_error(format!("sqlite://{}", bench.directory.path().display())).await,
        ErrorClass::Fatal,
        None,
    );
}

#[tokio::test]
async fn a_database_in_memory_is_refused() {
    for url in ["sqlite::memory:", "sqlite://:memory:", "sqlite://file?mode=memory"] {
        let error = connect_error(url.to_owned()).await;
        assert_eq!(error.class(), ErrorClass::Fatal);
        assert!(error.to_string().contains("keeps nothing"), "{error}");
    }
}

#[tokio::test]
async fn a_closed_sink_is_fatal() {
    let bench = Bench::open().await;
    bench.sink.close().await;
    assert_failed(&bench.write(vec![good("m-1")]).await.unwrap_err(), ErrorClass::Fatal, None);
}

#[tokio::test]
async fn no_error_shows_a_value_of_a_row() {
    let refusals = [
        ("275", "ADD COLUMN x INTEGER CHECK (user_id NOT LIKE '%canary%')"),
        ("1299", "ADD COLUMN x TEXT NOT NULL GENERATED ALWAYS AS (nullif(locale, 'canary-locale')) VIRTUAL"),
    ];
    let unique = ("2067", "CREATE UNIQUE INDEX one_login ON user_logins (user_id)".to_owned());
    let statements = refusals.map(|(code, sql)| (code, format!("ALTER TABLE user_logins {sql}")));
    for (code, sql) in statements.into_iter().chain([unique]) {
        let bench = Bench::open().await;
        bench.execute(&sql).await;
        let body = good("m").body.replace("user of m", "canary-user").replace("US", "canary-locale");
        let messages = ["m-1", "m-2"].map(|id| Message { body: body.clone(), ..good(id) });
        let error = bench.write(messages.to_vec()).await.unwrap_err();
        assert_failed(&error, ErrorClass::BadRow, Some(code));
        let shown = format!("{error} {error:?}");
        assert!(!shown.contains("canary"), "{shown}");
    }
}
