//! What a queue says about how it is set up.

use std::time::Duration;

use fetch_etl_core::ErrorClass;
use fetch_etl_local_sqs::QueueConfig;
use fetch_etl_sqs::{DeadLetterState, Encryption, QueuePosture, SqsSource};

use crate::scripted::{Answer, Scripted};
use crate::support::{Local, QUEUE, at};

async fn posture(queue: QueueConfig) -> QueuePosture {
    Local::with(queue).await.source().await.posture().await.unwrap().unwrap()
}

#[tokio::test]
async fn the_settings_of_a_queue_and_of_its_dead_letter_queue_are_told() {
    let queue = QueueConfig::new(QUEUE)
        .dead_letter("dead", 3)
        .retention(Duration::from_secs(120))
        .visibility_timeout(Duration::from_secs(40));
    let seen = posture(queue.clone()).await;
    let dead = seen.dead_letter.unwrap();
    assert_eq!((dead.name.as_str(), dead.max_receive_count), ("dead", Some(3)));
    // As it is made where nobody configures it.
    assert_eq!(dead.state, DeadLetterState::There(Some(Duration::from_secs(345_600))));
    assert_eq!(seen.retention, Some(Duration::from_secs(120)));
    assert_eq!(seen.visibility_timeout, Some(Duration::from_secs(40)));
    assert!(!seen.is_aws && seen.endpoint.is_some());

    assert_eq!(posture(QueueConfig::new(QUEUE)).await.dead_letter, None);
    for (queue, encryption) in [
        (queue.clone(), None),
        (queue.clone().managed_encryption(true), Some(Encryption::Service)),
        (queue.managed_encryption(false), Some(Encryption::Off)),
    ] {
        assert_eq!(posture(queue).await.encryption, encryption);
    }
}

/// Answers as a queue whose dead-letter queue is in some state.
async fn scripted(dead_letter: fn() -> Answer) -> DeadLetterState {
    let server = Scripted::start(move |call| match call.operation.as_str() {
        "GetQueueUrl" if call.body.contains("dead") => dead_letter(),
        "GetQueueUrl" => Answer::ok(r#"{"QueueUrl":"http://queue.example/000000000000/logins"}"#),
        _ => Answer::ok(
            r#"{"Attributes":{"VisibilityTimeout":"40",
                "RedrivePolicy":"{\"deadLetterTargetArn\":\"arn:aws:sqs:eu-west-1:1:dead\",\"maxReceiveCount\":3}"}}"#,
        ),
    })
    .await;
    let posture = SqsSource::connect(at(&server.url())).await.unwrap().posture().await.unwrap().unwrap();
    posture.dead_letter.unwrap().state
}

#[tokio::test]
async fn a_dead_letter_queue_that_is_gone_is_told_from_one_that_may_not_be_asked_for() {
    let gone = scripted(|| Answer::Error(400, "QueueDoesNotExist")).await;
    assert_eq!(gone, DeadLetterState::Missing);
    assert_eq!(scripted(|| Answer::Error(403, "AccessDenied")).await, DeadLetterState::Unknown);
}

#[tokio::test]
async fn what_may_not_be_asked_or_is_not_told_is_not_known() {
    for answer in [|| Answer::Error(403, "AccessDenied"), || Answer::ok("{}")] {
        // Finding the queue asks for one attribute, too.
        let server = Scripted::queue_but_for("RedrivePolicy", move |_| answer()).await;
        assert_eq!(SqsSource::connect(at(&server.url())).await.unwrap().posture().await.unwrap(), None);
    }
    let down = Scripted::queue_but_for("RedrivePolicy", |_| Answer::Error(503, "ServiceUnavailable")).await;
    let error = SqsSource::connect(at(&down.url())).await.unwrap().posture().await.unwrap_err();
    assert_eq!(error.class(), ErrorClass::Retryable);
}

#[tokio::test]
async fn the_services_clock_is_compared_with_this_machines() {
    let attributes = r#"{"Attributes":{"VisibilityTimeout":"40"}}"#;
    let ahead = async |date: &'static str| {
        let server = Scripted::queue_but_for("RedrivePolicy", move |_| Answer::Dated(date, attributes)).await;
        let source = SqsSource::connect(at(&server.url())).await.unwrap();
        source.posture().await.unwrap().unwrap().clock_ahead_ms
    };
    assert!(ahead("Tue, 01 Jan 2019 00:00:00 GMT").await.unwrap() > 0);
    assert!(ahead("Mon, 01 Jan 2120 00:00:00 GMT").await.unwrap() < 0);
    assert_eq!(ahead("yesterday").await, None);
    // This machine's own server.
    assert_eq!(posture(QueueConfig::new(QUEUE)).await.clock_ahead_ms, Some(0));
}
