use std::time::Duration;

use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_credential_types::Credentials;
use aws_credential_types::credential_fn::provide_credentials_fn;
use aws_credential_types::provider::SharedCredentialsProvider;
use aws_credential_types::provider::error::CredentialsError;
use fetch_etl_core::ErrorClass::{self, Fatal, Retryable};
use fetch_etl_core::MessageSource;
use fetch_etl_local_sqs::QueueConfig;
use fetch_etl_sqs::{ConnectErrorKind as Kind, Queue, SqsConfig, SqsSource};
use tokio::net::TcpListener;

use crate::scripted::{Answer, Scripted};
use crate::support::{Local, QUEUE, at, receive, text};

/// Connects in vain and gives back what the error says.
async fn refusal(config: SqsConfig) -> (Kind, ErrorClass, String) {
    let error = SqsSource::connect(config).await.unwrap_err();
    let text = error.to_string();
    let noisy = ["\n", "caused by", "203.0.113.7", "Error {"].iter().find(|noise| text.contains(**noise));
    assert_eq!(noisy, None, "{text}");
    assert!(std::error::Error::source(&error).is_none(), "a cause would be printed behind the line");
    (error.kind(), error.class(), text)
}

#[tokio::test]
async fn a_queue_is_found_by_name_and_by_url() {
    let local = Local::start().await;
    let by_url = SqsConfig { queue: Queue::Url(local.queue_url()), endpoint_url: None, ..local.config() };
    // Not what the machine's environment says: it may hold another endpoint.
    let sdk = sdk(|| Ok(Credentials::new("x", "x", None, None, "test")));
    for config in [local.config(), by_url] {
        local.queue.send_many(["hello"]).unwrap();
        let source = SqsSource::connect_with(config, &sdk).await.unwrap();
        assert_eq!(receive(&source).await.iter().map(text).collect::<Vec<_>>(), ["hello"]);
    }
}

#[tokio::test]
async fn a_configuration_error_is_the_error_of_connecting() {
    let (kind, class, text) =
        refusal(SqsConfig { wait_time: Duration::from_secs(25), ..at("http://localhost:1") }).await;
    assert_eq!((kind, class), (Kind::Config, Fatal));
    assert!(text.starts_with("wait_time is 25 s, but a long poll of SQS lasts at most 20 s"), "{text}");
}

#[tokio::test]
async fn a_queue_that_does_not_exist_is_named() {
    let local = Local::start().await;
    let url = local.server.url();
    let by_name = SqsConfig { queue: Queue::Name("nobody".into()), ..local.config() };
    let expected = format!("the queue nobody does not exist at {url}");
    assert_eq!(refusal(by_name).await, (Kind::NoSuchQueue, Fatal, expected));
    let queue_url = local.server.queue_url("nobody");
    let by_url = SqsConfig { queue: Queue::Url(queue_url.clone()), ..local.config() };
    let expected = format!("the queue {queue_url} does not exist at {url}");
    assert_eq!(refusal(by_url).await, (Kind::NoSuchQueue, Fatal, expected));
}

#[tokio::test]
async fn an_endpoint_that_is_not_there_is_named() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let expected = format!("cannot reach {address}: connection refused");
    assert_eq!(refusal(at(&format!("http://{address}"))).await, (Kind::Unreachable, Retryable, expected));
}

#[tokio::test]
async fn a_host_that_does_not_exist_is_named() {
    // RFC 6761 keeps this name from ever resolving.
    let expected = "cannot reach queue.invalid:9324: the host name does not resolve".to_owned();
    assert_eq!(refusal(at("http://queue.invalid:9324")).await, (Kind::Unreachable, Retryable, expected));
}

#[tokio::test]
async fn an_endpoint_that_does_not_answer_is_named() {
    let server = Scripted::start(|_| Answer::Silence).await;
    let config =
        SqsConfig { request_timeout: Duration::from_millis(100), max_attempts: 1, ..at(&server.url()) };
    let address = server.url().replace("http://", "");
    assert_eq!(
        refusal(config).await,
        (Kind::Unreachable, Retryable, format!("cannot reach {address}: no answer in time"))
    );
}

#[tokio::test]
async fn what_the_service_refuses_is_said_in_one_line() {
    let refused = "the AWS credentials are refused, or have expired";
    let mark = |code, status| format!("({code}, HTTP {status}, request 00000000-feed)");
    let table = [
        ("AccessDenied", 403, Kind::AccessDenied, Fatal, None),
        ("InvalidClientTokenId", 403, Kind::Credentials, Fatal, Some(refused)),
        ("ExpiredToken", 403, Kind::Credentials, Fatal, Some(refused)),
        ("ServiceUnavailable", 503, Kind::Service, Retryable, Some("GetQueueUrl: the service failed")),
        ("InvalidAddress", 404, Kind::Service, Fatal, Some("GetQueueUrl: refused")),
    ];
    for (code, status, kind, class, what) in table {
        let server = Scripted::start(move |_| Answer::Error(status, code)).await;
        let url = server.url();
        let text = match what {
            Some(what) => format!("cannot open the queue logins at {url}: {what} {}", mark(code, status)),
            None => format!(
                "access denied: allow sqs:GetQueueUrl on the queue logins at {url}, or set the queue's URL"
            ),
        };
        assert_eq!(refusal(at(&url)).await, (kind, class, text));
    }
}

#[tokio::test]
async fn what_is_no_sqs_is_said_to_be_none() {
    for (status, kind, class) in
        [(200, Kind::Service, Retryable), (404, Kind::Service, Fatal), (502, Kind::Service, Retryable)]
    {
        let server = Scripted::start(move |_| Answer::Http(status, "<html>203.0.113.7</html>".into())).await;
        let (found_kind, found_class, text) = refusal(at(&server.url())).await;
        assert_eq!((found_kind, found_class), (kind, class), "{text}");
        assert!(text.contains(&format!("HTTP {status}")), "{text}");
    }
}

/// The configuration of an embedder, with a provider of credentials of its own.
fn sdk(credentials: fn() -> Result<Credentials, CredentialsError>) -> SdkConfig {
    let provider = provide_credentials_fn(move || std::future::ready(credentials()));
    SdkConfig::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::from_static("eu-west-1"))
        .credentials_provider(SharedCredentialsProvider::new(provider))
        .build()
}

#[tokio::test]
async fn missing_and_broken_credentials_are_told_apart() {
    let config = || SqsConfig { credentials: Default::default(), ..at("http://127.0.0.1:9") };
    for (credentials, class, text) in [
        (
            (|| Err(CredentialsError::not_loaded("203.0.113.7"))) as fn() -> _,
            Fatal,
            "no AWS credentials found: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY (an emulator takes any), a profile or a role",
        ),
        (
            || Err(CredentialsError::provider_error("203.0.113.7")),
            Retryable,
            "the provider of the AWS credentials failed (SSO, STS, or the metadata service of a container or instance); or set \
             AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY (an emulator takes any), a profile or a role",
        ),
        (
            || Err(CredentialsError::invalid_configuration("203.0.113.7")),
            Fatal,
            "cannot open the queue logins at http://127.0.0.1:9: the configuration of the AWS credentials is invalid",
        ),
    ] {
        let error = SqsSource::connect_with(config(), &sdk(credentials)).await.unwrap_err();
        assert_eq!(
            (error.kind(), error.class(), error.to_string().as_str()),
            (Kind::Credentials, class, text)
        );
    }
}

#[tokio::test]
async fn a_configuration_without_credentials_is_told_from_a_service_that_is_away() {
    let sdk = SdkConfig::builder().region(Region::from_static("eu-west-1")).build();
    let error = SqsSource::connect_with(at("http://127.0.0.1:9"), &sdk).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Credentials);
    assert_eq!(error.to_string(), "the AWS configuration that was passed in has no provider of credentials");
}

#[tokio::test]
async fn the_lease_is_the_queues_own_unless_one_is_set() {
    let own = QueueConfig::new(QUEUE).visibility_timeout(Duration::from_secs(77));
    let local = Local::with(own).await;
    let lease = |source: SqsSource| source.limits().lease;
    assert_eq!(lease(local.source().await), Some(Duration::from_secs(77)));
    let config = SqsConfig { visibility_timeout: Some(Duration::from_secs(5)), ..local.config() };
    assert_eq!(lease(SqsSource::connect(config).await.unwrap()), Some(Duration::from_secs(5)));
}

#[tokio::test]
async fn a_lease_that_cannot_be_read_or_is_none_is_set_by_every_receive() {
    for attributes in [Some("0"), None] {
        let server = Scripted::start(move |call| match (call.operation.as_str(), attributes) {
            ("GetQueueAttributes", Some(seconds)) => {
                Answer::ok(format!(r#"{{"Attributes":{{"VisibilityTimeout":"{seconds}"}}}}"#))
            }
            ("GetQueueAttributes", None) => Answer::Error(403, "AccessDenied"),
            ("GetQueueUrl", _) => Answer::ok(r#"{"QueueUrl":"http://queue.example/0/logins"}"#),
            _ => Answer::ok("{}"),
        })
        .await;
        let source = SqsSource::connect(at(&server.url())).await.unwrap();
        assert_eq!(source.limits().lease, Some(Duration::from_secs(30)));
        assert!(receive(&source).await.is_empty());
        let calls = server.calls("ReceiveMessage");
        assert!(calls.iter().all(|call| call.body.contains(r#""VisibilityTimeout":30"#)), "{calls:?}");
        assert_eq!(calls.len(), 1);
    }
}
