//! Sessions without faults, and faults to whole connections.

use std::io::ErrorKind;
use std::time::{Duration, Instant};

use fetch_etl_testing::proxy::{Direction, PgProxy};
use sqlx::Connection as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::bench::{Bench, INSERT, io_error};

const ROUNDS: i64 = 20;

#[tokio::test]
async fn a_session_passes_unchanged() {
    let mut bench = Bench::new().await;
    for round in 0..ROUNDS {
        let mut client = bench.connect().await.unwrap();
        // Longer than anything that is kept in memory, both ways.
        let text = format!("{round}").repeat(1_100_000);
        let back: String = sqlx::query_scalar("INSERT INTO etl.ledger VALUES ($1, $2) RETURNING text")
            .bind(round)
            .bind(&text)
            .fetch_one(&mut client)
            .await
            .unwrap();
        assert!(back == text, "round {round}");
        let error = sqlx::query(INSERT).bind(round).execute(&mut client).await.unwrap_err();
        assert!(error.as_database_error().unwrap().is_unique_violation());
        client.close().await.unwrap();
        assert!(bench.has(round).await);
    }
    let stats = bench.proxy.until(|stats| stats.open.is_empty()).await;
    assert_eq!((stats.accepted, stats.protocol_errors, stats.injected), (20, 0, Default::default()));
    assert_eq!(
        (stats.total.commits_seen, stats.total.commits_confirmed, stats.total.commits_failed),
        (40, 20, 20)
    );
    assert!(stats.total.bytes_to_server > 20_000_000 && stats.total.bytes_to_client > 20_000_000);
}

#[tokio::test]
async fn connections_are_counted_one_by_one() {
    let bench = Bench::new().await;
    let mut first = bench.connect().await.unwrap();
    let mut second = bench.connect().await.unwrap();
    sqlx::query(INSERT).bind(1_i64).execute(&mut first).await.unwrap();
    for key in 2..5_i64 {
        sqlx::query(INSERT).bind(key).execute(&mut second).await.unwrap();
    }
    let open = bench.proxy.stats().open;
    let commits: Vec<_> =
        open.iter().map(|(id, own)| (*id, own.commits_seen, own.commits_confirmed)).collect();
    assert_eq!(commits, [(1, 1, 1), (2, 3, 3)]);
    first.close().await.unwrap();
    let stats = bench.proxy.until(|stats| stats.open.len() == 1).await;
    assert_eq!((stats.open.contains_key(&2), stats.total.commits_confirmed), (true, 4));
}

#[tokio::test]
async fn nothing_passes_a_stall_until_it_is_released() {
    let mut bench = Bench::new().await;
    let mut client = bench.connect().await.unwrap();
    for round in 0..ROUNDS {
        bench.proxy.stall();
        let write = tokio::spawn(async move {
            sqlx::query(INSERT).bind(round).execute(&mut client).await.unwrap();
            client
        });
        bench.proxy.until(|stats| stats.stalled == 1).await;
        assert!(!bench.has(round).await && !write.is_finished());
        bench.proxy.release();
        client = write.await.unwrap();
        assert!(bench.has(round).await);
    }
    assert_eq!(bench.proxy.stats().stalled, 0);
}

#[tokio::test]
async fn a_stalled_connection_can_be_cut_and_a_new_one_stalls_too() {
    let mut bench = Bench::new().await;
    for round in 0..ROUNDS {
        let mut client = bench.connect().await.unwrap();
        bench.proxy.stall();
        let insert = sqlx::query(INSERT).bind(round);
        let cut = async {
            bench.proxy.until(|stats| stats.stalled == 1).await;
            bench.proxy.cut_all();
        };
        let (write, ()) = tokio::join!(insert.execute(&mut client), cut);
        assert_eq!(io_error(write), ErrorKind::UnexpectedEof);

        let release = async {
            bench.proxy.until(|stats| stats.stalled == 1).await;
            bench.proxy.release();
        };
        let (connected, ()) = tokio::join!(bench.connect(), release);
        connected.unwrap().ping().await.unwrap();
        assert!(!bench.has(round).await);
    }
}

#[tokio::test]
async fn all_connections_are_cut_or_reset() {
    let bench = Bench::new().await;
    for round in 0..ROUNDS {
        let mut clients = [bench.connect().await.unwrap(), bench.connect().await.unwrap()];
        let expected = if round % 2 == 0 {
            bench.proxy.cut_all();
            ErrorKind::UnexpectedEof
        } else {
            bench.proxy.reset_all();
            ErrorKind::ConnectionReset
        };
        bench.proxy.until(|stats| stats.open.is_empty()).await;
        for client in &mut clients {
            assert_eq!(io_error(client.ping().await), expected, "round {round}");
        }
    }
    let injected = bench.proxy.stats().injected;
    assert_eq!((injected.cut, injected.reset), (20, 20));
    bench.connect().await.unwrap().ping().await.unwrap();
}

#[tokio::test]
async fn new_connections_are_refused_and_the_others_go_on() {
    let bench = Bench::new().await;
    let mut client = bench.connect().await.unwrap();
    for round in 0..ROUNDS {
        bench.proxy.refuse(true);
        assert_eq!(io_error(bench.connect().await), ErrorKind::ConnectionReset, "round {round}");
        client.ping().await.unwrap();
        bench.proxy.refuse(false);
        bench.connect().await.unwrap().ping().await.unwrap();
    }
    assert_eq!(bench.proxy.stats().injected.refused, 20);
}

#[tokio::test]
async fn a_delay_is_at_least_what_was_asked_for() {
    let bench = Bench::new().await;
    let mut client = bench.connect().await.unwrap();
    let delay = Duration::from_millis(20);
    for direction in [Direction::ToServer, Direction::ToClient] {
        bench.proxy.delay(direction, delay);
        let begun = Instant::now();
        client.ping().await.unwrap();
        assert!(begun.elapsed() >= delay, "{direction:?}");
    }
    let begun = Instant::now();
    client.ping().await.unwrap();
    assert!(begun.elapsed() >= 2 * delay, "both add up");

    let hour = Duration::from_secs(3600);
    bench.proxy.delay(Direction::ToServer, hour);
    let (ping, ()) = tokio::join!(client.ping(), async { bench.proxy.cut_all() });
    assert_eq!(io_error(ping), ErrorKind::UnexpectedEof, "a delay does not outlast its connection");
}

#[tokio::test]
async fn a_dropped_proxy_takes_its_connections_with_it() {
    let bench = Bench::new().await;
    let (mut first, mut second) = (bench.connect().await.unwrap(), bench.connect().await.unwrap());
    let address = bench.proxy.addr();
    drop(bench.proxy);
    for client in [&mut first, &mut second] {
        client.ping().await.unwrap_err();
    }
    assert_eq!(TcpStream::connect(address).await.unwrap_err().kind(), ErrorKind::ConnectionRefused);
}

#[tokio::test]
async fn a_postgres_that_is_not_there_is_told_from_one_that_is() {
    let nobody = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let proxy = PgProxy::start(nobody.to_string()).await.unwrap();
    let url = proxy.url_for("postgres://postgres@elsewhere/postgres").unwrap();
    assert_eq!(io_error(sqlx::PgConnection::connect(&url).await), ErrorKind::ConnectionReset);
    assert_eq!(proxy.stats().unreachable, 1);
}

#[tokio::test]
async fn what_is_not_the_protocol_is_turned_away() {
    let proxy = PgProxy::start("127.0.0.1:1").await.unwrap();
    for _ in 0..ROUNDS {
        let mut client = TcpStream::connect(proxy.addr()).await.unwrap();
        client.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
        assert_eq!(client.read(&mut [0; 8]).await.unwrap(), 0);
    }
    assert_eq!(proxy.stats().protocol_errors, 20);
}

#[tokio::test]
async fn a_request_to_cancel_reaches_the_server() {
    let mut bench = Bench::new().await;
    let mut client = TcpStream::connect(bench.proxy.addr()).await.unwrap();
    // For a backend that does not exist; the server says nothing and closes.
    let request: Vec<u8> = [16_u32, 80_877_102, 0, 0].into_iter().flat_map(u32::to_be_bytes).collect();
    client.write_all(&request).await.unwrap();
    assert_eq!(client.read(&mut [0; 8]).await.unwrap(), 0);
    let stats = bench.proxy.until(|stats| stats.open.is_empty()).await;
    assert_eq!((stats.total.bytes_to_server, stats.protocol_errors), (16, 0));
    assert!(!bench.has(0).await);
}
