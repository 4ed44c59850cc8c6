use std::io;

use aws_credential_types::provider::error::CredentialsError;
use aws_sdk_sqs::error::{ConnectorError, ErrorMetadata, SdkError};
use aws_sdk_sqs::operation::receive_message::ReceiveMessageError;
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use fetch_etl_aws::Handshake;
use fetch_etl_core::ErrorClass::{Fatal, Retryable};

use super::*;

type Sdk = SdkError<ReceiveMessageError>;

fn answer(status: u16) -> HttpResponse {
    HttpResponse::new(status.try_into().unwrap(), "".into())
}

fn service(code: Option<&str>, status: u16) -> Sdk {
    let mut metadata = ErrorMetadata::builder().message("203.0.113.7 is not a valid receipt");
    if let Some(code) = code {
        metadata = metadata.code(code);
    }
    SdkError::service_error(ReceiveMessageError::generic(metadata.build()), answer(status))
}

fn io_error(kind: io::ErrorKind) -> Sdk {
    // As hyper wraps it: an I/O error within an I/O error within something else.
    let inner = io::Error::new(kind, "203.0.113.7");
    SdkError::dispatch_failure(ConnectorError::io(io::Error::other(inner).into()))
}

fn credentials(error: CredentialsError) -> Sdk {
    SdkError::dispatch_failure(ConnectorError::other(error.into(), None))
}

#[test]
fn every_error_has_its_class() {
    use Reason::*;
    let table = [
        // Codes of both protocols, with the prefixes that they come with.
        (service(Some("RequestThrottled"), 403), Throttled, Retryable),
        (service(Some("ThrottlingException"), 400), Throttled, Retryable),
        (service(Some("KMS.ThrottlingException"), 400), Throttled, Retryable),
        (service(Some("KmsThrottled"), 400), Throttled, Retryable),
        (service(Some("OverLimit"), 403), OverLimit, Retryable),
        (service(Some("InternalFailure"), 500), ServiceFailed, Retryable),
        (service(Some("ServiceUnavailable"), 503), ServiceFailed, Retryable),
        (service(Some("RequestTimeout"), 400), TimedOut, Retryable),
        (service(Some("RequestTimeTooSkewed"), 403), ClockWrong, Retryable),
        (service(Some("AWS.SimpleQueueService.NonExistentQueue"), 400), NoSuchQueue, Fatal),
        (service(Some("com.amazonaws.sqs#QueueDoesNotExist"), 400), NoSuchQueue, Fatal),
        (service(Some("AccessDenied"), 403), AccessDenied, Fatal),
        (service(Some("AccessDeniedException"), 400), AccessDenied, Fatal),
        (service(Some("KMS.AccessDeniedException"), 400), QueueKeyUnusable, Fatal),
        (service(Some("KmsDisabled"), 400), QueueKeyUnusable, Fatal),
        (service(Some("InvalidClientTokenId"), 403), CredentialsRefused, Fatal),
        (service(Some("SignatureDoesNotMatch"), 403), CredentialsRefused, Fatal),
        (service(Some("InvalidSecurity"), 403), CredentialsRefused, Fatal),
        (service(Some("ExpiredToken"), 403), CredentialsRefused, Fatal),
        (service(Some("InvalidAddress"), 404), Refused, Fatal),
        (service(Some("AWS.SimpleQueueService.UnsupportedOperation"), 400), Refused, Fatal),
        (service(Some("SomethingNew"), 400), Refused, Fatal),
        // A code that is known to be final stays so, whatever the status.
        (service(Some("AccessDenied"), 500), AccessDenied, Fatal),
        // Otherwise the status decides: proxies and load balancers send no code.
        (service(Some("SomethingNew"), 500), ServiceFailed, Retryable),
        (service(None, 502), ServiceFailed, Retryable),
        (service(None, 503), ServiceFailed, Retryable),
        (service(None, 408), ServiceFailed, Retryable),
        (service(None, 429), Throttled, Retryable),
        (service(None, 404), Refused, Fatal),
        (service(None, 301), Refused, Fatal),
        (service(None, 200), Unreadable, Retryable),
        // Between us and the service.
        (SdkError::timeout_error("x"), TimedOut, Retryable),
        (SdkError::response_error("x", answer(200)), Unreadable, Retryable),
        (SdkError::construction_failure("x"), NotBuilt, Fatal),
        (io_error(io::ErrorKind::ConnectionRefused), NotReached(Obstacle::ConnectionRefused), Retryable),
        (io_error(io::ErrorKind::ConnectionReset), NotReached(Obstacle::Cut), Retryable),
        (io_error(io::ErrorKind::HostUnreachable), NotReached(Obstacle::NoRoute), Retryable),
        (io_error(io::ErrorKind::InvalidData), NotReached(Obstacle::Tls(Handshake::Other)), Retryable),
        (io_error(io::ErrorKind::Other), NotReached(Obstacle::Other), Retryable),
        (
            SdkError::dispatch_failure(ConnectorError::timeout("x".into())),
            NotReached(Obstacle::Slow),
            Retryable,
        ),
        // Credentials, which the SDK loads as a part of sending.
        (credentials(CredentialsError::not_loaded("x")), NoCredentials, Fatal),
        (credentials(CredentialsError::invalid_configuration("x")), CredentialsInvalid, Fatal),
        (credentials(CredentialsError::unhandled("x")), CredentialsInvalid, Fatal),
        (credentials(CredentialsError::provider_error("x")), CredentialsUnavailable, Retryable),
        (
            credentials(CredentialsError::provider_timed_out(std::time::Duration::from_secs(1))),
            CredentialsUnavailable,
            Retryable,
        ),
    ];
    for (error, reason, class) in table {
        let failure = Failure::of("ReceiveMessage", &error);
        assert_eq!((failure.reason, failure.reason.class()), (reason, class), "{failure}");
        assert_eq!(SourceError::from(failure).class(), class);
    }
}

#[test]
fn every_entry_has_its_class() {
    use Reason::*;
    for (code, sender_fault, reason, class) in [
        ("ReceiptHandleIsInvalid", true, NotInFlight, Fatal),
        ("AWS.SimpleQueueService.MessageNotInflight", true, NotInFlight, Fatal),
        ("InvalidParameterValue", true, NotInFlight, Fatal),
        ("InternalError", false, ServiceFailed, Retryable),
        ("RequestThrottled", true, Throttled, Retryable),
        ("SomethingNew", false, ServiceFailed, Retryable),
        ("SomethingNew", true, Refused, Fatal),
        ("AccessDenied", true, AccessDenied, Fatal),
    ] {
        let found = Reason::of_entry(code, sender_fault);
        assert_eq!((found, found.class()), (reason, class), "{code} {sender_fault}");
    }
}

#[test]
fn texts_hold_names_and_numbers_and_nothing_of_what_was_said() {
    let mut response = answer(403);
    response.headers_mut().insert("x-amzn-requestid", "5f1c3d2a-0000-4000-8000-0123456789ab");
    let metadata = ErrorMetadata::builder()
        .code("AWS.SimpleQueueService.NonExistentQueue")
        .message("203.0.113.7")
        .build();
    let error: Sdk = SdkError::service_error(ReceiveMessageError::generic(metadata), response);
    assert_eq!(
        SourceError::from(Failure::of("ReceiveMessage", &error)).to_string(),
        "ReceiveMessage: the queue does not exist (NonExistentQueue, HTTP 403, request 5f1c3d2a-0000-4000-8000-0123456789ab)"
    );
    for code in ["203.0.113.7", "has spaces in it", "<html>", "", &"x".repeat(65)] {
        let text = Failure::of("ReceiveMessage", &service(Some(code), 400)).to_string();
        assert_eq!(text, "ReceiveMessage: refused (HTTP 400)");
    }
    let mut response = answer(500);
    response.headers_mut().insert("x-amzn-requestid", "203.0.113.7");
    let error: Sdk = SdkError::response_error("203.0.113.7", response);
    assert_eq!(
        Failure::of("ReceiveMessage", &error).to_string(),
        "ReceiveMessage: the answer cannot be read (HTTP 500)"
    );
    let shown = format!(
        "{:?} {}",
        Failure::of("X", &io_error(io::ErrorKind::Other)),
        Failure::of("X", &service(None, 400))
    );
    assert!(!shown.contains("203.0.113.7"), "{shown}");
}
