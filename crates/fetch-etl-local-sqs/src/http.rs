//! HTTP/1.1: connections, headers, and which answer a request gets before it is one of SQS.

use std::convert::Infallible;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::{Body, Incoming};
use hyper::header::{CONTENT_TYPE, HOST, HeaderName, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::task::TaskTracker;

use crate::error::{ErrorKind, SqsError};
use crate::limits::MAX_REQUEST_BYTES;
use crate::service::{Call, Service};
use crate::wire::response;

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
            Ok((stream, _)) => drop(tasks.spawn(serve_connection(stream, Arc::clone(&service)))),
            Err(error) => {
                tracing::warn!(%error, "failed to accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn serve_connection(stream: TcpStream, service: Arc<Service>) {
    if let Err(error) = stream.set_nodelay(true) {
        // The connection works without, only slower.
        tracing::debug!(%error, "failed to set TCP_NODELAY");
    }
    let shutdown = service.shutdown.clone();
    let connection = http1::Builder::new().serve_connection(
        TokioIo::new(stream),
        service_fn(move |request| {
            let service = Arc::clone(&service);
            async move { Ok::<_, Infallible>(respond(&service, request).await) }
        }),
    );
    tokio::pin!(connection);
    let mut stopping = false;
    let ended = loop {
        tokio::select! {
            ended = connection.as_mut() => break ended,
            () = shutdown.cancelled(), if !stopping => {
                stopping = true;
                connection.as_mut().graceful_shutdown();
            }
        }
    };
    if let Err(error) = ended {
        // Clients that go away in the middle of a long poll are nothing special.
        tracing::debug!(%error, "connection ended early");
    }
}

async fn respond(service: &Service, request: Request<Incoming>) -> Response<Full<Bytes>> {
    if request.method() == Method::GET && request.uri().path() == "/health" {
        return answer(Bytes::from_static(b"{\"status\":\"ok\"}"), Ok(()));
    }
    match call(service, request).await {
        Ok(body) => answer(body.into(), Ok(())),
        Err(error) => answer(response::write_error(&error).into(), Err(error.kind)),
    }
}

async fn call(service: &Service, request: Request<Incoming>) -> Result<Vec<u8>, SqsError> {
    let (head, body) = request.into_parts();
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
    let outcome = service.exchange(Call { operation, host, body: &body }).await?;
    Ok(response::write(&outcome))
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

fn answer(body: Bytes, result: Result<(), ErrorKind>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body));
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
