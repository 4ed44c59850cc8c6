use std::time::Duration;

use fetch_etl_core::{ErrorClass, ExtendOutcome, MessageSource, QueueDepth};
use fetch_etl_sqs::SqsSource;

use crate::scripted::{Answer, Scripted};
use crate::support::{Local, again, at, committed, held, receive, returned, with_receipt};

const SECOND: Duration = Duration::from_secs(1);

#[tokio::test]
async fn ack_deletes() {
    let local = Local::start().await;
    local.queue.send_many(["a", "b", "c"]).unwrap();
    let source = local.source().await;
    source.ack(committed(receive(&source).await).await).await.unwrap();
    let stats = local.queue.stats();
    assert_eq!((stats.deleted, stats.ready, stats.in_flight), (3, 0, 0));
}

#[tokio::test]
async fn only_what_was_not_deleted_is_given_back() {
    let local = Local::start().await;
    local.queue.send_many(["a", "b", "c"]).unwrap();
    let source = local.source().await;
    let mut deliveries = receive(&source).await;
    deliveries.insert(1, with_receipt("garbage"));
    let failure = source.ack(committed(deliveries).await).await.unwrap_err();
    assert_eq!(failure.error.class(), ErrorClass::Fatal, "no retry makes a receipt valid");
    assert_eq!(
        failure.to_string(),
        "DeleteMessageBatch: the receipt is of nothing that is in flight (ReceiptHandleIsInvalid)"
    );
    let handles: Vec<_> = failure.unacked.iter().map(|token| token.receipt().handle()).collect();
    assert_eq!(handles, ["garbage"]);
    assert_eq!(local.queue.stats().deleted, 3);
}

#[tokio::test]
async fn what_may_pass_is_reported_before_what_does_not_and_silence_is_failure() {
    let server = Scripted::queue(|_| {
        Answer::ok(
            r#"{"Successful":[{"Id":"0"}],"Failed":[
                {"Id":"1","Code":"ReceiptHandleIsInvalid","SenderFault":true,"Message":"203.0.113.7"},
                {"Id":"3","Code":"InternalError","SenderFault":false,"Message":"203.0.113.7"}
            ]}"#,
        )
    })
    .await;
    let source = SqsSource::connect(at(&server.url())).await.unwrap();
    let tokens = committed(["r0", "r1", "r2", "r3"].map(with_receipt).into()).await;
    let failure = source.ack(tokens).await.unwrap_err();
    assert_eq!(failure.error.class(), ErrorClass::Retryable);
    let handles: Vec<_> = failure.unacked.iter().map(|token| token.receipt().handle()).collect();
    assert_eq!(handles, ["r1", "r2", "r3"]);
    assert!(!format!("{failure} {failure:?}").contains("203.0.113.7"));

    let outcomes =
        source.extend(&held(["r0", "r1", "r2", "r3"].map(with_receipt).into()), SECOND).await.unwrap();
    use ExtendOutcome::{Extended, Failed, Lost};
    assert_eq!(outcomes, [Extended, Lost, Failed, Failed]);

    let returned = returned(["r0", "r1"].map(with_receipt).into());
    source.nack(returned, SECOND).await.unwrap();
}

#[tokio::test]
async fn a_call_that_fails_gives_everything_back_after_one_try() {
    let server = Scripted::queue(|_| Answer::Error(503, "ServiceUnavailable")).await;
    let source = SqsSource::connect(at(&server.url())).await.unwrap();
    let failure = source.ack(committed(["r0", "r1"].map(with_receipt).into()).await).await.unwrap_err();
    assert_eq!((failure.error.class(), failure.unacked.len()), (ErrorClass::Retryable, 2));
    let held = held(vec![with_receipt("r0")]);
    assert_eq!(source.extend(&held, SECOND).await.unwrap_err().class(), ErrorClass::Retryable);
    assert_eq!(server.calls("DeleteMessageBatch").len(), 1, "the pipeline repeats it");
    assert_eq!(server.calls("ChangeMessageVisibilityBatch").len(), 1, "the pipeline repeats it");
}

#[tokio::test]
async fn giving_back_is_tried_several_times_for_nobody_else_does() {
    let server = Scripted::queue(|_| Answer::Error(503, "ServiceUnavailable")).await;
    let source = SqsSource::connect(at(&server.url())).await.unwrap();
    let error = source.nack(returned(vec![with_receipt("r0")]), SECOND).await.unwrap_err();
    assert_eq!(error.class(), ErrorClass::Retryable);
    assert_eq!(server.calls("ChangeMessageVisibilityBatch").len(), 3);
}

#[tokio::test]
async fn an_extended_message_stays_invisible_for_the_new_lease() {
    let local = Local::start().await;
    local.queue.send_many(["a"]).unwrap();
    let source = local.source().await;
    let held = held(receive(&source).await);
    local.clock.advance(25 * SECOND);
    assert_eq!(source.extend(&held, 30 * SECOND).await.unwrap(), [ExtendOutcome::Extended]);
    local.clock.advance(29 * SECOND);
    assert!(receive(&source).await.is_empty(), "the first lease is over, the second is not");
    local.clock.advance(SECOND);
    assert_eq!(receive(&source).await.iter().map(|d| d.attempt).collect::<Vec<_>>(), [2]);
}

#[tokio::test]
async fn extending_tells_what_is_lost() {
    use ExtendOutcome::{Extended, Lost};
    let local = Local::start().await;
    let source = local.source().await;
    local.queue.send_many(["expired"]).unwrap();
    let mut deliveries = receive(&source).await;
    local.clock.advance(30 * SECOND);
    // Received by another worker meanwhile, then deleted by it.
    local.queue.send_many(["taken"]).unwrap();
    let taken = receive(&source).await;
    source.ack(committed(taken.iter().map(again).collect()).await).await.unwrap();
    deliveries.extend(taken);
    local.queue.send_many(["ours"]).unwrap();
    deliveries.extend(receive(&source).await);
    deliveries.push(with_receipt("garbage"));
    let outcomes = source.extend(&held(deliveries), 30 * SECOND).await.unwrap();
    assert_eq!(outcomes, [Lost, Lost, Lost, Extended, Lost]);
}

#[tokio::test]
async fn nothing_is_held_for_more_than_twelve_hours() {
    let local = Local::start().await;
    local.queue.send_many(["a"]).unwrap();
    let source = local.source().await;
    let limits = source.limits();
    let held = held(receive(&source).await);
    local.clock.advance(SECOND);
    let max_hold = limits.max_hold.unwrap();
    assert_eq!(
        source.extend(&held, max_hold).await.unwrap(),
        [ExtendOutcome::Extended],
        "within the limit it states"
    );
    assert_eq!(
        source.extend(&held, 12 * 3600 * SECOND).await.unwrap(),
        [ExtendOutcome::Lost],
        "past SQS's own"
    );
}

#[tokio::test]
async fn a_message_given_back_at_once_comes_at_once() {
    let local = Local::start().await;
    local.queue.send_many(["a"]).unwrap();
    let source = local.source().await;
    source.nack(returned(receive(&source).await), Duration::ZERO).await.unwrap();
    let attempts: Vec<_> = receive(&source).await.iter().map(|delivery| delivery.attempt).collect();
    assert_eq!(attempts, [2]);
}

#[tokio::test]
async fn a_message_given_back_with_a_delay_comes_after_it() {
    let local = Local::start().await;
    local.queue.send_many(["a"]).unwrap();
    let source = local.source().await;
    source.nack(returned(receive(&source).await), Duration::from_millis(4_001)).await.unwrap();
    local.clock.advance(4 * SECOND);
    assert!(receive(&source).await.is_empty(), "parts of a second are rounded up");
    local.clock.advance(SECOND);
    assert_eq!(receive(&source).await.len(), 1);
}

#[tokio::test]
async fn what_is_not_in_flight_needs_no_giving_back() {
    let local = Local::start().await;
    local.queue.send_many(["a", "b"]).unwrap();
    let source = local.source().await;
    let mut deliveries = receive(&source).await;
    source.ack(committed(deliveries.iter().take(1).map(again).collect()).await).await.unwrap();
    deliveries.push(with_receipt("garbage"));
    source.nack(returned(deliveries), Duration::ZERO).await.unwrap();
    assert_eq!(local.queue.stats().ready, 1);
}

#[tokio::test]
async fn no_batch_is_no_call() {
    let server = Scripted::queue(|_| Answer::Error(500, "InternalFailure")).await;
    let source = SqsSource::connect(at(&server.url())).await.unwrap();
    source.ack(Vec::new()).await.unwrap();
    source.nack(Vec::new(), SECOND).await.unwrap();
    assert!(source.extend(&[], SECOND).await.unwrap().is_empty());
}

#[tokio::test]
async fn depth_counts_or_says_that_it_may_not() {
    let local = Local::start().await;
    let source = local.source().await;
    local.queue.send_many(["a", "b", "c"]).unwrap();
    source.receive(2).await.unwrap();
    let depth = QueueDepth { visible: 1, in_flight: 2, delayed: 0 };
    assert_eq!(source.depth().await.unwrap(), Some(depth));

    let denied = Scripted::queue(|_| Answer::Error(403, "AccessDenied")).await;
    assert_eq!(SqsSource::connect(at(&denied.url())).await.unwrap().depth().await.unwrap(), None);
    let empty = Scripted::queue(|_| Answer::ok("{}")).await;
    assert_eq!(SqsSource::connect(at(&empty.url())).await.unwrap().depth().await.unwrap(), None);
    let down = Scripted::queue(|_| Answer::Error(503, "ServiceUnavailable")).await;
    let error = SqsSource::connect(at(&down.url())).await.unwrap().depth().await.unwrap_err();
    assert_eq!(error.class(), ErrorClass::Retryable);
}
