//! A server that speaks AWS JSON 1.1 and answers each call as a test says.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use aws_config::{Region, SdkConfig};
use aws_credential_types::Credentials;
use aws_credential_types::provider::SharedCredentialsProvider;
use fetch_etl_secrets::AwsOptions;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use crate::support::CANARY;

/// One call as it came.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Call {
    /// `X-Amz-Target`: the service and the operation.
    pub(crate) target: String,
    pub(crate) content_type: String,
    pub(crate) body: Value,
}

pub(crate) enum Answer {
    Ok(Value),
    /// An error with this status and code, in whose words the secret is.
    Error(u16, &'static str),
    /// Something that is no JSON.
    Html(u16),
    /// Part of an answer, then the connection ends.
    Cut,
    /// Nothing, but the connection stays.
    Silence,
}

type Script = dyn Fn(usize) -> Answer + Send + Sync;

/// The server; it stops when it is dropped.
pub(crate) struct Scripted {
    address: SocketAddr,
    calls: Arc<Mutex<Vec<Call>>>,
    _tasks: JoinSet<()>,
}

impl Scripted {
    /// The script is given the number of calls that came before.
    pub(crate) async fn start(script: impl Fn(usize) -> Answer + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let calls = Arc::<Mutex<Vec<Call>>>::default();
        let (script, log): (Arc<Script>, _) = (Arc::new(script), calls.clone());
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                connections.spawn(serve(stream, script.clone(), log.clone()));
            }
        });
        Self { address, calls, _tasks: tasks }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(crate) fn options(&self) -> AwsOptions {
        AwsOptions { endpoint_url: Some(self.url()), ..AwsOptions::default() }
    }

    pub(crate) fn calls(&self) -> Vec<Call> {
        self.calls.lock().unwrap().clone()
    }
}

/// An address that nobody listens at.
pub(crate) async fn nowhere() -> AwsOptions {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    AwsOptions { endpoint_url: Some(url), ..AwsOptions::default() }
}

/// Not what the machine's environment says: it may hold another endpoint, or credentials.
pub(crate) fn sdk() -> SdkConfig {
    let credentials = Credentials::new("x", "x", None, None, "test");
    SdkConfig::builder()
        .region(Region::from_static("eu-west-1"))
        .credentials_provider(SharedCredentialsProvider::new(credentials))
        .build()
}

async fn serve(stream: TcpStream, script: Arc<Script>, log: Arc<Mutex<Vec<Call>>>) {
    let mut stream = BufReader::new(stream);
    while let Some(call) = read_call(&mut stream).await {
        let before = {
            let mut log = log.lock().unwrap();
            log.push(call);
            log.len() - 1
        };
        let (status, body) = match script(before) {
            Answer::Ok(body) => (200, body.to_string()),
            Answer::Error(status, code) => {
                let message = format!("{CANARY} is wrong");
                (status, json!({"__type": format!("com.amazonaws.x#{code}"), "message": message}).to_string())
            }
            Answer::Html(status) => (status, format!("<html>{CANARY}</html>")),
            Answer::Cut => {
                let part =
                    format!("HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n{{\"SecretString\":\"{CANARY}");
                let _ = stream.write_all(part.as_bytes()).await;
                return;
            }
            Answer::Silence => std::future::pending().await,
        };
        let head = format!(
            "HTTP/1.1 {status} X\r\ncontent-type: application/x-amz-json-1.1\r\n\
             x-amzn-requestid: 00000000-feed\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        if stream.write_all((head + &body).as_bytes()).await.is_err() {
            return;
        }
    }
}

async fn read_call(stream: &mut BufReader<TcpStream>) -> Option<Call> {
    let (mut length, mut target, mut content_type) = (0, String::new(), String::new());
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line).await.ok()? == 0 {
            return None;
        }
        let line = line.trim_end();
        if line.is_empty() {
            break;
        }
        let Some((name, value)) = line.split_once(": ") else { continue };
        match name.to_ascii_lowercase().as_str() {
            "content-length" => length = value.parse().ok()?,
            "x-amz-target" => target = value.to_owned(),
            "content-type" => content_type = value.to_owned(),
            _ => {}
        }
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await.ok()?;
    Some(Call { target, content_type, body: serde_json::from_slice(&body).ok()? })
}
