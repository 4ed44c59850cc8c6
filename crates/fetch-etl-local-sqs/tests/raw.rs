//! What goes over the wire, byte by byte: for clients other than the SDK of this language.

use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::support::{PATIENCE, start};

pub(crate) struct Reply {
    pub(crate) status: u16,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

impl Reply {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }
}

pub(crate) struct Connection(BufReader<TcpStream>);

impl Connection {
    pub(crate) async fn open(address: std::net::SocketAddr) -> Self {
        Self(BufReader::new(TcpStream::connect(address).await.unwrap()))
    }

    async fn call(&mut self, operation: &str, body: &str) -> Reply {
        let request = format!(
            "POST / HTTP/1.1\r\nHost: sqs.test:1\r\nX-Amz-Target: AmazonSQS.{operation}\r\n\
             Content-Type: application/x-amz-json-1.0\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        self.exchange(&request).await
    }

    /// A request to the control interface.
    pub(crate) async fn control(&mut self, method: &str, path: &str, body: &str) -> Reply {
        let length = body.len();
        self.exchange(&format!(
            "{method} {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n\r\n{body}"
        ))
        .await
    }

    async fn exchange(&mut self, request: &str) -> Reply {
        timeout(PATIENCE, self.exchange_unbounded(request)).await.unwrap()
    }

    async fn exchange_unbounded(&mut self, request: &str) -> Reply {
        self.0.get_mut().write_all(request.as_bytes()).await.unwrap();
        let mut lines = Vec::new();
        loop {
            let mut line = String::new();
            assert_ne!(self.0.read_line(&mut line).await.unwrap(), 0, "the connection ended");
            if line.trim().is_empty() {
                break;
            }
            lines.push(line.trim().to_owned());
        }
        let status = lines[0].split(' ').nth(1).unwrap().parse().unwrap();
        let headers = lines[1..].iter().map(|line| line.split_once(": ").unwrap());
        let headers: Vec<_> = headers.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        let mut reply = Reply { status, headers, body: Vec::new() };
        let length: usize = reply.header("content-length").unwrap().parse().unwrap();
        reply.body.resize(length, 0);
        self.0.read_exact(&mut reply.body).await.unwrap();
        reply
    }
}

#[tokio::test]
async fn one_connection_serves_many_calls_in_the_shape_of_the_protocol() {
    let setup = start().await;
    let mut connection = Connection::open(setup.server.addr()).await;
    let created = connection.call("CreateQueue", r#"{"QueueName":"q"}"#).await;
    assert_eq!(created.status, 200);
    assert_eq!(created.header("content-type"), Some("application/x-amz-json-1.0"));
    assert!(created.header("x-amzn-requestid").is_some());
    assert_eq!(
        created.json()["QueueUrl"],
        "http://sqs.test:1/000000000000/q",
        "as the client calls the server"
    );
    let sent = connection.call("SendMessage", r#"{"QueueUrl":"q","MessageBody":"a\"b"}"#).await.json();
    assert_eq!(sent["MD5OfMessageBody"], "c8f88ec84680a7ec056720570290dd34");
    let received =
        connection.call("ReceiveMessage", r#"{"QueueUrl":"q","MaxNumberOfMessages":10}"#).await.json();
    assert_eq!(received["Messages"][0]["Body"], "a\"b");
    let empty = connection.call("ReceiveMessage", r#"{"QueueUrl":"q"}"#).await;
    assert_eq!(empty.body, b"{}", "no message list when there is no message");
    let deleted = connection.call("DeleteQueue", r#"{"QueueUrl":"q","Unknown":{"a":[1]}}"#).await;
    assert_eq!((deleted.status, &deleted.body[..]), (200, &b"{}"[..]));
}

#[tokio::test]
async fn errors_have_a_type_a_message_and_the_code_of_the_older_protocol() {
    let setup = start().await;
    let mut connection = Connection::open(setup.server.addr()).await;
    for (operation, body, status, kind, code) in [
        (
            "SendMessage",
            r#"{"QueueUrl":"http://h/0/nope","MessageBody":"a"}"#,
            400,
            "com.amazonaws.sqs#QueueDoesNotExist",
            "AWS.SimpleQueueService.NonExistentQueue;Sender",
        ),
        (
            "ReceiveMessage",
            r#"{"QueueUrl":"logins","WaitTimeSeconds":21}"#,
            400,
            "com.amazon.coral.service#InvalidParameterValueException",
            "InvalidParameterValue;Sender",
        ),
        (
            "SendMessageBatch",
            r#"{"QueueUrl":"logins"}"#,
            400,
            "com.amazonaws.sqs#EmptyBatchRequest",
            "AWS.SimpleQueueService.EmptyBatchRequest;Sender",
        ),
        (
            "SendMessage",
            r#"{"MessageBody":"a"}"#,
            400,
            "com.amazon.coral.service#MissingRequiredParameterException",
            "MissingParameter;Sender",
        ),
        (
            "ChangeMessageVisibility",
            r#"{"QueueUrl":"logins","ReceiptHandle":"r"}"#,
            400,
            "com.amazon.coral.service#MissingRequiredParameterException",
            "MissingParameter;Sender",
        ),
        (
            "StartMessageMoveTask",
            "{}",
            400,
            "com.amazon.coral.service#UnknownOperationException",
            "InvalidAction;Sender",
        ),
        (
            "SendMessage",
            r#"{"QueueUrl":"logins","MessageBody":198511007}"#,
            400,
            "com.amazon.coral.service#SerializationException",
            "MalformedInput;Sender",
        ),
    ] {
        let reply = connection.call(operation, body).await;
        assert_eq!(
            (reply.status, reply.header("x-amzn-query-error")),
            (status, Some(code)),
            "{operation} {body}"
        );
        assert_eq!(reply.json()["__type"], kind);
        let message = reply.json()["message"].as_str().unwrap().to_owned();
        assert!(!message.is_empty() && !message.contains("198511007"), "{message}");
    }
}

#[tokio::test]
async fn requests_of_the_older_protocol_and_of_nobody_are_told_what_this_is() {
    let setup = start().await;
    let mut connection = Connection::open(setup.server.addr()).await;
    let query =
        "POST /000000000000/logins HTTP/1.1\r\nhost: h\r\ncontent-length: 17\r\n\r\nAction=ListQueues";
    let reply = connection.exchange(query).await;
    assert_eq!(reply.status, 400);
    assert!(reply.json()["message"].as_str().unwrap().contains("AWS JSON protocol"));
    let health =
        Connection::open(setup.server.addr()).await.exchange("GET /health HTTP/1.1\r\nhost: h\r\n\r\n").await;
    assert_eq!((health.status, health.json()["status"].as_str()), (200, Some("ok")));
}

#[tokio::test]
async fn a_request_that_is_too_long_is_refused_before_it_is_sent() {
    let setup = start().await;
    let mut connection = Connection::open(setup.server.addr()).await;
    let head = "POST / HTTP/1.1\r\nhost: h\r\nx-amz-target: AmazonSQS.SendMessage\r\ncontent-length: 9000000\r\n\r\n";
    let reply = connection.exchange(head).await;
    assert_eq!(
        (reply.status, reply.header("x-amzn-query-error")),
        (413, Some("RequestEntityTooLarge;Sender"))
    );
}
