//! What the tests share: servers, sources, and tokens that only core's staging and writing make.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use aws_sdk_sqs::Client;
use aws_sdk_sqs::config::{BehaviorVersion, Region};
use fetch_etl_core::{
    Batch, Committed, Decoded, Delivery, EventSchema, Held, Masker, MessageSource, Pii, Receipt, Reject,
    Returned, Sink, SinkError, Staged, Stager, WriteReport, write,
};
use fetch_etl_local_sqs::{Clock, LocalSqs, ManualClock, QueueConfig, QueueHandle, RunningServer};
use fetch_etl_sqs::{Credentials, Queue, SqsConfig, SqsSource, Transport};
use fetch_etl_testing::FakeMasker;

pub(crate) const QUEUE: &str = "logins";

/// A server with one queue, on a clock that stands still until the test moves it.
pub(crate) struct Local {
    pub(crate) server: RunningServer,
    pub(crate) queue: QueueHandle,
    pub(crate) clock: ManualClock,
}

impl Local {
    pub(crate) async fn start() -> Self {
        Self::with(QueueConfig::new(QUEUE)).await
    }

    pub(crate) async fn with(queue: QueueConfig) -> Self {
        let (clock, hand) = Clock::manual(Duration::from_secs(1_700_000_000));
        let server = LocalSqs::builder().queue(queue).clock(clock).bind("127.0.0.1:0").await.unwrap();
        let queue = server.queue(QUEUE).unwrap();
        Self { server, queue, clock: hand }
    }

    /// A source that does not wait for messages: on this clock no wait would end.
    pub(crate) async fn source(&self) -> SqsSource {
        SqsSource::connect(self.config()).await.unwrap()
    }

    pub(crate) fn config(&self) -> SqsConfig {
        SqsConfig { wait_time: Duration::ZERO, ..at(&self.server.url()) }
    }

    /// The SDK as a producer uses it.
    pub(crate) fn client(&self) -> Client {
        client(&self.server.url())
    }

    pub(crate) fn queue_url(&self) -> String {
        self.server.queue_url(QUEUE)
    }
}

/// The SDK as a producer uses it.
pub(crate) fn client(endpoint: &str) -> Client {
    let config = aws_sdk_sqs::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::from_static("us-east-1"))
        .credentials_provider(aws_sdk_sqs::config::Credentials::new("x", "x", None, None, "test"))
        // Not through the proxy that the machine's environment may name.
        .http_client(aws_smithy_http_client::Builder::new().build_http())
        .endpoint_url(endpoint);
    Client::from_conf(config.build())
}

/// Both ways of making calls.
pub(crate) const TRANSPORTS: [Transport; 2] = [Transport::Sdk, Transport::Lean];

/// The queue of a server, with credentials that nobody checks, and without waiting long for anything that fails.
pub(crate) fn at(endpoint: &str) -> SqsConfig {
    SqsConfig {
        endpoint_url: Some(endpoint.to_owned()),
        credentials: Credentials::Placeholder,
        ..SqsConfig::new(Queue::Name(QUEUE.to_owned()))
    }
}

struct AnyBody;

impl EventSchema for AnyBody {
    type Row = ();
    fn decode_and_mask(&self, _: &Pii<[u8]>, _: &dyn Masker) -> Result<Decoded<()>, Reject> {
        Ok(Decoded { row: (), unknown_fields: 0, non_canonical: 0 })
    }
}

struct Nowhere;

#[async_trait]
impl Sink<()> for Nowhere {
    async fn write(&self, batch: &Batch<()>) -> Result<WriteReport, SinkError> {
        Ok(WriteReport { inserted: batch.rows().len() as u64, ..WriteReport::default() })
    }
}

fn stage(deliveries: Vec<Delivery>) -> Staged<()> {
    Stager::new(AnyBody, Arc::new(FakeMasker)).stage(deliveries)
}

pub(crate) async fn committed(deliveries: Vec<Delivery>) -> Vec<Committed> {
    let batch = stage(deliveries).batch;
    write(&Nowhere, batch).await.unwrap().committed
}

pub(crate) fn returned(deliveries: Vec<Delivery>) -> Vec<Returned> {
    stage(deliveries).batch.into_returned()
}

pub(crate) fn held(deliveries: Vec<Delivery>) -> Vec<Held> {
    stage(deliveries).held()
}

/// The same delivery again: a token is used up, and some tests need a second one.
pub(crate) fn again(delivery: &Delivery) -> Delivery {
    with_receipt(delivery.receipt.handle())
}

/// A delivery with a receipt that a test makes up.
pub(crate) fn with_receipt(handle: &str) -> Delivery {
    let body = Pii::new(Vec::new());
    let receipt = Receipt::new(handle);
    Delivery { id: "id".into(), key: None, attempt: 1, sent_at: None, trace: None, body, receipt }
}

pub(crate) async fn receive(source: &SqsSource) -> Vec<Delivery> {
    source.receive(10).await.unwrap()
}

pub(crate) fn text(delivery: &Delivery) -> &str {
    std::str::from_utf8(delivery.body.expose()).unwrap()
}
