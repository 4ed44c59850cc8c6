use std::time::{Duration, Instant};

use aws_sdk_sqs::types::MessageAttributeValue;
use fetch_etl_core::{MessageSource, UnixMillis};
use fetch_etl_local_sqs::{LocalSqs, QueueConfig};
use fetch_etl_sqs::{ORIGIN_ATTRIBUTE, SqsConfig, SqsSource};

use crate::scripted::{Answer, Scripted};
use crate::support::{Local, QUEUE, at, receive, returned, text};

#[tokio::test]
async fn a_delivery_says_what_the_queue_says() {
    let local = Local::start().await;
    let body = "{\"user_id\":\"ä\\u0000\t<&>\"}";
    local.queue.send_many([body]).unwrap();
    let source = local.source().await;
    for attempt in 1..=3 {
        let mut deliveries = receive(&source).await;
        let delivery = deliveries.pop().unwrap();
        assert!(deliveries.is_empty());
        assert_eq!(text(&delivery), body);
        assert_eq!(delivery.attempt, attempt);
        assert_eq!(
            delivery.sent_at,
            Some(UnixMillis::new(1_700_000_000_000)),
            "of sending, not of receiving"
        );
        assert_eq!(delivery.key, None);
        local.clock.advance(Duration::from_secs(31));
    }
}

#[tokio::test]
async fn a_receive_brings_ten_at_most_and_no_more_than_asked() {
    let local = Local::start().await;
    local.queue.send_many((0..30).map(|i| i.to_string())).unwrap();
    let source = local.source().await;
    for (max, received) in [(0, 0), (1, 1), (3, 3), (10, 10), (1000, 10)] {
        assert_eq!(source.receive(max).await.unwrap().len(), received, "{max}");
    }
}

#[tokio::test]
async fn the_key_is_the_producers_then_the_origin_then_none() {
    let local = Local::start().await;
    let client = local.client();
    for (body, attributes) in [
        ("both", &[("event-id", "e-1"), (ORIGIN_ATTRIBUTE, "o-1")][..]),
        ("origin", &[(ORIGIN_ATTRIBUTE, "o-2"), ("other", "x")]),
        ("none", &[("other", "x")]),
    ] {
        let mut request = client.send_message().queue_url(local.queue_url()).message_body(body);
        for (name, value) in attributes {
            let value =
                MessageAttributeValue::builder().data_type("String").string_value(*value).build().unwrap();
            request = request.message_attributes(*name, value);
        }
        request.send().await.unwrap();
    }
    let keyed = SqsConfig { key_attribute: Some("event-id".into()), ..local.config() };
    for (config, expected) in [
        (keyed, [("both", Some("e-1")), ("none", None), ("origin", Some("o-2"))]),
        (local.config(), [("both", Some("o-1")), ("none", None), ("origin", Some("o-2"))]),
    ] {
        let source = SqsSource::connect(config).await.unwrap();
        let deliveries = receive(&source).await;
        let mut keys: Vec<_> = deliveries.iter().map(|d| (text(d), d.key.as_deref())).collect();
        keys.sort_unstable();
        assert_eq!(keys, expected);
        source.nack(returned(deliveries), Duration::ZERO).await.unwrap();
    }
}

#[tokio::test]
async fn a_long_poll_may_last_longer_than_a_request() {
    let server = LocalSqs::builder().queue(QueueConfig::new(QUEUE)).bind("127.0.0.1:0").await.unwrap();
    let (wait_time, request_timeout) = (Duration::from_secs(2), Duration::from_secs(1));
    let config = SqsConfig { wait_time, request_timeout, ..at(&server.url()) };
    let source = SqsSource::connect(config).await.unwrap();
    let start = Instant::now();
    assert!(receive(&source).await.is_empty());
    assert!(start.elapsed() >= Duration::from_millis(1900), "it waited {:?}", start.elapsed());
}

#[tokio::test]
async fn a_message_without_id_or_receipt_is_left_and_one_without_a_body_is_empty() {
    let server = Scripted::queue(|_| {
        Answer::ok(
            r#"{"Messages":[
                {"MessageId":"a","ReceiptHandle":"ra","Body":"whole"},
                {"ReceiptHandle":"rb","Body":"no id"},
                {"MessageId":"c","Body":"no receipt"},
                {"MessageId":"d","ReceiptHandle":"rd"},
                {}
            ]}"#,
        )
    })
    .await;
    let source = SqsSource::connect(at(&server.url())).await.unwrap();
    let deliveries = receive(&source).await;
    let seen: Vec<_> = deliveries.iter().map(|d| (&*d.id, text(d), d.attempt, d.sent_at)).collect();
    assert_eq!(seen, [("a", "whole", 1, None), ("d", "", 1, None)]);
}

#[tokio::test]
async fn only_what_is_needed_is_asked_for() {
    let server = Scripted::queue(|_| Answer::ok("{}")).await;
    let config = SqsConfig { key_attribute: Some("event-id".into()), ..at(&server.url()) };
    let source = SqsSource::connect(config).await.unwrap();
    assert!(source.receive(7).await.unwrap().is_empty());
    let calls = server.calls("ReceiveMessage");
    let body = &calls.first().unwrap().body;
    for part in [
        r#""QueueUrl":"http://queue.example/000000000000/logins""#,
        r#""MaxNumberOfMessages":7"#,
        r#""WaitTimeSeconds":20"#,
        r#""VisibilityTimeout":40"#,
        r#""MessageSystemAttributeNames":["SentTimestamp","ApproximateReceiveCount","AWSTraceHeader"]"#,
        r#""MessageAttributeNames":["event-id","origin-message-id","origin-sent-timestamp"]"#,
    ] {
        assert!(body.contains(part), "{part} in {body}");
    }
}
