//! Who signs, with what, at which time: the same by both transports, and right by a computation of its own.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_credential_types::Credentials;
use aws_credential_types::credential_fn::provide_credentials_fn;
use aws_credential_types::provider::SharedCredentialsProvider;
use aws_credential_types::provider::error::CredentialsError;
use aws_sigv4::sign::v4::{calculate_signature, generate_signing_key};
use aws_smithy_types::DateTime;
use aws_smithy_types::date_time::Format;
use aws_types::sdk_config::TimeSource;
use fetch_etl_core::{ErrorClass, MessageSource};
use fetch_etl_sqs::{SqsConfig, SqsSource, Transport};
use sha2::{Digest as _, Sha256};

use crate::scripted::{Answer, Call, Scripted};
use crate::support::{TRANSPORTS, at, committed, with_receipt};

const SECRET: &str = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";
const NOW: u64 = 1_700_000_000;

/// A clock that a test moves.
#[derive(Debug, Clone)]
struct Hand(Arc<AtomicU64>);

impl Hand {
    fn new() -> Self {
        Self(Arc::new(AtomicU64::new(NOW)))
    }

    fn advance(&self, seconds: u64) {
        self.0.fetch_add(seconds, Ordering::SeqCst);
    }
}

impl TimeSource for Hand {
    fn now(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(self.0.load(Ordering::SeqCst))
    }
}

type Provided = Result<Credentials, CredentialsError>;

fn sdk(clock: &Hand, credentials: impl Fn() -> Provided + Send + Sync + 'static) -> SdkConfig {
    let provider = provide_credentials_fn(move || std::future::ready(credentials()));
    SdkConfig::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::from_static("eu-west-1"))
        .time_source(clock.clone())
        .credentials_provider(SharedCredentialsProvider::new(provider))
        .build()
}

fn temporary(expires: Option<SystemTime>) -> Credentials {
    Credentials::new("AKIDEXAMPLE", SECRET, Some("a/session+token==".into()), expires, "test")
}

fn config(server: &Scripted, transport: Transport) -> SqsConfig {
    SqsConfig { credentials: Default::default(), wait_time: Duration::ZERO, transport, ..at(&server.url()) }
}

fn sha256(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}

/// Checks a signature as the service does, and returns when it was made and what for.
fn verified(call: &Call) -> (String, String) {
    let header = |name| call.header(name).unwrap_or_else(|| panic!("no {name}"));
    let rest = header("authorization").strip_prefix("AWS4-HMAC-SHA256 ").unwrap();
    let part =
        |name: &str| rest.split(", ").find_map(|part| part.strip_prefix(name)?.strip_prefix('=')).unwrap();
    let (names, signature) = (part("SignedHeaders"), part("Signature"));
    let (key, scope) = part("Credential").split_once('/').unwrap();
    assert_eq!(key, "AKIDEXAMPLE");
    let headers: String = names.split(';').map(|name| format!("{name}:{}\n", header(name).trim())).collect();
    for needed in ["host", "x-amz-date", "x-amz-security-token", "x-amz-target", "content-type"] {
        assert!(names.split(';').any(|name| name == needed), "{needed} in {names}");
    }
    let canonical = format!("POST\n/\n\n{headers}\n{names}\n{}", sha256(call.body.as_bytes()));
    let date = header("x-amz-date");
    let text = format!("AWS4-HMAC-SHA256\n{date}\n{scope}\n{}", sha256(canonical.as_bytes()));
    let iso = format!("{}-{}-{}:{}:{}", &date[..4], &date[4..6], &date[6..11], &date[11..13], &date[13..]);
    let time = SystemTime::try_from(DateTime::from_str(&iso, Format::DateTime).unwrap()).unwrap();
    let mut scopes = scope.split('/').skip(1);
    let key = generate_signing_key(SECRET, time, scopes.next().unwrap(), scopes.next().unwrap());
    assert_eq!(calculate_signature(key, text.as_bytes()), signature, "{canonical}");
    (date.to_owned(), scope.to_owned())
}

#[tokio::test]
async fn both_sign_alike_and_rightly() {
    for transport in TRANSPORTS {
        let server = Scripted::queue(|_| Answer::ok("{}")).await;
        let sdk = sdk(&Hand::new(), || Ok(temporary(None)));
        let source = SqsSource::connect_with(config(&server, transport), &sdk).await.unwrap();
        source.receive(10).await.unwrap();
        source.ack(committed(vec![with_receipt("r\"ü")]).await).await.unwrap_err();
        let calls = [server.calls("ReceiveMessage"), server.calls("DeleteMessageBatch")].concat();
        assert_eq!(calls.len(), 2);
        for call in calls {
            let at = ("20231114T221320Z".to_owned(), "20231114/eu-west-1/sqs/aws4_request".to_owned());
            assert_eq!(verified(&call), at, "{transport:?}");
            assert_eq!(call.header("x-amz-security-token"), Some("a/session+token=="));
            let agent = call.header("user-agent").unwrap();
            assert_eq!(agent.starts_with("fetch-etl-sqs/"), transport == Transport::Lean, "{agent}");
        }
    }
}

#[tokio::test]
async fn credentials_are_renewed_before_they_expire_and_a_renewal_that_fails_is_told_alike() {
    let mut told = Vec::new();
    for transport in TRANSPORTS {
        let server = Scripted::queue(|_| Answer::ok("{}")).await;
        let (clock, loads) = (Hand::new(), Arc::new(AtomicUsize::new(0)));
        let (hand, count) = (clock.clone(), loads.clone());
        let sdk = sdk(&clock, move || match count.fetch_add(1, Ordering::SeqCst) {
            0 | 1 => Ok(temporary(Some(hand.now() + Duration::from_secs(3600)))),
            2 => Err(CredentialsError::provider_error("203.0.113.7")),
            _ => Err(CredentialsError::not_loaded("203.0.113.7")),
        });
        let source = SqsSource::connect_with(config(&server, transport), &sdk).await.unwrap();
        for _ in 0..3 {
            source.receive(10).await.unwrap();
        }
        assert_eq!(loads.load(Ordering::SeqCst), 1, "{transport:?}: once is enough");
        clock.advance(3600 - 4);
        source.receive(10).await.unwrap();
        assert_eq!(loads.load(Ordering::SeqCst), 2, "{transport:?}: renewed before they expire");
        clock.advance(3600 - 4);
        let passing = source.receive(10).await.unwrap_err();
        let lasting = source.receive(10).await.unwrap_err();
        assert_eq!((passing.class(), lasting.class()), (ErrorClass::Retryable, ErrorClass::Fatal));
        assert_eq!(server.calls("ReceiveMessage").len(), 4);
        told.push((passing.to_string(), lasting.to_string()));
    }
    assert_eq!(told[0], told[1]);
    assert_eq!(told[0].0, "ReceiveMessage: the provider of the AWS credentials failed");
}

/// A service whose clock is ten minutes ahead, and that refuses what is signed at another time.
async fn ahead() -> (Scripted, Arc<Mutex<Vec<String>>>) {
    let dates = Arc::<Mutex<Vec<String>>>::default();
    let seen = dates.clone();
    let server = Scripted::queue(move |call| {
        let date = call.header("x-amz-date").unwrap().to_owned();
        let fits = date == "20231114T222320Z";
        seen.lock().unwrap().push(date);
        let now = vec![("date", "Tue, 14 Nov 2023 22:23:20 GMT".to_owned())];
        if fits {
            Answer::With(200, now, b"{}".into())
        } else {
            Answer::With(403, now, br#"{"__type":"InvalidSignatureException"}"#.into())
        }
    });
    (server.await, dates)
}

/// The one intended difference: the SDK, told not to retry, fails first.
#[tokio::test]
async fn a_wrong_clock_is_put_right() {
    for (transport, requests) in [(Transport::Sdk, 3), (Transport::Lean, 3)] {
        let (server, dates) = ahead().await;
        let sdk = sdk(&Hand::new(), || Ok(temporary(None)));
        let source = SqsSource::connect_with(config(&server, transport), &sdk).await.unwrap();
        let first = source.receive(10).await;
        assert_eq!(first.is_ok(), transport == Transport::Lean, "{first:?}");
        source.receive(10).await.unwrap();
        if transport == Transport::Sdk {
            source.receive(10).await.unwrap();
        }
        let dates = dates.lock().unwrap().clone();
        assert_eq!(dates[0], "20231114T221320Z");
        assert!(dates[1..].iter().all(|date| date == "20231114T222320Z"), "{dates:?}");
        assert_eq!(dates.len(), requests);
    }
}

/// A service that calls every signature wrong is asked twice at most.
#[tokio::test]
async fn a_clock_that_stays_wrong_is_an_error() {
    let server = Scripted::queue(|_| {
        let now = vec![("date", "Tue, 14 Nov 2023 22:23:20 GMT".to_owned())];
        Answer::With(403, now, br#"{"__type":"RequestTimeTooSkewed"}"#.into())
    })
    .await;
    let sdk = sdk(&Hand::new(), || Ok(temporary(None)));
    let source = SqsSource::connect_with(config(&server, Transport::Lean), &sdk).await.unwrap();
    for requests in [2, 3] {
        let error = source.receive(10).await.unwrap_err();
        assert_eq!(error.class(), ErrorClass::Retryable, "{error}");
        assert_eq!(server.calls("ReceiveMessage").len(), requests, "the second time nothing new is learnt");
    }
}
