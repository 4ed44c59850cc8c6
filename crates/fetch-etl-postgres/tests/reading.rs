//! The small looks at what is stored.

use std::collections::BTreeMap;

use fetch_etl_postgres::{LOGIN_COLUMNS, QUARANTINE_COLUMNS};

use crate::support::{Bench, bad, good, goods};

fn column<'a>(columns: &[&str], row: &'a [Option<String>], name: &str) -> Option<&'a str> {
    assert_eq!(columns.len(), row.len());
    row[columns.iter().position(|column| *column == name).unwrap()].as_deref()
}

#[tokio::test]
async fn rows_are_shown_newest_first() {
    let bench = Bench::open().await;
    bench.write(goods(0..5)).await.unwrap();
    let latest = good("latest");
    bench.write(vec![latest.clone()]).await.unwrap();
    let rows = bench.sink.newest_rows(2).await.unwrap();
    assert_eq!(rows.len(), 2);
    let shown = |name| column(&LOGIN_COLUMNS, &rows[0], name);
    assert_eq!(shown("message_id"), Some("latest"));
    assert_eq!(shown("user_id"), Some("user of latest"));
    assert_eq!(shown("app_version"), Some("2003000"));
    assert_eq!(shown("app_version_text"), Some("2.3.0"));
    assert_eq!(shown("masked_ip").map(str::len), Some(128));
    assert_eq!(shown("mask_key_id"), Some("9999"));
    assert_eq!(shown("create_date").map(str::len), Some("2026-01-31".len()));
    assert!(shown("ingested_at").is_some_and(|time| time.ends_with('Z')), "{:?}", shown("ingested_at"));
}

#[tokio::test]
async fn rejects_are_shown_and_counted() {
    let bench = Bench::open().await;
    let mut empty = bad("r-3");
    empty.body =
        r#"{"user_id":"","app_version":"1","device_type":null,"ip":null,"locale":null,"device_id":null}"#
            .to_owned();
    bench.write(vec![bad("r-1"), bad("r-2"), empty]).await.unwrap();
    let counts = bench.sink.quarantine_counts().await.unwrap();
    assert_eq!(counts, [("invalid_json".to_owned(), 2), ("empty_field".to_owned(), 1)]);
    let rejects = bench.sink.newest_quarantined(10).await.unwrap();
    assert_eq!(rejects.len(), 3);
    let shown = |row: usize, name| column(&QUARANTINE_COLUMNS, &rejects[row], name);
    assert_eq!(
        (shown(0, "key"), shown(0, "line"), shown(0, "column_number")),
        (Some("r-1"), Some("1"), Some("2"))
    );
    assert_eq!((shown(2, "key"), shown(2, "field"), shown(2, "line")), (Some("r-3"), Some("user_id"), None));
    assert_eq!(shown(2, "receive_count"), Some("1"));
}

#[tokio::test]
async fn all_tables_are_read_as_text() {
    let bench = Bench::open().await;
    bench.write(goods(0..200)).await.unwrap();
    bench.write(vec![bad("a-reject")]).await.unwrap();
    let mut texts: BTreeMap<String, Vec<u8>> = BTreeMap::new();
    bench
        .sink
        .read_as_text(|table, piece| texts.entry(table.to_owned()).or_default().extend_from_slice(piece))
        .await
        .unwrap();
    let lines = |table: &str| String::from_utf8(texts[table].clone()).unwrap().lines().count();
    assert_eq!((lines("user_logins"), lines("etl.ledger"), lines("etl.quarantine")), (200, 200, 1));
    let text = String::from_utf8(texts["user_logins"].clone()).unwrap();
    let columns: Vec<_> = text.lines().next().unwrap().split('\t').collect();
    assert_eq!(columns.len(), LOGIN_COLUMNS.len());
    assert!(columns[0].starts_with("user of "), "{}", columns[0]);
    assert!(
        !texts.keys().any(|table| table.contains("ledger_2")),
        "partitions are read with their table: {:?}",
        texts.keys()
    );
}
