//! A replay that is not alone: other operators, a worker, somebody who is tired of waiting.

use std::time::{Duration, Instant};

use sqlx::PgConnection;

use crate::support::{Bench, Message, PATIENCE, await_words, end_of, login, wait};

const REPLAY: &str = "replay --private-key recipient.key --all";

/// Logins of different producer's keys.
fn events(count: usize) -> Vec<Message> {
    (0..count).map(|n| login("DE", Some(&format!("event-{n:04}")))).collect()
}

/// How many rows a replay says that it stored.
fn stored_now(said: &str) -> i64 {
    let words = said.split_once(": ").and_then(|(_, rest)| rest.split_once(" stored now")).unwrap();
    words.0.replace(',', "").parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn two_operators_at_the_same_time_store_each_message_once() {
    const MESSAGES: usize = 400;
    let mut bench = Bench::open().await;
    bench.reject_by_schema(events(MESSAGES)).await;
    let both = [bench.command(REPLAY).spawn().unwrap(), bench.command(REPLAY).spawn().unwrap()];
    let said = both.map(|child| wait(child).expect(0));
    let stored: i64 = said.iter().map(|said| stored_now(said)).sum();
    assert_eq!((stored, bench.rows().await), (MESSAGES as i64, MESSAGES as i64), "{said:?}");
    assert_eq!(bench.states().await, format!("replayed:{MESSAGES}"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_gets_the_same_messages_meanwhile_stores_none_twice() {
    const MESSAGES: usize = 400;
    let mut bench = Bench::open().await;
    bench.reject_by_schema(events(MESSAGES)).await;
    let replay = bench.command(REPLAY).spawn().unwrap();
    let summary = bench.work(events(MESSAGES), true).await;
    let said = wait(replay).expect(0);
    let stored = stored_now(&said) + summary.inserted as i64;
    assert_eq!((stored, bench.rows().await), (MESSAGES as i64, MESSAGES as i64), "{said} {summary}");
    assert_eq!((summary.quarantined, bench.states().await), (0, format!("replayed:{MESSAGES}")));
}

/// Holds the entry with the last key, so that a replay cannot come to its end.
async fn hold_the_last(bench: &Bench) -> PgConnection {
    let mut holder = bench.database.connect().await;
    let lock =
        "BEGIN; SELECT FROM etl.quarantine WHERE key = (SELECT max(key) FROM etl.quarantine) FOR UPDATE";
    sqlx::raw_sql(lock).execute(&mut holder).await.unwrap();
    holder
}

#[tokio::test(flavor = "multi_thread")]
async fn a_script_hears_how_far_it_is() {
    const MESSAGES: usize = 200;
    let mut bench = Bench::open().await;
    bench.reject_by_schema(events(MESSAGES)).await;
    let mut holder = hold_the_last(&bench).await;
    let mut replay = bench.command(REPLAY).env("RUST_LOG", "off").spawn().unwrap();
    await_words(&mut replay, " of 200 messages so far");
    sqlx::raw_sql("ROLLBACK").execute(&mut holder).await.unwrap();
    let said = end_of(replay).expect(0);
    assert_eq!((stored_now(&said), bench.rows().await), (MESSAGES as i64, MESSAGES as i64));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interrupted_replay_finishes_what_it_holds_and_says_how_to_go_on() {
    // More than it holds at once.
    const MESSAGES: usize = 700;
    let mut bench = Bench::open().await;
    bench.reject_by_schema(events(MESSAGES)).await;
    let mut holder = bench.database.connect().await;
    sqlx::raw_sql("BEGIN; SELECT FROM etl.quarantine FOR UPDATE").execute(&mut holder).await.unwrap();
    let mut replay = bench.command(REPLAY).spawn().unwrap();
    let deadline = Instant::now() + PATIENCE;
    while bench.rows().await == 0 {
        assert!(Instant::now() < deadline, "it never stored anything: {:?}", wait(replay));
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let interrupted = std::process::Command::new("kill").args(["-INT", &replay.id().to_string()]).status();
    assert!(interrupted.unwrap().success());
    await_words(&mut replay, "shutdown_requested");
    sqlx::raw_sql("ROLLBACK").execute(&mut holder).await.unwrap();
    let said = end_of(replay).expect(1);
    assert!(said.ends_with("interrupted: run it again, and it goes on with what is still open\n"), "{said}");
    let stored = bench.rows().await;
    assert!(0 < stored && stored < MESSAGES as i64, "{stored}");
    assert_eq!(stored_now(&said), stored);
    assert_eq!(bench.states().await, format!("open:{} replayed:{stored}", MESSAGES as i64 - stored));
    let said = bench.replay("--all").expect(0);
    assert_eq!((stored_now(&said), bench.rows().await), (MESSAGES as i64 - stored, MESSAGES as i64));
}
