//! One message, one row: across days, origins of keys and writers at the same time.

use std::sync::Arc;

use fetch_etl_core::login::LoginSchema;
use fetch_etl_core::pipeline::{Pipeline, PipelineConfig};
use fetch_etl_core::{ErrorClass, KeyId, MaskPolicy, PolicyStore, Sink, UnixMillis};
use fetch_etl_testing::{FakeMasker, InMemorySource};
use sqlx::Connection as _;
use tokio::sync::Barrier;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::support::{Bench, Message, bad, batch, good, goods, report};

#[tokio::test]
async fn a_producers_key_is_known_whatever_the_day() {
    let mut bench = Bench::open().await;
    for days in [3, 0, 20, -1, 400, -400] {
        let message = good("event").sent_days_ago(days).named_by_producer();
        let inserted = u64::from(days == 3);
        assert_eq!(
            bench.write(vec![message]).await.unwrap(),
            report(inserted, 1 - inserted, 0),
            "{days} days ago"
        );
    }
    assert_eq!(bench.keys().await, ["event"]);
}

#[tokio::test]
async fn a_queues_key_means_another_message_on_another_day() {
    let bench = Bench::open().await;
    for days in [3, 2] {
        let message = good("m").sent_days_ago(days);
        assert_eq!(bench.write(vec![message.clone()]).await.unwrap(), report(1, 0, 0), "{days} days ago");
        assert_eq!(bench.write(vec![message]).await.unwrap(), report(0, 1, 0), "{days} days ago");
    }
}

#[tokio::test]
async fn a_source_that_knows_no_times_repeats_itself_at_any_time() {
    let mut bench = Bench::open().await;
    let message = |timed| Message { timed, ..good("m") };
    assert_eq!(bench.write(vec![message(false)]).await.unwrap(), report(1, 0, 0));
    assert_eq!(bench.write(vec![message(false)]).await.unwrap(), report(0, 1, 0));
    assert_eq!(bench.one::<i64>("SELECT count(*) FROM etl.ledger WHERE sent_at_millis = -1").await, 1);
}

/// Writes take all keys for new until there is a repeat, and for some time after that look each of them up.
#[tokio::test]
async fn repeats_are_told_from_new_ones_whether_they_were_expected_or_not() {
    let mut bench = Bench::open().await;
    let mixed = |from: u32| {
        goods(from..from + 40).into_iter().enumerate().map(|(n, message)| match n % 4 {
            0 => message.named_by_producer(),
            1 => message.sent_days_ago(3),
            2 => message.sent_days_ago(300),
            _ => message,
        })
    };
    for round in 0..40 {
        let inserted = u64::from(round == 0) * 40;
        assert_eq!(bench.write(mixed(0).collect()).await.unwrap(), report(inserted, 40 - inserted, 0));
        // A half of them is new: first right after repeats, then where there was none for long.
        let from = 1_000 + round * 100;
        assert_eq!(bench.write(mixed(from).collect()).await.unwrap(), report(40, 0, 0));
        assert_eq!(bench.write(mixed(from + 20).collect()).await.unwrap(), report(20, 20, 0));
        if round < 2 {
            for quiet in 0..40 {
                let one = goods([10_000 + round * 100 + quiet]);
                assert_eq!(bench.write(one).await.unwrap(), report(1, 0, 0));
            }
        }
    }
    let doubled = "SELECT count(*) - count(DISTINCT message_id) FROM user_logins";
    assert_eq!(bench.one::<i64>(doubled).await, 0);
}

/// A copy of it came under the same key, sent by somebody who did not say when the original was, and was rejected later than that one.
#[tokio::test]
async fn a_quarantined_messages_own_time_is_not_forgotten() {
    let mut bench = Bench::open().await;
    let original = || good("m").sent_days_ago(6);
    let copy = || good("m").sent_days_ago(1).named_by_producer();
    let broken = |message: Message| Message { body: "no JSON".to_owned(), ..message };
    bench.write(vec![broken(original())]).await.unwrap();
    bench.write(vec![broken(copy())]).await.unwrap();
    assert_eq!(bench.write(vec![original()]).await.unwrap(), report(1, 0, 0));
    assert_eq!(bench.write(vec![copy()]).await.unwrap(), report(0, 1, 0));
    assert_eq!(bench.keys().await, ["m"]);
}

/// Whatever the connection planned while there was hardly anything in it.
#[tokio::test]
async fn a_large_quarantine_is_looked_up_not_read() {
    let mut bench = Bench::open().await;
    bench.execute("ALTER TABLE etl.quarantine SET (autovacuum_enabled = off)").await;
    let reject = |from: i32, to: i32| {
        format!(
            "INSERT INTO etl.quarantine (key, reason, body_bytes, receive_count, sent_at)
            SELECT 'r-' || n, 'invalid_json', 1, 1, now() FROM generate_series({from}, {to}) AS n; ANALYZE etl.quarantine"
        )
    };
    bench.execute(&reject(1, 20)).await;
    let plan =
        "SELECT count(*) FROM etl.quarantined(ARRAY(SELECT 'x-' || n FROM generate_series(1, 10) AS n))";
    for _ in 0..8 {
        bench.one::<i64>(plan).await;
    }
    bench.execute(reject(21, 50_000).split(';').next().unwrap()).await;
    let reads = "SELECT pg_stat_get_xact_numscans('etl.quarantine'::regclass), pg_stat_get_xact_tuples_returned('etl.quarantine'::regclass)";
    let mut transaction = bench.outside.begin().await.unwrap();
    // Of the whole session, as long as it has not reported them.
    let before: (i64, i64) = sqlx::query_as(reads).fetch_one(&mut *transaction).await.unwrap();
    sqlx::query(plan).execute(&mut *transaction).await.unwrap();
    let after: (i64, i64) = sqlx::query_as(reads).fetch_one(&mut *transaction).await.unwrap();
    assert_eq!(after, before, "the table was read from its beginning");
}

/// A message is quarantined, the cause is removed, and then it comes twice: from the queue, and replayed from the quarantine
/// under its own id, sent on another day.
#[tokio::test]
async fn a_replay_is_known_as_the_message_it_repeats() {
    let mut bench = Bench::open().await;
    let original = |id: &str| good(id).sent_days_ago(5);
    let replayed = |id: &str| good(id).named_by_producer();
    for (first, second) in [(original("a"), replayed("a")), (replayed("b"), original("b"))] {
        let rejected = bad(first.key.as_deref().unwrap_or(&first.id)).sent_days_ago(5);
        assert_eq!(bench.write(vec![rejected]).await.unwrap(), report(0, 0, 1));
        assert_eq!(bench.write(vec![first.clone()]).await.unwrap(), report(1, 0, 0));
        assert_eq!(bench.write(vec![second.clone()]).await.unwrap(), report(0, 1, 0));
        assert_eq!(bench.write(vec![first, second]).await.unwrap(), report(0, 2, 0));
    }
    assert_eq!(bench.keys().await, ["a", "b"]);
}

#[tokio::test]
async fn a_batch_with_a_known_reject_is_stored_whole() {
    let bench = Bench::open().await;
    bench.write(vec![bad("m-00003")]).await.unwrap();
    let mut messages = goods(0..10);
    messages.push(bad("r"));
    assert_eq!(bench.write(messages.clone()).await.unwrap(), report(10, 0, 1));
    assert_eq!(bench.write(messages).await.unwrap(), report(0, 10, 1));
}

/// It is looked up in the ledger, and then nothing is stored.
#[tokio::test]
async fn an_entry_stays_open_where_its_row_is_held_back_by_a_new_policy() {
    let mut bench = Bench::open().await;
    let policy = MaskPolicy {
        methods: "ip=sha512".to_owned(),
        key_id: KeyId::UNKEYED,
        key_check: String::new(),
        domain: "default".to_owned(),
        canonical_version: 1,
    };
    let first = bench.sink.put_in_force(&policy, None).await.unwrap().unwrap();
    bench.sink.hold_to(first.version);
    bench.write(vec![bad("m")]).await.unwrap();
    let second = MaskPolicy { domain: "other".to_owned(), ..policy };
    bench.sink.put_in_force(&second, Some(first.version)).await.unwrap().unwrap();
    let error = bench.write(vec![good("m")]).await.unwrap_err();
    assert_eq!(error.class(), ErrorClass::Fatal);
    assert_eq!(bench.one::<String>("SELECT state FROM etl.quarantine").await, "open");
    assert!(bench.keys().await.is_empty());
}

/// All start together, and each batch is written by several.
async fn race(bench: &Bench, batches: Vec<Vec<Message>>, writers_each: usize) -> u64 {
    let start = Arc::new(Barrier::new(batches.len() * writers_each));
    let mut writers = JoinSet::new();
    for messages in batches {
        for _ in 0..writers_each {
            let (sink, start, messages) = (bench.sink.clone(), start.clone(), messages.clone());
            writers.spawn(async move {
                let batch = batch(messages);
                start.wait().await;
                sink.write(&batch).await
            });
        }
    }
    let mut inserted = 0;
    while let Some(written) = writers.join_next().await {
        // No error at all: not even a deadlock, which would be tried again.
        inserted += written.unwrap().unwrap().inserted;
    }
    inserted
}

#[tokio::test(flavor = "multi_thread")]
async fn overlapping_batches_neither_double_nor_deadlock() {
    let mut bench = Bench::open().await;
    let overlapping = (0..4_u32).map(|writer| {
        let mut messages = goods(writer * 200..writer * 200 + 500);
        if writer % 2 == 1 {
            messages.reverse();
        }
        messages
    });
    assert_eq!(race(&bench, overlapping.collect(), 2).await, 1_100);
    assert_eq!(bench.keys().await.len(), 1_100);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_producers_keys_race_across_days() {
    let mut bench = Bench::open().await;
    let days =
        |days| goods(0..300).into_iter().map(move |m| m.sent_days_ago(days).named_by_producer()).collect();
    assert_eq!(race(&bench, (0..4).map(days).collect(), 2).await, 300);
    assert_eq!(bench.keys().await.len(), 300);
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_race_with_their_replays() {
    let mut bench = Bench::open().await;
    bench.write((0..100).map(|n| bad(&format!("m-{n:05}")).sent_days_ago(4)).collect()).await.unwrap();
    let originals: Vec<_> = goods(0..100).into_iter().map(|m| m.sent_days_ago(4)).collect();
    let replays: Vec<_> = goods(0..100).into_iter().rev().map(Message::named_by_producer).collect();
    assert_eq!(race(&bench, vec![originals, replays], 3).await, 100);
    assert_eq!(bench.keys().await.len(), 100);
}

#[tokio::test(flavor = "multi_thread")]
async fn rejects_race_without_deadlock() {
    let mut bench = Bench::open().await;
    let forth: Vec<_> = (0..300).map(|n| bad(&format!("r-{n}"))).collect();
    let back: Vec<_> = forth.iter().rev().cloned().collect();
    race(&bench, vec![forth, back], 3).await;
    assert_eq!(bench.one::<i64>("SELECT count(*) FROM etl.quarantine").await, 300);
}

#[tokio::test]
async fn a_refused_row_leaves_nothing_behind() {
    let mut bench = Bench::open().await;
    bench.execute("ALTER TABLE user_logins ADD CONSTRAINT refusal CHECK (message_id <> 'm-00003')").await;
    let mut messages = goods(0..10);
    messages.push(bad("r"));
    let error = bench.write(messages.clone()).await.unwrap_err();
    assert_eq!((error.class(), error.code().unwrap().as_str()), (ErrorClass::BadRow, "23514"));
    for table in ["user_logins", "etl.ledger", "etl.quarantine"] {
        assert_eq!(bench.one::<i64>(&format!("SELECT count(*) FROM {table}")).await, 0, "{table}");
    }
    bench.execute("ALTER TABLE user_logins DROP CONSTRAINT refusal").await;
    assert_eq!(bench.write(messages).await.unwrap(), report(10, 0, 1));
}

/// With the whole pipeline around the sink, which isolates the row.
#[tokio::test(flavor = "multi_thread")]
async fn a_bad_row_costs_only_itself() {
    let mut bench = Bench::open().await;
    bench
        .execute("ALTER TABLE user_logins ADD CONSTRAINT refusal CHECK (user_id <> 'user of m-00042')")
        .await;
    let source = Arc::new(InMemorySource::new());
    for message in goods(0..100) {
        source.send(message.body);
    }
    let config = PipelineConfig { until_empty: true, ..PipelineConfig::default() };
    let pipeline =
        Pipeline::new(config, source.clone(), LoginSchema, Arc::new(FakeMasker), bench.sink.clone());
    let summary = pipeline.run(CancellationToken::new()).await.unwrap();
    assert_eq!((summary.inserted, source.left()), (99, 1), "{summary}");
    assert_eq!(bench.keys().await.len(), 99);
    let rejected = "SELECT reason || ' ' || sink_code FROM etl.quarantine";
    assert_eq!(bench.one::<String>(rejected).await, "refused_by_sink 23514");
}

#[tokio::test]
async fn absurd_times_of_sending_are_stored_and_known() {
    let mut bench = Bench::open().await;
    for (id, sent_at) in
        [("past", i64::MIN), ("epoch", 0), ("future", i64::MAX), ("far", 9_000_000_000_000_000)]
    {
        let message = Message { sent_at, ..good(id) };
        let reject = Message { sent_at, ..bad(&format!("r-{id}")) };
        assert_eq!(bench.write(vec![message.clone(), reject]).await.unwrap(), report(1, 0, 1), "{id}");
        assert_eq!(bench.write(vec![message]).await.unwrap(), report(0, 1, 0), "{id}");
    }
    let dates = "SELECT string_agg(create_date::text, ' ' ORDER BY create_date, message_id) FROM user_logins";
    assert_eq!(bench.one::<String>(dates).await, "0001-01-01 1970-01-01 9999-12-31 9999-12-31");
    let partitions = "SELECT count(*) FROM pg_inherits WHERE inhparent = 'etl.ledger'::regclass";
    assert_eq!(bench.one::<i64>(partitions).await, 1, "no partition is made for such a day");
}

#[tokio::test]
async fn the_newest_rejection_of_a_message_is_kept() {
    let mut bench = Bench::open().await;
    let sent_at = UnixMillis::now().get();
    let rejected = |attempt| Message { attempt, sent_at, ..bad("r") };
    bench.write(vec![rejected(1)]).await.unwrap();
    bench.execute("UPDATE etl.quarantine SET state = 'discarded', first_seen_at = '2020-01-01', last_seen_at = '2020-01-01'").await;
    assert_eq!(bench.write(vec![rejected(3), rejected(2)]).await.unwrap(), report(0, 0, 2));
    let kept = "SELECT receive_count || ' ' || state || ' ' || (first_seen_at < '2021-01-01') || ' ' ||
        (last_seen_at > '2021-01-01') || ' ' || body_bytes FROM etl.quarantine";
    assert_eq!(bench.one::<String>(kept).await, "3 open true true 7");
}
