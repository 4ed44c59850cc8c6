//! The answer to a receive.

use std::borrow::Cow;

use serde::de::{IgnoredAny, MapAccess};

use super::json::{Fields, ReadEach, ReadInto, Sensitive, document, text};
use crate::calls::Received;
use crate::message::{Attributes, Incoming, KeyAttributes};

/// Reads the deliveries; bodies are copied once, into what is zeroized.
pub(super) fn received(body: &[u8], keys: &KeyAttributes) -> serde_json::Result<Received> {
    let messages = document(Answer { keys, messages: None }, body)?.messages.unwrap_or_default();
    let received = messages.len();
    let deliveries: Vec<_> =
        messages.into_iter().filter_map(|message| message.incoming.into_delivery()).collect();
    Ok(Received { incomplete: received - deliveries.len(), deliveries })
}

struct Answer<'k, 'a> {
    keys: &'k KeyAttributes,
    messages: Option<Vec<Message<'k, 'a>>>,
}

impl<'a> Fields<'a> for Answer<'_, 'a> {
    fn field<A: MapAccess<'a>>(&mut self, name: &str, map: &mut A) -> Result<(), A::Error> {
        let Self { keys, messages } = self;
        match name {
            "Messages" => {
                *messages =
                    map.next_value_seed(ReadEach(|| Message { keys, incoming: Incoming::default() }))?;
            }
            _ => return map.next_value::<IgnoredAny>().map(drop),
        }
        Ok(())
    }
}

struct Message<'k, 'a> {
    keys: &'k KeyAttributes,
    incoming: Incoming<'a>,
}

impl<'a> Fields<'a> for Message<'_, 'a> {
    fn field<A: MapAccess<'a>>(&mut self, name: &str, map: &mut A) -> Result<(), A::Error> {
        let Self { keys, incoming } = self;
        match name {
            "MessageId" => incoming.id = text(map)?,
            "ReceiptHandle" => incoming.receipt = text(map)?,
            "Body" => incoming.body = map.next_value::<Option<Sensitive>>()?.map(|Sensitive(body)| body),
            "Attributes" => {
                let System { sent, count, trace } =
                    map.next_value_seed(ReadInto(System::default()))?.unwrap_or_default();
                (incoming.sent, incoming.count, incoming.trace) = (sent, count, trace);
            }
            "MessageAttributes" => {
                let stated = Stated { keys, attributes: Attributes::default() };
                incoming.attributes = map
                    .next_value_seed(ReadInto(stated))?
                    .map(|stated| stated.attributes)
                    .unwrap_or_default();
            }
            _ => return map.next_value::<IgnoredAny>().map(drop),
        }
        Ok(())
    }
}

/// The attributes that SQS makes.
#[derive(Default)]
struct System<'a> {
    sent: Option<Cow<'a, str>>,
    count: Option<Cow<'a, str>>,
    trace: Option<Cow<'a, str>>,
}

impl<'a> Fields<'a> for System<'a> {
    fn field<A: MapAccess<'a>>(&mut self, name: &str, map: &mut A) -> Result<(), A::Error> {
        match name {
            "SentTimestamp" => self.sent = text(map)?,
            "ApproximateReceiveCount" => self.count = text(map)?,
            "AWSTraceHeader" => self.trace = text(map)?,
            _ => return map.next_value::<IgnoredAny>().map(drop),
        }
        Ok(())
    }
}

/// The attributes that producers make.
struct Stated<'k, 'a> {
    keys: &'k KeyAttributes,
    attributes: Attributes<'a>,
}

impl<'a> Fields<'a> for Stated<'_, 'a> {
    fn field<A: MapAccess<'a>>(&mut self, name: &str, map: &mut A) -> Result<(), A::Error> {
        match self.keys.role(name) {
            Some(role) => {
                let value = map.next_value_seed(ReadInto(Value::default()))?;
                self.attributes.set(role, value.and_then(|value| value.text));
                Ok(())
            }
            None => map.next_value::<IgnoredAny>().map(drop),
        }
    }
}

#[derive(Default)]
struct Value<'a> {
    text: Option<Cow<'a, str>>,
}

impl<'a> Fields<'a> for Value<'a> {
    fn field<A: MapAccess<'a>>(&mut self, name: &str, map: &mut A) -> Result<(), A::Error> {
        match name {
            "StringValue" => self.text = text(map)?,
            _ => return map.next_value::<IgnoredAny>().map(drop),
        }
        Ok(())
    }
}
