//! What the real worker tells over HTTP, while messages flow and while the database is gone.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use fetch_etl_local_sqs::RunningServer;
use fetch_etl_testing::postgres::TestDatabase;
use fetch_etl_testing::proxy::PgProxy;
use rustix::process::Signal;
use serde_json::Value;

use crate::support::{PATIENCE, Running, SqliteFile, finish, local_queue, login, worker};

/// Values that must be in no answer.
const CANARIES: [&str; 3] = ["canary-user-7f3a", "203.0.113.77", "593-47-5928"];

/// A worker that listens, and where.
struct Listening {
    worker: Running,
    address: SocketAddr,
    /// Everything that it has answered.
    answers: String,
}

impl Listening {
    fn start(server: &RunningServer, database_url: &str) -> Self {
        let mut worker = Running::start(
            worker(&["run"])
                .env("ETL_TELEMETRY__LISTEN", "127.0.0.1:0")
                .env("ETL_SOURCE__QUEUE_URL", server.queue_url("logins"))
                .env("ETL_SOURCE__WAIT_TIME_S", "1")
                .env("ETL_SINK__DATABASE_URL", database_url),
        );
        let address = worker.event("telemetry_listening")["address"].as_str().unwrap().parse().unwrap();
        Self { worker, address, answers: String::new() }
    }

    fn get(&mut self, path: &str) -> (u16, String) {
        let mut stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.write_all(format!("GET {path} HTTP/1.0\r\n\r\n").as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        self.answers.push_str(&answer);
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
    }

    fn metrics(&mut self) -> BTreeMap<String, f64> {
        let (status, body) = self.get("/metrics");
        assert_eq!(status, 200, "{body}");
        let sample = |line: &str| {
            let (name, value) = line.rsplit_once(' ').unwrap();
            (name.to_owned(), value.parse().unwrap())
        };
        let samples: BTreeMap<String, f64> =
            body.lines().filter(|line| !line.starts_with('#')).map(sample).collect();
        assert_eq!(samples["etl_conservation_difference"], 0.0, "{body}");
        samples
    }

    fn ready(&mut self) -> (u16, Vec<String>) {
        let (status, body) = self.get("/ready");
        let body: Value = serde_json::from_str(&body).unwrap();
        let parts = body["not_ready"].as_array().unwrap();
        (status, parts.iter().map(|part| part.as_str().unwrap().to_owned()).collect())
    }

    /// Asks until the answer is as it should be, and returns it.
    fn until<T: std::fmt::Debug>(&mut self, ask: impl Fn(&mut Self) -> T, reached: impl Fn(&T) -> bool) -> T {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let answer = ask(self);
            if reached(&answer) {
                return answer;
            }
            assert!(Instant::now() < deadline, "not in time: {answer:?}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_numbers_are_those_of_the_summary_and_no_value_is_among_them() {
    let server = local_queue().await;
    let database = SqliteFile::new();
    let mut listening = Listening::start(&server, &database.url());
    listening.until(Listening::ready, |(status, parts)| *status == 200 && parts.is_empty());
    assert_eq!(listening.get("/live"), (200, "{\"live\":true,\"phase\":\"running\"}\n".to_owned()));

    let queue = server.queue("logins").unwrap();
    let good = (0..100).map(|n| login(&format!("{}-{n}", CANARIES[0]), CANARIES[1]));
    let bad = (0..5).map(|n| format!("{{\"ip\":\"{}\",\"{}\":{n}", CANARIES[1], CANARIES[0]));
    queue.send_many(good.chain(bad)).unwrap();
    let metrics = listening.until(Listening::metrics, |metrics| {
        metrics["etl_rows_inserted_total"] == 100.0
            && metrics["etl_messages_returned_total{cause=\"rejected\"}"] >= 15.0
    });
    // The third delivery of a bad message sends it to the dead-letter queue: nothing comes any more.
    assert_eq!(metrics["etl_messages_rejected_total{reason=\"invalid_json\"}"], 15.0);
    let last = listening.until(Listening::metrics, |metrics| {
        metrics["etl_messages_in_flight"] == 0.0 && metrics["etl_messages_acked_total"] == 100.0
    });
    assert_eq!(last["etl_queue_messages{state=\"delayed\"}"], 0.0);
    assert_eq!(last["etl_oldest_message_age_seconds"], 0.0);
    assert_eq!(last["etl_mask_key_info{key_id=\"0\"}"], 1.0);
    assert_eq!(last["etl_batch_rows_sum"], last["etl_messages_received_total"]);
    assert_eq!(last["etl_commit_seconds_count"], last["etl_writes_total"]);
    assert!(last["etl_receives_total"] > 0.0 && last["etl_receivers"] >= 1.0);
    assert!(last["process_resident_memory_bytes"] > 1e6 && last["process_open_fds"] > 3.0);
    let build = format!("etl_build_info{{version=\"{}\",commit=\"unknown\"}}", env!("CARGO_PKG_VERSION"));
    assert_eq!(last[&build], 1.0);

    let Listening { mut worker, answers, .. } = listening;
    worker.signal(Signal::TERM);
    let stopped = worker.event("stopped");
    let (status, ended) = worker.end();
    assert_eq!(status.code(), Some(0), "{}", ended.stderr);
    let returned: f64 = ["rejected", "not_written", "lease_lost"]
        .map(|cause| last[&format!("etl_messages_returned_total{{cause=\"{cause}\"}}")])
        .iter()
        .sum();
    for (field, number) in [
        ("received", last["etl_messages_received_total"]),
        ("inserted", last["etl_rows_inserted_total"]),
        ("duplicates", last["etl_rows_duplicate_total"]),
        ("returned", returned),
        ("in_flight", last["etl_messages_in_flight"]),
        ("rejected", last["etl_messages_rejected_total{reason=\"invalid_json\"}"]),
    ] {
        assert_eq!(stopped[field].as_f64(), Some(number), "{field}: {stopped}");
    }
    assert!(
        ended.stdout.starts_with(
            "received 115 = inserted 100 + duplicates 0 + quarantined 0 + returned 15 + in flight 0\n"
        ),
        "{}",
        ended.stdout
    );
    for canary in CANARIES {
        assert!(!answers.contains(canary), "{canary}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_whose_database_is_cut_off_is_not_ready_and_alive() {
    let server = local_queue().await;
    let database = TestDatabase::create().await;
    let proxy = PgProxy::in_front_of(database.url()).await.unwrap();
    let mut listening = Listening::start(&server, &proxy.url_for(database.url()).unwrap());
    listening.until(Listening::ready, |(status, _)| *status == 200);

    // Nothing is to be written: it is noticed all the same.
    proxy.refuse(true);
    proxy.cut_all();
    let (status, parts) = listening.until(Listening::ready, |(status, _)| *status != 200);
    assert_eq!((status, parts), (503, vec!["sink".to_owned()]));
    // With something to write, the breaker opens.
    server.queue("logins").unwrap().send_many([login(CANARIES[0], CANARIES[1])]).unwrap();
    listening.until(Listening::ready, |(_, parts)| parts.contains(&"breaker".to_owned()));
    let metrics = listening.until(Listening::metrics, |metrics| {
        metrics["etl_retries_total{operation=\"write\",class=\"retryable\"}"] >= 1.0
    });
    assert_eq!((metrics["etl_breaker_open"], metrics["etl_messages_in_flight"]), (1.0, 1.0));
    assert_eq!(listening.get("/live").0, 200, "a restart would not help");

    proxy.refuse(false);
    listening.until(Listening::ready, |(status, _)| *status == 200);
    let metrics = listening.until(Listening::metrics, |metrics| metrics["etl_rows_inserted_total"] == 1.0);
    assert_eq!(metrics["etl_breaker_open"], 0.0);
    let policy = "etl_mask_policy_info{version=\"1\",key_id=\"0\",canonical_version=\"1\"}";
    listening.until(Listening::metrics, |metrics| metrics.contains_key(policy));
    let Listening { worker, answers, .. } = listening;
    worker.signal(Signal::TERM);
    let (status, ended) = worker.end();
    assert_eq!(status.code(), Some(0), "{}", ended.stderr);
    for canary in CANARIES {
        assert!(!answers.contains(canary), "{canary}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn while_the_database_is_not_up_yet_the_worker_lives_and_is_not_ready() {
    let server = local_queue().await;
    // Nobody listens on port 1.
    let mut listening = Listening::start(&server, "postgres://etl@127.0.0.1:1/logins");
    listening.worker.event("not_ready");
    assert_eq!(listening.get("/live"), (200, "{\"live\":true,\"phase\":\"starting\"}\n".to_owned()));
    let (status, parts) = listening.ready();
    assert_eq!((status, parts.join(" ")), (503, "source sink policy pipeline".to_owned()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_that_is_taken_ends_the_worker_before_it_receives() {
    let server = local_queue().await;
    let queue = server.queue("logins").unwrap();
    queue.send_many([login("u-1", "203.0.113.7")]).unwrap();
    let database = SqliteFile::new();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let ended = finish(
        worker(&["run", "--until-empty"])
            .env("ETL_TELEMETRY__LISTEN", &address)
            .env("ETL_SOURCE__QUEUE_URL", server.queue_url("logins"))
            .env("ETL_SINK__DATABASE_URL", database.url()),
    );
    assert_eq!(ended.code, Some(1), "{}", ended.stderr);
    let last: Value = serde_json::from_str(ended.stderr.lines().last().unwrap()).unwrap();
    assert_eq!(
        last["message"],
        format!("telemetry.listen: cannot listen on {address}: another process does already")
    );
    assert_eq!(queue.stats().ready, 1, "nothing was received");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_an_address_no_port_is_opened() {
    let server = local_queue().await;
    let database = SqliteFile::new();
    let ended = finish(
        worker(&["run", "--until-empty"])
            .env("ETL_SOURCE__QUEUE_URL", server.queue_url("logins"))
            .env("ETL_SINK__DATABASE_URL", database.url()),
    );
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    assert!(!ended.stderr.contains("telemetry_listening"), "{}", ended.stderr);
}
