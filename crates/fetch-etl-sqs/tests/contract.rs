//! The source contract, on SqsSource and a queue over the wire.

use std::sync::Arc;

use async_trait::async_trait;
use fetch_etl_core::MessageSource;
use fetch_etl_local_sqs::{LocalSqs, QueueConfig, QueueHandle, RunningServer};
use fetch_etl_sqs::{SqsConfig, SqsSource, Transport};
use fetch_etl_testing::source_contract::{self, Queue, Setup, SourceHarness};

use crate::support::{QUEUE, at};

struct Harness(Transport);

struct OneQueue {
    source: Arc<SqsSource>,
    queue: QueueHandle,
    _server: RunningServer,
}

#[async_trait]
impl SourceHarness for Harness {
    type Queue = OneQueue;

    async fn open(&self, Setup { lease, wait }: Setup) -> OneQueue {
        let config = QueueConfig::new(QUEUE).visibility_timeout(lease);
        let server = LocalSqs::builder().queue(config).bind("127.0.0.1:0").await.unwrap();
        let config = SqsConfig { wait_time: wait, transport: self.0, ..at(&server.url()) };
        let source = SqsSource::connect(config);
        let source = Arc::new(source.await.unwrap());
        OneQueue { source, queue: server.queue(QUEUE).unwrap(), _server: server }
    }
}

#[async_trait]
impl Queue for OneQueue {
    fn source(&self) -> Arc<dyn MessageSource> {
        self.source.clone()
    }

    async fn send(&self, body: &str) {
        self.queue.send_many([body]).unwrap();
    }

    async fn left(&self) -> u64 {
        let depth = self.source.depth().await.unwrap().unwrap();
        depth.visible + depth.in_flight + depth.delayed
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sqs_source_keeps_the_contract() {
    source_contract::run(&Harness(Transport::Lean)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sqs_source_keeps_the_contract_by_the_sdk_too() {
    source_contract::run(&Harness(Transport::Sdk)).await;
}
