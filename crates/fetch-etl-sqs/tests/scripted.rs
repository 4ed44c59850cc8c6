//! A server that answers each call as a test says.

use fetch_etl_testing::scripted::{Request, Response, ScriptedServer};

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
    fn of(request: &Request) -> Self {
        let target = request.header("x-amz-target").unwrap_or_default();
        Self {
            operation: target.trim_start_matches("AmazonSQS.").to_owned(),
            body: request.body.clone(),
            headers: request.headers.clone(),
            connection: request.connection,
        }
    }

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

    fn response(self) -> Response {
        match self {
            Self::Http(status, body) => Response::Whole(status, Vec::new(), body.into_bytes()),
            Self::Dated(date, body) => Response::Whole(200, vec![("date", date.to_owned())], body.into()),
            Self::Error(status, code) => {
                let headers = [
                    ("x-amzn-query-error", format!("{code};Sender")),
                    ("x-amzn-requestid", "00000000-feed".to_owned()),
                ];
                // The message quotes input, as some of the service's do.
                let body =
                    format!(r#"{{"__type":"com.amazonaws.sqs#{code}","message":"203.0.113.7 is wrong"}}"#);
                Response::Whole(status, headers.into(), body.into_bytes())
            }
            Self::With(status, headers, body) => Response::Whole(status, headers, body),
            Self::Pieces(status, body) => Response::Pieces(status, body),
            Self::Cut => Response::Cut(Some("{\"Messages\":[".to_owned())),
            Self::Reset => Response::Cut(None),
            Self::Silence => Response::Silence,
        }
    }
}

/// The server; it stops when it is dropped.
pub(crate) struct Scripted(ScriptedServer);

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
        let answer = move |request: &Request| script(&Call::of(request)).response();
        Self(ScriptedServer::start(answer).await.unwrap())
    }

    pub(crate) fn url(&self) -> String {
        self.0.url()
    }

    /// The calls of an operation, so far.
    pub(crate) fn calls(&self, operation: &str) -> Vec<Call> {
        self.0.requests().iter().map(Call::of).filter(|call| call.operation == operation).collect()
    }
}
