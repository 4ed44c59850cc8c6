use std::time::Duration;

use aws_sdk_sqs::types::{MessageSystemAttributeName, QueueAttributeName};
use fetch_etl_local_sqs::{ManualClock, QueueConfig};
use tokio::time::timeout;

use crate::support::{PATIENCE, Setup, attribute, bodies, client, code, receive_from, start_manual};

const VISIBILITY: Duration = Duration::from_secs(30);

/// A queue whose messages go to `dead` after two receives, with one message that was received twice.
async fn worn_out() -> (Setup, ManualClock, String) {
    let (setup, hand) = start_manual(QueueConfig::new("logins").dead_letter("dead", 2)).await;
    let id = setup.send("poison").await;
    for _ in 0..2 {
        assert_eq!(bodies(&setup.receive().await), ["poison"]);
        hand.advance(VISIBILITY);
    }
    (setup, hand, id)
}

#[tokio::test]
async fn a_message_that_was_received_too_often_moves_with_its_id_and_its_time() {
    let (setup, _hand, id) = worn_out().await;
    assert_eq!(setup.queue.stats().ready, 1, "it moves when it would be received again");
    assert!(setup.receive().await.is_empty());
    let stats = setup.queue.stats();
    assert_eq!((stats.messages(), stats.moved_out), (0, 1));
    let dead = receive_from(&setup.client, &setup.server.queue_url("dead")).await;
    assert_eq!((bodies(&dead), dead[0].message_id()), (vec!["poison"], Some(id.as_str())));
    for (name, value) in [
        (MessageSystemAttributeName::SentTimestamp, "1700000000000"),
        (MessageSystemAttributeName::ApproximateReceiveCount, "3"),
        (MessageSystemAttributeName::DeadLetterQueueSourceArn, "arn:aws:sqs:us-east-1:000000000000:logins"),
    ] {
        assert_eq!(attribute(&dead[0], name.clone()), Some(value), "{name}");
    }
}

#[tokio::test]
async fn moving_wakes_a_long_poll_on_the_dead_letter_queue() {
    let (setup, _hand, _id) = worn_out().await;
    let dead = setup.server.queue("dead").unwrap();
    let request = client(&setup.server.url()).receive_message().queue_url(setup.server.queue_url("dead"));
    let poll = tokio::spawn(async move { request.wait_time_seconds(20).send().await.unwrap().messages });
    timeout(PATIENCE, dead.until(|stats| stats.waiting_receives == 1)).await.unwrap();
    assert!(setup.receive().await.is_empty());
    let got = timeout(PATIENCE, poll).await.unwrap().unwrap().unwrap();
    assert_eq!(bodies(&got), ["poison"]);
}

#[tokio::test]
async fn without_its_dead_letter_queue_a_message_is_delivered_on() {
    let (setup, _hand, _id) = worn_out().await;
    setup.client.delete_queue().queue_url(setup.server.queue_url("dead")).send().await.unwrap();
    let again = setup.receive().await;
    assert_eq!(bodies(&again), ["poison"]);
    assert_eq!(attribute(&again[0], MessageSystemAttributeName::ApproximateReceiveCount), Some("3"));
    let stats = setup.queue.stats();
    assert_eq!((stats.in_flight, stats.moved_out), (1, 0));
    setup.delete(&again[0]).await;
    assert_eq!(setup.queue.stats().messages(), 0);
}

#[tokio::test]
async fn what_a_receive_took_is_delivered_although_the_rest_does_not_fit() {
    let queue = QueueConfig::new("logins").dead_letter("dead", 1).in_flight_limit(1);
    let (setup, hand) = start_manual(queue).await;
    setup.send("poison").await;
    setup.receive().await;
    hand.advance(VISIBILITY);
    setup.send("good").await;
    setup.client.delete_queue().queue_url(setup.server.queue_url("dead")).send().await.unwrap();
    let got = setup.receive().await;
    assert_eq!(bodies(&got), ["good"], "the poisonous one is taken back, and there is no room for it");
    setup.delete(&got[0]).await;
    assert_eq!(bodies(&setup.receive().await), ["poison"]);
}

#[tokio::test]
async fn a_policy_can_be_set_and_taken_away_over_the_wire() {
    let (setup, hand) = start_manual(QueueConfig::new("logins")).await;
    let set = async |policy: &str| {
        let request = setup.client.set_queue_attributes().queue_url(&setup.url);
        request.attributes(QueueAttributeName::RedrivePolicy, policy).send().await
    };
    let policy = |queue: &str| {
        format!(
            r#"{{"deadLetterTargetArn":"arn:aws:sqs:us-east-1:000000000000:{queue}","maxReceiveCount":"1"}}"#
        )
    };
    assert_eq!(code(&set(&policy("dead")).await.unwrap_err()), "InvalidParameterValue");
    setup.client.create_queue().queue_name("dead").send().await.unwrap();
    set(&policy("dead")).await.unwrap();
    let asked = setup.client.get_queue_attributes().queue_url(&setup.url);
    let attributes =
        asked.attribute_names(QueueAttributeName::RedrivePolicy).send().await.unwrap().attributes.unwrap();
    assert_eq!(attributes[&QueueAttributeName::RedrivePolicy], policy("dead"));
    setup.send("a").await;
    assert_eq!(setup.receive().await.len(), 1);
    set("").await.unwrap();
    hand.advance(VISIBILITY);
    assert_eq!(setup.receive().await.len(), 1, "no policy, no limit");
}
