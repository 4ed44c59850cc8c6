//! A message of the SDK becomes a delivery.

use aws_sdk_sqs::types::{Message, MessageSystemAttributeName};
use fetch_etl_core::{Delivery, Pii, Receipt, UnixMillis};

/// The message attribute in which our own replays and redrives state the id that a message had at first.
pub const ORIGIN_ATTRIBUTE: &str = "origin-message-id";

/// The attributes that may hold a message's key, the first that is there wins.
#[derive(Debug)]
pub(crate) struct KeyAttributes(Vec<String>);

impl KeyAttributes {
    pub(crate) fn new(of_producer: Option<String>) -> Self {
        let ours = Some(ORIGIN_ATTRIBUTE.to_owned()).filter(|name| of_producer.as_ref() != Some(name));
        Self(of_producer.into_iter().chain(ours).collect())
    }

    /// What a receive must ask for.
    pub(crate) fn names(&self) -> Vec<String> {
        self.0.clone()
    }

    fn key_of(&self, message: &mut Message) -> Option<Box<str>> {
        let attributes = message.message_attributes.as_mut()?;
        let attribute = self.0.iter().find_map(|name| attributes.remove(name))?;
        // An attribute without a text (a binary one) makes an empty key, which staging rejects by name. Falling back to
        // another key would quietly give up what the attribute is for.
        Some(attribute.string_value.unwrap_or_default().into())
    }
}

/// Takes a message apart; the body is moved, not copied. `None` where its id or receipt is missing: nobody could settle it,
/// so it is left to come back.
pub(crate) fn delivery(mut message: Message, keys: &KeyAttributes) -> Option<Delivery> {
    let key = keys.key_of(&mut message);
    let sent_at = system_attribute(&message, &MessageSystemAttributeName::SentTimestamp).map(UnixMillis::new);
    let attempt = system_attribute(&message, &MessageSystemAttributeName::ApproximateReceiveCount);
    // First of all, so that it is zeroized whatever becomes of the message. SQS has no empty bodies; should one be missing,
    // staging rejects the empty text.
    let body = Pii::new(message.body.unwrap_or_default().into_bytes());
    Some(Delivery {
        id: message.message_id?.into(),
        key,
        attempt: attempt.unwrap_or(1).max(1),
        sent_at,
        body,
        receipt: Receipt::new(message.receipt_handle?),
    })
}

fn system_attribute<N: std::str::FromStr>(message: &Message, name: &MessageSystemAttributeName) -> Option<N> {
    message.attributes.as_ref()?.get(name)?.parse().ok()
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
        delivery(builder.build(), &KeyAttributes::new(key_attribute.map(str::to_owned)))
    }

    #[test]
    fn the_body_is_moved() {
        let message = message().body("x".repeat(1000)).build();
        let before = message.body.as_ref().unwrap().as_ptr();
        let delivery = delivery(message, &KeyAttributes::new(None)).unwrap();
        assert_eq!(delivery.body.expose().as_ptr(), before);
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
    fn each_attribute_is_asked_for_once() {
        assert_eq!(KeyAttributes::new(None).names(), [ORIGIN_ATTRIBUTE]);
        assert_eq!(KeyAttributes::new(Some("event-id".into())).names(), ["event-id", ORIGIN_ATTRIBUTE]);
        assert_eq!(KeyAttributes::new(Some(ORIGIN_ATTRIBUTE.into())).names(), [ORIGIN_ATTRIBUTE]);
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
