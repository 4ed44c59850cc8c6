//! The attributes of a queue that a caller can set.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Deserialize;

use crate::error::{ErrorKind, SqsError};
use crate::limits::{MAX_DELAY_S, MAX_IN_FLIGHT, MAX_MESSAGE_BYTES, MAX_NAME, MAX_VISIBILITY_S, MAX_WAIT_S};

/// Attributes that are kept and given back, and change nothing: this server has no policies and no encryption.
const PASSIVE: [&str; 5] = [
    "KmsDataKeyReusePeriodSeconds",
    "KmsMasterKeyId",
    "Policy",
    "RedriveAllowPolicy",
    "SqsManagedSseEnabled",
];

/// After how many receives a message goes to which queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RedrivePolicy {
    /// The name of the dead-letter queue, the last part of its ARN.
    pub(crate) target: Arc<str>,
    pub(crate) max_receive_count: u32,
    /// The policy as it was set, for GetQueueAttributes.
    text: String,
}

impl RedrivePolicy {
    /// The policy as JSON.
    pub(crate) fn text(target_arn: &str, max_receive_count: u32) -> String {
        format!(r#"{{"deadLetterTargetArn":"{target_arn}","maxReceiveCount":{max_receive_count}}}"#)
    }

    fn parse(text: &str) -> Result<Self, SqsError> {
        /// The console writes the count as a number, the documentation's examples as a string.
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Count {
            Number(u32),
            Text(String),
        }
        #[derive(Deserialize)]
        struct Policy {
            #[serde(rename = "deadLetterTargetArn")]
            target_arn: String,
            #[serde(rename = "maxReceiveCount")]
            max_receive_count: Count,
        }
        let refused = |reason: &str| {
            SqsError::invalid_parameter(format!(
                "Value for parameter RedrivePolicy is invalid. Reason: {reason}"
            ))
        };
        let policy: Policy = serde_json::from_str(text)
            .map_err(|_| refused("It must be a JSON object with deadLetterTargetArn and maxReceiveCount."))?;
        if policy.target_arn.split(':').count() != 6 || !policy.target_arn.starts_with("arn:") {
            return Err(refused("Invalid value for deadLetterTargetArn."));
        }
        let max_receive_count = match policy.max_receive_count {
            Count::Number(number) => Some(number),
            Count::Text(text) => text.parse().ok(),
        };
        match max_receive_count {
            Some(count @ 1..=1000) => Ok(Self {
                target: queue_of_arn(&policy.target_arn).into(),
                max_receive_count: count,
                text: text.to_owned(),
            }),
            _ => Err(refused("Invalid value for maxReceiveCount: must be between 1 and 1000.")),
        }
    }
}

fn queue_of_arn(arn: &str) -> &str {
    arn.rsplit(':').next().unwrap_or_default()
}

/// How a queue behaves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Settings {
    pub(crate) visibility_s: u32,
    pub(crate) delay_s: u32,
    pub(crate) retention_s: u32,
    pub(crate) wait_s: u32,
    pub(crate) max_message_bytes: u32,
    pub(crate) redrive: Option<RedrivePolicy>,
    /// Not an SQS attribute: the real service fixes it.
    pub(crate) in_flight_limit: usize,
    passive: BTreeMap<&'static str, String>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            visibility_s: 30,
            delay_s: 0,
            retention_s: 345_600,
            wait_s: 0,
            max_message_bytes: MAX_MESSAGE_BYTES,
            redrive: None,
            in_flight_limit: MAX_IN_FLIGHT,
            passive: BTreeMap::new(),
        }
    }
}

impl Settings {
    /// Takes over the given attributes, all of them or, on an error, none.
    pub(crate) fn update<'a>(
        &mut self,
        attributes: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> Result<(), SqsError> {
        let mut updated = self.clone();
        for (name, value) in attributes {
            updated.set(name, value)?;
        }
        *self = updated;
        Ok(())
    }

    fn set(&mut self, name: &str, value: &str) -> Result<(), SqsError> {
        match name {
            "VisibilityTimeout" => self.visibility_s = number(name, value, 0, MAX_VISIBILITY_S)?,
            "DelaySeconds" => self.delay_s = number(name, value, 0, MAX_DELAY_S)?,
            "MessageRetentionPeriod" => self.retention_s = number(name, value, 60, 1_209_600)?,
            "ReceiveMessageWaitTimeSeconds" => self.wait_s = number(name, value, 0, MAX_WAIT_S)?,
            "MaximumMessageSize" => {
                self.max_message_bytes = number(name, value, 1024, MAX_MESSAGE_BYTES.into())?;
            }
            // An empty value takes the policy away again.
            "RedrivePolicy" if value.is_empty() => self.redrive = None,
            "RedrivePolicy" => self.redrive = Some(RedrivePolicy::parse(value)?),
            _ => {
                let known = PASSIVE.iter().find(|passive| **passive == name);
                let name = known.ok_or_else(|| unknown_attribute(name))?;
                self.passive.insert(name, value.to_owned());
            }
        }
        Ok(())
    }

    /// Every attribute that has a value, by name.
    pub(crate) fn list(&self) -> impl Iterator<Item = (&'static str, String)> {
        let numbers = [
            ("VisibilityTimeout", u64::from(self.visibility_s)),
            ("DelaySeconds", u64::from(self.delay_s)),
            ("MessageRetentionPeriod", u64::from(self.retention_s)),
            ("ReceiveMessageWaitTimeSeconds", u64::from(self.wait_s)),
            ("MaximumMessageSize", u64::from(self.max_message_bytes)),
        ];
        let redrive = self.redrive.iter().map(|policy| ("RedrivePolicy", policy.text.clone()));
        let passive = self.passive.iter().map(|(name, value)| (*name, value.clone()));
        numbers.into_iter().map(|(name, number)| (name, number.to_string())).chain(redrive).chain(passive)
    }

    /// The first of the attributes that this queue does not have with just that value: what CreateQueue complains
    /// of when the queue is there already.
    pub(crate) fn first_difference(&self, wanted: &Self, named: &BTreeMap<&str, &str>) -> Option<String> {
        let ours: BTreeMap<_, _> = self.list().collect();
        wanted
            .list()
            .find(|(name, value)| named.contains_key(name) && ours.get(name) != Some(value))
            .map(|(name, _)| name.to_owned())
    }
}

fn number(name: &str, value: &str, min: i64, max: i64) -> Result<u32, SqsError> {
    value.parse().ok().filter(|number| (min..=max).contains(&i64::from(*number))).ok_or_else(|| {
        SqsError::new(ErrorKind::InvalidAttributeValue, format!("Invalid value for the parameter {name}."))
    })
}

pub(crate) fn unknown_attribute(name: &str) -> SqsError {
    SqsError::new(ErrorKind::InvalidAttributeName, format!("Unknown Attribute {name}."))
}

/// Checks the name of a new queue.
pub(crate) fn check_queue_name(name: &str) -> Result<(), SqsError> {
    if name.ends_with(".fifo") {
        return Err(SqsError::new(
            ErrorKind::UnsupportedOperation,
            "This server has standard queues only, no FIFO queues.",
        ));
    }
    if name.is_empty() {
        return Err(SqsError::missing("QueueName"));
    }
    let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_');
    if name.len() > MAX_NAME || !name.bytes().all(allowed) {
        return Err(SqsError::invalid_parameter(
            "Can only include alphanumeric characters, hyphens, or underscores. 1 to 80 in length",
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(name: &str, value: &str) -> Result<Settings, ErrorKind> {
        let mut settings = Settings::default();
        settings.update([(name, value)]).map(|()| settings).map_err(|e| e.kind)
    }

    #[test]
    fn the_limits_of_each_attribute_hold_at_both_ends() {
        for (name, min, max) in [
            ("VisibilityTimeout", 0, 43_200),
            ("DelaySeconds", 0, 900),
            ("MessageRetentionPeriod", 60, 1_209_600),
            ("ReceiveMessageWaitTimeSeconds", 0, 20),
            ("MaximumMessageSize", 1_024, 1_048_576),
        ] {
            for good in [min, max] {
                let settings = set(name, &good.to_string()).unwrap();
                assert!(settings.list().any(|(n, v)| n == name && v == good.to_string()), "{name}={good}");
            }
            for bad in [(min - 1).to_string(), (max + 1).to_string(), "x".into(), String::new()] {
                assert_eq!(set(name, &bad), Err(ErrorKind::InvalidAttributeValue), "{name}={bad}");
            }
        }
    }

    #[test]
    fn unknown_and_fifo_attributes_are_refused_and_an_update_is_all_or_nothing() {
        for name in ["NoSuchThing", "FifoQueue", "ContentBasedDeduplication", "All", ""] {
            assert_eq!(set(name, "true"), Err(ErrorKind::InvalidAttributeName), "{name}");
        }
        let mut settings = Settings::default();
        assert!(settings.update([("DelaySeconds", "5"), ("NoSuchThing", "1")]).is_err());
        assert_eq!(settings, Settings::default());
    }

    #[test]
    fn a_redrive_policy_needs_an_arn_and_a_count() {
        let policy = |arn: &str, count: &str| {
            set("RedrivePolicy", &format!(r#"{{"deadLetterTargetArn":"{arn}","maxReceiveCount":{count}}}"#))
        };
        for count in ["3", "\"3\""] {
            let redrive = policy("arn:aws:sqs:eu-west-1:000000000000:dead", count).unwrap().redrive.unwrap();
            assert_eq!((&*redrive.target, redrive.max_receive_count), ("dead", 3));
        }
        for (arn, count) in [
            ("dead", "3"),
            ("arn:aws:sqs:eu-west-1:000000000000:dead", "0"),
            ("arn:aws:sqs:eu-west-1:000000000000:dead", "1001"),
            ("arn:aws:sqs:eu-west-1:000000000000:dead", "null"),
        ] {
            assert_eq!(policy(arn, count), Err(ErrorKind::InvalidParameterValue), "{arn} {count}");
        }
        assert_eq!(set("RedrivePolicy", "[]"), Err(ErrorKind::InvalidParameterValue));
        assert_eq!(set("RedrivePolicy", "").unwrap().redrive, None);
    }

    #[test]
    fn only_attributes_that_were_named_can_differ() {
        let existing = set("DelaySeconds", "5").unwrap();
        let wanted = set("VisibilityTimeout", "30").unwrap();
        assert_eq!(existing.first_difference(&wanted, &[("VisibilityTimeout", "30")].into()), None);
        let wanted = set("DelaySeconds", "6").unwrap();
        let difference = existing.first_difference(&wanted, &[("DelaySeconds", "6")].into());
        assert_eq!(difference.as_deref(), Some("DelaySeconds"));
    }

    #[test]
    fn queue_names_are_checked() {
        for good in ["a", "login-queue_2", &"q".repeat(80)] {
            assert_eq!(check_queue_name(good), Ok(()));
        }
        for (bad, kind) in [
            ("", ErrorKind::MissingParameter),
            ("a b", ErrorKind::InvalidParameterValue),
            ("a.b", ErrorKind::InvalidParameterValue),
            (&"q".repeat(81), ErrorKind::InvalidParameterValue),
            ("a.fifo", ErrorKind::UnsupportedOperation),
        ] {
            assert_eq!(check_queue_name(bad).map_err(|e| e.kind), Err(kind), "{bad}");
        }
    }
}
