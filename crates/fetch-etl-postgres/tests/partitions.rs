//! The ledger's partitions: made on demand, by several at once, and dropped past retention.

use fetch_etl_core::Sink;
use fetch_etl_postgres::{PostgresSink, PostgresSinkConfig};
use sqlx::Connection;
use tokio::task::JoinSet;

use crate::support::{Bench, Message, batch, config, good, goods, report, sink_on};

/// How many days ago each partition's day was.
async fn days(bench: &mut Bench) -> Vec<i32> {
    let sql = "SELECT etl.utc_today() - to_date(right(inhrelid::regclass::text, 8), 'YYYYMMDD') AS ago
        FROM pg_inherits
        WHERE inhparent = 'etl.ledger'::regclass AND inhrelid <> 'etl.ledger_undated'::regclass ORDER BY 1";
    sqlx::query_scalar(sql).fetch_all(&mut bench.outside).await.unwrap()
}

#[tokio::test]
async fn a_day_gets_its_partition_when_its_first_key_comes() {
    let mut bench = Bench::open().await;
    assert_eq!(days(&mut bench).await, [0; 0]);
    let messages =
        [0, 1, 35, 36, -1, -2].map(|days| good(&format!("sent {days} days ago")).sent_days_ago(days));
    assert_eq!(bench.write(messages.to_vec()).await.unwrap(), report(6, 0, 0));
    assert_eq!(days(&mut bench).await, [-1, 0, 1, 35], "no others than the retained days and tomorrow");
    assert_eq!(bench.one::<i64>("SELECT count(*) FROM etl.ledger_undated").await, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn workers_race_to_make_the_same_partitions() {
    const WORKERS: u64 = 8;
    let mut bench = Bench::open().await;
    let mut workers = JoinSet::new();
    for worker in 0..WORKERS {
        // A sink of its own, as another process has: none knows what the others made.
        let sink = sink_on(&bench.database).await;
        workers.spawn(async move {
            let messages = (0..20).map(|days| good(&format!("{worker}-{days}")).sent_days_ago(days));
            sink.write(&batch(messages.collect())).await
        });
    }
    while let Some(written) = workers.join_next().await {
        assert_eq!(written.unwrap().unwrap(), report(20, 0, 0));
    }
    assert_eq!(days(&mut bench).await, (0..20).collect::<Vec<_>>());
}

#[tokio::test]
async fn making_a_partition_does_not_wait_for_writes_under_way() {
    let bench = Bench::open().await;
    bench.write(vec![good("first")]).await.unwrap();
    let mut writer = bench.database.connect().await;
    let mut under_way = writer.begin().await.unwrap();
    sqlx::raw_sql("INSERT INTO etl.ledger VALUES (extract(epoch FROM now()) * 1000, NULL, 'x')")
        .execute(&mut *under_way)
        .await
        .unwrap();
    assert_eq!(bench.write(vec![good("second").sent_days_ago(1)]).await.unwrap(), report(1, 0, 0));
    under_way.rollback().await.unwrap();
}

#[tokio::test]
async fn a_partition_that_somebody_dropped_is_made_again() {
    let mut bench = Bench::open().await;
    let messages = goods(0..10);
    bench.write(messages.clone()).await.unwrap();
    let drop = "DO $$ BEGIN EXECUTE 'DROP TABLE etl.ledger_' || to_char(etl.utc_today(), 'YYYYMMDD'); END $$";
    bench.execute(drop).await;
    // What was forgotten is stored again; what matters is that nothing is quarantined for it.
    assert_eq!(bench.write(messages).await.unwrap(), report(10, 0, 0));
    assert_eq!(days(&mut bench).await, [0]);
}

async fn with_retention(bench: &Bench, days: u32) -> PostgresSink {
    let config = PostgresSinkConfig { ledger_retention_days: days, ..config(&bench.database) };
    PostgresSink::connect(config).await.unwrap()
}

#[tokio::test]
async fn only_days_past_retention_are_dropped() {
    let mut bench = Bench::open().await;
    let sent = [0, 1, 9, 10, 11, 12, 30, -1];
    let messages: Vec<Message> =
        sent.iter().map(|days| good(&format!("{days}")).sent_days_ago(*days)).collect();
    bench.write(messages.clone()).await.unwrap();

    with_retention(&bench, 10).await.prune_ledger().await.unwrap();
    assert_eq!(days(&mut bench).await, [-1, 0, 1, 9, 10]);
    assert_eq!(bench.keys().await.len(), sent.len(), "the rows stay");

    let retained = messages.into_iter().filter(|message| !["11", "12", "30"].contains(&message.id.as_str()));
    assert_eq!(bench.write(retained.collect()).await.unwrap(), report(0, 5, 0));
}

#[tokio::test]
async fn keys_without_a_day_are_deleted_by_the_day_of_recording() {
    let mut bench = Bench::open().await;
    let event = |id: &str| good(id).named_by_producer();
    bench.write(vec![event("old"), event("edge"), event("new")]).await.unwrap();
    for (key, days) in [("old", 11), ("edge", 10)] {
        let sql =
            format!("UPDATE etl.ledger_undated SET recorded_on = recorded_on - {days} WHERE key = '{key}'");
        bench.execute(&sql).await;
    }
    with_retention(&bench, 10).await.prune_ledger().await.unwrap();
    let left = bench.one::<String>("SELECT string_agg(key, ' ' ORDER BY key) FROM etl.ledger").await;
    assert_eq!(left, "edge new");
}

#[tokio::test]
async fn writing_prunes_by_itself_as_long_as_there_is_something_old() {
    let mut bench = Bench::open().await;
    let old = "INSERT INTO etl.ledger SELECT -1, etl.utc_today() - 100, 'old-' || n FROM generate_series(1, 10500) n";
    bench.execute(old).await;
    let count = "SELECT count(*) FROM etl.ledger WHERE key LIKE 'old-%'";
    bench.write(vec![good("m-1")]).await.unwrap();
    assert_eq!(bench.one::<i64>(count).await, 500, "one write deletes a part");
    bench.write(vec![good("m-2")]).await.unwrap();
    assert_eq!(bench.one::<i64>(count).await, 0, "the next one the rest");
}

#[tokio::test]
async fn pruning_leaves_a_ledger_in_use_for_later() {
    let mut bench = Bench::open().await;
    bench.write(vec![good("old").sent_days_ago(20)]).await.unwrap();
    let mut writer = bench.database.connect().await;
    let mut under_way = writer.begin().await.unwrap();
    sqlx::raw_sql("INSERT INTO etl.ledger VALUES (-1, etl.utc_today(), 'x')")
        .execute(&mut *under_way)
        .await
        .unwrap();
    let short = with_retention(&bench, 10).await;
    short.prune_ledger().await.unwrap();
    assert_eq!(days(&mut bench).await, [20]);
    under_way.rollback().await.unwrap();
    short.prune_ledger().await.unwrap();
    assert_eq!(days(&mut bench).await, [0; 0]);
}
