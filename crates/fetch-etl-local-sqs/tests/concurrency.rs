use std::collections::HashMap;
use std::time::Duration;

use aws_sdk_sqs::types::DeleteMessageBatchRequestEntry;
use fetch_etl_local_sqs::{LocalSqs, QueueConfig};
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::support::{PATIENCE, client, start_with};

const MESSAGES: usize = 5_000;
const CONSUMERS: usize = 8;

/// Receives and deletes until the queue is empty for one long poll; returns what it got.
async fn consume(endpoint: String, url: String) -> Vec<String> {
    let client = client(&endpoint);
    let mut got = Vec::new();
    loop {
        let receive =
            client.receive_message().queue_url(&url).max_number_of_messages(10).wait_time_seconds(1);
        let Some(messages) = receive.send().await.unwrap().messages else { return got };
        let entries = messages.iter().enumerate().map(|(position, message)| {
            let entry = DeleteMessageBatchRequestEntry::builder().id(position.to_string());
            entry.receipt_handle(message.receipt_handle().unwrap()).build().unwrap()
        });
        let delete = client.delete_message_batch().queue_url(&url).set_entries(Some(entries.collect()));
        assert!(delete.send().await.unwrap().failed().is_empty());
        got.extend(messages.into_iter().map(|message| message.body.unwrap()));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn producers_and_consumers_at_once_lose_nothing_and_double_nothing() {
    let queue = QueueConfig::new("logins").visibility_timeout(Duration::from_secs(600));
    let setup = start_with(LocalSqs::builder(), queue).await;
    let mut consumers = JoinSet::new();
    for _ in 0..CONSUMERS {
        consumers.spawn(consume(setup.server.url(), setup.url.clone()));
    }
    timeout(PATIENCE, setup.queue.until(|stats| stats.waiting_receives == CONSUMERS)).await.unwrap();
    let producer = setup.queue.clone();
    let fill = std::thread::spawn(move || {
        for batch in 0..MESSAGES / 50 {
            producer.send_many((0..50).map(|i| (batch * 50 + i).to_string())).unwrap();
        }
    });
    let got = timeout(PATIENCE, consumers.join_all()).await.unwrap();
    fill.join().unwrap();
    let mut counts: HashMap<String, usize> = HashMap::new();
    got.into_iter().flatten().for_each(|body| *counts.entry(body).or_default() += 1);
    assert_eq!(counts.len(), MESSAGES);
    assert!(counts.values().all(|count| *count == 1));
    let stats = setup.queue.stats();
    assert_eq!((stats.sent, stats.deliveries, stats.deleted), (5_000, 5_000, 5_000));
    assert_eq!(stats.messages(), 0);
}
