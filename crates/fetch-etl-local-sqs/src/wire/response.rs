//! The bodies of answers, written straight into a buffer.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;

use crate::attribute::{self, Attribute, AttributeValue, Wanted};
use crate::error::SqsError;
use crate::message::{MessageId, Received};
use crate::receipt::Seal;

/// What an operation brought about: the typed answer, before it is written.
pub(crate) enum Outcome {
    /// Of the operations that answer with nothing.
    Done,
    QueueUrl(String),
    QueueUrls {
        urls: Vec<String>,
        next_token: Option<String>,
    },
    Attributes(BTreeMap<&'static str, String>),
    Sent(Sent),
    SentBatch(Vec<Entry<Sent>>),
    Received(Delivery),
    /// Of the batches whose entries answer with nothing.
    Batch(Vec<Entry<()>>),
}

/// The answer to one entry of a batch.
pub(crate) struct Entry<T> {
    pub(crate) id: String,
    pub(crate) result: Result<T, SqsError>,
}

/// A message that was sent.
pub(crate) struct Sent {
    pub(crate) id: MessageId,
    pub(crate) body_md5: [u8; 16],
    pub(crate) attributes_md5: Option<[u8; 16]>,
    pub(crate) system_attributes_md5: Option<[u8; 16]>,
}

/// Messages that are on their way to a client, and which of their attributes it asked for.
pub(crate) struct Delivery {
    pub(crate) messages: Vec<Received>,
    pub(crate) seal: Seal,
    pub(crate) system_attributes: SystemAttributes,
    pub(crate) attribute_names: Vec<String>,
}

/// Which system attributes a receive asks for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct SystemAttributes(u8);

/// In the order of their bits.
const SYSTEM_ATTRIBUTES: [&str; 7] = [
    "SenderId",
    "SentTimestamp",
    "ApproximateReceiveCount",
    "ApproximateFirstReceiveTimestamp",
    "AWSTraceHeader",
    "MessageGroupId",
    "DeadLetterQueueSourceArn",
];

/// Every message has the same sender: signatures are not looked at.
const SENDER_ID: &str = "AIDALOCALSQSLOCALSQS0";

impl SystemAttributes {
    /// Names that this server has nothing for are ignored, as those of FIFO queues are.
    pub(crate) fn named<'a>(names: impl IntoIterator<Item = &'a str>) -> Self {
        names.into_iter().fold(Self(0), |set, name| match name {
            "All" => Self(u8::MAX),
            _ => SYSTEM_ATTRIBUTES
                .iter()
                .position(|known| *known == name)
                .map_or(set, |bit| Self(set.0 | 1 << bit)),
        })
    }

    fn values(self, message: &Received) -> impl Iterator<Item = (&'static str, SystemValue<'_>)> {
        SYSTEM_ATTRIBUTES
            .into_iter()
            .enumerate()
            .filter(move |(bit, _)| self.0 & 1 << bit != 0)
            .filter_map(|(_, name)| Some((name, system_attribute(message, name)?)))
    }
}

enum SystemValue<'a> {
    Text(&'a str),
    Number(u64),
}

fn system_attribute<'a>(message: &'a Received, name: &str) -> Option<SystemValue<'a>> {
    use SystemValue::{Number, Text};
    let extra = message.content.extra.as_deref();
    match name {
        "SenderId" => Some(Text(SENDER_ID)),
        "SentTimestamp" => Some(Number(message.sent_at)),
        "ApproximateReceiveCount" => Some(Number(message.receive_count.into())),
        "ApproximateFirstReceiveTimestamp" => Some(Number(message.first_received_at)),
        "AWSTraceHeader" => extra?.trace_header.as_deref().map(Text),
        "MessageGroupId" => extra?.group_id.as_deref().map(Text),
        "DeadLetterQueueSourceArn" => message.dead_letter_source.as_deref().map(Text),
        _ => None,
    }
}

/// Writes an answer as JSON.
pub(crate) fn write(outcome: &Outcome) -> Vec<u8> {
    let mut json = Json::default();
    json.object(|json| match outcome {
        Outcome::Done => {}
        Outcome::QueueUrl(url) => json.text("QueueUrl", url),
        Outcome::QueueUrls { urls, next_token } => {
            json.list("QueueUrls", urls, |json, url| json.value(url));
            if let Some(token) = next_token {
                json.text("NextToken", token);
            }
        }
        Outcome::Attributes(attributes) => json.member("Attributes", |json| json.value(attributes)),
        Outcome::Sent(sent) => write_sent(json, sent),
        Outcome::SentBatch(entries) => write_batch(json, entries, write_sent),
        Outcome::Batch(entries) => write_batch(json, entries, |_, ()| {}),
        // "If no messages are available, the call does not return a message list."
        Outcome::Received(delivery) if delivery.messages.is_empty() => {}
        Outcome::Received(delivery) => {
            json.buffer.reserve(delivery.messages.iter().map(|m| m.content.body.len() * 5 / 4 + 400).sum());
            json.list("Messages", &delivery.messages, |json, message| {
                json.object(|json| write_message(json, message, delivery));
            });
        }
    });
    json.buffer
}

/// Writes a refusal as JSON.
pub(crate) fn write_error(error: &SqsError) -> Vec<u8> {
    let mut json = Json::default();
    json.object(|json| {
        json.text("__type", error.kind.shape());
        json.text("message", &error.message);
    });
    json.buffer
}

fn write_sent(json: &mut Json, sent: &Sent) {
    json.ascii("MessageId", &sent.id.text());
    json.digest("MD5OfMessageBody", &sent.body_md5);
    if let Some(md5) = &sent.attributes_md5 {
        json.digest("MD5OfMessageAttributes", md5);
    }
    if let Some(md5) = &sent.system_attributes_md5 {
        json.digest("MD5OfMessageSystemAttributes", md5);
    }
}

fn write_batch<T>(json: &mut Json, entries: &[Entry<T>], write_success: impl Fn(&mut Json, &T)) {
    let successful = entries.iter().filter_map(|entry| Some((&entry.id, entry.result.as_ref().ok()?)));
    json.list("Successful", successful, |json, (id, success)| {
        json.object(|json| {
            json.text("Id", id);
            write_success(json, success);
        });
    });
    let failed = entries.iter().filter_map(|entry| Some((&entry.id, entry.result.as_ref().err()?)));
    json.list("Failed", failed, |json, (id, error)| {
        json.object(|json| {
            json.text("Id", id);
            json.member("SenderFault", |json| json.value(&error.kind.is_sender_fault()));
            json.text("Code", error.kind.query_code());
            json.text("Message", &error.message);
        });
    });
}

fn write_message(json: &mut Json, message: &Received, delivery: &Delivery) {
    let content = &*message.content;
    json.ascii("MessageId", &content.id.text());
    json.ascii("ReceiptHandle", &delivery.seal.handle(message.receipt));
    json.digest("MD5OfBody", &content.body_md5);
    json.text("Body", &content.body);
    if delivery.system_attributes != SystemAttributes::default() {
        json.member("Attributes", |json| {
            json.object(|json| {
                delivery.system_attributes.values(message).for_each(|(name, value)| match value {
                    SystemValue::Text(text) => json.text(name, text),
                    SystemValue::Number(number) => json.quoted_number(name, number),
                });
            });
        });
    }
    let wanted = Wanted(&delivery.attribute_names);
    let attributes =
        content.extra.iter().flat_map(|extra| &extra.attributes).filter(|a| wanted.includes(&a.name));
    if attributes.clone().next().is_some() {
        json.digest("MD5OfMessageAttributes", &attribute::digest(attributes.clone()));
        json.member("MessageAttributes", |json| {
            json.object(|json| attributes.for_each(|attribute| write_attribute(json, attribute)));
        });
    }
}

fn write_attribute(json: &mut Json, attribute: &Attribute) {
    json.member(&attribute.name, |json| {
        json.object(|json| {
            json.text("DataType", &attribute.data_type);
            match &attribute.value {
                AttributeValue::Text(text) => json.text("StringValue", text),
                AttributeValue::Binary(bytes) => json.text("BinaryValue", &STANDARD.encode(bytes)),
            }
        });
    });
}

/// Builds JSON without building a tree first.
#[derive(Default)]
struct Json {
    buffer: Vec<u8>,
}

impl Json {
    fn object(&mut self, members: impl FnOnce(&mut Self)) {
        self.buffer.push(b'{');
        members(self);
        self.close(b'}');
    }

    fn list<T>(
        &mut self,
        name: &str,
        items: impl IntoIterator<Item = T>,
        mut write: impl FnMut(&mut Self, T),
    ) {
        self.member(name, |json| {
            json.buffer.push(b'[');
            for item in items {
                write(json, item);
                json.buffer.push(b',');
            }
            json.close(b']');
        });
    }

    fn member(&mut self, name: &str, write: impl FnOnce(&mut Self)) {
        self.value(name);
        self.buffer.push(b':');
        write(self);
        self.buffer.push(b',');
    }

    fn text(&mut self, name: &str, text: &str) {
        self.member(name, |json| json.value(text));
    }

    /// A text that is known to need no escaping.
    fn ascii(&mut self, name: &str, text: &[u8]) {
        self.member(name, |json| {
            json.buffer.push(b'"');
            json.buffer.extend_from_slice(text);
            json.buffer.push(b'"');
        });
    }

    /// System attributes are texts, those that are numbers too.
    fn quoted_number(&mut self, name: &str, number: u64) {
        self.member(name, |json| {
            json.buffer.push(b'"');
            json.value(&number);
            json.buffer.push(b'"');
        });
    }

    fn digest(&mut self, name: &str, digest: &[u8; 16]) {
        let mut text = [b'0'; 32];
        // Cannot fail: the buffer has exactly two digits for each byte.
        let written = hex::encode_to_slice(digest, &mut text);
        debug_assert_eq!(written, Ok(()));
        self.ascii(name, &text);
    }

    fn value<T: Serialize + ?Sized>(&mut self, value: &T) {
        // Cannot fail: texts, numbers and maps of texts are all valid JSON, and a vector takes every byte.
        let written = serde_json::to_writer(&mut self.buffer, value);
        debug_assert!(written.is_ok());
    }

    /// Ends an object or a list, whose last member has left a comma.
    fn close(&mut self, bracket: u8) {
        match self.buffer.last_mut() {
            Some(last @ b',') => *last = bracket,
            _ => self.buffer.push(bracket),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(outcome: &Outcome) -> String {
        String::from_utf8(write(outcome)).unwrap()
    }

    #[test]
    fn empty_answers_are_empty_objects() {
        assert_eq!(text(&Outcome::Done), "{}");
        let nothing = Delivery {
            messages: vec![],
            seal: Seal::new(0),
            system_attributes: SystemAttributes::default(),
            attribute_names: vec![],
        };
        assert_eq!(text(&Outcome::Received(nothing)), "{}");
    }

    #[test]
    fn batches_always_have_both_lists() {
        let entries = vec![
            Entry { id: "a".into(), result: Ok(()) },
            Entry { id: "b".into(), result: Err(SqsError::invalid_receipt()) },
            Entry { id: "c".into(), result: Ok(()) },
        ];
        assert_eq!(
            text(&Outcome::Batch(entries)),
            r#"{"Successful":[{"Id":"a"},{"Id":"c"}],"Failed":[{"Id":"b","SenderFault":true,"Code":"ReceiptHandleIsInvalid","Message":"The input receipt handle is invalid."}]}"#
        );
        assert_eq!(text(&Outcome::Batch(vec![])), r#"{"Successful":[],"Failed":[]}"#);
    }

    #[test]
    fn what_needs_escaping_is_escaped() {
        let json = text(&Outcome::QueueUrl("a\"b\\c\n\u{1f600},".into()));
        let value: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert_eq!(value["QueueUrl"], "a\"b\\c\n\u{1f600},");
    }

    #[test]
    fn system_attributes_are_a_set_of_names() {
        assert_eq!(SystemAttributes::named([]), SystemAttributes::default());
        assert_eq!(SystemAttributes::named(["SequenceNumber"]), SystemAttributes::default());
        assert_eq!(SystemAttributes::named(["SentTimestamp", "SenderId"]), SystemAttributes(0b11));
        assert_eq!(SystemAttributes::named(["All"]), SystemAttributes(u8::MAX));
    }
}
