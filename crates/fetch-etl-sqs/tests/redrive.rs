//! Redriving: a message comes again as the one that it was, and keeps what it had.

use std::collections::BTreeMap;
use std::time::Duration;

use aws_sdk_sqs::primitives::Blob;
use aws_sdk_sqs::types::MessageAttributeValue;
use fetch_etl_core::{Delivery, ErrorClass, SourceError, UnixMillis};
use fetch_etl_local_sqs::{
    CallAction, Clock, FaultKind, FaultPlan, LocalSqs, ManualClock, QueueConfig, RunningServer,
};
use fetch_etl_sqs::{Queue, Redrive, SqsConfig, SqsSource, Tally};

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

fn tally(sent: u64, left: u64, undeleted: u64) -> Tally {
    Tally { sent, left, undeleted }
}

/// One receive and what it brings; whether that was anything new.
async fn step(redrive: &mut Redrive) -> Result<bool, SourceError> {
    let received = redrive.receive(10).await?;
    redrive.forward(received).await
}

fn identity(delivery: &Delivery) -> (String, Option<String>, Option<UnixMillis>) {
    (delivery.id.to_string(), delivery.key.as_deref().map(str::to_owned), delivery.sent_at)
}

#[tokio::test]
async fn a_message_is_the_same_however_often_it_is_redriven() {
    let pair = Pair::start().await;
    let (source, mut redrive) = (pair.source().await, pair.redrive().await);
    pair.server.queue(QUEUE).unwrap().send_many(["body"]).unwrap();
    let first = identity(&receive(&source).await[0]);
    for sent in 1..3 {
        pair.bury(&source).await;
        assert_eq!(redrive.depth().await.unwrap().unwrap().visible, 1);
        assert!(step(&mut redrive).await.unwrap());
        assert!(!step(&mut redrive).await.unwrap());
        assert_eq!(redrive.tally(), tally(sent, 0, 0));
        assert_eq!((pair.left(DEAD), pair.left(QUEUE)), (0, 1));
        let again = receive(&source).await;
        assert_eq!((identity(&again[0]), text(&again[0])), (first.clone(), "body"));
    }
    pair.bury(&source).await;
    step(&mut redrive).await.unwrap();
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
    let mut redrive = pair.redrive().await;
    step(&mut redrive).await.unwrap();
    assert_eq!(redrive.tally(), tally(1, 1, 0));
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
    let mut redrive = pair.redrive().await;
    while step(&mut redrive).await.unwrap() {}
    assert_eq!((redrive.tally(), pair.left(QUEUE), pair.left(DEAD)), (tally(4, 1, 0), 4, 1));
    // It comes again when its lease ends, and nothing new with it.
    for _ in 0..3 {
        pair.clock.advance(Duration::from_secs(31));
        assert!(!step(&mut redrive).await.unwrap());
        assert_eq!(redrive.tally(), tally(4, 1, 0));
    }
}

#[tokio::test]
async fn what_the_queue_refuses_counts_once() {
    let pair = Pair::start().await;
    let mut redrive = pair.redrive().await;
    pair.server.queue(DEAD).unwrap().send_many(["a", "b"]).unwrap();
    let plan = FaultPlan::new(7).times(FaultKind::EntrySenderFault, 1.0, 1).unwrap().sends(true);
    pair.server.queue(QUEUE).unwrap().faults(plan);
    assert!(step(&mut redrive).await.unwrap());
    assert_eq!(redrive.tally(), tally(1, 1, 0));
    pair.clock.advance(Duration::from_secs(31));
    assert!(!step(&mut redrive).await.unwrap());
    assert_eq!((redrive.tally(), pair.left(QUEUE), pair.left(DEAD)), (tally(1, 1, 0), 1, 1));
}

#[tokio::test]
async fn what_was_sent_and_not_deleted_is_deleted_when_it_comes_again_and_not_sent() {
    let pair = Pair::start().await;
    let mut redrive = pair.redrive().await;
    let dead = pair.server.queue(DEAD).unwrap();
    dead.send_many(["a", "b"]).unwrap();
    dead.faults(FaultPlan::new(7).times(FaultKind::EntryServiceFault, 1.0, 1).unwrap());
    assert!(step(&mut redrive).await.unwrap());
    assert_eq!((redrive.tally(), pair.left(QUEUE), pair.left(DEAD)), (tally(2, 0, 1), 2, 1));
    pair.clock.advance(Duration::from_secs(31));
    assert!(step(&mut redrive).await.unwrap());
    assert_eq!((redrive.tally(), pair.left(QUEUE), pair.left(DEAD)), (tally(2, 0, 0), 2, 0));
}

#[tokio::test]
async fn what_was_done_before_an_error_counts() {
    let pair = Pair::start().await;
    let mut redrive = pair.redrive().await;
    let dead = pair.server.queue(DEAD).unwrap();
    dead.send_many(["a", "b"]).unwrap();
    let plan = FaultPlan::new(7).with(FaultKind::InternalError, 1.0).unwrap();
    dead.faults(plan.only_calls([CallAction::Delete]));
    let error = step(&mut redrive).await.unwrap_err();
    assert_eq!(error.class(), ErrorClass::Retryable, "{error}");
    assert_eq!((redrive.tally(), pair.left(QUEUE), pair.left(DEAD)), (tally(2, 0, 2), 2, 2));
}

#[tokio::test]
async fn a_queue_is_not_redriven_to_itself() {
    let pair = Pair::start().await;
    let error = Redrive::connect(pair.config(DEAD), pair.config(DEAD)).await.unwrap_err();
    assert!(error.to_string().contains("the same queue"), "{error}");
}
