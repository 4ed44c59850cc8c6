//! A message becomes a delivery.

use std::borrow::Cow;

use aws_sdk_sqs::types::{Message, MessageSystemAttributeName};
use fetch_etl_core::{Delivery, MessageKey, Pii, Receipt, TraceParent, UnixMillis};

/// The message attribute in which our own redrive states the id that a message had at first.
///
/// Whoever may send to the queue may set it, and so say that a message is another one: to the ledger it is, then.
pub const ORIGIN_ATTRIBUTE: &str = "origin-message-id";

/// The message attribute in which our own redrive states when a message was sent at first, in milliseconds since 1970.
/// Together with [`ORIGIN_ATTRIBUTE`] it makes the message the very one that it was.
pub const ORIGIN_SENT_ATTRIBUTE: &str = "origin-sent-timestamp";

/// The attributes that say which message it is: the producer's, then ours.
#[derive(Debug)]
pub(crate) struct KeyAttributes {
    of_producer: Option<String>,
}

/// What an attribute of a message says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// The producer's id of the event.
    Key,
    /// The id that the message had at first.
    Origin,
    /// When the message was sent at first.
    OriginSent,
}

impl KeyAttributes {
    pub(crate) fn new(of_producer: Option<String>) -> Self {
        Self { of_producer }
    }

    /// What a receive must ask for.
    pub(crate) fn names(&self) -> Vec<String> {
        let ours = [ORIGIN_ATTRIBUTE, ORIGIN_SENT_ATTRIBUTE].map(str::to_owned);
        let ours = ours.into_iter().filter(|name| self.of_producer.as_ref() != Some(name));
        self.of_producer.iter().cloned().chain(ours).collect()
    }

    /// What an attribute is for; an attribute of ours that the producer uses is the producer's.
    pub(crate) fn role(&self, name: &str) -> Option<Role> {
        match name {
            _ if self.of_producer.as_deref() == Some(name) => Some(Role::Key),
            ORIGIN_ATTRIBUTE => Some(Role::Origin),
            ORIGIN_SENT_ATTRIBUTE => Some(Role::OriginSent),
            _ => None,
        }
    }
}

/// What is needed of a message as it came, borrowed from the answer where that is possible.
#[derive(Default)]
pub(crate) struct Incoming<'a> {
    pub(crate) id: Option<Cow<'a, str>>,
    pub(crate) receipt: Option<Cow<'a, str>>,
    /// Zeroized whatever becomes of the message.
    pub(crate) body: Option<Pii<Vec<u8>>>,
    pub(crate) sent: Option<Cow<'a, str>>,
    pub(crate) count: Option<Cow<'a, str>>,
    /// Where the message's trace is, as AWS writes it.
    pub(crate) trace: Option<Cow<'a, str>>,
    pub(crate) attributes: Attributes<'a>,
}

/// The attributes that have a [`Role`]. One without a text (a binary one) is empty: an empty key is rejected by name in staging.
/// Falling back to another key would quietly give up what the attribute is for.
#[derive(Default)]
pub(crate) struct Attributes<'a> {
    key: Option<Cow<'a, str>>,
    origin: Option<Cow<'a, str>>,
    origin_sent: Option<Cow<'a, str>>,
}

impl<'a> Attributes<'a> {
    pub(crate) fn set(&mut self, role: Role, text: Option<Cow<'a, str>>) {
        let slot = match role {
            Role::Key => &mut self.key,
            Role::Origin => &mut self.origin,
            Role::OriginSent => &mut self.origin_sent,
        };
        *slot = Some(text.unwrap_or_default());
    }
}

/// The message that this one was before a redrive.
struct Origin {
    id: Box<str>,
    sent_at: UnixMillis,
}

impl Origin {
    /// Takes the id off the attributes of a redrive, where both are there. What is no id of a message is left, to be judged as a
    /// key.
    fn take(attributes: &mut Attributes<'_>) -> Option<Self> {
        let sent_at = UnixMillis::new(attributes.origin_sent.as_deref()?.parse().ok()?);
        let id = attributes.origin.take_if(|id| is_id(id))?.into();
        Some(Self { id, sent_at })
    }
}

/// Ids of SQS are UUIDs. Others are not, but what no ledger could hold is no id.
fn is_id(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= MessageKey::MAX_CHARS
        && text.bytes().all(|byte| byte.is_ascii_graphic())
}

impl Incoming<'_> {
    /// Takes the SDK's message apart; the body is moved, not copied.
    pub(crate) fn of_sdk(message: Message, keys: &KeyAttributes) -> Self {
        // First of all, so that it is zeroized whatever becomes of the message.
        let body = message.body.map(|body| Pii::new(body.into_bytes()));
        let mut system = message.attributes.unwrap_or_default();
        let mut system = |name| system.remove(&name).map(Cow::Owned);
        let mut attributes = Attributes::default();
        for (name, value) in message.message_attributes.into_iter().flatten() {
            if let Some(role) = keys.role(&name) {
                attributes.set(role, value.string_value.map(Cow::Owned));
            }
        }
        Self {
            id: message.message_id.map(Cow::Owned),
            receipt: message.receipt_handle.map(Cow::Owned),
            body,
            sent: system(MessageSystemAttributeName::SentTimestamp),
            count: system(MessageSystemAttributeName::ApproximateReceiveCount),
            trace: system(MessageSystemAttributeName::AwsTraceHeader),
            attributes,
        }
    }

    /// `None` where id or receipt is missing: nobody could settle the message, so it is left to come back.
    pub(crate) fn into_delivery(mut self) -> Option<Delivery> {
        let origin = Origin::take(&mut self.attributes);
        let key = self.attributes.key.or(self.attributes.origin).map(Box::from);
        let sent_at = self.sent.and_then(|sent| sent.parse().ok()).map(UnixMillis::new);
        let attempt = self.count.and_then(|count| count.parse().ok());
        let id = self.id?.into();
        let (id, sent_at) = origin.map_or((id, sent_at), |origin| (origin.id, Some(origin.sent_at)));
        Some(Delivery {
            id,
            key,
            attempt: attempt.unwrap_or(1).max(1),
            sent_at,
            trace: self.trace.and_then(|header| trace_of(&header)),
            // SQS has no empty bodies; should one be missing, staging rejects the empty text.
            body: self.body.unwrap_or_else(|| Pii::new(Vec::new())),
            receipt: Receipt::new(self.receipt?),
        })
    }
}

/// The place in a trace that an `AWSTraceHeader` names: `Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1`,
/// in which OpenTelemetry's trace id is the last two parts of the root. What is not so is no trace.
fn trace_of(header: &str) -> Option<TraceParent> {
    let part =
        |name| header.split(';').find_map(|part| part.trim().split_once('=').filter(|(key, _)| *key == name));
    let (epoch, rest) = part("Root")?.1.strip_prefix("1-")?.split_once('-')?;
    let (trace_id, span_id) = (format!("{}{rest}", (epoch.len() == 8).then_some(epoch)?), part("Parent")?.1);
    let is_sampled = part("Sampled").is_some_and(|(_, sampled)| sampled == "1");
    let hex = |text: &str, digits| {
        let is_hex = text.len() == digits && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        is_hex.then(|| u128::from_str_radix(text, 16).ok()).flatten()
    };
    let span_id = u64::try_from(hex(span_id, 16)?).ok()?;
    TraceParent::new(hex(&trace_id, 32)?.to_be_bytes(), span_id.to_be_bytes(), is_sampled)
}

#[cfg(test)]
mod tests {
    use super::*;
    use aws_sdk_sqs::primitives::Blob;
    use aws_sdk_sqs::types::MessageAttributeValue;
    use aws_sdk_sqs::types::builders::MessageBuilder;

    fn message() -> MessageBuilder {
        Message::builder().message_id("id-1").receipt_handle("handle").body("{}")
    }

    fn text(value: &str) -> MessageAttributeValue {
        MessageAttributeValue::builder().data_type("String").string_value(value).build().unwrap()
    }

    fn received(builder: MessageBuilder, key_attribute: Option<&str>) -> Option<Delivery> {
        Incoming::of_sdk(builder.build(), &KeyAttributes::new(key_attribute.map(str::to_owned)))
            .into_delivery()
    }

    #[test]
    fn the_body_is_moved() {
        let message = message().body("x".repeat(1000)).build();
        let before = message.body.as_ref().unwrap().as_ptr();
        let delivery = Incoming::of_sdk(message, &KeyAttributes::new(None)).into_delivery().unwrap();
        assert_eq!(delivery.body.expose().as_ptr(), before);
    }

    #[test]
    fn the_trace_of_a_message_is_read_and_what_is_none_is_no_trace() {
        use MessageSystemAttributeName::AwsTraceHeader;
        let trace =
            |header: &str| received(message().attributes(AwsTraceHeader, header), None).unwrap().trace;
        let root = "Root=1-5759e988-bd862e3fe1be46a994272793";
        let expected = |is_sampled| {
            let trace_id = 0x5759_e988_bd86_2e3f_e1be_46a9_9427_2793_u128.to_be_bytes();
            TraceParent::new(trace_id, 0x5399_5c3f_42cd_8ad8_u64.to_be_bytes(), is_sampled)
        };
        assert!(expected(true).is_some());
        assert_eq!(trace(&format!("{root};Parent=53995c3f42cd8ad8;Sampled=1")), expected(true));
        assert_eq!(trace(&format!("Self=x; Sampled=0; Parent=53995c3f42cd8ad8; {root}")), expected(false));
        for header in [
            "",
            root,
            "Root=1-5759e988-bd862e3fe1be46a994272793é;Parent=53995c3f42cd8ad8",
            "Root=1-00000000-000000000000000000000000;Parent=53995c3f42cd8ad8",
            "Root=1-+759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8",
            "Root=2-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8",
            "Root=1-5759e988bd862e3f-e1be46a994272793;Parent=53995c3f42cd8ad8",
            "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=canary@example.org",
        ] {
            assert_eq!(trace(header), None, "{header}");
        }
    }

    #[test]
    fn attributes_are_read_and_bad_ones_are_as_if_missing() {
        use MessageSystemAttributeName::{ApproximateReceiveCount, SentTimestamp};
        for (sent, count, expected) in [
            ("1699459200000", "3", (Some(UnixMillis::new(1_699_459_200_000)), 3)),
            ("-1", "0", (Some(UnixMillis::new(-1)), 1)),
            ("yesterday", "many", (None, 1)),
            ("99999999999999999999", "4294967296", (None, 1)),
        ] {
            let builder =
                message().attributes(SentTimestamp, sent).attributes(ApproximateReceiveCount, count);
            let delivery = received(builder, None).unwrap();
            assert_eq!((delivery.sent_at, delivery.attempt), expected, "{sent} {count}");
        }
        let delivery = received(message(), None).unwrap();
        assert_eq!((delivery.sent_at, delivery.attempt), (None, 1));
    }

    #[test]
    fn the_producers_key_comes_first_then_ours_then_none() {
        let with =
            |names: &[&str]| names.iter().fold(message(), |m, name| m.message_attributes(*name, text(name)));
        for (attributes, configured, key) in [
            (&["event-id", ORIGIN_ATTRIBUTE][..], Some("event-id"), Some("event-id")),
            (&[ORIGIN_ATTRIBUTE], Some("event-id"), Some(ORIGIN_ATTRIBUTE)),
            (&["event-id", ORIGIN_ATTRIBUTE], None, Some(ORIGIN_ATTRIBUTE)),
            (&["event-id"], None, None),
            (&[], Some("event-id"), None),
            (&[ORIGIN_ATTRIBUTE], Some(ORIGIN_ATTRIBUTE), Some(ORIGIN_ATTRIBUTE)),
        ] {
            let delivery = received(with(attributes), configured).unwrap();
            assert_eq!(delivery.key.as_deref(), key, "{attributes:?} {configured:?}");
        }
        let binary = MessageAttributeValue::builder()
            .data_type("Binary")
            .binary_value(Blob::new("x"))
            .build()
            .unwrap();
        let delivery = received(message().message_attributes("event-id", binary), Some("event-id")).unwrap();
        assert_eq!(delivery.key.as_deref(), Some(""));
    }

    #[test]
    fn a_redriven_message_is_the_one_that_it_was() {
        use MessageSystemAttributeName::SentTimestamp;
        let redriven = |id: &str, sent: &str| {
            message()
                .attributes(SentTimestamp, "9000")
                .message_attributes(ORIGIN_ATTRIBUTE, text(id))
                .message_attributes(ORIGIN_SENT_ATTRIBUTE, text(sent))
        };
        let seen = |builder: MessageBuilder, key_attribute| {
            let delivery = received(builder, key_attribute).unwrap();
            (delivery.id.to_string(), delivery.key.map(String::from), delivery.sent_at.map(UnixMillis::get))
        };
        assert_eq!(seen(redriven("o-1", "5000"), None), ("o-1".into(), None, Some(5000)));
        let with_event = redriven("o-1", "5000").message_attributes("event-id", text("e-1"));
        assert_eq!(seen(with_event, Some("event-id")), ("o-1".into(), Some("e-1".into()), Some(5000)));
        // What no redrive of ours writes is somebody's key, and judged as such.
        let long = "x".repeat(MessageKey::MAX_CHARS + 1);
        for (id, sent) in
            [("o-1", "yesterday"), ("", "5000"), ("o 1", "5000"), ("o\0", "5000"), (&long, "5000")]
        {
            assert_eq!(
                seen(redriven(id, sent), None),
                ("id-1".into(), Some(id.into()), Some(9000)),
                "{id} {sent}"
            );
        }
        let without_id = message().message_attributes(ORIGIN_SENT_ATTRIBUTE, text("5000"));
        assert_eq!(seen(without_id, None), ("id-1".into(), None, None));
    }

    #[test]
    fn each_attribute_is_asked_for_once() {
        let ours = [ORIGIN_ATTRIBUTE, ORIGIN_SENT_ATTRIBUTE];
        assert_eq!(KeyAttributes::new(None).names(), ours);
        assert_eq!(KeyAttributes::new(Some("event-id".into())).names(), ["event-id", ours[0], ours[1]]);
        assert_eq!(KeyAttributes::new(Some(ORIGIN_ATTRIBUTE.into())).names(), ours);
    }

    #[test]
    fn what_is_missing_does_no_harm() {
        let incomplete = Message::builder().receipt_handle("handle").body("{}");
        assert!(received(incomplete, None).is_none(), "no id");
        let incomplete = Message::builder().message_id("id").body("{}");
        assert!(received(incomplete, None).is_none(), "no receipt");
        let empty = Message::builder().message_id("id").receipt_handle("handle");
        assert_eq!(received(empty, None).unwrap().body.expose(), b"");
    }
}
