//! Connections that are held at the commit of a write.

use std::num::NonZeroU64;
use std::time::Duration;

use fetch_etl_testing::proxy::{CommitFault, Ending, FaultPlan, ProxyStats};
use sqlx::{Connection as _, Error, PgConnection};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::bench::{Bench, Way, io_error, write};

const ROUNDS: i64 = 10;
const WAYS: [Way; 3] = [Way::Statement, Way::Transaction, Way::Script];
const HOLDS: [CommitFault; 2] = [CommitFault::HoldBefore, CommitFault::HoldAfter];

/// No test waits this long: it ends one that would hang.
const PATIENCE: Duration = Duration::from_secs(60);

type Write = JoinHandle<(PgConnection, Result<(), Error>)>;

/// A client that writes and is held at its commit. Statements are prepared before.
async fn held(bench: &Bench, way: Way, fault: CommitFault, key: i64) -> Write {
    let mut client = bench.connect().await.unwrap();
    write(&mut client, way, -key - 1).await.unwrap();
    bench.proxy.inject(FaultPlan::next_commit(fault));
    let before = bench.proxy.stats();
    assert_eq!(before.held, 0);
    let task = tokio::spawn(async move {
        let result = write(&mut client, way, key).await;
        (client, result)
    });
    let counted = count(&before, fault) + 1;
    let stats = until(bench, |stats| count(stats, fault) == counted).await;
    assert_eq!(stats.held, 1);
    assert_eq!(
        stats.total.commits_confirmed - before.total.commits_confirmed,
        u64::from(fault == CommitFault::HoldAfter)
    );
    task
}

fn count(stats: &ProxyStats, fault: CommitFault) -> u64 {
    match fault {
        CommitFault::HoldBefore => stats.injected.held_before,
        _ => stats.injected.held_after,
    }
}

async fn until(bench: &Bench, reached: impl FnMut(&ProxyStats) -> bool) -> ProxyStats {
    timeout(PATIENCE, bench.proxy.until(reached)).await.unwrap()
}

/// Every round with another way to write, and with the holds in turn.
fn rounds() -> impl Iterator<Item = (i64, Way, CommitFault)> {
    (0..ROUNDS).zip(HOLDS.into_iter().cycle()).map(|(round, fault)| {
        let way = usize::try_from(round / 2).unwrap() % WAYS.len();
        (round, WAYS[way], fault)
    })
}

#[tokio::test]
async fn a_client_that_dies_at_its_commit_has_written_or_not() {
    let mut bench = Bench::new().await;
    for (round, way, fault) in rounds() {
        let write = held(&bench, way, fault, round).await;
        let sent = bench.proxy.stats().total.bytes_to_server;
        assert!(!write.is_finished());
        // The socket is closed without a word, as by a kill.
        write.abort();
        let stats = until(&bench, |stats| stats.held == 0 && stats.open.is_empty()).await;
        assert_eq!(stats.total.bytes_to_server, sent, "{way:?} {fault:?}: nothing is forwarded any more");
        bench.server_is_through().await;
        let written = bench.has(round).await;
        assert_eq!(written, fault == CommitFault::HoldAfter, "{way:?} {fault:?}");
    }
}

#[tokio::test]
async fn the_row_is_there_at_a_hold_after_and_not_at_one_before() {
    let mut bench = Bench::new().await;
    for (round, way, fault) in rounds() {
        let write = held(&bench, way, fault, round).await;
        let written = bench.has(round).await;
        assert_eq!(written, fault == CommitFault::HoldAfter, "{way:?} {fault:?}");
        bench.proxy.release_held();
        let (mut client, result) = timeout(PATIENCE, write).await.unwrap().unwrap();
        result.unwrap();
        assert!(bench.has(round).await, "{way:?} {fault:?}: it goes on as if nothing had been");
        client.ping().await.unwrap();
        assert_eq!(bench.proxy.stats().held, 0);
    }
    let stats = bench.proxy.stats();
    assert_eq!((stats.injected.held_before, stats.injected.held_after), (5, 5));
    assert_eq!((stats.total.commits_seen, stats.total.commits_confirmed), (20, 20));
}

#[tokio::test]
async fn a_held_connection_can_be_cut_or_reset() {
    let mut bench = Bench::new().await;
    for (round, way, fault) in rounds() {
        let write = held(&bench, way, fault, round).await;
        if round % 4 < 2 {
            bench.proxy.cut_all();
        } else {
            bench.proxy.reset_all();
        }
        let (_client, result) = timeout(PATIENCE, write).await.unwrap().unwrap();
        let _ = io_error(result);
        until(&bench, |stats| stats.held == 0 && stats.open.is_empty()).await;
        bench.server_is_through().await;
        assert_eq!(bench.has(round).await, fault == CommitFault::HoldAfter, "{way:?} {fault:?}");
    }
}

#[tokio::test]
async fn others_go_on_while_one_is_held_and_each_can_be_held() {
    let mut bench = Bench::new().await;
    for (round, fault) in (0..4).zip(HOLDS.into_iter().cycle()) {
        let first = held(&bench, Way::Transaction, fault, round).await;
        let mut other = bench.connect().await.unwrap();
        write(&mut other, Way::Statement, 100 + round).await.unwrap();
        bench.proxy.inject(FaultPlan::every_nth(NonZeroU64::MIN, fault));
        let second = tokio::spawn(async move { write(&mut other, Way::Statement, 200 + round).await });
        until(&bench, |stats| stats.held == 2).await;
        bench.proxy.clear_plans();
        bench.proxy.release_held();
        timeout(PATIENCE, first).await.unwrap().unwrap().1.unwrap();
        timeout(PATIENCE, second).await.unwrap().unwrap().unwrap();
        for key in [round, 100 + round, 200 + round] {
            assert!(bench.has(key).await);
        }
    }
}

#[tokio::test]
async fn a_commit_that_fails_is_not_held() {
    let bench = Bench::new().await;
    let mut client = bench.connect().await.unwrap();
    write(&mut client, Way::Statement, 0).await.unwrap();
    bench.proxy.inject(FaultPlan::next_commit(CommitFault::HoldAfter));
    let refused = timeout(PATIENCE, write(&mut client, Way::Statement, 0)).await.unwrap().unwrap_err();
    assert!(refused.as_database_error().is_some_and(|error| error.is_unique_violation()), "{refused}");
    assert_eq!((bench.proxy.stats().injected.held_after, bench.proxy.stats().held), (0, 0));
}

#[tokio::test]
async fn what_a_client_sends_during_a_hold_is_forwarded_after_it() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    let mut bench = Bench::new().await;
    let mut client = bench.raw_client().await;
    bench.proxy.inject(FaultPlan::next_commit(CommitFault::HoldBefore));
    client.write_all(&query("INSERT INTO etl.ledger (key) VALUES (1)")).await.unwrap();
    until(&bench, |stats| stats.held == 1).await;
    // More than is read at once, and it is read ahead while the proxy looks for the client's end.
    let long = format!("INSERT INTO etl.ledger (key, text) VALUES (2, '{}')", "x".repeat(100_000));
    client.write_all(&query(&long)).await.unwrap();
    assert!(!bench.has(1).await);
    bench.proxy.release_held();
    let stats = until(&bench, |stats| stats.total.commits_confirmed == 2).await;
    assert_eq!(stats.protocol_errors, 0);
    assert!(bench.has(1).await && bench.has(2).await);

    bench.proxy.inject(FaultPlan::next_commit(CommitFault::HoldBefore));
    client.write_all(&query("INSERT INTO etl.ledger (key) VALUES (3)")).await.unwrap();
    until(&bench, |stats| stats.held == 1).await;
    client.write_all(&query("INSERT INTO etl.ledger (key) VALUES (4)")).await.unwrap();
    client.shutdown().await.unwrap();
    until(&bench, |stats| stats.open.is_empty()).await;
    let mut rest = Vec::new();
    timeout(PATIENCE, client.read_to_end(&mut rest)).await.unwrap().unwrap();
    bench.server_is_through().await;
    assert!(!bench.has(3).await && !bench.has(4).await, "its end is noticed behind what it sent");
}

#[tokio::test]
async fn a_hold_ends_when_the_server_does() {
    let mut bench = Bench::new().await;
    let write = held(&bench, Way::Transaction, CommitFault::HoldBefore, 0).await;
    bench.end_all_sessions().await;
    let (_client, result) = timeout(PATIENCE, write).await.unwrap().unwrap();
    result.unwrap_err();
    until(&bench, |stats| stats.held == 0 && stats.open.is_empty()).await;
    assert!(!bench.has(0).await);

    // The plans of the others are not used up by it.
    bench.proxy.inject(FaultPlan::next_commit(CommitFault::Before(Ending::Cut)));
    let mut client = bench.connect().await.unwrap();
    write_fails(&mut client).await;
}

async fn write_fails(client: &mut PgConnection) {
    let _ = io_error(write(client, Way::Statement, 1).await);
}

/// A simple query, as it goes over the wire.
fn query(sql: &str) -> Vec<u8> {
    let length = u32::try_from(sql.len() + 5).unwrap();
    [b"Q", &length.to_be_bytes()[..], sql.as_bytes(), b"\0"].concat()
}
