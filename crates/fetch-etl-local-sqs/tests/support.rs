//! A server and a client for each test.

use std::time::Duration;

use aws_sdk_sqs::Client;
use aws_sdk_sqs::config::retry::RetryConfig;
use aws_sdk_sqs::config::{BehaviorVersion, Credentials, Region};
use aws_sdk_sqs::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_sqs::types::{Message, MessageSystemAttributeName};
use fetch_etl_local_sqs::{Builder, Clock, LocalSqs, ManualClock, QueueConfig, QueueHandle, RunningServer};

/// No test waits this long: it is there to end a test that would hang.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) struct Setup {
    pub(crate) server: RunningServer,
    pub(crate) client: Client,
    pub(crate) url: String,
    pub(crate) queue: QueueHandle,
}

/// A server by the machine's clock, with one queue called `logins`.
pub(crate) async fn start() -> Setup {
    start_with(LocalSqs::builder(), QueueConfig::new("logins")).await
}

/// A server whose time only moves when the test moves it.
pub(crate) async fn start_manual(queue: QueueConfig) -> (Setup, ManualClock) {
    let (clock, hand) = Clock::manual(Duration::from_secs(1_700_000_000));
    (start_with(LocalSqs::builder().clock(clock), queue).await, hand)
}

pub(crate) async fn start_with(builder: Builder, queue: QueueConfig) -> Setup {
    let name = queue.name().to_owned();
    let server = builder.queue(queue).bind("127.0.0.1:0").await.unwrap();
    let (client, url) = (client(&server.url()), server.queue_url(&name));
    let queue = server.queue(&name).unwrap();
    Setup { server, client, url, queue }
}

/// A client that shows each error as it comes.
pub(crate) fn client(endpoint: &str) -> Client {
    client_that(RetryConfig::disabled(), endpoint)
}

pub(crate) fn client_that(retries: RetryConfig, endpoint: &str) -> Client {
    let config = aws_sdk_sqs::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .endpoint_url(endpoint)
        .region(Region::new("eu-central-1"))
        .credentials_provider(Credentials::new("AKIDTEST", "secret", None, None, "test"))
        .retry_config(retries)
        .build();
    Client::from_conf(config)
}

impl Setup {
    pub(crate) async fn send(&self, body: &str) -> String {
        let sent = self.client.send_message().queue_url(&self.url).message_body(body).send().await.unwrap();
        sent.message_id.unwrap()
    }

    /// A short poll for up to ten messages, with all system attributes.
    pub(crate) async fn receive(&self) -> Vec<Message> {
        receive_from(&self.client, &self.url).await
    }

    pub(crate) async fn delete(&self, message: &Message) {
        let receipt = message.receipt_handle().unwrap();
        self.client.delete_message().queue_url(&self.url).receipt_handle(receipt).send().await.unwrap();
    }
}

pub(crate) async fn receive_from(client: &Client, url: &str) -> Vec<Message> {
    let received = client
        .receive_message()
        .queue_url(url)
        .max_number_of_messages(10)
        .wait_time_seconds(0)
        .message_system_attribute_names(MessageSystemAttributeName::All)
        .send()
        .await
        .unwrap();
    received.messages.unwrap_or_default()
}

pub(crate) fn bodies(messages: &[Message]) -> Vec<&str> {
    messages.iter().map(|message| message.body().unwrap()).collect()
}

pub(crate) fn attribute(message: &Message, name: MessageSystemAttributeName) -> Option<&str> {
    message.attributes()?.get(&name).map(String::as_str)
}

/// The code by which an SDK knows an error.
pub(crate) fn code<E: ProvideErrorMetadata, R>(error: &SdkError<E, R>) -> &str {
    error.as_service_error().and_then(|error| error.meta().code()).unwrap_or("no service error")
}
