//! How a queue is set up: what `etl-worker check` judges. Nothing of it is needed to move messages.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use aws_sdk_sqs::config::interceptors::BeforeDeserializationInterceptorContextRef;
use aws_sdk_sqs::config::{ConfigBag, Intercept, RuntimeComponents};
use aws_sdk_sqs::error::BoxError;
use aws_sdk_sqs::primitives::{DateTime, DateTimeFormat};
use aws_sdk_sqs::types::QueueAttributeName as Name;
use fetch_etl_core::{SourceError, UnixMillis};
use serde_json::Value;

use crate::SqsSource;
use crate::failure::{Failure, Reason};

const ASKED: [Name; 5] = [
    Name::RedrivePolicy,
    Name::MessageRetentionPeriod,
    Name::VisibilityTimeout,
    Name::SqsManagedSseEnabled,
    Name::KmsMasterKeyId,
];

/// The `Date` of an answer has whole seconds.
const DATE_STEP_MS: i64 = 1_000;

/// How a queue is set up, as far as the service tells. What it does not tell is `None`.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct QueuePosture {
    /// The queue's URL.
    pub queue_url: String,
    /// Where requests go, where that is not the service's own address for the region.
    pub endpoint: Option<String>,
    /// Whether AWS itself answers, and no emulator.
    pub is_aws: bool,
    /// Where messages go that were received too often; `None` where they go nowhere.
    pub dead_letter: Option<DeadLetterQueue>,
    /// How long a message is kept.
    pub retention: Option<Duration>,
    /// The queue's own visibility timeout.
    pub visibility_timeout: Option<Duration>,
    /// Whether messages are encrypted where they are stored.
    pub encryption: Option<Encryption>,
    /// By how many milliseconds this machine's clock is at least ahead of the service's; negative where it is behind, 0 where they
    /// agree as far as can be told.
    pub clock_ahead_ms: Option<i64>,
}

/// A queue's dead-letter queue.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct DeadLetterQueue {
    /// Its name.
    pub name: String,
    /// How often a message is received before it goes there.
    pub max_receive_count: Option<u32>,
    /// What could be found out about it.
    pub state: DeadLetterState,
}

/// What could be found out about a dead-letter queue.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum DeadLetterState {
    /// It is there, and keeps a message for so long, where it tells.
    There(Option<Duration>),
    /// It is not there, or these credentials are not told that it is.
    Missing,
    /// These credentials may not ask.
    Unknown,
}

/// How messages are encrypted where they are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Encryption {
    /// Not at all.
    Off,
    /// With keys of the service, SSE-SQS.
    Service,
    /// With a key in AWS KMS, SSE-KMS.
    Kms,
}

impl SqsSource {
    /// How the queue is set up; `None` where the credentials may not read it, or the service tells nothing.
    ///
    /// # Errors
    /// The question failed; nothing else did.
    pub async fn posture(&self) -> Result<Option<QueuePosture>, SourceError> {
        let date = AnswerDate::default();
        let before = UnixMillis::now();
        let attributes = self.attributes(&self.queue_url, &ASKED, &date).await?;
        let after = UnixMillis::now();
        let Some(attributes) = attributes else { return Ok(None) };
        let dead_letter = match attributes.get(&Name::RedrivePolicy).and_then(|text| Redrive::parse(text)) {
            None => None,
            Some(redrive) => Some(DeadLetterQueue {
                state: self.dead_letter_state(&redrive).await?,
                name: redrive.name,
                max_receive_count: redrive.max_receive_count,
            }),
        };
        let clock_ahead_ms = date.take().map(|theirs| {
            let end_of_second = UnixMillis::new(theirs.get() + DATE_STEP_MS);
            UnixMillis::ahead(before, theirs, end_of_second, after)
        });
        Ok(Some(QueuePosture {
            queue_url: self.queue_url.clone(),
            endpoint: self.endpoint.as_ref().map(|endpoint| endpoint.url().to_owned()),
            is_aws: self.endpoint.as_ref().is_none_or(|endpoint| endpoint.is_aws()),
            dead_letter,
            retention: seconds_of(&attributes, &Name::MessageRetentionPeriod),
            visibility_timeout: seconds_of(&attributes, &Name::VisibilityTimeout),
            encryption: encryption_of(&attributes),
            clock_ahead_ms,
        }))
    }

    async fn dead_letter_state(&self, redrive: &Redrive) -> Result<DeadLetterState, SourceError> {
        let request = self.clients.asking.get_queue_url().queue_name(&redrive.name);
        let url = match request.set_queue_owner_aws_account_id(redrive.account.clone()).send().await {
            Ok(answer) => answer.queue_url.unwrap_or_default(),
            Err(error) => {
                let failure = Failure::of("GetQueueUrl", &error);
                return match failure.reason {
                    Reason::NoSuchQueue => Ok(DeadLetterState::Missing),
                    Reason::AccessDenied => Ok(DeadLetterState::Unknown),
                    _ => Err(failure.into()),
                };
            }
        };
        let asked = [Name::MessageRetentionPeriod];
        let attributes = self.attributes(&url, &asked, &AnswerDate::default()).await?;
        Ok(attributes.map_or(DeadLetterState::Unknown, |attributes| {
            DeadLetterState::There(seconds_of(&attributes, &Name::MessageRetentionPeriod))
        }))
    }

    /// `None` where they may not be read, or none is told.
    async fn attributes(
        &self,
        queue_url: &str,
        names: &[Name],
        date: &AnswerDate,
    ) -> Result<Option<HashMap<Name, String>>, SourceError> {
        let request = self.clients.asking.get_queue_attributes().queue_url(queue_url);
        let request = request.set_attribute_names(Some(names.to_vec()));
        match request.customize().interceptor(date.clone()).send().await {
            Ok(answer) => Ok(answer.attributes.filter(|attributes| !attributes.is_empty())),
            Err(error) => {
                let failure = Failure::of("GetQueueAttributes", &error);
                if failure.reason == Reason::AccessDenied { Ok(None) } else { Err(failure.into()) }
            }
        }
    }
}

fn seconds_of(attributes: &HashMap<Name, String>, name: &Name) -> Option<Duration> {
    attributes.get(name)?.parse().ok().map(Duration::from_secs)
}

fn encryption_of(attributes: &HashMap<Name, String>) -> Option<Encryption> {
    if attributes.get(&Name::KmsMasterKeyId).is_some_and(|key| !key.is_empty()) {
        return Some(Encryption::Kms);
    }
    match attributes.get(&Name::SqsManagedSseEnabled)?.as_str() {
        "true" => Some(Encryption::Service),
        _ => Some(Encryption::Off),
    }
}

/// A redrive policy.
#[derive(Debug, PartialEq, Eq)]
struct Redrive {
    name: String,
    account: Option<String>,
    max_receive_count: Option<u32>,
}

impl Redrive {
    /// `None` where there is none: a policy that is not set is left out, by some emulators empty.
    fn parse(text: &str) -> Option<Self> {
        let policy: Value = serde_json::from_str(text).ok()?;
        let arn = policy.get("deadLetterTargetArn")?.as_str()?;
        // arn:aws:sqs:REGION:ACCOUNT:NAME
        let mut parts = arn.rsplit(':');
        let name = parts.next().filter(|name| !name.is_empty())?.to_owned();
        let account = parts.next().filter(|account| !account.is_empty()).map(str::to_owned);
        let count = policy.get("maxReceiveCount");
        let max_receive_count = count.and_then(|count| match count {
            Value::String(text) => text.parse().ok(),
            other => other.as_u64().and_then(|count| u32::try_from(count).ok()),
        });
        Some(Self { name, account, max_receive_count })
    }
}

/// Takes the time that the service states in its answer.
#[derive(Debug, Clone, Default)]
struct AnswerDate(Arc<Mutex<Option<UnixMillis>>>);

impl AnswerDate {
    fn take(&self) -> Option<UnixMillis> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl Intercept for AnswerDate {
    fn name(&self) -> &'static str {
        "AnswerDate"
    }

    fn read_before_deserialization(
        &self,
        context: &BeforeDeserializationInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let date = context.response().headers().get("date");
        let date = date.and_then(|date| DateTime::from_str(date, DateTimeFormat::HttpDate).ok());
        let date = date.and_then(|date| date.to_millis().ok()).map(UnixMillis::new);
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = date;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_redrive_policy_is_read_as_the_console_and_as_the_documentation_write_it() {
        let arn = "arn:aws:sqs:eu-west-1:123456789012:dead";
        for count in ["5", "\"5\""] {
            let text = format!(r#"{{"deadLetterTargetArn":"{arn}","maxReceiveCount":{count}}}"#);
            let expected = Redrive {
                name: "dead".to_owned(),
                account: Some("123456789012".to_owned()),
                max_receive_count: Some(5),
            };
            assert_eq!(Redrive::parse(&text), Some(expected));
        }
        for nothing in ["", "{}", "null", r#"{"deadLetterTargetArn":""}"#] {
            assert_eq!(Redrive::parse(nothing), None, "{nothing}");
        }
    }

    #[test]
    fn a_kms_key_counts_before_the_services_own_and_silence_is_not_off() {
        let of = |attributes: &[(Name, &str)]| {
            let attributes = attributes.iter().map(|(name, value)| (name.clone(), (*value).to_owned()));
            encryption_of(&attributes.collect())
        };
        assert_eq!(of(&[]), None);
        assert_eq!(of(&[(Name::SqsManagedSseEnabled, "false")]), Some(Encryption::Off));
        assert_eq!(of(&[(Name::SqsManagedSseEnabled, "true")]), Some(Encryption::Service));
        let both = [(Name::SqsManagedSseEnabled, "false"), (Name::KmsMasterKeyId, "alias/aws/sqs")];
        assert_eq!(of(&both), Some(Encryption::Kms));
    }
}
