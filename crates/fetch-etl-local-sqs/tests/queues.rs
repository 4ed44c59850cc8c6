use std::collections::HashMap;
use std::time::Duration;

use aws_sdk_sqs::types::QueueAttributeName as Name;
use fetch_etl_local_sqs::{LocalSqs, QueueConfig};

use crate::support::{start, start_manual};

#[tokio::test]
async fn queues_are_created_found_listed_and_deleted() {
    let setup = start().await;
    let created = setup.client.create_queue().queue_name("logins-2").send().await.unwrap();
    let url = created.queue_url.unwrap();
    assert_eq!(url, setup.server.queue_url("logins-2"));
    let same = setup.client.create_queue().queue_name("logins-2").send().await.unwrap();
    assert_eq!(same.queue_url.as_deref(), Some(url.as_str()), "creating it again is no error");
    let found = setup.client.get_queue_url().queue_name("logins-2").send().await.unwrap();
    assert_eq!(found.queue_url.as_deref(), Some(url.as_str()));
    let listed = setup.client.list_queues().send().await.unwrap();
    assert_eq!(listed.queue_urls(), [setup.url.clone(), url.clone()]);
    setup.client.delete_queue().queue_url(&url).send().await.unwrap();
    let listed = setup.client.list_queues().send().await.unwrap();
    assert_eq!(listed.queue_urls(), std::slice::from_ref(&setup.url));
    setup.client.create_queue().queue_name("logins-2").send().await.unwrap();
}

#[tokio::test]
async fn lists_come_by_prefix_and_in_pages() {
    let setup = start().await;
    for name in ["b", "a3", "a1", "a2"] {
        setup.client.create_queue().queue_name(name).send().await.unwrap();
    }
    let list = || setup.client.list_queues().queue_name_prefix("a").max_results(2);
    let first = list().send().await.unwrap();
    assert_eq!(first.queue_urls(), [setup.server.queue_url("a1"), setup.server.queue_url("a2")]);
    let second = list().set_next_token(first.next_token).send().await.unwrap();
    assert_eq!(second.queue_urls(), [setup.server.queue_url("a3")]);
    assert_eq!(second.next_token, None);
}

#[tokio::test]
async fn attributes_are_set_read_and_obeyed() {
    let (setup, _hand) = start_manual(QueueConfig::new("logins")).await;
    let set = setup.client.set_queue_attributes().queue_url(&setup.url);
    set.attributes(Name::VisibilityTimeout, "0")
        .attributes(Name::MaximumMessageSize, "1024")
        .send()
        .await
        .unwrap();
    setup.send("a").await;
    setup.receive().await;
    assert_eq!(setup.queue.stats().ready, 1, "the new visibility timeout holds");
    let over = setup.client.send_message().queue_url(&setup.url).message_body("x".repeat(1025));
    assert!(over.send().await.is_err(), "the new size limit holds");

    let all = setup.client.get_queue_attributes().queue_url(&setup.url).attribute_names(Name::All);
    let expected = [
        (Name::ApproximateNumberOfMessages, "1"),
        (Name::ApproximateNumberOfMessagesDelayed, "0"),
        (Name::ApproximateNumberOfMessagesNotVisible, "0"),
        (Name::CreatedTimestamp, "1700000000"),
        (Name::DelaySeconds, "0"),
        (Name::LastModifiedTimestamp, "1700000000"),
        (Name::MaximumMessageSize, "1024"),
        (Name::MessageRetentionPeriod, "345600"),
        (Name::QueueArn, "arn:aws:sqs:us-east-1:000000000000:logins"),
        (Name::ReceiveMessageWaitTimeSeconds, "0"),
        (Name::VisibilityTimeout, "0"),
    ];
    let expected: HashMap<_, _> =
        expected.into_iter().map(|(name, value)| (name, value.to_owned())).collect();
    assert_eq!(all.send().await.unwrap().attributes, Some(expected));
    let none = setup.client.get_queue_attributes().queue_url(&setup.url).send().await.unwrap();
    assert_eq!(none.attributes, Some(HashMap::new()), "none were asked for");
}

#[tokio::test]
async fn the_three_numbers_of_messages_follow_the_messages() {
    let (setup, hand) = start_manual(QueueConfig::new("logins")).await;
    setup.queue.send_many(["a", "b", "c"]).unwrap();
    let late = setup.client.send_message().queue_url(&setup.url).message_body("d").delay_seconds(60);
    late.send().await.unwrap();
    setup.client.receive_message().queue_url(&setup.url).send().await.unwrap();
    let numbers = async || {
        let asked = setup.client.get_queue_attributes().queue_url(&setup.url).attribute_names(Name::All);
        let attributes = asked.send().await.unwrap().attributes.unwrap();
        [
            Name::ApproximateNumberOfMessages,
            Name::ApproximateNumberOfMessagesNotVisible,
            Name::ApproximateNumberOfMessagesDelayed,
        ]
        .map(|name| attributes[&name].parse::<u32>().unwrap())
    };
    assert_eq!(numbers().await, [2, 1, 1]);
    hand.advance(Duration::from_secs(60));
    assert_eq!(numbers().await, [4, 0, 0]);
    hand.advance(Duration::from_secs(345_600));
    assert_eq!(numbers().await, [0, 0, 0], "the retention period is over");
}

#[tokio::test]
async fn a_purge_empties_the_queue() {
    let setup = start().await;
    setup.queue.send_many(["a", "b", "c"]).unwrap();
    setup.client.receive_message().queue_url(&setup.url).send().await.unwrap();
    setup.client.purge_queue().queue_url(&setup.url).send().await.unwrap();
    let stats = setup.queue.stats();
    assert_eq!((stats.messages(), stats.purged), (0, 3));
}

#[tokio::test]
async fn a_server_does_not_start_with_a_queue_that_sqs_would_refuse() {
    for (queue, reason) in [
        (QueueConfig::new("a b"), "alphanumeric"),
        (QueueConfig::new("q").delay(Duration::from_secs(901)), "DelaySeconds"),
        (QueueConfig::new("q").dead_letter("d", 0), "maxReceiveCount"),
        (QueueConfig::new("twice"), "twice"),
    ] {
        let builder = LocalSqs::builder().queue(QueueConfig::new("twice")).queue(queue);
        let error = builder.bind("127.0.0.1:0").await.unwrap_err().to_string();
        assert!(error.contains(reason), "{error}");
    }
}

#[tokio::test]
async fn a_seed_repeats_ids_and_handles() {
    let ids = async |seed| {
        let setup =
            crate::support::start_with(LocalSqs::builder().seed(seed), QueueConfig::new("logins")).await;
        let id = setup.send("a").await;
        (id, setup.receive().await[0].receipt_handle.clone())
    };
    let first = ids(7).await;
    assert_eq!(first, ids(7).await);
    assert_ne!(first, ids(8).await);
}
