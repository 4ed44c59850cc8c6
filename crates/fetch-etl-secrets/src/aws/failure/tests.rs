use std::io;
use std::time::Duration;

use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_types::error::metadata::ErrorMetadata;

use super::*;

type Sdk = SdkError<ErrorMetadata, HttpResponse>;

fn answer(status: u16) -> HttpResponse {
    HttpResponse::new(status.try_into().unwrap(), "".into())
}

fn service(code: Option<&str>, status: u16) -> Sdk {
    let mut metadata = ErrorMetadata::builder().message("hunter2 is wrong");
    if let Some(code) = code {
        metadata = metadata.code(code);
    }
    SdkError::service_error(metadata.build(), answer(status))
}

fn io_error(kind: io::ErrorKind) -> Sdk {
    // As hyper wraps it: an I/O error within an I/O error within something else.
    let inner = io::Error::new(kind, "hunter2");
    SdkError::dispatch_failure(ConnectorError::io(io::Error::other(inner).into()))
}

fn credentials(error: CredentialsError) -> Sdk {
    SdkError::dispatch_failure(ConnectorError::other(error.into(), None))
}

fn own(code: &str) -> Option<Verdict> {
    (code == "OwnException").then_some((Class::Unusable, "own words"))
}

#[test]
fn every_error_has_its_class() {
    use Class::*;
    let table = [
        (service(Some("OwnException"), 400), Unusable, "own words"),
        (service(Some("ThrottlingException"), 400), Unavailable, "throttled"),
        (service(Some("InternalFailure"), 500), Unavailable, "the service failed"),
        (service(Some("AccessDeniedException"), 400), Denied, "access denied"),
        // A code that is known to be final stays so, whatever the status.
        (service(Some("AccessDenied"), 500), Denied, "access denied"),
        (service(Some("ExpiredTokenException"), 400), Denied, "credentials are refused"),
        (service(Some("UnrecognizedClientException"), 400), Denied, "credentials are refused"),
        (service(Some("ValidationException"), 400), Misconfigured, "refuses the question"),
        (service(Some("RequestTimeTooSkewed"), 403), Unavailable, "clock"),
        // Otherwise the status decides.
        (service(Some("SomethingNew"), 500), Unavailable, "the service failed"),
        (service(Some("SomethingNew"), 400), Misconfigured, "refused"),
        (service(None, 503), Unavailable, "the service failed"),
        (service(None, 429), Unavailable, "throttled"),
        (service(None, 403), Denied, "refused"),
        (service(None, 404), Misconfigured, "refused"),
        (service(None, 200), Unavailable, "cannot be read"),
        // Between us and the service.
        (SdkError::timeout_error("hunter2"), Unavailable, "no answer in time"),
        (SdkError::response_error("hunter2", answer(200)), Unavailable, "cannot be read"),
        (SdkError::construction_failure("hunter2"), Misconfigured, "cannot be built"),
        (io_error(io::ErrorKind::ConnectionRefused), Unavailable, "connection refused"),
        (io_error(io::ErrorKind::ConnectionReset), Unavailable, "was cut"),
        (io_error(io::ErrorKind::InvalidData), Unavailable, "the TLS handshake failed"),
        (io_error(io::ErrorKind::Other), Unavailable, "did not get through"),
        (
            SdkError::dispatch_failure(ConnectorError::timeout("hunter2".into())),
            Unavailable,
            "no connection in time",
        ),
        // Credentials, which the SDK loads as a part of sending.
        (credentials(CredentialsError::not_loaded("hunter2")), Misconfigured, "no AWS credentials found"),
        (credentials(CredentialsError::invalid_configuration("hunter2")), Misconfigured, "is invalid"),
        (credentials(CredentialsError::provider_error("hunter2")), Unavailable, "provider"),
        (credentials(CredentialsError::provider_timed_out(Duration::from_secs(1))), Unavailable, "provider"),
    ];
    for (error, class, text) in table {
        let found = secret_error(&error, "it".to_owned(), own);
        let said = found.to_string();
        assert!(said.contains(text) && !format!("{said} {found:?}").contains("hunter2"), "{text}: {found:?}");
        assert_eq!(found.is_retryable(), class == Unavailable, "{said}");
        let same_class = match found {
            SecretError::NotFound { .. } => class == NotFound,
            SecretError::Denied { .. } => class == Denied,
            SecretError::Unavailable { .. } => class == Unavailable,
            SecretError::Unusable { .. } => class == Unusable,
            SecretError::Misconfigured { .. } => class == Misconfigured,
            _ => false,
        };
        assert!(same_class, "{class:?}: {said}");
    }
}

#[test]
fn marks_are_codes_and_numbers_and_nothing_else() {
    let mut response = answer(400);
    response.headers_mut().insert("x-amzn-requestid", "5f1c3d2a-0000-4000-8000-0123456789ab");
    let metadata = ErrorMetadata::builder().code("AccessDeniedException").message("hunter2").build();
    let error: Sdk = SdkError::service_error(metadata, response);
    assert_eq!(
        secret_error(&error, "it".to_owned(), own).to_string(),
        "it: access denied (AccessDeniedException, HTTP 400, request 5f1c3d2a-0000-4000-8000-0123456789ab)"
    );
    for code in ["hunter2 hunter2", "<html>", "", "2hunter", &"x".repeat(65)] {
        let text = secret_error(&service(Some(code), 404), "it".to_owned(), own).to_string();
        assert_eq!(text, "it: refused (HTTP 404)");
    }
    let mut response = answer(500);
    response.headers_mut().insert("x-amzn-requestid", "hunter2-hunter2");
    let error: Sdk = SdkError::service_error(ErrorMetadata::builder().build(), response);
    let text = secret_error(&error, "it".to_owned(), own).to_string();
    assert_eq!(text, "it: the service failed (HTTP 500)");
}
