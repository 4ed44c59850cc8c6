//! Why a call failed: the one place that decides what passes by itself and what does not.
//!
//! What the SDK and the service say in words stays out of our texts: it may quote what was sent or received. A
//! [`Failure`] holds the operation, our own words, and the error code, status and request id where they look like such.

use std::error::Error;
use std::fmt;

use aws_credential_types::provider::error::CredentialsError;
use aws_sdk_sqs::error::{ConnectorError, ProvideErrorMetadata, SdkError};
use aws_sdk_sqs::operation::RequestId;
use fetch_etl_aws::{Obstacle, credentials_error, error_code, request_id};
use fetch_etl_core::{ErrorClass, SourceError};

/// Why a call, or an entry of one, failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reason {
    Throttled,
    OverLimit,
    ServiceFailed,
    TimedOut,
    NotReached(Obstacle),
    Unreadable,
    ClockWrong,
    CredentialsUnavailable,
    NoCredentials,
    CredentialsInvalid,
    CredentialsRefused,
    AccessDenied,
    NoSuchQueue,
    QueueKeyUnusable,
    /// Of an entry only: the receipt stands for nothing that is in flight.
    NotInFlight,
    /// Of an entry only: the answer does not mention it.
    Unanswered,
    NotBuilt,
    Refused,
}

impl Reason {
    /// What passes by itself is retried; everything else, the unknown above all, stops the worker.
    pub(crate) const fn class(self) -> ErrorClass {
        match self {
            Self::Throttled
            | Self::OverLimit
            | Self::ServiceFailed
            | Self::TimedOut
            | Self::NotReached(_)
            | Self::Unreadable
            // The SDK learns the service's time from each answer and signs the next request with it.
            | Self::ClockWrong
            | Self::CredentialsUnavailable
            | Self::Unanswered => ErrorClass::Retryable,
            Self::NoCredentials
            | Self::CredentialsInvalid
            // Expired ones too: the SDK renews what can be renewed before it expires, so what the service calls expired
            // (or revoked) is what this process would go on using. A restart reads new ones.
            | Self::CredentialsRefused
            | Self::AccessDenied
            | Self::NoSuchQueue
            | Self::QueueKeyUnusable
            // A receipt never becomes valid again.
            | Self::NotInFlight
            | Self::NotBuilt
            | Self::Refused => ErrorClass::Fatal,
        }
    }

    const fn text(self) -> &'static str {
        match self {
            Self::Throttled => "throttled",
            Self::OverLimit => "too many messages of the queue are in flight",
            Self::ServiceFailed => "the service failed",
            Self::TimedOut => "no answer in time",
            Self::NotReached(obstacle) => obstacle.text(),
            Self::Unreadable => "the answer cannot be read",
            Self::ClockWrong => "this machine's clock is wrong, or the request was too long under way",
            Self::CredentialsUnavailable => "the provider of the AWS credentials failed",
            Self::NoCredentials => "no AWS credentials found",
            Self::CredentialsInvalid => "the configuration of the AWS credentials is invalid",
            Self::CredentialsRefused => "the AWS credentials are refused, or have expired",
            Self::AccessDenied => "access denied",
            Self::NoSuchQueue => "the queue does not exist",
            Self::QueueKeyUnusable => "the KMS key of the queue cannot be used",
            Self::NotInFlight => "the receipt is of nothing that is in flight",
            Self::Unanswered => "the answer leaves entries out",
            Self::NotBuilt => "the request cannot be built",
            Self::Refused => "refused",
        }
    }

    /// Of a failed entry of a batch. "Sender's fault" is the service's word for "do not try again".
    pub(crate) fn of_entry(code: &str, sender_fault: bool) -> Self {
        match without_prefix(code) {
            // "InvalidParameterValue" is how SQS answers for a message that is gone, for a receipt that has expired,
            // and for a hold of more than 12 hours.
            "ReceiptHandleIsInvalid" | "MessageNotInflight" | "InvalidParameterValue" => Self::NotInFlight,
            _ if sender_fault => Self::of_code(code).unwrap_or(Self::Refused),
            _ => Self::of_code(code).unwrap_or(Self::ServiceFailed),
        }
    }

    /// Of an error that the service sent.
    fn of_answer(code: Option<&str>, status: u16) -> Self {
        if let Some(reason) = code.and_then(Self::of_code) {
            return reason;
        }
        match status {
            429 => Self::Throttled,
            408 | 500..=599 => Self::ServiceFailed,
            // The SDK takes what it cannot parse for an error of the service.
            200..=299 => Self::Unreadable,
            _ => Self::Refused,
        }
    }

    /// Of an error code. SQS has two names for many errors: of its older query protocol and of the JSON one; other parts of
    /// AWS (signature check, KMS) and emulators have their own.
    fn of_code(code: &str) -> Option<Self> {
        Some(match without_prefix(code) {
            "RequestThrottled"
            | "RequestThrottledException"
            | "Throttling"
            | "ThrottlingException"
            | "ThrottledException"
            | "TooManyRequestsException"
            | "RequestLimitExceeded"
            | "SlowDown"
            | "KmsThrottled"
            | "KMS.ThrottlingException" => Self::Throttled,
            "OverLimit" => Self::OverLimit,
            "InternalError"
            | "InternalFailure"
            | "InternalServerError"
            | "ServiceUnavailable"
            | "ServiceUnavailableException"
            | "ServiceFailure" => Self::ServiceFailed,
            "RequestTimeout" | "RequestTimeoutException" => Self::TimedOut,
            "RequestExpired" | "RequestTimeTooSkewed" => Self::ClockWrong,
            "InvalidClientTokenId"
            | "InvalidAccessKeyId"
            | "UnrecognizedClientException"
            | "SignatureDoesNotMatch"
            | "InvalidSignature"
            | "InvalidSignatureException"
            | "IncompleteSignature"
            | "IncompleteSignatureException"
            | "MissingAuthenticationToken"
            | "MissingAuthenticationTokenException"
            | "InvalidSecurity"
            | "AuthFailure"
            | "ExpiredToken"
            | "ExpiredTokenException"
            | "InvalidToken"
            | "TokenRefreshRequired" => Self::CredentialsRefused,
            "AccessDenied" | "AccessDeniedException" | "UnauthorizedOperation" | "OptInRequired" => {
                Self::AccessDenied
            }
            "QueueDoesNotExist" | "NonExistentQueue" => Self::NoSuchQueue,
            "KmsAccessDenied"
            | "KMS.AccessDeniedException"
            | "KmsDisabled"
            | "KMS.DisabledException"
            | "KmsInvalidKeyUsage"
            | "KMS.InvalidKeyUsageException"
            | "KmsInvalidState"
            | "KMS.InvalidStateException"
            | "KmsNotFound"
            | "KMS.NotFoundException"
            | "KmsOptInRequired"
            | "KMS.OptInRequired" => Self::QueueKeyUnusable,
            _ => return None,
        })
    }

    fn of_sdk<E: ProvideErrorMetadata>(error: &SdkError<E>) -> Self {
        match error {
            SdkError::ConstructionFailure(_) => Self::NotBuilt,
            SdkError::TimeoutError(_) => Self::TimedOut,
            SdkError::DispatchFailure(failure) => {
                failure.as_connector_error().map_or(Self::NotReached(Obstacle::Other), Self::of_connector)
            }
            SdkError::ServiceError(failure) => {
                Self::of_answer(failure.err().code(), failure.raw().status().as_u16())
            }
            // The connection was cut in the middle of the answer, or it is not what the protocol says.
            _ => Self::Unreadable,
        }
    }
}

impl Reason {
    /// Of a request that was not answered.
    fn of_connector(error: &ConnectorError) -> Self {
        of_credentials(error).unwrap_or_else(|| Self::NotReached(Obstacle::of(error, error.is_timeout())))
    }

    /// Of credentials that could not be loaded.
    pub(crate) fn of_identity(error: &(dyn Error + 'static)) -> Self {
        of_credentials(error).unwrap_or(Self::NotReached(Obstacle::Other))
    }
}

fn without_prefix(code: &str) -> &str {
    let code = code.rsplit_once('#').map_or(code, |(_, code)| code);
    code.strip_prefix("AWS.SimpleQueueService.").unwrap_or(code)
}

/// The SDK reports credentials that it could not load as a request that it could not send.
fn of_credentials(error: &(dyn Error + 'static)) -> Option<Reason> {
    Some(match credentials_error(error)? {
        CredentialsError::CredentialsNotLoaded(_) => Reason::NoCredentials,
        CredentialsError::InvalidConfiguration(_) => Reason::CredentialsInvalid,
        // A 503 of STS, a metadata service that did not answer in time.
        CredentialsError::ProviderTimedOut(_) | CredentialsError::ProviderError(_) => {
            Reason::CredentialsUnavailable
        }
        _ => Reason::CredentialsInvalid,
    })
}

/// What an answer says beside its body.
#[derive(Clone, Copy)]
pub(crate) struct Marks<'a> {
    pub(crate) status: u16,
    pub(crate) request_id: Option<&'a str>,
}

/// A failed call, and what may be said about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Failure {
    pub(crate) operation: &'static str,
    pub(crate) reason: Reason,
    code: Option<Box<str>>,
    status: Option<u16>,
    request_id: Option<Box<str>>,
}

impl Failure {
    pub(crate) fn of<E: ProvideErrorMetadata>(operation: &'static str, error: &SdkError<E>) -> Self {
        let code = match error {
            SdkError::ServiceError(failure) => failure.err().code(),
            _ => None,
        };
        Self {
            operation,
            reason: Reason::of_sdk(error),
            code: code.and_then(as_code),
            status: error.raw_response().map(|response| response.status().as_u16()),
            request_id: error.request_id().and_then(as_request_id),
        }
    }

    /// Of a request that was not answered.
    pub(crate) fn of_connector(operation: &'static str, error: &ConnectorError) -> Self {
        Self::of_entry(operation, Reason::of_connector(error), None)
    }

    /// Of an answer that is an error.
    pub(crate) fn of_answer(operation: &'static str, code: Option<&str>, answer: Marks<'_>) -> Self {
        Self {
            code: code.and_then(as_code),
            ..Self::unread(operation, Reason::of_answer(code, answer.status), answer)
        }
    }

    /// Of an answer whose body says nothing.
    pub(crate) fn unread(operation: &'static str, reason: Reason, answer: Marks<'_>) -> Self {
        let Marks { status, request_id } = answer;
        Self {
            operation,
            reason,
            code: None,
            status: Some(status),
            request_id: request_id.and_then(as_request_id),
        }
    }

    /// Of entries of a batch.
    pub(crate) fn of_entry(operation: &'static str, reason: Reason, code: Option<&str>) -> Self {
        Self { operation, reason, code: code.and_then(as_code), status: None, request_id: None }
    }

    /// What failed, without the operation: the service's own marks in brackets.
    pub(crate) fn what(&self) -> impl fmt::Display {
        let status = self.status.map(|status| format!("HTTP {status}"));
        let request = self.request_id.as_ref().map(|id| format!("request {id}"));
        let marks: Vec<_> =
            [self.code.as_deref(), status.as_deref(), request.as_deref()].into_iter().flatten().collect();
        let marks = if marks.is_empty() { String::new() } else { format!(" ({})", marks.join(", ")) };
        format!("{}{marks}", self.reason.text())
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.operation, self.what())
    }
}

impl From<Failure> for SourceError {
    fn from(failure: Failure) -> Self {
        match failure.reason.class() {
            ErrorClass::Retryable => Self::retryable(failure.to_string()),
            ErrorClass::BadRow | ErrorClass::Fatal => Self::fatal(failure.to_string()),
        }
    }
}

fn as_code(code: &str) -> Option<Box<str>> {
    error_code(without_prefix(code)).map(Into::into)
}

fn as_request_id(id: &str) -> Option<Box<str>> {
    request_id(id).map(Into::into)
}

#[cfg(test)]
mod tests;
