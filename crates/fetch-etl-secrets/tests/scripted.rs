//! A server that speaks AWS JSON 1.1 and answers each call as a test says.

use aws_config::{Region, SdkConfig};
use aws_credential_types::Credentials;
use aws_credential_types::provider::SharedCredentialsProvider;
use fetch_etl_secrets::AwsOptions;
use fetch_etl_testing::scripted::{Request, Response, ScriptedServer};
use serde_json::{Value, json};
use tokio::net::TcpListener;

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

impl Call {
    fn of(request: &Request) -> Self {
        let header = |name| request.header(name).unwrap_or_default().to_owned();
        let body = serde_json::from_str(&request.body).unwrap();
        Self { target: header("x-amz-target"), content_type: header("content-type"), body }
    }
}

impl Answer {
    fn response(self) -> Response {
        let (status, body) = match self {
            Self::Ok(body) => (200, body.to_string()),
            Self::Error(status, code) => {
                let message = format!("{CANARY} is wrong");
                (status, json!({"__type": format!("com.amazonaws.x#{code}"), "message": message}).to_string())
            }
            Self::Html(status) => (status, format!("<html>{CANARY}</html>")),
            Self::Cut => return Response::Cut(Some(format!("{{\"SecretString\":\"{CANARY}"))),
            Self::Silence => return Response::Silence,
        };
        let headers = [("content-type", "application/x-amz-json-1.1"), ("x-amzn-requestid", "00000000-feed")];
        let headers = headers.map(|(name, value)| (name, value.to_owned()));
        Response::Whole(status, headers.into(), body.into_bytes())
    }
}

/// The server; it stops when it is dropped.
pub(crate) struct Scripted(ScriptedServer);

impl Scripted {
    /// The script is given the number of calls that came before.
    pub(crate) async fn start(script: impl Fn(usize) -> Answer + Send + Sync + 'static) -> Self {
        Self(ScriptedServer::start(move |request| script(request.before).response()).await.unwrap())
    }

    pub(crate) fn url(&self) -> String {
        self.0.url()
    }

    pub(crate) fn options(&self) -> AwsOptions {
        AwsOptions { endpoint_url: Some(self.url()), ..AwsOptions::default() }
    }

    pub(crate) fn calls(&self) -> Vec<Call> {
        self.0.requests().iter().map(Call::of).collect()
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
