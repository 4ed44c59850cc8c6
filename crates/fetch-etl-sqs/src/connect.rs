//! Finding the queue, and saying in one line why that failed.

use std::time::Duration;

use aws_sdk_sqs::types::QueueAttributeName;
use fetch_etl_core::ErrorClass;
use tracing::{info, warn};

use crate::client::{Clients, Target};
use crate::endpoint::InvalidUrl;
use crate::failure::{Failure, Reason};
use crate::{ConfigError, Queue, SqsConfig};

/// The visibility timeout of a queue whose own cannot be read, and SQS's own default.
const FALLBACK_LEASE: Duration = Duration::from_secs(30);

/// What kind of thing kept a source from connecting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ConnectErrorKind {
    /// The configuration, ours or that of the AWS environment.
    Config,
    /// No credentials, or such that AWS does not take.
    Credentials,
    /// The credentials are fine, but not allowed to do it.
    AccessDenied,
    /// There is no such queue for these credentials.
    NoSuchQueue,
    /// The service was not reached.
    Unreachable,
    /// The service failed, or what answers is no SQS.
    Service,
}

/// Why a source could not connect, in one line.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text}")]
pub struct ConnectError {
    kind: ConnectErrorKind,
    class: ErrorClass,
    text: String,
}

impl From<ConfigError> for ConnectError {
    fn from(error: ConfigError) -> Self {
        Self::config(error.to_string())
    }
}

impl ConnectError {
    /// What kind of thing it was.
    pub fn kind(&self) -> ConnectErrorKind {
        self.kind
    }

    /// Whether it may pass: a service that is not up yet does, a wrong name does not.
    pub fn class(&self) -> ErrorClass {
        self.class
    }

    pub(crate) fn config(text: String) -> Self {
        Self { kind: ConnectErrorKind::Config, class: ErrorClass::Fatal, text }
    }

    pub(crate) fn no_region() -> Self {
        Self::config("no AWS region: set one, or AWS_REGION, or the profile's region".to_owned())
    }

    pub(crate) fn no_provider() -> Self {
        let text = "the AWS configuration that was passed in has no provider of credentials".to_owned();
        Self { kind: ConnectErrorKind::Credentials, class: ErrorClass::Fatal, text }
    }

    pub(crate) fn endpoint_of_environment(problem: InvalidUrl) -> Self {
        Self::config(format!(
            "the endpoint URL of the AWS environment (AWS_ENDPOINT_URL_SQS, AWS_ENDPOINT_URL or the profile) {problem}"
        ))
    }

    pub(crate) fn new(failure: &Failure, queue: &Queue, target: &Target) -> Self {
        let (kind, text) = explain(failure, queue, target);
        Self { kind, class: failure.reason.class(), text }
    }
}

fn explain(failure: &Failure, queue: &Queue, target: &Target) -> (ConnectErrorKind, String) {
    use ConnectErrorKind as Kind;
    let (place, what) = (target.place(), failure.what());
    match failure.reason {
        Reason::NoSuchQueue => {
            let hint =
                if target.endpoint.is_some() { "" } else { "; check its name, the region and the account" };
            (Kind::NoSuchQueue, format!("the queue {queue} does not exist {place}{hint}"))
        }
        Reason::AccessDenied => {
            let operation = failure.operation;
            let hint = if operation == GET_QUEUE_URL { ", or set the queue's URL" } else { "" };
            (
                Kind::AccessDenied,
                format!("access denied: allow sqs:{operation} on the queue {queue} {place}{hint}"),
            )
        }
        Reason::NoCredentials => (Kind::Credentials, format!("{what}: {}", how_to_give_credentials(target))),
        // The last links of the chain are asked on a machine that has none, too, and may fail there instead of saying so.
        Reason::CredentialsUnavailable => {
            let who = "SSO, STS, or the metadata service of a container or instance";
            (Kind::Credentials, format!("{what} ({who}); or {}", how_to_give_credentials(target)))
        }
        Reason::CredentialsRefused | Reason::CredentialsInvalid => {
            (Kind::Credentials, format!("cannot open the queue {queue} {place}: {what}"))
        }
        Reason::NotReached(_) | Reason::TimedOut => {
            (Kind::Unreachable, format!("cannot reach {}: {what}", target.address()))
        }
        Reason::Unreadable => {
            (Kind::Service, format!("{} does not answer as SQS does: {what}", target.address()))
        }
        _ => (Kind::Service, format!("cannot open the queue {queue} {place}: {failure}")),
    }
}

fn how_to_give_credentials(target: &Target) -> String {
    let emulator = target.endpoint.as_ref().is_some_and(|endpoint| !endpoint.is_aws());
    let hint = if emulator { " (an emulator takes any)" } else { "" };
    format!("set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY{hint}, a profile or a role")
}

/// A queue that was found.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) url: String,
    pub(crate) lease: Duration,
}

const GET_QUEUE_URL: &str = "GetQueueUrl";

/// Looks the queue up and reads its visibility timeout, which also shows that it exists and that the credentials work.
pub(crate) async fn find(
    config: &SqsConfig,
    target: &Target,
    clients: &Clients,
) -> Result<Found, ConnectError> {
    let failed = |failure| ConnectError::new(&failure, &config.queue, target);
    let url = match &config.queue {
        Queue::Url(url) => url.clone(),
        Queue::Name(name) => url_of(name, clients).await.map_err(failed)?,
    };
    let lease = match own_lease(&url, clients).await {
        // The right to read attributes is not needed; the first receive will show whether the others are there.
        Err(failure) if failure.reason == Reason::AccessDenied => None,
        Err(failure) => return Err(failed(failure)),
        Ok(lease) => lease,
    };
    let lease = config.visibility_timeout.or(lease).unwrap_or_else(|| {
        warn!(
            event = "visibility_timeout_assumed",
            seconds = FALLBACK_LEASE.as_secs(),
            "the queue's visibility timeout is 0 or may not be read (sqs:GetQueueAttributes); every receive sets this one"
        );
        FALLBACK_LEASE
    });
    info!(event = "source_connected", queue = %config.queue, at = %target.address(), region = %target.region, lease_s = lease.as_secs());
    Ok(Found { url, lease })
}

async fn url_of(name: &str, clients: &Clients) -> Result<String, Failure> {
    let answer = clients.asking.get_queue_url().queue_name(name).send().await;
    let url = answer.map_err(|error| Failure::of(GET_QUEUE_URL, &error))?.queue_url;
    url.ok_or_else(|| Failure::of_entry(GET_QUEUE_URL, Reason::Unreadable, None))
}

/// `None` for a visibility timeout of 0 or one that the answer does not hold.
async fn own_lease(url: &str, clients: &Clients) -> Result<Option<Duration>, Failure> {
    const NAME: QueueAttributeName = QueueAttributeName::VisibilityTimeout;
    let answer = clients.asking.get_queue_attributes().queue_url(url).attribute_names(NAME).send().await;
    let attributes = answer.map_err(|error| Failure::of("GetQueueAttributes", &error))?.attributes;
    let seconds = attributes.and_then(|attributes| attributes.get(&NAME)?.parse().ok());
    Ok(seconds.filter(|seconds| *seconds > 0).map(Duration::from_secs))
}
