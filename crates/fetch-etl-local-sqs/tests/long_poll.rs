use std::time::Duration;

use aws_sdk_sqs::types::Message;
use fetch_etl_local_sqs::{LocalSqs, QueueConfig};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::support::{PATIENCE, Setup, bodies, client, start, start_manual, start_with};

/// A receive that waits for up to 20 s, each with a connection of its own.
fn long_poll(setup: &Setup) -> JoinHandle<Vec<Message>> {
    let request = client(&setup.server.url()).receive_message().queue_url(&setup.url);
    let request = request.max_number_of_messages(10).wait_time_seconds(20);
    tokio::spawn(async move { request.send().await.unwrap().messages.unwrap_or_default() })
}

async fn waiting(setup: &Setup, receives: usize) {
    timeout(PATIENCE, setup.queue.until(|stats| stats.waiting_receives == receives)).await.unwrap();
}

async fn result(poll: JoinHandle<Vec<Message>>) -> Vec<Message> {
    timeout(PATIENCE, poll).await.unwrap().unwrap()
}

#[tokio::test]
async fn it_wakes_when_a_message_arrives() {
    // By the manual clock its 20 s never pass.
    let (setup, _hand) = start_manual(QueueConfig::new("logins")).await;
    let poll = long_poll(&setup);
    waiting(&setup, 1).await;
    setup.send("a").await;
    assert_eq!(bodies(&result(poll).await), ["a"]);
}

#[tokio::test]
async fn it_ends_empty_when_its_time_is_over() {
    let (setup, hand) = start_manual(QueueConfig::new("logins")).await;
    let poll = long_poll(&setup);
    waiting(&setup, 1).await;
    hand.advance(Duration::from_millis(19_999));
    // A call to the same server, so that the long poll has had its turn.
    assert!(setup.receive().await.is_empty());
    assert_eq!(setup.queue.stats().waiting_receives, 1);
    hand.advance(Duration::from_millis(1));
    assert!(result(poll).await.is_empty());
}

#[tokio::test]
async fn the_queue_s_own_wait_holds_for_receives_that_do_not_say() {
    let (setup, hand) = start_manual(QueueConfig::new("logins").receive_wait(Duration::from_secs(7))).await;
    let request = setup.client.receive_message().queue_url(&setup.url);
    let poll = tokio::spawn(async move { request.send().await.unwrap().messages.unwrap_or_default() });
    waiting(&setup, 1).await;
    assert!(setup.receive().await.is_empty(), "a wait of 0 is a short poll");
    hand.advance(Duration::from_secs(7));
    assert!(result(poll).await.is_empty());
}

#[tokio::test]
async fn it_wakes_when_a_visibility_timeout_ends() {
    let (setup, hand) =
        start_manual(QueueConfig::new("logins").visibility_timeout(Duration::from_secs(5))).await;
    setup.send("a").await;
    setup.receive().await;
    let poll = long_poll(&setup);
    waiting(&setup, 1).await;
    hand.advance(Duration::from_secs(5));
    assert_eq!(bodies(&result(poll).await), ["a"]);
}

#[tokio::test]
async fn it_wakes_when_a_delay_ends() {
    let (setup, hand) = start_manual(QueueConfig::new("logins").delay(Duration::from_secs(3))).await;
    let poll = long_poll(&setup);
    waiting(&setup, 1).await;
    setup.send("a").await;
    hand.advance(Duration::from_secs(3));
    assert_eq!(bodies(&result(poll).await), ["a"]);
}

#[tokio::test]
async fn it_wakes_for_a_deadline_that_came_nearer_while_it_waited() {
    let (setup, hand) =
        start_manual(QueueConfig::new("logins").visibility_timeout(Duration::from_secs(600))).await;
    setup.send("a").await;
    let message = setup.receive().await.remove(0);
    let poll = long_poll(&setup);
    waiting(&setup, 1).await;
    let change = setup.client.change_message_visibility().queue_url(&setup.url).visibility_timeout(2);
    change.receipt_handle(message.receipt_handle().unwrap()).send().await.unwrap();
    hand.advance(Duration::from_secs(2));
    assert_eq!(bodies(&result(poll).await), ["a"]);
}

#[tokio::test]
async fn it_wakes_when_a_message_is_given_back() {
    let (setup, _hand) = start_manual(QueueConfig::new("logins")).await;
    setup.send("a").await;
    let message = setup.receive().await.remove(0);
    let poll = long_poll(&setup);
    waiting(&setup, 1).await;
    let change = setup.client.change_message_visibility().queue_url(&setup.url).visibility_timeout(0);
    change.receipt_handle(message.receipt_handle().unwrap()).send().await.unwrap();
    assert_eq!(bodies(&result(poll).await), ["a"]);
}

#[tokio::test]
async fn every_message_wakes_somebody_until_nobody_waits() {
    let (setup, _hand) = start_manual(QueueConfig::new("logins")).await;
    let polls: Vec<_> = (0..4).map(|_| long_poll(&setup)).collect();
    waiting(&setup, 4).await;
    for left in (0..4).rev() {
        setup.send("one").await;
        waiting(&setup, left).await;
    }
    for poll in polls {
        assert_eq!(bodies(&result(poll).await), ["one"]);
    }
}

#[tokio::test]
async fn one_burst_serves_as_many_receives_as_it_has_tens() {
    let (setup, _hand) = start_manual(QueueConfig::new("logins")).await;
    let polls: Vec<_> = (0..3).map(|_| long_poll(&setup)).collect();
    waiting(&setup, 3).await;
    setup.queue.send_many((0..25).map(|i| i.to_string())).unwrap();
    let mut sizes = Vec::new();
    for poll in polls {
        sizes.push(result(poll).await.len());
    }
    sizes.sort_unstable();
    assert_eq!(sizes, [5, 10, 10]);
}

#[tokio::test]
async fn a_client_that_goes_away_takes_no_message_with_it() {
    let (setup, _hand) = start_manual(QueueConfig::new("logins")).await;
    let body = format!(r#"{{"QueueUrl":"{}","WaitTimeSeconds":20}}"#, setup.url);
    let mut connection = TcpStream::connect(setup.server.addr()).await.unwrap();
    let request = format!(
        "POST / HTTP/1.1\r\nhost: h\r\nx-amz-target: AmazonSQS.ReceiveMessage\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    connection.write_all(request.as_bytes()).await.unwrap();
    waiting(&setup, 1).await;
    drop(connection);
    waiting(&setup, 0).await;
    setup.send("a").await;
    let stats = setup.queue.stats();
    assert_eq!((stats.ready, stats.deliveries), (1, 0));
    assert_eq!(bodies(&setup.receive().await), ["a"]);
}

#[tokio::test]
async fn it_fails_when_its_queue_is_deleted() {
    let (setup, _hand) = start_manual(QueueConfig::new("logins")).await;
    let request = client(&setup.server.url()).receive_message().queue_url(&setup.url).wait_time_seconds(20);
    let poll = tokio::spawn(async move { request.send().await.unwrap_err().into_service_error() });
    waiting(&setup, 1).await;
    setup.client.delete_queue().queue_url(&setup.url).send().await.unwrap();
    assert!(timeout(PATIENCE, poll).await.unwrap().unwrap().is_queue_does_not_exist());
}

#[tokio::test]
async fn it_ends_empty_when_the_server_shuts_down() {
    let setup = start().await;
    let poll = long_poll(&setup);
    waiting(&setup, 1).await;
    timeout(PATIENCE, setup.server.shutdown()).await.unwrap();
    assert!(result(poll).await.is_empty());
}

#[tokio::test]
async fn by_the_machine_s_clock_it_lasts_as_long_as_it_says() {
    let setup = start_with(LocalSqs::builder(), QueueConfig::new("logins")).await;
    let started = std::time::Instant::now();
    let received =
        setup.client.receive_message().queue_url(&setup.url).wait_time_seconds(1).send().await.unwrap();
    assert_eq!(received.messages, None);
    assert!(started.elapsed() >= Duration::from_millis(990), "{:?}", started.elapsed());
}
