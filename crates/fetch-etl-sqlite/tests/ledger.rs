//! One message, one row.

use fetch_etl_core::ErrorClass;
use fetch_etl_sqlite::{SqliteSink, SqliteSinkConfig};
use tokio::task::JoinSet;

use crate::support::{Bench, Message, bad, batch, config, good, goods, report, sink_on};

#[tokio::test]
async fn a_key_is_known_whatever_the_day_and_the_origin() {
    let bench = Bench::open().await;
    assert_eq!(bench.write(vec![good("m").sent_days_ago(5)]).await.unwrap(), report(1, 0, 0));
    for days in [5, 0, -400, 400] {
        let again = good("m").sent_days_ago(days);
        let messages = vec![again.clone(), again.named_by_producer()];
        assert_eq!(bench.write(messages).await.unwrap(), report(0, 2, 0), "{days} days ago");
    }
}

/// As several processes do, each with its own connection.
#[tokio::test(flavor = "multi_thread")]
async fn writers_on_several_connections_neither_double_nor_fail() {
    use fetch_etl_core::Sink;

    let bench = Bench::open().await;
    let mut writers = JoinSet::new();
    for writer in 0..6 {
        let sink = sink_on(&bench.directory).await;
        writers.spawn(async move { sink.write(&batch(goods(writer * 100..writer * 100 + 300))).await });
    }
    let mut inserted = 0;
    while let Some(written) = writers.join_next().await {
        inserted += written.unwrap().unwrap().inserted;
    }
    assert_eq!(inserted, 800);
    assert_eq!(bench.one::<i64>("SELECT count(*) FROM user_logins").await, 800);
}

#[tokio::test]
async fn only_keys_past_retention_are_forgotten() {
    let bench = Bench::open().await;
    bench.write(vec![good("old"), good("edge"), good("new")]).await.unwrap();
    bench.execute("UPDATE etl_ledger SET recorded_on = date('now', '-11 days') WHERE key = 'old'").await;
    bench.execute("UPDATE etl_ledger SET recorded_on = date('now', '-10 days') WHERE key = 'edge'").await;
    let config = SqliteSinkConfig { ledger_retention_days: 10, ..config(&bench.directory) };
    SqliteSink::connect(config).await.unwrap().prune_ledger().await.unwrap();
    assert_eq!(bench.one::<String>("SELECT group_concat(key, ' ') FROM etl_ledger").await, "edge new");
    assert_eq!(bench.one::<i64>("SELECT count(*) FROM user_logins").await, 3);
}

#[tokio::test]
async fn writing_prunes_by_itself_as_long_as_there_is_something_old() {
    let bench = Bench::open().await;
    let old = "INSERT INTO etl_ledger
        WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < 10500)
        SELECT 'old-' || n, '2020-01-01' FROM n";
    bench.execute(old).await;
    let count = "SELECT count(*) FROM etl_ledger WHERE key LIKE 'old-%'";
    bench.write(vec![good("m-1")]).await.unwrap();
    assert_eq!(bench.one::<i64>(count).await, 500, "one write deletes a part");
    bench.write(vec![good("m-2")]).await.unwrap();
    assert_eq!(bench.one::<i64>(count).await, 0, "the next one the rest");
}

#[tokio::test]
async fn absurd_times_of_sending_are_stored_and_known() {
    let bench = Bench::open().await;
    for (id, sent_at) in [("past", i64::MIN), ("epoch", 0), ("future", i64::MAX)] {
        let message = Message { sent_at, ..good(id) };
        let reject = Message { sent_at, ..bad(&format!("r-{id}")) };
        assert_eq!(bench.write(vec![message.clone(), reject]).await.unwrap(), report(1, 0, 1), "{id}");
        assert_eq!(bench.write(vec![message]).await.unwrap(), report(0, 1, 0), "{id}");
    }
    let dates = "SELECT group_concat(create_date, ' ') FROM (SELECT create_date FROM user_logins ORDER BY 1)";
    assert_eq!(bench.one::<String>(dates).await, "0001-01-01 1970-01-01 9999-12-31");
    let sent = "SELECT group_concat(sent_at, ' ') FROM (SELECT sent_at FROM etl_quarantine ORDER BY 1)";
    assert_eq!(
        bench.one::<String>(sent).await,
        "0001-01-01T00:00:00.000Z 1970-01-01T00:00:00.000Z 9999-12-31T23:59:59.999Z"
    );
}

#[tokio::test]
async fn a_refused_row_leaves_nothing_behind() {
    let bench = Bench::open().await;
    bench
        .execute(
            "CREATE TRIGGER refusal BEFORE INSERT ON user_logins WHEN new.message_id = 'm-00003'
            BEGIN SELECT raise(ABORT, 'refused'); END",
        )
        .await;
    let mut messages = goods(0..10);
    messages.push(bad("r"));
    let error = bench.write(messages.clone()).await.unwrap_err();
    assert_eq!((error.class(), error.code().unwrap().as_str()), (ErrorClass::BadRow, "1811"));
    for table in ["user_logins", "etl_ledger", "etl_quarantine"] {
        assert_eq!(bench.one::<i64>(&format!("SELECT count(*) FROM {table}")).await, 0, "{table}");
    }
    bench.execute("DROP TRIGGER refusal").await;
    assert_eq!(bench.write(messages).await.unwrap(), report(10, 0, 1));
}

#[tokio::test]
async fn the_newest_rejection_of_a_message_is_kept() {
    let bench = Bench::open().await;
    bench.write(vec![bad("r")]).await.unwrap();
    bench
        .execute(
            "UPDATE etl_quarantine SET state = 'discarded', first_seen_at = '2020', last_seen_at = '2020'",
        )
        .await;
    let rejected = |attempt| Message { attempt, ..bad("r") };
    assert_eq!(bench.write(vec![rejected(3), rejected(2)]).await.unwrap(), report(0, 0, 2));
    let kept = "SELECT receive_count || ' ' || state || ' ' || first_seen_at || ' ' || (last_seen_at > '2021') || ' ' ||
        body_bytes FROM etl_quarantine";
    assert_eq!(bench.one::<String>(kept).await, "3 open 2020 1 7");
}
