//! HTTP/1.1: connections, headers, and which answer a request gets before it is one of SQS.

mod body;

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::{Body, Incoming};
use hyper::header::{CONTENT_TYPE, HOST, HeaderName, HeaderValue};
use hyper::http::request::Parts;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::task::TaskTracker;

use self::body::Answer;
use crate::control::{self, Controlled};
use crate::error::{ErrorKind, SqsError};
use crate::limits::MAX_REQUEST_BYTES;
use crate::service::{Call, Reply, Service};
use crate::wire::response::{self, Outcome};

const TARGET: HeaderName = HeaderName::from_static("x-amz-target");
const QUERY_ERROR: HeaderName = HeaderName::from_static("x-amzn-query-error");
const REQUEST_ID: HeaderName = HeaderName::from_static("x-amzn-requestid");
const JSON: HeaderValue = HeaderValue::from_static("application/x-amz-json-1.0");
const TARGET_PREFIX: &str = "AmazonSQS.";

/// How long to rest when the machine has no more file descriptors to accept with.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

impl fmt::Debug for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Service").finish_non_exhaustive()
    }
}

/// Accepts connections until the server shuts down.
pub(crate) async fn serve(listener: TcpListener, service: Arc<Service>, tasks: TaskTracker) {
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = service.shutdown.cancelled() => return,
        };
        match accepted {
            Ok((stream, peer)) => drop(tasks.spawn(serve_connection(stream, peer, Arc::clone(&service)))),
            Err(error) => {
                tracing::warn!(%error, "failed to accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// Why a connection ends without an answer.
#[derive(Debug, thiserror::Error)]
#[error("ended on purpose")]
struct Ended;

async fn serve_connection(stream: TcpStream, peer: SocketAddr, service: Arc<Service>) {
    if let Err(error) = stream.set_nodelay(true) {
        // The connection works without, only slower.
        tracing::debug!(%error, "failed to set TCP_NODELAY");
    }
    let shutdown = service.shutdown.clone();
    let reset = Arc::new(AtomicBool::new(false));
    let mut connection = http1::Builder::new().serve_connection(
        TokioIo::new(stream),
        service_fn(|request| {
            let (service, reset) = (Arc::clone(&service), Arc::clone(&reset));
            async move { respond(&service, peer, &reset, request).await }
        }),
    );
    let mut stopping = false;
    let ended = loop {
        tokio::select! {
            ended = &mut connection => break ended,
            () = shutdown.cancelled(), if !stopping => {
                stopping = true;
                std::pin::Pin::new(&mut connection).graceful_shutdown();
            }
        }
    };
    if let Err(error) = ended {
        // Clients that go away in the middle of a long poll are nothing special.
        tracing::debug!(%error, "connection ended early");
    }
    if reset.load(Ordering::Relaxed) {
        // Without lingering, closing a connection resets it.
        let stream = connection.into_parts().io.into_inner();
        if let Err(error) = stream.set_zero_linger() {
            tracing::warn!(%error, "failed to reset a connection; it is closed instead");
        }
    }
}

async fn respond(
    service: &Service,
    peer: SocketAddr,
    reset: &AtomicBool,
    request: Request<Incoming>,
) -> Result<Response<Answer>, Ended> {
    if request.method() == Method::GET && request.uri().path() == "/health" {
        return Ok(answer(Answer::whole(Bytes::from_static(b"{\"status\":\"ok\"}")), Ok(())));
    }
    let (head, body) = request.into_parts();
    if let Some(path) = control::path(head.uri.path()) {
        return Ok(written(control(service, peer, &head, path, body).await));
    }
    match call(service, &head, body).await.unwrap_or_else(|error| Reply::Whole(Err(error))) {
        Reply::Whole(result) => Ok(answer_with(&result, Answer::whole)),
        Reply::Half(result) => Ok(answer_with(&result, Answer::half)),
        Reply::Closed => Err(Ended),
        Reply::Reset => {
            reset.store(true, Ordering::Relaxed);
            Err(Ended)
        }
    }
}

async fn call(service: &Service, head: &Parts, body: Incoming) -> Result<Reply, SqsError> {
    let target = head.headers.get(TARGET).and_then(|target| target.to_str().ok());
    let operation = target.and_then(|target| target.strip_prefix(TARGET_PREFIX)).ok_or_else(|| {
        SqsError::new(
            ErrorKind::InvalidAction,
            "This server speaks the AWS JSON protocol of SQS (header X-Amz-Target: AmazonSQS.…), not the older query \
             protocol; a newer SDK or CLI does too.",
        )
    })?;
    let body = read(body).await?;
    let host = head.headers.get(HOST).and_then(|host| host.to_str().ok()).unwrap_or("localhost");
    Ok(service.exchange(Call { operation, host, body: &body }).await)
}

/// Only for this machine: whoever can make a queue fail can make a service fail.
async fn control(
    service: &Service,
    peer: SocketAddr,
    head: &Parts,
    path: &str,
    body: Incoming,
) -> Controlled {
    if !peer.ip().to_canonical().is_loopback() {
        return Controlled::refused(
            StatusCode::FORBIDDEN,
            "control requests are for the loopback address only",
        );
    }
    match read(body).await {
        Ok(body) => control::respond(&service.registry, &head.method, path, &body),
        Err(error) => Controlled::refused(error.kind.status(), error.message),
    }
}

fn written(controlled: Controlled) -> Response<Answer> {
    let mut response = Response::new(Answer::whole(controlled.body.to_string().into()));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    *response.status_mut() = controlled.status;
    response
}

async fn read(body: Incoming) -> Result<Bytes, SqsError> {
    let too_large = || {
        SqsError::new(
            ErrorKind::RequestTooLarge,
            format!("The request is longer than {MAX_REQUEST_BYTES} bytes."),
        )
    };
    // A length that is announced is refused before it is sent.
    if body.size_hint().lower() > MAX_REQUEST_BYTES as u64 {
        return Err(too_large());
    }
    match Limited::new(body, MAX_REQUEST_BYTES).collect().await {
        Ok(body) => Ok(body.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => Err(too_large()),
        Err(_) => Err(SqsError::new(ErrorKind::Serialization, "The request ended before its body did.")),
    }
}

fn answer_with(result: &Result<Outcome, SqsError>, body: fn(Bytes) -> Answer) -> Response<Answer> {
    match result {
        Ok(outcome) => answer(body(response::write(outcome).into()), Ok(())),
        Err(error) => answer(body(response::write_error(error).into()), Err(error.kind)),
    }
}

fn answer(body: Answer, result: Result<(), ErrorKind>) -> Response<Answer> {
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, JSON);
    headers.insert(REQUEST_ID, request_id());
    if let Err(kind) = result {
        if let Ok(code) = HeaderValue::try_from(kind.query_header()) {
            headers.insert(QUERY_ERROR, code);
        }
        *response.status_mut() = kind.status();
    }
    response
}

/// SDKs show it in their errors and logs, so that a call can be told from the others of the same process.
fn request_id() -> HeaderValue {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    HeaderValue::from(NEXT.fetch_add(1, Ordering::Relaxed))
}
