//! Why a call failed: which class it is, and what may be said about it.
//!
//! What the SDK and the service say in words stays out of our texts: nobody promises that it quotes nothing.

use std::error::Error;

use aws_credential_types::provider::error::CredentialsError;
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::client::result::SdkError;
use aws_smithy_types::error::metadata::ProvideErrorMetadata;
use aws_types::request_id::RequestId;
use fetch_etl_aws::{Obstacle, credentials_error, error_code, request_id};

use crate::{Cause, SecretError};

/// Which kind of [`SecretError`] it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Class {
    NotFound,
    Denied,
    Unavailable,
    Unusable,
    Misconfigured,
}

/// What an error means, and our words for it.
pub(crate) type Verdict = (Class, &'static str);

const SERVICE_FAILED: Verdict = (Class::Unavailable, "the service failed");
const THROTTLED: Verdict = (Class::Unavailable, "throttled");
const UNREADABLE: Verdict =
    (Class::Unavailable, "the answer cannot be read; what answers there may be another service");
const TIMED_OUT: Verdict = (Class::Unavailable, "no answer in time");

/// Classifies a failed call. `own` knows the codes of the service that was asked.
pub(crate) fn secret_error<E: ProvideErrorMetadata>(
    error: &SdkError<E, HttpResponse>,
    place: String,
    own: fn(&str) -> Option<Verdict>,
) -> SecretError {
    let code = match error {
        SdkError::ServiceError(failure) => failure.err().code(),
        _ => None,
    };
    let (class, text) = verdict(error, code, own);
    let cause = Cause::marked(text, marks(error, code));
    match class {
        Class::NotFound => SecretError::NotFound { place, cause },
        Class::Denied => SecretError::Denied { place, cause },
        Class::Unavailable => SecretError::Unavailable { place, cause },
        Class::Unusable => SecretError::Unusable { place, cause },
        Class::Misconfigured => SecretError::Misconfigured { place, cause },
    }
}

fn verdict<E>(
    error: &SdkError<E, HttpResponse>,
    code: Option<&str>,
    own: fn(&str) -> Option<Verdict>,
) -> Verdict {
    match error {
        SdkError::ConstructionFailure(_) => (Class::Misconfigured, "the request cannot be built"),
        SdkError::TimeoutError(_) => TIMED_OUT,
        SdkError::DispatchFailure(failure) => {
            let cause = failure.as_connector_error();
            let of_credentials = cause.and_then(|cause| of_credentials(cause));
            let obstacle =
                || cause.map_or(Obstacle::Other, |cause| Obstacle::of(cause, failure.is_timeout()));
            of_credentials.unwrap_or_else(|| (Class::Unavailable, obstacle().text()))
        }
        SdkError::ServiceError(failure) => code
            .and_then(|code| own(code).or_else(|| of_code(code)))
            .unwrap_or_else(|| of_status(failure.raw().status().as_u16())),
        // The connection was cut in the middle of the answer, or it is not what the protocol says.
        _ => UNREADABLE,
    }
}

/// Of an error code that every service has.
fn of_code(code: &str) -> Option<Verdict> {
    Some(match code {
        "Throttling"
        | "ThrottlingException"
        | "ThrottledException"
        | "RequestThrottled"
        | "RequestThrottledException"
        | "TooManyRequestsException"
        | "RequestLimitExceeded"
        | "SlowDown" => THROTTLED,
        "InternalError"
        | "InternalFailure"
        | "InternalServerError"
        | "ServiceUnavailable"
        | "ServiceUnavailableException"
        | "ServiceFailure" => SERVICE_FAILED,
        "RequestTimeout" | "RequestTimeoutException" => TIMED_OUT,
        // The SDK learns the service's time from each answer and signs the next request with it.
        "RequestExpired" | "RequestTimeTooSkewed" => (Class::Unavailable, "this machine's clock is wrong"),
        "InvalidClientTokenId"
        | "InvalidAccessKeyId"
        | "UnrecognizedClientException"
        | "SignatureDoesNotMatch"
        | "InvalidSignatureException"
        | "IncompleteSignature"
        | "IncompleteSignatureException"
        | "MissingAuthenticationToken"
        | "MissingAuthenticationTokenException"
        | "AuthFailure"
        | "ExpiredToken"
        | "ExpiredTokenException"
        | "InvalidToken" => (Class::Denied, "the AWS credentials are refused, or have expired"),
        "AccessDenied" | "AccessDeniedException" | "UnauthorizedOperation" | "OptInRequired" => {
            (Class::Denied, "access denied")
        }
        "ValidationError" | "ValidationException" => {
            (Class::Misconfigured, "the service refuses the question")
        }
        _ => return None,
    })
}

/// Of an answer without a code that anybody knows: proxies and load balancers send none.
fn of_status(status: u16) -> Verdict {
    match status {
        429 => THROTTLED,
        408 | 500..=599 => SERVICE_FAILED,
        // The SDK takes what it cannot parse for an error of the service.
        200..=299 => UNREADABLE,
        401 | 403 => (Class::Denied, "refused"),
        _ => (Class::Misconfigured, "refused"),
    }
}

/// The SDK reports credentials that it could not load as a request that it could not send.
fn of_credentials(error: &(dyn Error + 'static)) -> Option<Verdict> {
    Some(match credentials_error(error)? {
        CredentialsError::CredentialsNotLoaded(_) => (
            Class::Misconfigured,
            "no AWS credentials found; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, a profile or a role",
        ),
        // A 503 of STS, a metadata service that did not answer in time. The last links of the chain are asked on a machine
        // that has none, too, and may fail there instead of saying so.
        CredentialsError::ProviderTimedOut(_) | CredentialsError::ProviderError(_) => (
            Class::Unavailable,
            "the provider of the AWS credentials failed (SSO, STS, or the metadata service of a container or instance)",
        ),
        _ => (Class::Misconfigured, "the configuration of the AWS credentials is invalid"),
    })
}

/// The code, the status and the request id, where they look like such: anything else in their place may be anything.
fn marks<E>(error: &SdkError<E, HttpResponse>, code: Option<&str>) -> String {
    let code = code.and_then(error_code).map(str::to_owned);
    let status = error.raw_response().map(|response| format!("HTTP {}", response.status().as_u16()));
    let request = error.request_id().and_then(request_id).map(|id| format!("request {id}"));
    [code, status, request].into_iter().flatten().collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests;
