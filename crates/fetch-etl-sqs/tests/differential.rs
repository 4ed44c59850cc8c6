//! Both transports are given the same answers, and have to make the same of them: with the SDK's client as the reference.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use fetch_etl_core::{Delivery, MessageSource};
use fetch_etl_sqs::{ORIGIN_ATTRIBUTE, SqsConfig, SqsSource, Transport};
use serde_json::{Value, json};

use crate::scripted::{Answer, Call, Scripted};
use crate::support::{TRANSPORTS, at, committed, held, returned, with_receipt};

type Script = Arc<dyn Fn(&Call) -> Answer + Send + Sync>;

/// What a user of a source sees, and what the service saw.
#[derive(Debug, PartialEq)]
struct Seen {
    outcome: String,
    requests: Vec<Request>,
}

/// A request, without what differs from one to the next.
#[derive(Debug, PartialEq)]
struct Request {
    operation: String,
    body: Value,
    kind: Option<String>,
    query_mode: Option<String>,
}

impl Request {
    fn of(call: &Call) -> Self {
        let header = |name| call.header(name).map(str::to_owned);
        Self {
            operation: call.operation.clone(),
            body: serde_json::from_str(&call.body).unwrap(),
            kind: header("content-type"),
            query_mode: header("x-amzn-query-mode"),
        }
    }
}

fn show(deliveries: &[Delivery]) -> String {
    deliveries.iter().fold(String::new(), |mut text, delivery| {
        let Delivery { id, key, attempt, sent_at, trace, body, receipt } = delivery;
        let _ = write!(
            text,
            "{id:?} {key:?} {attempt} {sent_at:?} {trace:?} {:?} {:?}; ",
            String::from_utf8_lossy(body.expose()),
            receipt.handle()
        );
        text
    })
}

const OPERATIONS: [&str; 3] = ["ReceiveMessage", "DeleteMessageBatch", "ChangeMessageVisibilityBatch"];

async fn seen(script: &Script, transport: Transport) -> Seen {
    let answer = script.clone();
    let server = Scripted::queue(move |call| answer(call)).await;
    let config = SqsConfig {
        wait_time: Duration::ZERO,
        request_timeout: Duration::from_millis(700),
        key_attribute: Some("event-id".into()),
        transport,
        ..at(&server.url())
    };
    let source = SqsSource::connect(config).await.unwrap();
    let mut outcome = match source.receive(7).await {
        Ok(deliveries) => show(&deliveries),
        Err(error) => format!("{:?} {error} {error:?}", error.class()),
    };
    let receipts = || ["r0", "r\"1\\\n", "r2", "ü3"].map(with_receipt).into();
    match source.ack(committed(receipts()).await).await {
        Ok(()) => outcome.push_str(" | acked"),
        Err(failure) => {
            let unacked: Vec<_> = failure.unacked.iter().map(|token| token.receipt().handle()).collect();
            let _ = write!(outcome, " | {:?} {failure} {unacked:?}", failure.error.class());
        }
    }
    match source.extend(&held(receipts()), Duration::from_secs(30)).await {
        Ok(outcomes) => _ = write!(outcome, " | {outcomes:?}"),
        Err(error) => _ = write!(outcome, " | {:?} {error}", error.class()),
    }
    let requests =
        OPERATIONS.iter().flat_map(|operation| server.calls(operation)).map(|call| Request::of(&call));
    Seen { outcome, requests: requests.collect() }
}

/// Asks both and returns what both saw.
async fn agreed(name: &str, script: impl Fn(&Call) -> Answer + Send + Sync + 'static) -> Seen {
    let script: Script = Arc::new(script);
    let by_sdk = Box::pin(seen(&script, Transport::Sdk)).await;
    let lean = Box::pin(seen(&script, Transport::Lean)).await;
    assert_eq!(lean, by_sdk, "{name}");
    lean
}

fn message(more: &Value) -> String {
    let mut message = json!({"MessageId": "id-1", "ReceiptHandle": "r-1", "Body": "{\"user_id\":\"ä\\u0000\\t\"}", "MD5OfBody": "0"});
    if let (Some(message), Some(more)) = (message.as_object_mut(), more.as_object()) {
        message.extend(more.clone());
    }
    json!({"Messages": [message]}).to_string()
}

fn text(value: &str) -> Value {
    json!({"StringValue": value, "DataType": "String"})
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_of_every_kind_are_read_alike() {
    let many: Vec<_> = (0..10)
        .map(|i| json!({"MessageId": format!("id-{i}"), "ReceiptHandle": format!("r-{i}"), "Body": "x".repeat(100_000)}))
        .collect();
    let bodies = [
        ("plain", message(&json!({}))),
        ("system attributes", message(&json!({"Attributes": {"SentTimestamp": "1699459200000", "ApproximateReceiveCount": "3", "SenderId": "x"}}))),
        ("odd system attributes", message(&json!({"Attributes": {"SentTimestamp": "yesterday", "ApproximateReceiveCount": "0"}}))),
        ("a trace", message(&json!({"Attributes": {"AWSTraceHeader": "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1"}}))),
        ("no trace", message(&json!({"Attributes": {"AWSTraceHeader": "Root=elsewhere"}}))),
        ("null system attributes", message(&json!({"Attributes": null}))),
        ("key", message(&json!({"MessageAttributes": {"event-id": text("e-1"), "other": text("x")}, "MD5OfMessageAttributes": "wrong"}))),
        ("binary key", message(&json!({"MessageAttributes": {"event-id": {"BinaryValue": "eA==", "DataType": "Binary"}}}))),
        ("number", message(&json!({"MessageAttributes": {"event-id": {"StringValue": "17", "DataType": "Number.x"}}}))),
        ("origin", message(&json!({"MessageAttributes": {ORIGIN_ATTRIBUTE: text("o-1")}}))),
        ("redriven", message(&json!({"MessageAttributes": {ORIGIN_ATTRIBUTE: text("o-1"), "origin-sent-timestamp": text("5000")}}))),
        ("redriven key", message(&json!({"MessageAttributes": {ORIGIN_ATTRIBUTE: text("o-1"), "origin-sent-timestamp": text("5000"), "event-id": text("e")}}))),
        ("null attributes", message(&json!({"MessageAttributes": null}))),
        ("null in an attribute", message(&json!({"MessageAttributes": {"event-id": {"StringValue": null, "DataType": null}}}))),
        ("escaped texts", message(&json!({"MessageId": "a\"\\/\u{8}ü😀", "ReceiptHandle": "r\n\u{1}", "MessageAttributes": {"event-id": text("\u{0}\"")}}))),
        ("no id", message(&json!({"MessageId": null}))),
        ("no receipt", message(&json!({"ReceiptHandle": null}))),
        ("no body", message(&json!({"Body": null}))),
        ("empty body", message(&json!({"Body": ""}))),
        ("unknown", message(&json!({"Unknown": {"deep": [1, -2.5e3, true, null, {"x": "\\"}]}}))),
        ("nothing in it", r#"{"Messages":[{}]}"#.to_owned()),
        ("none", r#"{"Messages":[]}"#.to_owned()),
        ("null", r#"{"Messages":null}"#.to_owned()),
        ("empty object", " {} ".to_owned()),
        ("no document", String::new()),
        ("unknown keys", r#"{"Other":[{"Messages":[1]}],"x":"\u00e4"}"#.to_owned()),
        ("twice", r#"{"Messages":[{"MessageId":"a","MessageId":"b","ReceiptHandle":"r","Body":"1","Body":"2"}],"Messages":[{"MessageId":"c","ReceiptHandle":"d","Body":"e"},{"MessageId":"f","ReceiptHandle":"g"}]}"#.to_owned()),
        ("twice, then null", r#"{"Messages":[{"MessageId":"a","ReceiptHandle":"r","Body":"1","Body":null}],"Messages":null}"#.to_owned()),
        ("escaped names", r#"{"\u004dessages":[{"Message\u0049d":"a","ReceiptHandle":"r","Body":"\ud83d\ude00"}]}"#.to_owned()),
        ("large", json!({"Messages": many}).to_string()),
    ];
    for (name, body) in bodies {
        let seen = agreed(name, move |_| Answer::ok(body.clone())).await;
        assert!(!seen.outcome.contains("ReceiveMessage"), "{name} is read, not refused");
    }
    let pieces = message(&json!({"Body": "y".repeat(1000)})).into_bytes();
    let whole = agreed("in pieces", move |_| Answer::Pieces(200, pieces.clone())).await;
    assert!(whole.outcome.contains(&"y".repeat(1000)), "{whole:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_answer_is_refused_alike() {
    let with_body = |body: &[u8]| {
        [br#"{"Messages":[{"MessageId":"a","ReceiptHandle":"r","Body":""#, body, br#""}]}"#].concat()
    };
    let answers: Vec<(&str, Vec<u8>)> = vec![
        ("html", b"<html>203.0.113.7</html>".into()),
        ("truncated", br#"{"Messages":[{"Body":"203.0.113.7""#.into()),
        ("truncated escape", br#"{"Messages":[{"Body":"203.0.113.7\"#.into()),
        ("array", b"[]".into()),
        ("text", br#""203.0.113.7""#.into()),
        ("spaces", b"  ".into()),
        ("messages of another kind", br#"{"Messages":"203.0.113.7"}"#.into()),
        ("message of another kind", br#"{"Messages":["203.0.113.7"]}"#.into()),
        ("null message", br#"{"Messages":[null]}"#.into()),
        ("number for a text", br#"{"Messages":[{"Body":203}]}"#.into()),
        ("object for a text", br#"{"Messages":[{"MessageId":{}}]}"#.into()),
        ("attributes of another kind", br#"{"Messages":[{"Attributes":["x"]}]}"#.into()),
        ("attribute of another kind", br#"{"Messages":[{"MessageAttributes":{"event-id":"x"}}]}"#.into()),
        ("two documents", b"{}{}".into()),
        ("comma", br#"{"Messages":[],}"#.into()),
        ("invalid utf-8", with_body(b"\xff\xfe")),
        ("cut utf-8", with_body(b"\xc3")),
        ("lone high surrogate", with_body(br"\ud800")),
        ("lone low surrogate", with_body(br"\udc00")),
        ("high surrogate and a letter", with_body(br"\ud800\u0041")),
        ("two high surrogates", with_body(br"\ud800\ud800")),
        ("unknown escape", with_body(br"\x41")),
        ("short escape", with_body(br"\u12")),
        ("no hexadecimal", with_body(br"\u12g4")),
        ("control character", with_body(b"a\nb")),
    ];
    for (name, body) in answers {
        let answer = move |call: &Call| match call.operation.as_str() {
            "ReceiveMessage" => Answer::With(200, Vec::new(), body.clone()),
            _ => Answer::ok("{}"),
        };
        let seen = agreed(name, answer).await;
        assert!(
            seen.outcome.contains("Retryable ReceiveMessage: the answer cannot be read (HTTP 200)"),
            "{name}: {seen:?}"
        );
        assert!(!seen.outcome.contains("203.0.113.7"), "{name}: {seen:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn entries_of_batches_are_read_alike() {
    for (name, body) in [
        ("all", r#"{"Successful":[{"Id":"0"},{"Id":"1"},{"Id":"2"},{"Id":"3"}],"Failed":[]}"#),
        (
            "some",
            r#"{"Successful":[{"Id":"0"}],"Failed":[{"Id":"1","Code":"ReceiptHandleIsInvalid","SenderFault":true,"Message":"203.0.113.7"},{"Id":"3","Code":"InternalError","SenderFault":false}]}"#,
        ),
        (
            "failed first",
            r#"{"Failed":[{"Id":"0","Code":"x.y","SenderFault":true}],"Successful":[{"Id":"0"},{"Id":"1"}]}"#,
        ),
        ("nothing said", "{}"),
        ("null", r#"{"Successful":null,"Failed":null}"#),
        (
            "parts missing",
            r#"{"Successful":[{}],"Failed":[{"Id":"2"},{"Code":"x"},{"Id":"1","Code":null,"SenderFault":null}]}"#,
        ),
        (
            "throttled",
            r#"{"Failed":[{"Id":"0","Code":"RequestThrottled","SenderFault":true},{"Id":"1","Code":"AccessDenied","SenderFault":true}]}"#,
        ),
        (
            "strange ids",
            r#"{"Successful":[{"Id":"9"},{"Id":"-1"},{"Id":"x"}],"Failed":[{"Id":"4","Code":"x","SenderFault":false}]}"#,
        ),
        ("twice", r#"{"Successful":[{"Id":"0"}],"Successful":[{"Id":"1","Id":"2"}]}"#),
        ("null entry", r#"{"Successful":[null]}"#),
        ("fault of another kind", r#"{"Failed":[{"Id":"0","Code":"x","SenderFault":"true"}]}"#),
        ("id of another kind", r#"{"Successful":[{"Id":0}]}"#),
        ("list of another kind", r#"{"Successful":{}}"#),
    ] {
        let seen = agreed(name, move |_| Answer::ok(body)).await;
        assert!(!seen.outcome.contains("203.0.113.7"), "{name}: {seen:?}");
        assert_eq!(seen.requests.len(), 3, "{name}: {seen:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn errors_are_told_apart_alike() {
    let id = || ("x-amzn-requestid", "5f1c3d2a-0000-4000-8000-0123456789ab".to_owned());
    let query = |code: &str| ("x-amzn-query-error", format!("{code};Sender"));
    let kind = |code: &str| ("x-amzn-errortype", code.to_owned());
    let json = |code: &str| {
        format!(r#"{{"__type":"com.amazonaws.sqs#{code}","message":"203.0.113.7"}}"#).into_bytes()
    };
    let mut answers: Vec<(u16, Vec<_>, Vec<u8>)> = vec![
        (400, vec![id(), query("AWS.SimpleQueueService.NonExistentQueue")], json("QueueDoesNotExist")),
        (400, vec![query("AWS.SimpleQueueService.NonExistentQueue")], Vec::new()),
        (400, vec![("x-amzn-query-error", "NoDelimiter".into())], json("OverLimit")),
        (403, vec![kind("AccessDenied:http://x/")], Vec::new()),
        (403, vec![kind("aws#AccessDenied"), query("OverLimit")], b"{}".into()),
        (400, vec![id()], br#"{"code":"RequestThrottled","__type":"x"}"#.into()),
        (400, vec![], br#"{"__type":"RequestThrottled:http://x/","Message":"203.0.113.7"}"#.into()),
        (400, vec![], br#"{"__type":null,"code":7}"#.into()),
        (400, vec![], br#"{"__type":"\u004fverLimit"}"#.into()),
        (400, vec![], br#"{"__type":"A","__type":"OverLimit"}"#.into()),
        (400, vec![], b"{}".into()),
        (400, vec![], br#"{"__type":"203.0.113.7"}"#.into()),
        (400, vec![], br#"{"__type":"has spaces in it"}"#.into()),
        (400, vec![query("OverLimit")], b"<html>".into()),
        (400, vec![], b"{\"__type\":\"OverLimit\"".into()),
        (400, vec![], b"{\"__type\":\"Over\xff\"}".into()),
        (400, vec![], b"5".into()),
        (403, vec![], b"<ErrorResponse><Error><Code>AccessDenied</Code></Error></ErrorResponse>".into()),
        (301, vec![("location", "http://127.0.0.1:1/".into())], Vec::new()),
        (404, vec![("x-amz-request-id", "0123456789abcdef".into())], b"<html>203.0.113.7</html>".into()),
        (429, vec![], Vec::new()),
        (408, vec![], Vec::new()),
        (500, vec![("x-amzn-requestid", "203.0.113.7".into())], Vec::new()),
        (502, vec![], b"<html>".into()),
        (503, vec![id()], json("ServiceUnavailable")),
        (504, vec![], Vec::new()),
    ];
    for code in [
        "OverLimit",
        "RequestThrottled",
        "QueueDoesNotExist",
        "ReceiptHandleIsInvalid",
        "InvalidAddress",
        "InvalidSecurity",
        "UnsupportedOperation",
        "KmsAccessDenied",
        "KMS.AccessDeniedException",
        "KmsThrottled",
        "KmsDisabled",
        "KmsNotFound",
        "ExpiredToken",
        "ExpiredTokenException",
        "InvalidClientTokenId",
        "UnrecognizedClientException",
        "SignatureDoesNotMatch",
        "InvalidSignatureException",
        "IncompleteSignature",
        "MissingAuthenticationToken",
        "RequestExpired",
        "RequestTimeTooSkewed",
        "AccessDenied",
        "AccessDeniedException",
        "OptInRequired",
        "InternalFailure",
        "Throttling",
        "EmptyBatchRequest",
        "TooManyEntriesInBatchRequest",
        "BatchEntryIdsNotDistinct",
        "SomethingNew",
    ] {
        answers.push((400, vec![id()], json(code)));
        answers.push((403, vec![query(code)], json(code)));
    }
    for (status, headers, body) in answers {
        let name = format!("{status} {headers:?} {}", String::from_utf8_lossy(&body));
        let seen = agreed(&name, move |_| Answer::With(status, headers.clone(), body.clone())).await;
        assert!(!seen.outcome.contains("203.0.113.7"), "{name}: {seen:?}");
        assert_eq!(seen.requests.len(), 3, "one try each: {name}: {seen:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn broken_connections_are_told_apart_alike() {
    for (name, answer, text) in [
        (
            "cut",
            (|_: &Call| Answer::Cut) as fn(&Call) -> Answer,
            "Retryable ReceiveMessage: the answer cannot be read (HTTP 200)",
        ),
        ("reset", |_| Answer::Reset, "Retryable ReceiveMessage: "),
        ("silence", |_| Answer::Silence, "Retryable ReceiveMessage: no answer in time"),
        ("no status", |_| Answer::Http(999, String::new()), "Fatal ReceiveMessage: refused (HTTP 999)"),
    ] {
        let seen = agreed(name, answer).await;
        assert!(seen.outcome.contains(text), "{name}: {seen:?}");
    }
}

/// What nobody but the pipeline repeats goes through the SDK either way.
#[tokio::test]
async fn giving_back_is_repeated_alike() {
    for transport in TRANSPORTS {
        let server = Scripted::queue(|_| Answer::Error(503, "ServiceUnavailable")).await;
        let source = SqsSource::connect(SqsConfig { transport, ..at(&server.url()) }).await.unwrap();
        source.nack(returned(vec![with_receipt("r0")]), Duration::ZERO).await.unwrap_err();
        assert_eq!(server.calls("ChangeMessageVisibilityBatch").len(), 3, "{transport:?}");
    }
}

/// Behind an address there are many servers, and the next connection may lead to one that works.
#[tokio::test]
async fn a_connection_to_a_server_that_fails_is_not_used_again() {
    for transport in TRANSPORTS {
        let server = Scripted::queue(|_| Answer::Error(503, "ServiceUnavailable")).await;
        let source = SqsSource::connect(SqsConfig { transport, ..at(&server.url()) }).await.unwrap();
        for _ in 0..3 {
            source.receive(1).await.unwrap_err();
        }
        let connections: Vec<_> = server.calls("ReceiveMessage").iter().map(|call| call.connection).collect();
        assert!(connections.is_sorted_by(|a, b| a < b), "{transport:?}: {connections:?}");
    }
}
