use std::time::Duration;

use fetch_etl_core::ErrorClass::{self, Fatal, Retryable};
use fetch_etl_core::MessageSource;
use fetch_etl_sqs::{SqsConfig, SqsSource, Transport};

use crate::scripted::{Answer, Scripted};
use crate::support::{Local, TRANSPORTS, at};

/// A receive that fails: after how many tries, with which class and text.
async fn failed_receive(answer: fn() -> Answer, transport: Transport) -> (usize, ErrorClass, String) {
    let server = Scripted::queue(move |_| answer()).await;
    let (wait_time, request_timeout) = (Duration::ZERO, Duration::from_millis(500));
    let config = SqsConfig { wait_time, request_timeout, transport, ..at(&server.url()) };
    let source = SqsSource::connect(config).await.unwrap();
    let error = source.receive(10).await.unwrap_err();
    (server.calls("ReceiveMessage").len(), error.class(), error.to_string())
}

#[tokio::test]
async fn failures_of_every_kind_are_classified_and_left_to_the_pipeline_to_repeat() {
    type Row = (fn() -> Answer, ErrorClass, &'static str);
    let table: [Row; 9] = [
        (
            || Answer::Error(400, "RequestThrottled"),
            Retryable,
            "throttled (RequestThrottled, HTTP 400, request 00000000-feed)",
        ),
        (
            || Answer::Error(403, "OverLimit"),
            Retryable,
            "too many messages of the queue are in flight (OverLimit, HTTP 403, request 00000000-feed)",
        ),
        (
            || Answer::Error(500, "InternalFailure"),
            Retryable,
            "the service failed (InternalFailure, HTTP 500, request 00000000-feed)",
        ),
        (|| Answer::Http(502, "<html>".into()), Retryable, "the service failed (HTTP 502)"),
        (
            || Answer::Http(200, "{\"Messages\":[{\"Body\":\"203.0.113.7\"".into()),
            Retryable,
            "the answer cannot be read (HTTP 200)",
        ),
        (|| Answer::Cut, Retryable, "the answer cannot be read (HTTP 200)"),
        (|| Answer::Silence, Retryable, "no answer in time"),
        (
            || Answer::Error(403, "AccessDenied"),
            Fatal,
            "access denied (AccessDenied, HTTP 403, request 00000000-feed)",
        ),
        (
            || Answer::Error(400, "UnsupportedOperation"),
            Fatal,
            "refused (UnsupportedOperation, HTTP 400, request 00000000-feed)",
        ),
    ];
    for (answer, class, text) in table {
        for transport in TRANSPORTS {
            let expected = (1, class, format!("ReceiveMessage: {text}"));
            assert_eq!(failed_receive(answer, transport).await, expected, "{transport:?}");
        }
    }
}

#[tokio::test]
async fn a_queue_that_is_deleted_under_a_worker_is_final() {
    let local = Local::start().await;
    let source = local.source().await;
    local.client().delete_queue().queue_url(local.queue_url()).send().await.unwrap();
    let error = source.receive(10).await.unwrap_err();
    assert_eq!(error.class(), Fatal);
    assert!(
        error.to_string().starts_with("ReceiveMessage: the queue does not exist (NonExistentQueue, HTTP 400"),
        "{error}"
    );
}

#[tokio::test]
async fn a_service_that_is_gone_may_come_back() {
    for transport in TRANSPORTS {
        let Local { server, queue, .. } = Local::start().await;
        let config = SqsConfig { wait_time: Duration::ZERO, transport, ..at(&server.url()) };
        let source = SqsSource::connect(config).await.unwrap();
        drop(queue);
        server.shutdown().await;
        let error = source.receive(10).await.unwrap_err();
        assert_eq!(
            (error.class(), error.to_string().as_str()),
            (Retryable, "ReceiveMessage: connection refused"),
            "{transport:?}"
        );
    }
}
