//! One call: signing, sending, reading the answer.

use std::time::{Duration, SystemTime};

use aws_sdk_sqs::operation::RequestId as _;
use aws_smithy_runtime_api::box_error::BoxError;
use aws_smithy_runtime_api::client::connection::{CaptureSmithyConnection, ConnectionMetadata};
use aws_smithy_runtime_api::client::http::HttpConnector as _;
use aws_smithy_runtime_api::client::identity::Identity;
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_types::body::SdkBody;
use bytes::Bytes;
use fetch_etl_core::Pii;
use http::header::{AUTHORIZATION, CONTENT_TYPE, USER_AGENT};
use http::{HeaderName, HeaderValue, Method, Request};
use http_body_util::BodyExt as _;

use super::clock::ServiceClock;
use super::parts::Parts;
use super::refusal;
use super::signature::{self, Signature};
use crate::failure::{Failure, Marks, Reason};

const TARGET: HeaderName = HeaderName::from_static("x-amz-target");
/// Asks for error codes of the older query protocol, as the SDK does: what is made of errors was written for both.
const QUERY_MODE: HeaderName = HeaderName::from_static("x-amzn-query-mode");
const DATE: HeaderName = HeaderName::from_static("x-amz-date");
const TOKEN: HeaderName = HeaderName::from_static("x-amz-security-token");
const US: HeaderValue = HeaderValue::from_static(concat!("fetch-etl-sqs/", env!("CARGO_PKG_VERSION")));

/// A kind of call.
#[derive(Debug)]
pub(super) struct Operation {
    pub(super) name: &'static str,
    pub(super) target: &'static str,
    pub(super) limit: Duration,
}

/// Makes calls.
#[derive(Debug)]
pub(super) struct Attempts {
    parts: Parts,
    clock: ServiceClock,
}

/// An answer that is none of an error.
pub(super) struct Answer {
    body: Body,
    status: u16,
    request_id: Option<Box<str>>,
}

/// The bytes of an answer: as they came, or put together from pieces, and then zeroized.
enum Body {
    Whole(Bytes),
    Gathered(Pii<Vec<u8>>),
}

impl Answer {
    pub(super) fn body(&self) -> &[u8] {
        match &self.body {
            Body::Whole(bytes) => bytes,
            Body::Gathered(bytes) => bytes.expose(),
        }
    }

    pub(super) fn unreadable(&self, operation: &Operation) -> Failure {
        let marks = Marks { status: self.status, request_id: self.request_id.as_deref() };
        Failure::unread(operation.name, Reason::Unreadable, marks)
    }
}

/// Why an attempt failed, and whether the clock may be why.
struct Missed {
    failure: Failure,
    clock_was_wrong: bool,
}

impl From<Failure> for Missed {
    fn from(failure: Failure) -> Self {
        Self { failure, clock_was_wrong: false }
    }
}

impl Attempts {
    pub(super) fn new(parts: Parts) -> Self {
        Self { parts, clock: ServiceClock::default() }
    }

    /// One attempt, and another one where the first was signed with a wrong time.
    pub(super) async fn call(&self, operation: &Operation, body: Bytes) -> Result<Answer, Failure> {
        match self.attempt_in_time(operation, body.clone()).await {
            Err(missed) if missed.clock_was_wrong => {
                self.attempt_in_time(operation, body).await.map_err(|missed| missed.failure)
            }
            outcome => outcome.map_err(|missed| missed.failure),
        }
    }

    async fn attempt_in_time(&self, operation: &Operation, body: Bytes) -> Result<Answer, Missed> {
        let attempt = tokio::time::timeout(operation.limit, self.attempt(operation, body)).await;
        attempt.unwrap_or_else(|_| Err(Failure::of_entry(operation.name, Reason::TimedOut, None).into()))
    }

    async fn attempt(&self, operation: &Operation, body: Bytes) -> Result<Answer, Missed> {
        let identity =
            self.parts.identity().await.map_err(|error| {
                Failure::of_entry(operation.name, Reason::of_identity(error.as_ref()), None)
            })?;
        let skew = self.clock.skew();
        let sent = self.parts.now();
        let mut request = self
            .signed(operation, body, &identity, skew.apply(sent))
            .ok_or_else(|| Failure::of_entry(operation.name, Reason::NotBuilt, None))?;
        let connection = CaptureSmithyConnection::new();
        request.add_extension(connection.clone());
        let response = self.parts.connector.call(request).await;
        let response = response.map_err(|error| Failure::of_connector(operation.name, &error))?;
        // The server behind it may be what is broken: another connection may lead to another one.
        if matches!(response.status().as_u16(), 500 | 502 | 503 | 504) {
            connection.get().inspect(ConnectionMetadata::poison);
        }
        let measured = self.clock.learn(response.headers(), sent, self.parts.now());
        self.read(operation, response, measured.is_some_and(|measured| measured.misses(skew))).await
    }

    /// `None` for what cannot stand in a request: credentials with a line break, say.
    fn signed(
        &self,
        operation: &Operation,
        body: Bytes,
        identity: &Identity,
        time: SystemTime,
    ) -> Option<HttpRequest> {
        let Parts { uri, signer, .. } = &self.parts;
        let Signature { date, authorization, token } =
            signer.sign(operation.target, &body, identity.data()?, time)?;
        let mut request = Request::new(SdkBody::from(body));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = uri.clone();
        let headers = request.headers_mut();
        headers.reserve(7);
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(signature::CONTENT_TYPE));
        headers.insert(TARGET, HeaderValue::from_static(operation.target));
        headers.insert(QUERY_MODE, HeaderValue::from_static(signature::QUERY_MODE));
        headers.insert(USER_AGENT, US);
        headers.insert(DATE, date);
        headers.insert(AUTHORIZATION, authorization);
        token.and_then(|token| headers.insert(TOKEN, token));
        request.try_into().ok()
    }

    async fn read(
        &self,
        operation: &Operation,
        response: HttpResponse,
        clock_was_wrong: bool,
    ) -> Result<Answer, Missed> {
        let mut response = response;
        let body = std::mem::replace(response.body_mut(), SdkBody::empty());
        let (status, headers) = (response.status(), response.headers());
        let marks = Marks { status: status.as_u16(), request_id: headers.request_id() };
        let body =
            gather(body).await.map_err(|_| Failure::unread(operation.name, Reason::Unreadable, marks))?;
        let answer = Answer { body, status: marks.status, request_id: marks.request_id.map(Box::from) };
        if status.is_success() {
            return Ok(answer);
        }
        let code = refusal::code(headers, answer.body());
        let failure = Failure::of_answer(operation.name, code.as_deref(), marks);
        // Services say in various words that they do not like a signature.
        let of_signature =
            matches!(failure.reason, Reason::ClockWrong | Reason::CredentialsRefused | Reason::AccessDenied);
        Err(Missed { failure, clock_was_wrong: clock_was_wrong && of_signature })
    }
}

/// Reads a body. What comes in one piece is not copied; several are put together once.
async fn gather(mut body: SdkBody) -> Result<Body, BoxError> {
    let mut pieces = Vec::new();
    while let Some(frame) = body.frame().await {
        // All but data are trailers.
        if let Ok(piece) = frame?.into_data() {
            pieces.push(piece);
        }
    }
    Ok(match pieces.as_slice() {
        [] => Body::Whole(Bytes::new()),
        [whole] => Body::Whole(whole.clone()),
        _ => Body::Gathered(Pii::new(pieces.concat())),
    })
}
