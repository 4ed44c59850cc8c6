use std::time::Duration;

use aws_sdk_sqs::types::{DeleteMessageBatchRequestEntry, QueueAttributeName, SendMessageBatchRequestEntry};
use fetch_etl_local_sqs::{LocalSqs, QueueConfig};

use crate::support::{Setup, code, start, start_manual, start_with};

#[tokio::test]
async fn a_queue_that_does_not_exist_is_the_modeled_exception_everywhere() {
    let Setup { server, client, .. } = &start().await;
    let url = server.queue_url("nowhere");
    let sent = client.send_message().queue_url(&url).message_body("a").send().await.unwrap_err();
    assert!(sent.into_service_error().is_queue_does_not_exist());
    let received = client.receive_message().queue_url(&url).send().await.unwrap_err();
    assert!(received.into_service_error().is_queue_does_not_exist());
    let deleted = client.delete_message().queue_url(&url).receipt_handle("r").send().await.unwrap_err();
    assert!(deleted.into_service_error().is_queue_does_not_exist());
    let purged = client.purge_queue().queue_url(&url).send().await.unwrap_err();
    assert!(purged.into_service_error().is_queue_does_not_exist());
    let dropped = client.delete_queue().queue_url(&url).send().await.unwrap_err();
    assert!(dropped.into_service_error().is_queue_does_not_exist());
    let found = client.get_queue_url().queue_name("nowhere").send().await.unwrap_err();
    assert_eq!(code(&found), "AWS.SimpleQueueService.NonExistentQueue");
    assert!(found.into_service_error().is_queue_does_not_exist());
}

#[tokio::test]
async fn a_receive_outside_of_the_limits_is_refused() {
    let setup = start().await;
    let receive = || setup.client.receive_message().queue_url(&setup.url);
    for (what, request) in [
        ("wait 21", receive().wait_time_seconds(21)),
        ("wait 25", receive().wait_time_seconds(25)),
        ("wait -1", receive().wait_time_seconds(-1)),
        ("max 0", receive().max_number_of_messages(0)),
        ("max 11", receive().max_number_of_messages(11)),
        ("visibility -1", receive().visibility_timeout(-1)),
        ("visibility 43201", receive().visibility_timeout(43_201)),
    ] {
        let refused = request.send().await.unwrap_err();
        assert_eq!(code(&refused), "InvalidParameterValue", "{what}");
    }
    receive()
        .wait_time_seconds(0)
        .max_number_of_messages(10)
        .visibility_timeout(43_200)
        .send()
        .await
        .unwrap();
}

#[tokio::test]
async fn batches_outside_of_the_limits_are_refused_as_a_whole() {
    let setup = start().await;
    let send = async |entries: Vec<(&str, String)>| {
        let entries = entries.into_iter().map(|(id, body)| {
            SendMessageBatchRequestEntry::builder().id(id).message_body(body).build().unwrap()
        });
        let request =
            setup.client.send_message_batch().queue_url(&setup.url).set_entries(Some(entries.collect()));
        request.send().await.unwrap_err().into_service_error()
    };
    let entry = |id| (id, "x".to_owned());
    assert!(send(vec![]).await.is_empty_batch_request());
    let eleven = ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9", "10"];
    assert!(send(eleven.map(entry).to_vec()).await.is_too_many_entries_in_batch_request());
    assert!(send(vec![entry("a"), entry("a")]).await.is_batch_entry_ids_not_distinct());
    assert!(send(vec![entry("a"), entry("b c")]).await.is_invalid_batch_entry_id());
    let half = "x".repeat(524_288);
    let over = vec![("a", half.clone()), ("b", half), ("c", "x".to_owned())];
    assert!(send(over).await.is_batch_request_too_long());
    assert_eq!(setup.queue.stats().sent, 0);

    let twice = DeleteMessageBatchRequestEntry::builder().id("a").receipt_handle("r").build().unwrap();
    let deleted =
        setup.client.delete_message_batch().queue_url(&setup.url).entries(twice.clone()).entries(twice);
    assert!(deleted.send().await.unwrap_err().into_service_error().is_batch_entry_ids_not_distinct());
    let changed =
        setup.client.change_message_visibility_batch().queue_url(&setup.url).set_entries(Some(vec![]));
    assert!(changed.send().await.unwrap_err().into_service_error().is_empty_batch_request());
}

#[tokio::test]
async fn messages_that_sqs_cannot_carry_are_refused() {
    let setup = start().await;
    let send = |body: &str| setup.client.send_message().queue_url(&setup.url).message_body(body);
    let refused = send("\u{fffe}").send().await.unwrap_err().into_service_error();
    assert!(refused.is_invalid_message_contents());
    let over = "x".repeat(1_048_577);
    assert_eq!(code(&send(&over).send().await.unwrap_err()), "InvalidParameterValue");
    assert_eq!(code(&send("").send().await.unwrap_err()), "MissingParameter");
    assert_eq!(code(&send("x").delay_seconds(901).send().await.unwrap_err()), "InvalidParameterValue");
}

#[tokio::test]
async fn receipts_are_malformed_stale_or_not_in_flight() {
    let (setup, hand) = start_manual(QueueConfig::new("logins")).await;
    let change = async |receipt: &str, timeout: i32| {
        let request = setup.client.change_message_visibility().queue_url(&setup.url).receipt_handle(receipt);
        request.visibility_timeout(timeout).send().await
    };
    let made_up = change("made-up", 5).await.unwrap_err().into_service_error();
    assert!(made_up.is_receipt_handle_is_invalid());
    let delete = setup.client.delete_message().queue_url(&setup.url).receipt_handle("made-up");
    assert!(delete.send().await.unwrap_err().into_service_error().is_receipt_handle_is_invalid());

    setup.send("a").await;
    let first = setup.receive().await.remove(0);
    let receipt = first.receipt_handle().unwrap();
    change(receipt, 43_200).await.unwrap();
    assert_eq!(code(&change(receipt, 43_201).await.unwrap_err()), "InvalidParameterValue");
    hand.advance(Duration::from_secs(1));
    let beyond = change(receipt, 43_200).await.unwrap_err();
    assert_eq!(code(&beyond), "InvalidParameterValue");
    let message = beyond.into_service_error().meta().message().unwrap().to_owned();
    assert!(message.contains("Total VisibilityTimeout for the message is beyond the limit"), "{message}");
    hand.advance(Duration::from_secs(43_199));
    assert!(change(receipt, 5).await.unwrap_err().into_service_error().is_message_not_inflight());
    let second = setup.receive().await.remove(0);
    assert_eq!(code(&change(receipt, 5).await.unwrap_err()), "InvalidParameterValue");
    setup.delete(&second).await;
    assert_eq!(
        code(&change(second.receipt_handle().unwrap(), 5).await.unwrap_err()),
        "InvalidParameterValue"
    );
}

#[tokio::test]
async fn a_receipt_of_another_queue_is_malformed() {
    let setup = start().await;
    setup.client.create_queue().queue_name("other").send().await.unwrap();
    setup.send("a").await;
    let message = setup.receive().await.remove(0);
    let delete = setup.client.delete_message().queue_url(setup.server.queue_url("other"));
    let refused = delete.receipt_handle(message.receipt_handle().unwrap()).send().await.unwrap_err();
    assert!(refused.into_service_error().is_receipt_handle_is_invalid());
}

#[tokio::test]
async fn a_full_queue_is_over_its_limit_also_for_long_polls() {
    let setup = start_with(LocalSqs::builder(), QueueConfig::new("logins").in_flight_limit(10)).await;
    setup.queue.send_many((0..11).map(|i| i.to_string())).unwrap();
    assert_eq!(setup.receive().await.len(), 10);
    for wait_s in [0, 20] {
        let refused =
            setup.client.receive_message().queue_url(&setup.url).wait_time_seconds(wait_s).send().await;
        assert!(refused.unwrap_err().into_service_error().is_over_limit(), "wait {wait_s}");
    }
}

#[tokio::test]
async fn queues_are_refused_for_their_name_and_their_attributes() {
    let setup = start().await;
    let create = |name: &str| setup.client.create_queue().queue_name(name);
    let delay = |value: &str| create("logins").attributes(QueueAttributeName::DelaySeconds, value);
    let exists = delay("7").send().await.unwrap_err();
    assert_eq!(code(&exists), "QueueAlreadyExists");
    assert!(exists.into_service_error().is_queue_name_exists());
    assert!(delay("901").send().await.unwrap_err().into_service_error().is_invalid_attribute_value());
    let unknown = create("new").attributes(QueueAttributeName::from("NoSuchThing"), "1");
    assert!(unknown.send().await.unwrap_err().into_service_error().is_invalid_attribute_name());
    let fifo = create("new.fifo").send().await.unwrap_err();
    assert!(fifo.into_service_error().is_unsupported_operation());
    for name in ["a b", "a/b", &"q".repeat(81)] {
        assert_eq!(code(&create(name).send().await.unwrap_err()), "InvalidParameterValue", "{name}");
    }
    let asked = setup.client.get_queue_attributes().queue_url(&setup.url);
    let unknown = asked.attribute_names(QueueAttributeName::from("NoSuchThing")).send().await.unwrap_err();
    assert!(unknown.into_service_error().is_invalid_attribute_name());
}

#[tokio::test]
async fn other_operations_are_refused_by_name() {
    let setup = start().await;
    let refused = setup.client.list_queue_tags().queue_url(&setup.url).send().await.unwrap_err();
    assert_eq!(code(&refused), "InvalidAction");
}
