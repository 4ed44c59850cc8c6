use std::collections::HashMap;

use aws_sdk_sqs::config::{BehaviorVersion, Credentials, Region};
use aws_sdk_sqs::types::{MessageAttributeValue, QueueAttributeName, SendMessageBatchRequestEntry};
use aws_sdk_sqs::{Client, Config};
use serde::Deserialize;

use crate::{Running, binary};

/// A message that was sent.
#[derive(Debug, Clone)]
pub struct Sent {
    /// The id that the queue gave it.
    pub id: String,
    /// Its body.
    pub body: String,
}

/// The local queue server as a process of its own, with one queue, and a client of it.
#[derive(Debug)]
pub struct LocalQueue {
    process: Running,
    endpoint: String,
    url: String,
    client: Client,
}

#[derive(Deserialize)]
struct Ready {
    endpoint: String,
    queues: HashMap<String, String>,
}

impl LocalQueue {
    /// The queue's name.
    pub const NAME: &str = "logins";

    /// Starts a server with the queue [`NAME`](Self::NAME), whose visibility timeout is given in seconds, and further arguments.
    pub fn start(visibility_timeout_s: u32, arguments: &[&str]) -> Self {
        let queue = format!("{},visibility-timeout={visibility_timeout_s}", Self::NAME);
        let mut all = vec!["--port", "0", "--queue", &queue];
        all.extend(arguments);
        let mut process = Running::start(&binary("fetch-etl-local-sqs"), all, []);
        let ready: Ready =
            serde_json::from_str(&process.read_line()).expect("the server states where it listens");
        let config = Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .endpoint_url(&ready.endpoint)
            .region(Region::from_static("us-east-1"))
            .credentials_provider(Credentials::new("test", "test", None, None, "test"))
            .build();
        let url = ready.queues[Self::NAME].clone();
        Self { process, endpoint: ready.endpoint, url, client: Client::from_conf(config) }
    }

    /// Where the server listens.
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// The queue's URL.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// A client of the server.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// The server's process id.
    pub fn process_id(&self) -> u32 {
        self.process.id()
    }

    /// What a worker needs in its environment to reach the queue.
    pub fn worker_environment(&self) -> Vec<(String, String)> {
        let variables = [
            ("ETL_SOURCE__QUEUE_NAME", Self::NAME),
            ("ETL_SOURCE__ENDPOINT_URL", &self.endpoint),
            ("AWS_REGION", "us-east-1"),
            ("AWS_ACCESS_KEY_ID", "test"),
            ("AWS_SECRET_ACCESS_KEY", "test"),
        ];
        variables.map(|(name, value)| (name.to_owned(), value.to_owned())).into()
    }

    /// Sends messages in batches of ten, and returns them with their ids, in order.
    pub async fn send(&self, bodies: impl IntoIterator<Item = String>) -> Vec<Sent> {
        let bodies: Vec<_> = bodies.into_iter().collect();
        let mut sent = Vec::with_capacity(bodies.len());
        for batch in bodies.chunks(10) {
            let entries = batch.iter().enumerate().map(|(index, body)| {
                let entry = SendMessageBatchRequestEntry::builder().id(index.to_string()).message_body(body);
                entry.build().expect("an entry is complete")
            });
            let request = self.client.send_message_batch().queue_url(&self.url);
            let answer =
                request.set_entries(Some(entries.collect())).send().await.expect("messages are sent");
            assert!(answer.failed().is_empty(), "{} messages were refused", answer.failed().len());
            let ids: HashMap<_, _> =
                answer.successful().iter().map(|ok| (ok.id(), ok.message_id())).collect();
            for (index, body) in batch.iter().enumerate() {
                let id = ids[index.to_string().as_str()].to_owned();
                sent.push(Sent { id, body: body.clone() });
            }
        }
        sent
    }

    /// Sends one message with a string attribute.
    pub async fn send_with_attribute(&self, body: &str, name: &str, value: &str) -> Sent {
        let value = MessageAttributeValue::builder().data_type("String").string_value(value).build();
        let request = self.client.send_message().queue_url(&self.url).message_body(body);
        let answer = request.message_attributes(name, value.expect("an attribute is complete")).send().await;
        let id = answer.expect("a message is sent").message_id.expect("a sent message has an id");
        Sent { id, body: body.to_owned() }
    }

    /// How many messages can be received, and how many somebody holds.
    pub async fn depth(&self) -> (u64, u64) {
        use QueueAttributeName::{ApproximateNumberOfMessages, ApproximateNumberOfMessagesNotVisible};
        let names = [ApproximateNumberOfMessages, ApproximateNumberOfMessagesNotVisible];
        let request = self.client.get_queue_attributes().queue_url(&self.url);
        let answer = request
            .set_attribute_names(Some(names.to_vec()))
            .send()
            .await
            .expect("the queue tells its depth");
        let attributes = answer.attributes.unwrap_or_default();
        let number =
            |name| attributes.get(name).and_then(|text| text.parse().ok()).expect("a number of messages");
        (number(&names[0]), number(&names[1]))
    }
}
