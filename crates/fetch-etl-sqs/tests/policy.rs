//! What a queue says about messages that nobody deletes.

use std::time::Duration;

use fetch_etl_core::ErrorClass;
use fetch_etl_local_sqs::QueueConfig;
use fetch_etl_sqs::SqsSource;

use crate::scripted::{Answer, Scripted};
use crate::support::{Local, QUEUE, at};

#[tokio::test]
async fn a_dead_letter_queue_and_the_retention_are_told() {
    let with =
        Local::with(QueueConfig::new(QUEUE).dead_letter("dead", 3).retention(Duration::from_secs(120))).await;
    let policy = with.source().await.policy().await.unwrap().unwrap();
    assert!(policy.has_dead_letter_queue);
    assert_eq!(policy.retention, Some(Duration::from_secs(120)));

    let without = Local::start().await;
    assert!(!without.source().await.policy().await.unwrap().unwrap().has_dead_letter_queue);
}

#[tokio::test]
async fn what_may_not_be_asked_or_is_not_told_is_not_known() {
    for script in [|_: &_| Answer::Error(403, "AccessDenied"), |_: &_| Answer::ok("{}")] {
        let server = Scripted::queue(script).await;
        assert_eq!(SqsSource::connect(at(&server.url())).await.unwrap().policy().await.unwrap(), None);
    }
    let down = Scripted::queue(|_| Answer::Error(503, "ServiceUnavailable")).await;
    let error = SqsSource::connect(at(&down.url())).await.unwrap().policy().await.unwrap_err();
    assert_eq!(error.class(), ErrorClass::Retryable);
}
