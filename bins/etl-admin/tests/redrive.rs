//! From a dead-letter queue back into the queue, and into the table once.

use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use fetch_etl_core::login::LoginSchema;
use fetch_etl_core::pipeline::{Pipeline, PipelineConfig, Summary};
use fetch_etl_core::{MessageSource as _, Stager, write};
use fetch_etl_local_sqs::{
    CallAction, Clock, FaultKind, FaultPlan, LocalSqs, ManualClock, QueueConfig, RunningServer,
};
use fetch_etl_mask::Sha512Masker;
use fetch_etl_postgres::{PostgresSink, PostgresSinkConfig};
use fetch_etl_sqs::{Credentials, Queue, SqsConfig, SqsSource};
use fetch_etl_testing::postgres::TestDatabase;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;

use crate::support::{Finished, Stricter, admin, broken, finish, login, wait};

const QUEUE: &str = "logins";
const DEAD: &str = "logins-dead";

/// A queue with a dead-letter queue, on a clock that stands still, and a table.
struct Bench {
    server: RunningServer,
    clock: ManualClock,
    source: SqsSource,
    sink: Arc<PostgresSink>,
    database: TestDatabase,
}

impl Bench {
    async fn open() -> Self {
        // A time within the ledger's retention.
        let now = fetch_etl_core::UnixMillis::now().get().unsigned_abs();
        let (clock, hand) = Clock::manual(Duration::from_millis(now));
        let queue = QueueConfig::new(QUEUE).dead_letter(DEAD, 1);
        let server = LocalSqs::builder().queue(queue).clock(clock).bind("127.0.0.1:0").await.unwrap();
        let database = TestDatabase::create().await;
        let sink = PostgresSink::connect(PostgresSinkConfig::new(database.url())).await.unwrap();
        sink.migrate().await.unwrap();
        Self { source: source(&server, QUEUE).await, sink: Arc::new(sink), clock: hand, server, database }
    }

    fn send(&self, body: String) {
        self.server.queue(QUEUE).unwrap().send_many([body]).unwrap();
    }

    fn redrive(&self, args: &[&str]) -> Finished {
        finish(redrive_at(&self.server.url()).args(["--set", "source.wait_time_s=0"]).args(args))
    }

    /// Fills the dead-letter queue.
    async fn bury_broken(&self, count: usize) {
        for _ in 0..count {
            self.send(broken().body);
        }
        while self.left(QUEUE) > 0 {
            self.source.receive(10).await.unwrap();
            self.clock.advance(Duration::from_secs(31));
        }
        assert_eq!(self.left(DEAD), count);
    }

    /// Receives all dead letters, as a redrive does that is killed then.
    async fn hold_dead_letters(&self) {
        let dead = source(&self.server, DEAD).await;
        while !dead.receive(10).await.unwrap().is_empty() {}
    }

    /// Lets what is in flight, and what is received once more, go to the dead-letter queue.
    async fn bury(&self) {
        self.clock.advance(Duration::from_secs(31));
        assert!(self.source.receive(10).await.unwrap().is_empty());
    }

    async fn work(&self) -> Summary {
        let config = PipelineConfig { until_empty: true, ..PipelineConfig::default() };
        let source = Arc::new(source(&self.server, QUEUE).await);
        let pipeline = Pipeline::new(config, source, LoginSchema, Arc::new(Sha512Masker), self.sink.clone());
        pipeline.run(CancellationToken::new()).await.unwrap()
    }

    fn left(&self, queue: &str) -> usize {
        let stats = self.server.queue(queue).unwrap().stats();
        stats.ready + stats.in_flight + stats.delayed
    }
}

fn redrive_at(endpoint: &str) -> Command {
    let mut command = admin(&["redrive", "--from", DEAD]);
    command
        .env("AWS_ACCESS_KEY_ID", "local")
        .env("AWS_SECRET_ACCESS_KEY", "local")
        .env("AWS_EC2_METADATA_DISABLED", "true")
        .env("ETL_SOURCE__QUEUE_NAME", QUEUE)
        .env("ETL_SOURCE__ENDPOINT_URL", endpoint);
    command
}

async fn source(server: &RunningServer, queue: &str) -> SqsSource {
    let config = SqsConfig {
        endpoint_url: Some(server.url()),
        credentials: Credentials::Placeholder,
        wait_time: Duration::ZERO,
        ..SqsConfig::new(Queue::Name(queue.to_owned()))
    };
    SqsSource::connect(config).await.unwrap()
}

/// The case for which the redrive of SQS itself makes a second row.
#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_was_stored_and_not_deleted_is_no_second_row_after_a_redrive() {
    let bench = Bench::open().await;
    bench.send(login("DE", None).body);
    let staged =
        Stager::new(LoginSchema, Arc::new(Sha512Masker)).stage(bench.source.receive(10).await.unwrap());
    // Stored; the worker dies before it deletes the message.
    assert_eq!(write(&*bench.sink, staged.batch).await.unwrap().report.inserted, 1);
    bench.bury().await;
    assert_eq!((bench.left(QUEUE), bench.left(DEAD)), (0, 1));

    let said = bench.redrive(&["--dry-run"]).expect(0);
    assert_eq!(said, format!("would send 1 message from {DEAD} to {QUEUE}\n"));
    assert_eq!(bench.redrive(&[]).expect(0), "sent 1 message\n");
    assert_eq!((bench.left(QUEUE), bench.left(DEAD)), (1, 0));
    let summary = bench.work().await;
    assert_eq!((summary.inserted, summary.duplicates), (0, 1), "{summary}");
    assert_eq!((bench.left(QUEUE), bench.left(DEAD)), (0, 0));
    let mut outside = bench.database.connect().await;
    let rows: i64 =
        sqlx::query_scalar("SELECT count(*) FROM user_logins").fetch_one(&mut outside).await.unwrap();
    assert_eq!(rows, 1);
}

/// A message that an older version rejected, and left in its queue.
#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_a_redrive_made_a_row_is_open_no_more() {
    let bench = Bench::open().await;
    bench.send(login("DE", None).body);
    let staged = Stager::new(Stricter, Arc::new(Sha512Masker)).stage(bench.source.receive(10).await.unwrap());
    assert_eq!(write(&*bench.sink, staged.batch).await.unwrap().report.quarantined, 1);
    bench.bury().await;
    let states =
        "SELECT string_agg(state || ' as ' || coalesce(closed_by, 'nobody'), ', ') FROM etl.quarantine";
    let mut outside = bench.database.connect().await;
    let state: String = sqlx::query_scalar(states).fetch_one(&mut outside).await.unwrap();
    assert_eq!(state, "open as nobody");

    assert_eq!(bench.redrive(&[]).expect(0), "sent 1 message\n");
    assert_eq!(bench.work().await.inserted, 1);
    let state: String = sqlx::query_scalar(states).fetch_one(&mut outside).await.unwrap();
    let role: String = sqlx::query_scalar("SELECT session_user::text").fetch_one(&mut outside).await.unwrap();
    assert_eq!(state, format!("replayed as {role}"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redrive_ends_at_its_limit() {
    let bench = Bench::open().await;
    bench.bury_broken(25).await;
    let said = bench.redrive(&["--limit", "3"]).expect(0);
    assert_eq!(said, format!("sent 3 messages\n22 messages are left in {DEAD}\n"));
    assert_eq!((bench.left(QUEUE), bench.left(DEAD)), (3, 22));
    assert_eq!(bench.redrive(&[]).expect(0), "sent 22 messages\n");
    assert_eq!((bench.left(QUEUE), bench.left(DEAD)), (25, 0));
    assert_eq!(bench.redrive(&[]).expect(0), "sent 0 messages\n");
}

/// Right after a `kill -9`, what the dead run had received is there, but invisible.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_invisible_for_now_is_not_forgotten() {
    let bench = Bench::open().await;
    bench.bury_broken(12).await;
    bench.hold_dead_letters().await;
    let held = format!("12 messages (12 of them invisible for now) from {DEAD} to {QUEUE}");
    assert_eq!(bench.redrive(&["--dry-run"]).expect(0), format!("would send {held}\n"));
    let said = bench.redrive(&[]).expect(1);
    let left = format!("12 messages (12 of them invisible for now) are left in {DEAD}\n");
    assert_eq!(said, format!("sent 0 messages\n{left}"));
    bench.clock.advance(Duration::from_secs(31));
    assert_eq!(bench.redrive(&[]).expect(0), "sent 12 messages\n");
    assert_eq!((bench.left(QUEUE), bench.left(DEAD)), (12, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_sent_or_not_deleted_is_counted_and_leaves_something_to_do() {
    let bench = Bench::open().await;
    let dead = bench.server.queue(DEAD).unwrap();
    // With our attributes it is too large for SQS.
    dead.send_many(["x".repeat(1024 * 1024)]).unwrap();
    dead.send_many(["a", "b"]).unwrap();
    dead.faults(FaultPlan::new(7).times(FaultKind::EntryServiceFault, 1.0, 1).unwrap());
    let said = bench.redrive(&[]).expect(1);
    let lines: Vec<_> = said.lines().collect();
    assert_eq!(lines[0], "sent 2 messages");
    assert!(lines[1].starts_with("1 message not sent, and left"), "{said}");
    assert!(lines[2].starts_with("1 message sent, but not deleted"), "{said}");
    assert_eq!(lines[3], format!("2 messages (2 of them invisible for now) are left in {DEAD}"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redrive_outlasts_what_passes() {
    let bench = Bench::open().await;
    bench.bury_broken(12).await;
    let plan = FaultPlan::new(7).times(FaultKind::Throttle, 1.0, 2).unwrap();
    bench.server.queue(DEAD).unwrap().faults(plan.only_calls([CallAction::Receive]));
    assert_eq!(bench.redrive(&[]).expect(0), "sent 12 messages\n");
    assert_eq!(bench.left(DEAD), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_does_not_wait_for_a_long_poll() {
    let bench = Bench::open().await;
    bench.bury_broken(1).await;
    bench.hold_dead_letters().await;
    // On this server's clock, the poll would last for ever.
    let child = redrive_at(&bench.server.url()).args(["--set", "source.wait_time_s=20"]).spawn().unwrap();
    bench.server.queue(DEAD).unwrap().until(|stats| stats.waiting_receives == 1).await;
    let interrupted = Command::new("kill").args(["-INT", &child.id().to_string()]).status();
    assert!(interrupted.unwrap().success());
    let said = wait(child).expect(1);
    assert!(said.ends_with("interrupted: run it again, and it goes on with what is left\n"), "{said}");
}

/// It would go round with what is rejected again.
#[tokio::test(flavor = "multi_thread")]
async fn without_a_depth_a_limit_is_required() {
    let url = denying().await;
    let said = finish(&mut redrive_at(&url));
    said.expect_error(2, &format!("how many messages {DEAD} holds is not known"));
    let tried = finish(redrive_at(&url).arg("--dry-run")).expect(0);
    assert_eq!(tried, format!("would send an unknown number of messages from {DEAD} to {QUEUE}\n"));
    // And with it there is no more to complain about than that nothing may be received.
    finish(redrive_at(&url).args(["--limit", "3"])).expect_error(1, "ReceiveMessage: access denied");
}

/// An endpoint that finds any queue and denies everything else.
async fn denying() -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(deny(BufReader::new(stream)));
        }
    });
    url
}

async fn deny(mut stream: BufReader<TcpStream>) -> Option<()> {
    loop {
        let (mut length, mut finds) = (0, false);
        loop {
            let mut line = String::new();
            if stream.read_line(&mut line).await.ok()? == 0 {
                return None;
            }
            let line = line.trim_end().to_ascii_lowercase();
            if line.is_empty() {
                break;
            }
            finds |= line.ends_with("amazonsqs.getqueueurl");
            length = line.strip_prefix("content-length: ").map_or(length, |length| length.parse().unwrap());
        }
        let mut body = vec![0; length];
        stream.read_exact(&mut body).await.ok()?;
        let dead = String::from_utf8(body).unwrap().contains(DEAD);
        let (status, body) = if finds {
            (
                "200 OK",
                format!(r#"{{"QueueUrl":"http://queue.example/0/{}"}}"#, if dead { DEAD } else { QUEUE }),
            )
        } else {
            ("403 Forbidden", r#"{"__type":"com.amazonaws.sqs#AccessDeniedException"}"#.to_owned())
        };
        let answer = format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\n\r\n{body}", body.len());
        stream.write_all(answer.as_bytes()).await.ok()?;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_redriven_is_said() {
    let bench = Bench::open().await;
    bench.redrive(&["--to", DEAD]).expect_error(2, "the same queue");
    bench.redrive(&["--to", "other.fifo"]).expect_error(2, "other.fifo is a FIFO queue");
    bench.redrive(&["--to", "no-such-queue"]).expect_error(1, "the queue no-such-queue does not exist");
    let help = finish(&mut admin(&["redrive", "--help"])).expect(0);
    assert!(help.contains("it gives every message\na new id"), "{help}");
}
