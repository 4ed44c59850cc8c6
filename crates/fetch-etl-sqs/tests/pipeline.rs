//! A whole pipeline on a queue over the wire.

use std::sync::Arc;

use fetch_etl_core::login::LoginSchema;
use fetch_etl_core::pipeline::{Pipeline, PipelineConfig};
use fetch_etl_local_sqs::{LocalSqs, QueueConfig};
use fetch_etl_sqs::{SqsConfig, SqsSource};
use fetch_etl_testing::{FakeMasker, InMemorySink};
use std::time::Duration;
use tokio_util::sync::CancellationToken;

use crate::support::{QUEUE, at};

#[tokio::test(flavor = "multi_thread")]
async fn everything_in_the_queue_is_written_once_and_deleted() {
    const MESSAGES: usize = 253;
    let server = LocalSqs::builder().queue(QueueConfig::new(QUEUE)).bind("127.0.0.1:0").await.unwrap();
    let queue = server.queue(QUEUE).unwrap();
    let login = |i| {
        format!(
            r#"{{"user_id":"u{i}","app_version":"2.3.0","device_type":"ios","ip":"203.0.113.7","locale":"de","device_id":"d"}}"#
        )
    };
    queue.send_many((0..MESSAGES).map(login)).unwrap();
    let source = SqsSource::connect(SqsConfig { wait_time: Duration::from_secs(1), ..at(&server.url()) });
    let sink = Arc::new(InMemorySink::new());
    let config = PipelineConfig { until_empty: true, ..PipelineConfig::default() };
    let pipeline = Pipeline::new(
        config,
        Arc::new(source.await.unwrap()),
        LoginSchema,
        Arc::new(FakeMasker),
        sink.clone(),
    );
    let summary = pipeline.run(CancellationToken::new()).await.unwrap();
    assert_eq!((summary.inserted, summary.duplicates, summary.quarantined), (MESSAGES as u64, 0, 0));
    let stats = queue.stats();
    assert_eq!((stats.deleted, stats.ready, stats.in_flight), (MESSAGES as u64, 0, 0));
}
