//! From a dead-letter queue back into the queue, and into the table once.

use std::sync::Arc;
use std::time::Duration;

use fetch_etl_core::login::LoginSchema;
use fetch_etl_core::pipeline::{Pipeline, PipelineConfig, Summary};
use fetch_etl_core::{MessageSource as _, Stager, write};
use fetch_etl_local_sqs::{Clock, LocalSqs, ManualClock, QueueConfig, RunningServer};
use fetch_etl_mask::Sha512Masker;
use fetch_etl_postgres::{PostgresSink, PostgresSinkConfig};
use fetch_etl_sqs::{Credentials, Queue, SqsConfig, SqsSource};
use fetch_etl_testing::postgres::TestDatabase;
use tokio_util::sync::CancellationToken;

use crate::support::{Finished, admin, broken, finish, login};

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
        Self { source: source(&server).await, sink: Arc::new(sink), clock: hand, server, database }
    }

    fn send(&self, body: String) {
        self.server.queue(QUEUE).unwrap().send_many([body]).unwrap();
    }

    fn redrive(&self, args: &[&str]) -> Finished {
        finish(
            admin(&["redrive", "--from", DEAD, "--set", "source.wait_time_s=0"])
                .args(args)
                .env("AWS_ACCESS_KEY_ID", "local")
                .env("AWS_SECRET_ACCESS_KEY", "local")
                .env("AWS_EC2_METADATA_DISABLED", "true")
                .env("ETL_SOURCE__QUEUE_NAME", QUEUE)
                .env("ETL_SOURCE__ENDPOINT_URL", self.server.url()),
        )
    }

    /// Lets what is in flight, and what is received once more, go to the dead-letter queue.
    async fn bury(&self) {
        self.clock.advance(Duration::from_secs(31));
        assert!(self.source.receive(10).await.unwrap().is_empty());
    }

    async fn work(&self) -> Summary {
        let config = PipelineConfig { until_empty: true, ..PipelineConfig::default() };
        let source = Arc::new(source(&self.server).await);
        let pipeline = Pipeline::new(config, source, LoginSchema, Arc::new(Sha512Masker), self.sink.clone());
        pipeline.run(CancellationToken::new()).await.unwrap()
    }

    fn left(&self, queue: &str) -> usize {
        let stats = self.server.queue(queue).unwrap().stats();
        stats.ready + stats.in_flight + stats.delayed
    }
}

async fn source(server: &RunningServer) -> SqsSource {
    let config = SqsConfig {
        endpoint_url: Some(server.url()),
        credentials: Credentials::Placeholder,
        wait_time: Duration::ZERO,
        ..SqsConfig::new(Queue::Name(QUEUE.to_owned()))
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

#[tokio::test(flavor = "multi_thread")]
async fn a_redrive_ends_at_its_limit() {
    let bench = Bench::open().await;
    for _ in 0..25 {
        bench.send(broken().body);
    }
    while bench.left(QUEUE) > 0 {
        bench.source.receive(10).await.unwrap();
        bench.clock.advance(Duration::from_secs(31));
    }
    assert_eq!(bench.redrive(&["--limit", "3"]).expect(0), "sent 3 messages\n");
    assert_eq!((bench.left(QUEUE), bench.left(DEAD)), (3, 22));
    assert_eq!(bench.redrive(&[]).expect(0), "sent 22 messages\n");
    assert_eq!((bench.left(QUEUE), bench.left(DEAD)), (25, 0));
    assert_eq!(bench.redrive(&[]).expect(0), "sent 0 messages\n");
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
