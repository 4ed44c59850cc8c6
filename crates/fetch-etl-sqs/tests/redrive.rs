//! Redriving: a message comes again as the one that it was, and keeps what it had.

use std::collections::BTreeMap;
use std::time::Duration;

use aws_sdk_sqs::primitives::Blob;
use aws_sdk_sqs::types::MessageAttributeValue;
use fetch_etl_core::{Delivery, UnixMillis};
use fetch_etl_local_sqs::{Clock, LocalSqs, ManualClock, QueueConfig, RunningServer};
use fetch_etl_sqs::{Queue, Redrive, SqsConfig, SqsSource, Step};

use crate::support::{QUEUE, at, committed, receive, text};
use fetch_etl_core::MessageSource as _;

const DEAD: &str = "logins-dead";

/// A queue and its dead-letter queue, on a clock that stands still.
struct Pair {
    server: RunningServer,
    clock: ManualClock,
}

impl Pair {
    async fn start() -> Self {
        let (clock, hand) = Clock::manual(Duration::from_secs(1_700_000_000));
        let queue = QueueConfig::new(QUEUE).dead_letter(DEAD, 1);
        let server = LocalSqs::builder().queue(queue).clock(clock).bind("127.0.0.1:0").await.unwrap();
        Self { server, clock: hand }
    }

    fn config(&self, queue: &str) -> SqsConfig {
        SqsConfig {
            queue: Queue::Name(queue.to_owned()),
            wait_time: Duration::ZERO,
            ..at(&self.server.url())
        }
    }

    async fn source(&self) -> SqsSource {
        SqsSource::connect(self.config(QUEUE)).await.unwrap()
    }

    async fn redrive(&self) -> Redrive {
        Redrive::connect(self.config(DEAD), self.config(QUEUE)).await.unwrap()
    }

    /// Lets what is in flight go to the dead-letter queue.
    async fn bury(&self, source: &SqsSource) {
        self.clock.advance(Duration::from_secs(31));
        assert!(receive(source).await.is_empty());
    }

    fn left(&self, queue: &str) -> usize {
        let stats = self.server.queue(queue).unwrap().stats();
        stats.ready + stats.in_flight + stats.delayed
    }
}

fn step(received: u64, sent: u64) -> Step {
    Step { received, sent, ..Step::default() }
}

fn identity(delivery: &Delivery) -> (String, Option<String>, Option<UnixMillis>) {
    (delivery.id.to_string(), delivery.key.as_deref().map(str::to_owned), delivery.sent_at)
}

#[tokio::test]
async fn a_message_is_the_same_however_often_it_is_redriven() {
    let pair = Pair::start().await;
    let (source, redrive) = (pair.source().await, pair.redrive().await);
    pair.server.queue(QUEUE).unwrap().send_many(["body"]).unwrap();
    let first = identity(&receive(&source).await[0]);
    for _ in 0..2 {
        pair.bury(&source).await;
        assert_eq!(redrive.depth().await.unwrap().unwrap().visible, 1);
        assert_eq!(redrive.step(10).await.unwrap(), step(1, 1));
        assert_eq!(redrive.step(10).await.unwrap(), step(0, 0));
        assert_eq!((pair.left(DEAD), pair.left(QUEUE)), (0, 1));
        let again = receive(&source).await;
        assert_eq!((identity(&again[0]), text(&again[0])), (first.clone(), "body"));
    }
    pair.bury(&source).await;
    redrive.step(10).await.unwrap();
    source.ack(committed(receive(&source).await).await).await.unwrap();
    assert_eq!((pair.left(DEAD), pair.left(QUEUE)), (0, 0));
}

#[tokio::test]
async fn attributes_are_kept_and_a_message_without_room_for_ours_stays() {
    let pair = Pair::start().await;
    let local = crate::support::client(&pair.server.url());
    let value = |kind: &str| MessageAttributeValue::builder().data_type(kind);
    for count in [8, 9] {
        let mut request =
            local.send_message().queue_url(pair.server.queue_url(DEAD)).message_body(count.to_string());
        request = request
            .message_attributes("binary", value("Binary").binary_value(Blob::new([0, 255])).build().unwrap())
            .message_attributes("custom", value("Number.int").string_value("7").build().unwrap());
        for index in 2..count {
            let text = value("String").string_value("x").build().unwrap();
            request = request.message_attributes(format!("a{index}"), text);
        }
        request.send().await.unwrap();
    }
    assert_eq!(pair.redrive().await.step(10).await.unwrap(), step(2, 1));
    assert_eq!((pair.left(DEAD), pair.left(QUEUE)), (1, 1));
    let request =
        local.receive_message().queue_url(pair.server.queue_url(QUEUE)).message_attribute_names("All");
    let message = &request.send().await.unwrap().messages.unwrap()[0];
    assert_eq!(message.body(), Some("8"));
    let attributes: BTreeMap<_, _> = message.message_attributes().unwrap().iter().collect();
    assert_eq!(attributes.len(), 10);
    assert_eq!(attributes[&"binary".to_owned()].binary_value().unwrap().as_ref(), [0, 255]);
    assert_eq!(attributes[&"custom".to_owned()].data_type(), "Number.int");
}

#[tokio::test]
async fn messages_that_are_too_large_together_go_one_by_one() {
    const LARGE: usize = 400_000;
    let pair = Pair::start().await;
    let dead = pair.server.queue(DEAD).unwrap();
    dead.send_many((0..2).map(|_| "x".repeat(LARGE))).unwrap();
    // With our attributes it is too large for SQS.
    dead.send_many(["y".repeat(1024 * 1024)]).unwrap();
    dead.send_many((0..2).map(|_| "z".repeat(LARGE))).unwrap();
    let redrive = pair.redrive().await;
    let mut all = Step::default();
    loop {
        let Step { received, sent, undeleted } = redrive.step(10).await.unwrap();
        if received == 0 {
            break;
        }
        all = Step {
            received: all.received + received,
            sent: all.sent + sent,
            undeleted: all.undeleted + undeleted,
        };
    }
    assert_eq!((all, pair.left(QUEUE), pair.left(DEAD)), (step(5, 4), 4, 1));
}

#[tokio::test]
async fn a_queue_is_not_redriven_to_itself() {
    let pair = Pair::start().await;
    let error = Redrive::connect(pair.config(DEAD), pair.config(DEAD)).await.unwrap_err();
    assert!(error.to_string().contains("the same queue"), "{error}");
}
