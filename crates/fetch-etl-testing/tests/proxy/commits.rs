//! Faults at the commit of a write.

use std::io::ErrorKind;
use std::num::NonZeroU64;

use fetch_etl_testing::proxy::{CommitFault, Ending, FaultPlan};
use sqlx::{Connection as _, Error};

use super::bench::{Bench, INSERT, Way, io_error, write};

const ROUNDS: i64 = 20;
const ENDINGS: [(Ending, ErrorKind); 2] =
    [(Ending::Cut, ErrorKind::UnexpectedEof), (Ending::Reset, ErrorKind::ConnectionReset)];

/// In each round a row is written first without a fault, so that statements are prepared, and then with it.
async fn each_commit_is_lost(way: Way, fault: fn(Ending) -> CommitFault, row_is_there: bool) {
    let mut bench = Bench::new().await;
    for round in 0..ROUNDS {
        let (ending, expected) = ENDINGS[usize::try_from(round).unwrap() % 2];
        let mut client = bench.connect().await.unwrap();
        write(&mut client, way, -round - 1).await.unwrap();

        bench.proxy.inject(FaultPlan::next_commit(fault(ending)));
        let answered = bench.proxy.stats().total.bytes_to_client;
        assert_eq!(io_error(write(&mut client, way, round).await), expected, "round {round}");
        if !matches!(way, Way::Transaction) {
            let answered = bench.proxy.stats().total.bytes_to_client - answered;
            assert_eq!(answered, 0, "round {round}: the client sees nothing of the answer");
        }
        bench.server_is_through().await;
        assert_eq!(bench.has(round).await, row_is_there, "round {round}");
        assert!(bench.has(-round - 1).await);
    }
    let stats = bench.proxy.stats();
    let rounds = u64::try_from(ROUNDS).unwrap();
    let (before, after) = if row_is_there { (0, rounds) } else { (rounds, 0) };
    assert_eq!((stats.injected.before_commit, stats.injected.after_commit), (before, after));
    assert_eq!((stats.total.commits_seen, stats.total.commits_confirmed), (2 * rounds, rounds + after));
    assert_eq!(stats.total.commits_failed, 0);
}

#[tokio::test]
async fn a_statement_cut_before_its_commit_leaves_no_row() {
    each_commit_is_lost(Way::Statement, CommitFault::Before, false).await;
}

#[tokio::test]
async fn a_statement_cut_after_its_commit_leaves_the_row() {
    each_commit_is_lost(Way::Statement, CommitFault::After, true).await;
}

#[tokio::test]
async fn a_transaction_cut_before_its_commit_leaves_no_row() {
    each_commit_is_lost(Way::Transaction, CommitFault::Before, false).await;
}

#[tokio::test]
async fn a_transaction_cut_after_its_commit_leaves_the_row() {
    each_commit_is_lost(Way::Transaction, CommitFault::After, true).await;
}

#[tokio::test]
async fn a_script_cut_before_its_commit_leaves_no_row() {
    each_commit_is_lost(Way::Script, CommitFault::Before, false).await;
}

#[tokio::test]
async fn a_script_cut_after_its_commit_leaves_the_row() {
    each_commit_is_lost(Way::Script, CommitFault::After, true).await;
}

#[tokio::test]
async fn what_does_not_write_passes() {
    let bench = Bench::new().await;
    bench.proxy.inject(FaultPlan::every_nth(NonZeroU64::MIN, CommitFault::Before(Ending::Cut)));
    let mut client = bench.connect().await.unwrap();
    for _ in 0..ROUNDS {
        client.ping().await.unwrap();
        sqlx::query("SELECT relname FROM pg_class").fetch_all(&mut client).await.unwrap();
        sqlx::query("SELECT count(*) FROM etl.ledger").execute(&mut client).await.unwrap();
        let mut transaction = client.begin().await.unwrap();
        sqlx::query("SELECT 1").execute(&mut *transaction).await.unwrap();
        transaction.commit().await.unwrap();
        let mut transaction = client.begin().await.unwrap();
        sqlx::query(INSERT).bind(0_i64).execute(&mut *transaction).await.unwrap();
        transaction.rollback().await.unwrap();
    }
    assert_eq!(bench.proxy.stats().total.commits_seen, 0);
    assert_eq!(io_error(write(&mut client, Way::Statement, 0).await), ErrorKind::UnexpectedEof);
}

#[tokio::test]
async fn a_commit_that_fails_gets_its_answer_and_the_fault_stays_due() {
    let mut bench = Bench::new().await;
    let mut client = bench.connect().await.unwrap();
    write(&mut client, Way::Statement, 0).await.unwrap();
    bench.proxy.inject(FaultPlan::next_commit(CommitFault::After(Ending::Cut)));
    for _ in 0..ROUNDS {
        let error = write(&mut client, Way::Statement, 0).await.unwrap_err();
        assert!(error.as_database_error().is_some_and(|error| error.is_unique_violation()), "{error}");
    }
    let stats = bench.proxy.stats();
    assert_eq!((stats.total.commits_failed, stats.injected.after_commit), (20, 0));
    assert_eq!(io_error(write(&mut client, Way::Statement, 1).await), ErrorKind::UnexpectedEof);
    assert!(bench.has(1).await);
    assert_eq!(bench.proxy.stats().injected.after_commit, 1);
}

#[tokio::test]
async fn the_end_of_a_long_answer_is_lost_too() {
    let mut bench = Bench::new().await;
    let mut client = bench.connect().await.unwrap();
    let insert = "INSERT INTO etl.ledger SELECT key, repeat('x', 10000) FROM generate_series(1, 1000) key \
                  RETURNING text";
    bench.proxy.inject(FaultPlan::next_commit(CommitFault::After(Ending::Cut)));
    let answer = sqlx::query(insert).fetch_all(&mut client).await;
    assert_eq!(io_error(answer), ErrorKind::UnexpectedEof);
    assert!(bench.has(1000).await);
}

#[tokio::test]
async fn a_copy_is_cut_after_its_commit() {
    let mut bench = Bench::new().await;
    for round in 0..ROUNDS {
        let mut client = bench.connect().await.unwrap();
        bench.proxy.inject(FaultPlan::next_commit(CommitFault::After(Ending::Cut)));
        let mut copy = client.copy_in_raw("COPY etl.ledger (key) FROM STDIN").await.unwrap();
        copy.send(format!("{round}\n").as_bytes()).await.unwrap();
        assert_eq!(io_error(copy.finish().await), ErrorKind::UnexpectedEof);
        assert!(bench.has(round).await);
    }
}

/// Writes a key until it is known to be there, as the worker does: the conflict makes a second write harmless.
async fn write_until_confirmed(bench: &Bench, key: i64) {
    let insert = "INSERT INTO etl.ledger VALUES ($1) ON CONFLICT DO NOTHING";
    loop {
        let mut client = bench.connect().await.unwrap();
        match sqlx::query(insert).bind(key).execute(&mut client).await {
            Ok(_) => return,
            Err(Error::Io(_)) => {}
            Err(error) => panic!("{error}"),
        }
    }
}

#[tokio::test]
async fn under_random_faults_everything_is_written_and_accounted_for() {
    const KEYS: i64 = 150;
    let mut bench = Bench::new().await;
    bench.proxy.inject(FaultPlan::with_probability(0.2, 1, CommitFault::Before(Ending::Cut)));
    bench.proxy.inject(FaultPlan::with_probability(0.2, 2, CommitFault::After(Ending::Reset)));
    let keys = |from| {
        let bench = &bench;
        async move {
            for key in (from..KEYS).step_by(3) {
                write_until_confirmed(bench, key).await;
            }
        }
    };
    tokio::join!(keys(0), keys(1), keys(2));
    for key in 0..KEYS {
        assert!(bench.has(key).await, "key {key}");
    }
    let stats = bench.proxy.until(|stats| stats.open.is_empty()).await;
    let (total, injected) = (stats.total, stats.injected);
    assert!(injected.before_commit > 10 && injected.after_commit > 10, "{injected:?}");
    assert_eq!(total.commits_seen, injected.before_commit + total.commits_confirmed);
    assert_eq!(total.commits_confirmed, injected.after_commit + u64::try_from(KEYS).unwrap());
}
