//! A server that answers each call as a test says.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

/// One call as it came.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    /// `ReceiveMessage` and the like.
    pub(crate) operation: String,
    pub(crate) body: String,
    /// With names in lower case.
    pub(crate) headers: Vec<(String, String)>,
    /// A number of the connection over which it came.
    pub(crate) connection: usize,
}

impl Call {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

pub(crate) enum Answer {
    /// A status and a body.
    Http(u16, String),
    /// Success, at that time by the server's clock.
    Dated(&'static str, &'static str),
    /// An error as SQS sends it.
    Error(u16, &'static str),
    /// A status, headers, and a body that need not be a text.
    With(u16, Vec<(&'static str, String)>, Vec<u8>),
    /// The same, but the body comes in small pieces.
    Pieces(u16, Vec<u8>),
    /// Part of an answer, then the connection ends.
    Cut,
    /// No answer; the connection ends.
    Reset,
    /// Nothing, but the connection stays.
    Silence,
}

impl Answer {
    pub(crate) fn ok(body: impl Into<String>) -> Self {
        Self::Http(200, body.into())
    }
}

type Script = dyn Fn(&Call) -> Answer + Send + Sync;

/// The server; it stops when it is dropped.
pub(crate) struct Scripted {
    address: SocketAddr,
    calls: Arc<Mutex<Vec<Call>>>,
    _tasks: JoinSet<()>,
}

impl Scripted {
    /// A queue exists and has a visibility timeout of 40 s; all else is up to the script.
    pub(crate) async fn queue(script: impl Fn(&Call) -> Answer + Send + Sync + 'static) -> Self {
        Self::start(move |call| match call.operation.as_str() {
            "GetQueueUrl" => Answer::ok(r#"{"QueueUrl":"http://queue.example/000000000000/logins"}"#),
            "GetQueueAttributes" if call.body.contains("VisibilityTimeout") => {
                Answer::ok(r#"{"Attributes":{"VisibilityTimeout":"40"}}"#)
            }
            _ => script(call),
        })
        .await
    }

    /// The same, and attributes are up to the script where this one is among them.
    pub(crate) async fn queue_but_for(
        attribute: &'static str,
        script: impl Fn(&Call) -> Answer + Send + Sync + 'static,
    ) -> Self {
        Self::start(move |call| match call.operation.as_str() {
            "GetQueueUrl" => Answer::ok(r#"{"QueueUrl":"http://queue.example/000000000000/logins"}"#),
            "GetQueueAttributes" if !call.body.contains(attribute) => {
                Answer::ok(r#"{"Attributes":{"VisibilityTimeout":"40"}}"#)
            }
            _ => script(call),
        })
        .await
    }

    pub(crate) async fn start(script: impl Fn(&Call) -> Answer + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let calls = Arc::<Mutex<Vec<Call>>>::default();
        let (script, log): (Arc<Script>, _) = (Arc::new(script), calls.clone());
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            for number in 0.. {
                let Ok((stream, _)) = listener.accept().await else { return };
                connections.spawn(serve(stream, number, script.clone(), log.clone()));
            }
        });
        Self { address, calls, _tasks: tasks }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The calls of an operation, so far.
    pub(crate) fn calls(&self, operation: &str) -> Vec<Call> {
        let calls = self.calls.lock().unwrap();
        calls.iter().filter(|call| call.operation == operation).cloned().collect()
    }
}

async fn serve(stream: TcpStream, connection: usize, script: Arc<Script>, log: Arc<Mutex<Vec<Call>>>) {
    let mut stream = BufReader::new(stream);
    while let Some(call) = read_call(&mut stream, connection).await {
        log.lock().unwrap().push(call.clone());
        let (status, headers, body) = match script(&call) {
            Answer::Http(status, body) => (status, String::new(), body.into_bytes()),
            Answer::Dated(date, body) => (200, format!("date: {date}\r\n"), body.as_bytes().to_vec()),
            Answer::With(status, headers, body) => {
                let headers = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
                (status, headers, body)
            }
            Answer::Pieces(status, body) => {
                if write_pieces(&mut stream, status, &body).await.is_none() {
                    return;
                }
                continue;
            }
            Answer::Reset => return,
            Answer::Error(status, code) => {
                let headers =
                    format!("x-amzn-query-error: {code};Sender\r\nx-amzn-requestid: 00000000-feed\r\n");
                // The message quotes input, as some of the service's do.
                (
                    status,
                    headers,
                    format!(r#"{{"__type":"com.amazonaws.sqs#{code}","message":"203.0.113.7 is wrong"}}"#)
                        .into_bytes(),
                )
            }
            Answer::Cut => {
                let _ =
                    stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n{\"Messages\":[").await;
                return;
            }
            Answer::Silence => std::future::pending().await,
        };
        let mut answer =
            format!("HTTP/1.1 {status} X\r\n{headers}content-length: {}\r\n\r\n", body.len()).into_bytes();
        answer.extend(body);
        if stream.write_all(&answer).await.is_err() {
            return;
        }
    }
}

async fn write_pieces(stream: &mut BufReader<TcpStream>, status: u16, body: &[u8]) -> Option<()> {
    let head = format!("HTTP/1.1 {status} X\r\ntransfer-encoding: chunked\r\n\r\n");
    stream.write_all(head.as_bytes()).await.ok()?;
    for piece in body.chunks(100) {
        stream.write_all(format!("{:x}\r\n", piece.len()).as_bytes()).await.ok()?;
        stream.write_all(piece).await.ok()?;
        stream.write_all(b"\r\n").await.ok()?;
        stream.flush().await.ok()?;
        // So that the other side may read it before the next one.
        tokio::task::yield_now().await;
    }
    stream.write_all(b"0\r\n\r\n").await.ok()
}

async fn read_call(stream: &mut BufReader<TcpStream>, connection: usize) -> Option<Call> {
    let (mut length, mut operation, mut headers) = (0, String::new(), Vec::new());
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line).await.ok()? == 0 {
            return None;
        }
        let line = line.trim_end();
        if line.is_empty() {
            break;
        }
        if let Some((name, value)) = line.split_once(": ") {
            headers.push((name.to_ascii_lowercase(), value.to_owned()));
        }
        match line.split_once(": ") {
            Some((name, value)) if name.eq_ignore_ascii_case("content-length") => {
                length = value.parse().ok()?;
            }
            Some((name, value)) if name.eq_ignore_ascii_case("x-amz-target") => {
                operation = value.trim_start_matches("AmazonSQS.").to_owned();
            }
            _ => {}
        }
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await.ok()?;
    Some(Call { operation, body: String::from_utf8(body).ok()?, headers, connection })
}
