use std::collections::HashMap;
use std::time::Duration;

use aws_sdk_sqs::primitives::Blob;
use aws_sdk_sqs::types::{
    ChangeMessageVisibilityBatchRequestEntry, DeleteMessageBatchRequestEntry, MessageAttributeValue,
    MessageSystemAttributeName, MessageSystemAttributeNameForSends, MessageSystemAttributeValue,
    QueueAttributeName, SendMessageBatchRequestEntry,
};
use fetch_etl_local_sqs::QueueConfig;

use crate::support::{attribute, bodies, start, start_manual};

fn text(value: &str) -> MessageAttributeValue {
    MessageAttributeValue::builder().data_type("String").string_value(value).build().unwrap()
}

#[tokio::test]
async fn a_message_is_sent_received_and_deleted() {
    let setup = start().await;
    let sent = setup.client.send_message().queue_url(&setup.url).message_body("hello").send().await.unwrap();
    assert_eq!(sent.md5_of_message_body(), Some("5d41402abc4b2a76b9719d911017c592"));
    let messages = setup.receive().await;
    assert_eq!(bodies(&messages), ["hello"]);
    assert_eq!(messages[0].message_id(), sent.message_id());
    assert_eq!(messages[0].md5_of_body(), sent.md5_of_message_body());
    assert!(setup.receive().await.is_empty(), "it is in flight");
    setup.delete(&messages[0]).await;
    let stats = setup.queue.stats();
    assert_eq!((stats.messages(), stats.deleted), (0, 1));
}

#[tokio::test]
async fn every_allowed_character_survives_the_way_there_and_back() {
    let setup = start().await;
    let body = "{\"name\": \"Zoë \u{1f600} \\ / \u{2028} \u{7f}\u{85}\u{fffd}\",\r\n\t\"n\": [1, null]}";
    setup.send(body).await;
    assert_eq!(bodies(&setup.receive().await), [body]);
}

#[tokio::test]
async fn a_message_of_exactly_one_mebibyte_fits_with_its_attributes() {
    let setup = start().await;
    // Every character of it needs escaping on the wire. Name, type and value of the attribute count too.
    let body = "\"".repeat(1_048_576 - "a".len() - "String".len() - "v".len());
    let send = setup.client.send_message().queue_url(&setup.url).message_body(&body);
    send.clone().message_attributes("a", text("v")).send().await.unwrap();
    assert!(send.message_attributes("a", text("vv")).send().await.is_err());
    assert_eq!(setup.receive().await[0].body(), Some(body.as_str()));
}

#[tokio::test]
async fn system_attributes_come_by_either_name_and_only_if_asked_for() {
    let (setup, hand) = start_manual(QueueConfig::new("logins").visibility_timeout(Duration::ZERO)).await;
    setup.send("a").await;
    hand.advance(Duration::from_millis(1_500));
    let receive = || setup.client.receive_message().queue_url(&setup.url);
    let first = receive().send().await.unwrap().messages.unwrap();
    assert_eq!(first[0].attributes(), None);
    let second = receive().message_system_attribute_names(MessageSystemAttributeName::SentTimestamp);
    let second = second.send().await.unwrap().messages.unwrap();
    let expected = HashMap::from([(MessageSystemAttributeName::SentTimestamp, "1700000000000".to_owned())]);
    assert_eq!(second[0].attributes(), Some(&expected));
    hand.advance(Duration::from_millis(500));
    #[expect(deprecated, reason = "older clients still ask by this name")]
    let third = receive().attribute_names(QueueAttributeName::All).send().await.unwrap().messages.unwrap();
    for (name, value) in [
        (MessageSystemAttributeName::SentTimestamp, "1700000000000"),
        (MessageSystemAttributeName::ApproximateFirstReceiveTimestamp, "1700000001500"),
        (MessageSystemAttributeName::ApproximateReceiveCount, "3"),
        (MessageSystemAttributeName::SenderId, "AIDALOCALSQSLOCALSQS0"),
    ] {
        assert_eq!(attribute(&third[0], name.clone()), Some(value), "{name}");
    }
    assert_eq!(third[0].attributes().unwrap().len(), 4);
}

#[tokio::test]
async fn message_attributes_come_back_as_asked_for_with_a_digest_of_just_those() {
    let (setup, _hand) = start_manual(QueueConfig::new("logins").visibility_timeout(Duration::ZERO)).await;
    let traceparent = Blob::new("traceparent\x1e00-774062d6c37081a5a0b9b5b88e30627c-2d2482211f6489da-01");
    let binary =
        MessageAttributeValue::builder().data_type("Binary").binary_value(traceparent).build().unwrap();
    let sent = setup
        .client
        .send_message()
        .queue_url(&setup.url)
        .message_body("msg")
        .message_attributes("Hello", text("There"))
        .message_attributes("attr1", binary.clone())
        .send()
        .await
        .unwrap();
    let receive = async |names: &[&str]| {
        let receive = setup.client.receive_message().queue_url(&setup.url);
        let receive =
            receive.set_message_attribute_names(Some(names.iter().map(ToString::to_string).collect()));
        receive.send().await.unwrap().messages.unwrap().remove(0)
    };
    // The digests of one attribute are those that the real service gives for it.
    for (names, digest, count) in [
        (&["All"][..], sent.md5_of_message_attributes(), 2),
        (&["Hello", "attr1"], sent.md5_of_message_attributes(), 2),
        (&["Hello"], Some("a311262e065454b75da111d535b8dacd"), 1),
        (&["attr.*"], Some("8cbe4db156db8a94db8b801b7addb984"), 1),
        (&["Foo"], None, 0),
        (&[], None, 0),
    ] {
        let message = receive(names).await;
        assert_eq!(message.md5_of_message_attributes(), digest, "{names:?}");
        assert_eq!(message.message_attributes().map_or(0, HashMap::len), count, "{names:?}");
    }
    assert_eq!(receive(&["attr1"]).await.message_attributes().unwrap()["attr1"], binary);
}

#[tokio::test]
async fn the_trace_header_and_the_group_of_a_message_come_back_as_system_attributes() {
    let setup = start().await;
    let header = MessageSystemAttributeValue::builder()
        .data_type("String")
        .string_value("Root=1-2-3")
        .build()
        .unwrap();
    let sent = setup
        .client
        .send_message()
        .queue_url(&setup.url)
        .message_body("a")
        .message_group_id("tenant-1")
        .message_system_attributes(MessageSystemAttributeNameForSends::AwsTraceHeader, header)
        .send()
        .await
        .unwrap();
    assert!(sent.md5_of_message_system_attributes().is_some());
    let messages = setup.receive().await;
    assert_eq!(attribute(&messages[0], MessageSystemAttributeName::AwsTraceHeader), Some("Root=1-2-3"));
    assert_eq!(attribute(&messages[0], MessageSystemAttributeName::MessageGroupId), Some("tenant-1"));
}

#[tokio::test]
async fn batches_answer_for_each_entry() {
    let setup = start().await;
    let entry = |id: &str, body: &str| SendMessageBatchRequestEntry::builder().id(id).message_body(body);
    let sent = setup
        .client
        .send_message_batch()
        .queue_url(&setup.url)
        .entries(entry("first", "a").build().unwrap())
        .entries(entry("control", "\u{1}").build().unwrap())
        .entries(entry("late", "b").delay_seconds(901).build().unwrap())
        .entries(entry("empty", "").build().unwrap())
        .entries(entry("second", "c").message_attributes("n", text("v")).build().unwrap())
        .send()
        .await
        .unwrap();
    let ids: Vec<&str> = sent.successful().iter().map(|entry| entry.id()).collect();
    assert_eq!(ids, ["first", "second"]);
    assert_eq!(sent.successful()[0].md5_of_message_body(), "0cc175b9c0f1b6a831c399e269772661");
    assert!(sent.successful()[1].md5_of_message_attributes().is_some());
    let failed: Vec<(&str, &str)> = sent.failed().iter().map(|entry| (entry.id(), entry.code())).collect();
    let expected = [
        ("control", "InvalidMessageContents"),
        ("late", "InvalidParameterValue"),
        ("empty", "MissingParameter"),
    ];
    assert_eq!(failed, expected);
    assert!(sent.failed().iter().all(|entry| entry.sender_fault()));
    assert_eq!(bodies(&setup.receive().await), ["a", "c"]);
}

#[tokio::test]
async fn visibility_and_deletion_in_batches_fail_entry_by_entry() {
    let setup = start().await;
    for body in ["a", "b", "c"] {
        setup.send(body).await;
    }
    let messages = setup.receive().await;
    let receipt = |position: usize| messages[position].receipt_handle().unwrap();
    let change = |id: &str, receipt: &str, timeout| {
        let entry = ChangeMessageVisibilityBatchRequestEntry::builder().id(id).receipt_handle(receipt);
        entry.visibility_timeout(timeout).build().unwrap()
    };
    let changed = setup
        .client
        .change_message_visibility_batch()
        .queue_url(&setup.url)
        .entries(change("now", receipt(0), 0))
        .entries(change("later", receipt(1), 600))
        .entries(change("too-long", receipt(2), 43_201))
        .entries(change("made-up", "made-up", 5))
        .send()
        .await
        .unwrap();
    let done: Vec<&str> = changed.successful().iter().map(|entry| entry.id()).collect();
    let failed: Vec<(&str, &str)> = changed.failed().iter().map(|entry| (entry.id(), entry.code())).collect();
    assert_eq!(done, ["now", "later"]);
    assert_eq!(failed, [("too-long", "InvalidParameterValue"), ("made-up", "ReceiptHandleIsInvalid")]);
    let again = setup.receive().await;
    assert_eq!(bodies(&again), ["a"]);

    let delete = |id: &str, receipt: &str| {
        DeleteMessageBatchRequestEntry::builder().id(id).receipt_handle(receipt).build().unwrap()
    };
    let deleted = setup
        .client
        .delete_message_batch()
        .queue_url(&setup.url)
        .entries(delete("stale", receipt(0)))
        .entries(delete("current", receipt(1)))
        .entries(delete("made-up", "made-up"))
        .send()
        .await
        .unwrap();
    let done: Vec<&str> = deleted.successful().iter().map(|entry| entry.id()).collect();
    assert_eq!(done, ["stale", "current"], "a stale receipt succeeds");
    assert_eq!(deleted.failed()[0].code(), "ReceiptHandleIsInvalid");
    let stats = setup.queue.stats();
    assert_eq!((stats.deleted, stats.stale_deletes, stats.in_flight), (1, 1, 2), "and deletes nothing");
}

#[tokio::test]
async fn a_delayed_message_is_counted_as_such_until_its_time() {
    let (setup, hand) = start_manual(QueueConfig::new("logins").delay(Duration::from_secs(2))).await;
    setup.send("a").await;
    assert!(setup.receive().await.is_empty());
    assert_eq!(setup.queue.stats().delayed, 1);
    hand.advance(Duration::from_secs(2));
    assert_eq!(bodies(&setup.receive().await), ["a"]);
}

#[tokio::test]
async fn messages_from_inside_the_process_come_over_the_wire_and_are_checked_alike() {
    let setup = start().await;
    assert_eq!(setup.queue.send_many((0..2_500).map(|i| i.to_string())).unwrap(), 2_500);
    assert_eq!(bodies(&setup.receive().await)[..3], ["0", "1", "2"]);
    let refused = setup.queue.send_many(["fine", "", "never sent"]).unwrap_err();
    assert_eq!(refused.position, 1);
    let refused = setup.queue.send_many(["\u{b}"]).unwrap_err();
    assert!(refused.to_string().contains("#xB"), "{refused}");
    let refused = setup.queue.inject(["x".repeat(1_048_577)]).unwrap_err();
    assert!(refused.to_string().contains("shorter than 1048576 bytes"), "{refused}");
    setup.queue.purge();
    assert_eq!(setup.queue.inject(["", "\u{b}"]).unwrap(), 2);
    assert_eq!(bodies(&setup.receive().await), ["", "\u{b}"]);
}

#[tokio::test]
async fn messages_from_inside_the_process_can_have_attributes_which_are_checked_as_others_are() {
    let setup = start().await;
    let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    // Not in the order of their names, in which the digest takes them and the SDK checks it.
    let attributes = [pair("trace", "t-1"), pair("origin", "o-1")];
    let sent = setup.queue.inject_with_attributes([("first", &attributes[..]), ("second", &[])]);
    assert_eq!(sent.unwrap(), 2);
    let received = setup.client.receive_message().queue_url(&setup.url).max_number_of_messages(10);
    let received = received.message_attribute_names("All").send().await.unwrap().messages.unwrap();
    assert_eq!(bodies(&received), ["first", "second"]);
    let of_first = received[0].message_attributes().unwrap();
    assert_eq!(of_first["trace"].string_value(), Some("t-1"));
    assert_eq!((of_first["origin"].data_type(), of_first.len()), ("String", 2));
    assert!(received[1].message_attributes().is_none_or(|attributes| attributes.is_empty()));

    for wrong in [pair("aws.trace", "t-1"), pair("trace", "")] {
        let refused = setup.queue.inject_with_attributes([("good", &[][..]), ("bad", &[wrong])]).unwrap_err();
        assert_eq!(refused.position, 1);
        assert!(!refused.to_string().contains("t-1"), "{refused}");
    }
}
