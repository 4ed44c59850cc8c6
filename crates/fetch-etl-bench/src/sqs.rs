//! A bare client of the queue: HTTP/1.1 over one connection that is kept, no signature, no retry, no configuration.

use std::borrow::Cow;

use http_body_util::{BodyExt as _, Full};
use hyper::body::Bytes;
use hyper::client::conn::http1::{self, SendRequest};
use hyper::{Method, Request};
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use serde_json::json;
use tokio::net::TcpStream;

use crate::Result;

/// Most messages of one call, SQS's own limit.
pub(crate) const MOST: u64 = 10;

/// One connection.
pub(crate) struct Connection {
    sender: SendRequest<Full<Bytes>>,
    host: String,
    queue_url: String,
    queue_name: String,
    receive: Bytes,
}

/// The answer to a receive; texts are borrowed from it where JSON needs no unescaping.
#[derive(Deserialize)]
pub(crate) struct Received<'a> {
    #[serde(rename = "Messages", borrow, default)]
    pub(crate) messages: Vec<Message<'a>>,
}

/// A message as it comes.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Message<'a> {
    pub(crate) message_id: &'a str,
    pub(crate) receipt_handle: &'a str,
    #[serde(borrow)]
    pub(crate) body: Cow<'a, str>,
}

/// What the queue counts, as far as it matters here.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Figures {
    pub(crate) deliveries: u64,
    pub(crate) deleted: u64,
    pub(crate) waiting_receives: u64,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct SendAnswer {
    successful: Vec<Sent>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Sent {
    id: String,
    message_id: String,
}

#[derive(Deserialize)]
struct DeleteAnswer {
    #[serde(rename = "Failed", default)]
    failed: Vec<serde_json::Value>,
}

impl Connection {
    /// Connects to the server of this queue.
    pub(crate) async fn open(endpoint: &str, queue_url: &str) -> Result<Self> {
        let host = endpoint.trim_start_matches("http://").to_owned();
        let stream = TcpStream::connect(&host).await?;
        stream.set_nodelay(true)?;
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        tokio::spawn(connection);
        let receive = json!({
            "QueueUrl": queue_url,
            "MaxNumberOfMessages": MOST,
            "WaitTimeSeconds": 0,
            "MessageSystemAttributeNames": ["SentTimestamp", "ApproximateReceiveCount"],
        });
        let queue_name = queue_url.rsplit('/').next().unwrap_or_default().to_owned();
        Ok(Self {
            sender,
            host,
            queue_url: queue_url.to_owned(),
            queue_name,
            receive: receive.to_string().into(),
        })
    }

    /// Up to ten messages, without waiting: to be read as [`Received`].
    pub(crate) async fn receive(&mut self) -> Result<Bytes> {
        let body = self.receive.clone();
        self.call("AmazonSQS.ReceiveMessage", body).await
    }

    /// Deletes up to ten messages.
    pub(crate) async fn delete(&mut self, handles: impl IntoIterator<Item = impl AsRef<str>>) -> Result<()> {
        // Handles are the queue's own and need no escaping.
        let mut body = format!("{{\"QueueUrl\":\"{}\",\"Entries\":[", self.queue_url);
        for (index, handle) in handles.into_iter().enumerate() {
            let comma = if index == 0 { "" } else { "," };
            body.push_str(&format!(
                "{comma}{{\"Id\":\"{index}\",\"ReceiptHandle\":\"{}\"}}",
                handle.as_ref()
            ));
        }
        body.push_str("]}");
        let answer = self.call("AmazonSQS.DeleteMessageBatch", body.into()).await?;
        let DeleteAnswer { failed } = serde_json::from_slice(&answer)?;
        if failed.is_empty() {
            Ok(())
        } else {
            Err(format!("{} messages were not deleted", failed.len()).into())
        }
    }

    /// Sends up to ten messages with one call; returns their ids, in the order of the messages.
    pub(crate) async fn send(&mut self, bodies: &[String]) -> Result<Vec<String>> {
        let entry = |(index, body)| json!({ "Id": format!("{index}"), "MessageBody": body });
        let entries: Vec<_> = bodies.iter().enumerate().map(entry).collect();
        let request = json!({ "QueueUrl": self.queue_url, "Entries": entries });
        let answer = self.call("AmazonSQS.SendMessageBatch", request.to_string().into()).await?;
        let SendAnswer { mut successful } = serde_json::from_slice(&answer)?;
        // At most ten, so that the texts of their numbers sort as the numbers do.
        successful.sort_by(|a, b| a.id.cmp(&b.id));
        if successful.len() == bodies.len() {
            Ok(successful.into_iter().map(|sent| sent.message_id).collect())
        } else {
            Err(format!("of {} messages {} were sent", bodies.len(), successful.len()).into())
        }
    }

    /// The queue's own figures.
    pub(crate) async fn figures(&mut self) -> Result<Figures> {
        let path = format!("/control/queues/{}/stats", self.queue_name);
        let request = Request::builder().method(Method::GET).uri(path).header("host", &self.host);
        let answer = self.send_request(request.body(Full::default())?).await?;
        Ok(serde_json::from_slice(&answer)?)
    }

    async fn call(&mut self, target: &'static str, body: Bytes) -> Result<Bytes> {
        let request = Request::builder()
            .method(Method::POST)
            .uri("/")
            .header("host", &self.host)
            .header("content-type", "application/x-amz-json-1.0")
            .header("x-amz-target", target)
            .body(Full::new(body))?;
        self.send_request(request).await
    }

    async fn send_request(&mut self, request: Request<Full<Bytes>>) -> Result<Bytes> {
        self.sender.ready().await?;
        let response = self.sender.send_request(request).await?;
        let status = response.status();
        let body = response.into_body().collect().await?.to_bytes();
        if status.is_success() { Ok(body) } else { Err(format!("the queue answered {status}").into()) }
    }
}
