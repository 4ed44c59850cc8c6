//! The bodies of requests. Text is borrowed from the request where JSON needs no unescaping.
//!
//! Required texts default to empty instead of failing the parser, so that a missing one can be reported by its name.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::mem;

use serde::{Deserialize, Deserializer};

use crate::error::{ErrorKind, SqsError};

/// Message attributes as sent, sorted by name.
pub(crate) type AttributeMap<'a> = BTreeMap<Cow<'a, str>, SentAttribute<'a>>;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct SentAttribute<'a> {
    #[serde(borrow, default)]
    pub(crate) data_type: Cow<'a, str>,
    pub(crate) string_value: Option<Cow<'a, str>>,
    /// Base64.
    pub(crate) binary_value: Option<Cow<'a, str>>,
}

impl SentAttribute<'_> {
    /// What type and value count against the size limits: of bytes those that the base64 stands for.
    pub(crate) fn size(&self) -> usize {
        let text = self.string_value.as_ref().map_or(0, |text| text.len());
        let binary = self.binary_value.as_ref().map_or(0, |text| text.trim_end_matches('=').len() * 3 / 4);
        self.data_type.len() + text + binary
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct CreateQueue<'a> {
    #[serde(borrow, default)]
    pub(crate) queue_name: Cow<'a, str>,
    #[serde(borrow, default)]
    pub(crate) attributes: BTreeMap<Cow<'a, str>, Cow<'a, str>>,
}

/// The requests that name a queue by its name.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct QueueName<'a> {
    #[serde(borrow, default)]
    pub(crate) queue_name: Cow<'a, str>,
}

/// The requests that need no more than a queue.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct QueueUrl<'a> {
    #[serde(borrow, default)]
    pub(crate) queue_url: Cow<'a, str>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct ListQueues {
    pub(crate) queue_name_prefix: Option<String>,
    pub(crate) next_token: Option<String>,
    pub(crate) max_results: Option<i64>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct GetQueueAttributes<'a> {
    #[serde(borrow, default)]
    pub(crate) queue_url: Cow<'a, str>,
    #[serde(borrow, default)]
    pub(crate) attribute_names: Vec<Cow<'a, str>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct SetQueueAttributes<'a> {
    #[serde(borrow, default)]
    pub(crate) queue_url: Cow<'a, str>,
    #[serde(borrow, default)]
    pub(crate) attributes: BTreeMap<Cow<'a, str>, Cow<'a, str>>,
}

/// A message to be sent, by itself or in a batch.
#[derive(Default)]
pub(crate) struct SentMessage<'a> {
    pub(crate) message_body: Cow<'a, str>,
    pub(crate) delay_seconds: Option<i64>,
    pub(crate) message_attributes: AttributeMap<'a>,
    pub(crate) message_system_attributes: AttributeMap<'a>,
    pub(crate) message_group_id: Option<Cow<'a, str>>,
}

pub(crate) struct SendMessage<'a> {
    pub(crate) queue_url: Cow<'a, str>,
    pub(crate) message: SentMessage<'a>,
}

pub(crate) struct SendEntry<'a> {
    pub(crate) id: Cow<'a, str>,
    pub(crate) message: SentMessage<'a>,
}

/// The members of both requests side by side, as they are on the wire: `#[serde(flatten)]` would buffer and copy.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct SendMembers<'a> {
    #[serde(borrow, default)]
    queue_url: Cow<'a, str>,
    #[serde(borrow, default)]
    id: Cow<'a, str>,
    #[serde(borrow, default)]
    message_body: Cow<'a, str>,
    delay_seconds: Option<i64>,
    #[serde(borrow, default)]
    message_attributes: AttributeMap<'a>,
    #[serde(borrow, default)]
    message_system_attributes: AttributeMap<'a>,
    message_group_id: Option<Cow<'a, str>>,
}

impl<'a> SendMembers<'a> {
    fn message(self) -> SentMessage<'a> {
        SentMessage {
            message_body: self.message_body,
            delay_seconds: self.delay_seconds,
            message_attributes: self.message_attributes,
            message_system_attributes: self.message_system_attributes,
            message_group_id: self.message_group_id,
        }
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for SendMessage<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut members = SendMembers::deserialize(deserializer)?;
        Ok(Self { queue_url: mem::take(&mut members.queue_url), message: members.message() })
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for SendEntry<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut members = SendMembers::deserialize(deserializer)?;
        Ok(Self { id: mem::take(&mut members.id), message: members.message() })
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Batch<'a, E> {
    #[serde(borrow, default)]
    pub(crate) queue_url: Cow<'a, str>,
    #[serde(default = "Vec::new")]
    pub(crate) entries: Vec<E>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct ReceiveMessage<'a> {
    #[serde(borrow, default)]
    pub(crate) queue_url: Cow<'a, str>,
    /// The older name of `message_system_attribute_names`.
    #[serde(borrow, default)]
    pub(crate) attribute_names: Vec<Cow<'a, str>>,
    #[serde(borrow, default)]
    pub(crate) message_system_attribute_names: Vec<Cow<'a, str>>,
    #[serde(default)]
    pub(crate) message_attribute_names: Vec<String>,
    pub(crate) max_number_of_messages: Option<i64>,
    pub(crate) visibility_timeout: Option<i64>,
    pub(crate) wait_time_seconds: Option<i64>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct DeleteMessage<'a> {
    #[serde(borrow, default)]
    pub(crate) queue_url: Cow<'a, str>,
    #[serde(borrow, default)]
    pub(crate) receipt_handle: Cow<'a, str>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct DeleteEntry<'a> {
    #[serde(borrow, default)]
    pub(crate) id: Cow<'a, str>,
    #[serde(borrow, default)]
    pub(crate) receipt_handle: Cow<'a, str>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct ChangeVisibility<'a> {
    #[serde(borrow, default)]
    pub(crate) queue_url: Cow<'a, str>,
    #[serde(borrow, default)]
    pub(crate) receipt_handle: Cow<'a, str>,
    pub(crate) visibility_timeout: Option<i64>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct ChangeVisibilityEntry<'a> {
    #[serde(borrow, default)]
    pub(crate) id: Cow<'a, str>,
    #[serde(borrow, default)]
    pub(crate) receipt_handle: Cow<'a, str>,
    pub(crate) visibility_timeout: Option<i64>,
}

/// Reads the body of a request.
pub(crate) fn parse<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, SqsError> {
    // Of the parser's own message only the place: the rest can quote the value, which is personal data.
    serde_json::from_slice(body).map_err(|error| {
        SqsError::new(
            ErrorKind::Serialization,
            format!(
                "The request is not the JSON that this operation takes (line {}, column {}).",
                error.line(),
                error.column()
            ),
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_text_is_borrowed_and_escaped_text_is_not() {
        let body = br#"{"QueueUrl":"http://h/0/q","MessageBody":"plain"}"#;
        let request: SendMessage<'_> = parse(body).unwrap();
        assert!(matches!(request.message.message_body, Cow::Borrowed("plain")));
        let body = br#"{"QueueUrl":"q","MessageBody":"{\"a\":1}"}"#;
        let request: SendMessage<'_> = parse(body).unwrap();
        assert!(matches!(&request.message.message_body, Cow::Owned(text) if text == r#"{"a":1}"#));
    }

    #[test]
    fn an_error_names_the_place_and_not_the_value() {
        let body = br#"{"QueueUrl":"q","DelaySeconds":"198.51.100.7"}"#;
        let error = parse::<SendMessage<'_>>(body).err().unwrap();
        assert_eq!(error.kind, ErrorKind::Serialization);
        assert!(error.message.contains("line 1, column 4"), "{error}");
        assert!(!error.message.contains("198.51"), "{error}");
    }
}
