//! The HTTP server: three paths, for reading only, for clients that may be slow, many, or worse.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper::body::Incoming;
use hyper::header::{ACCEPT, ALLOW, CACHE_CONTROL, CONTENT_TYPE};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode, http};
use hyper_util::rt::{TokioIo, TokioTimer};
use serde::Serialize;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{sleep, timeout};
use tokio_util::task::AbortOnDropHandle;
use tracing::debug;

use crate::Telemetry;
use crate::encode::Format;

/// Most connections at once. One more ends the oldest: a probe that is answered in a millisecond gets through whoever else holds
/// on to theirs.
const MAX_CONNECTIONS: usize = 32;

/// How long a request's head may take to come.
const HEAD_WITHIN: Duration = Duration::from_secs(3);

/// How long a connection may last: one request, one answer.
const CONNECTION_WITHIN: Duration = Duration::from_secs(10);

/// Most bytes of a request's head; hyper takes no less.
const MAX_HEAD_BYTES: usize = 8 * 1024;

/// Most headers of a request.
const MAX_HEADERS: usize = 32;

/// The address cannot be listened on.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}: {}", words(*.kind))]
pub struct BindError {
    address: SocketAddr,
    kind: ErrorKind,
}

fn words(kind: ErrorKind) -> String {
    match kind {
        ErrorKind::AddrInUse => "another process does already".to_owned(),
        ErrorKind::AddrNotAvailable => "no interface of this machine has that address".to_owned(),
        ErrorKind::PermissionDenied => "not permitted (ports below 1024 need a privilege)".to_owned(),
        kind => kind.to_string(),
    }
}

/// A server that has its address.
#[derive(Debug)]
pub struct Server {
    listener: TcpListener,
    address: SocketAddr,
}

impl Server {
    /// Takes the address; with port 0 the system chooses a port.
    ///
    /// # Errors
    /// It is taken, or not to be had.
    pub async fn bind(address: SocketAddr) -> Result<Self, BindError> {
        let failed = |error: std::io::Error| BindError { address, kind: error.kind() };
        let listener = TcpListener::bind(address).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        Ok(Self { listener, address })
    }

    /// The address, with the port that it has.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Answers until what this returns is dropped. To be called within a runtime.
    pub fn serve(self, telemetry: Arc<Telemetry>) -> AbortOnDropHandle<()> {
        AbortOnDropHandle::new(tokio::spawn(async move {
            let mut connections = VecDeque::new();
            loop {
                match self.listener.accept().await {
                    Ok((stream, _)) => {
                        connections.retain(|open: &AbortOnDropHandle<()>| !open.is_finished());
                        if connections.len() >= MAX_CONNECTIONS {
                            connections.pop_front();
                        }
                        let connection = tokio::spawn(serve_one(stream, telemetry.clone()));
                        connections.push_back(AbortOnDropHandle::new(connection));
                    }
                    // Out of file descriptors, most likely: it passes when some are closed.
                    Err(error) => {
                        debug!(event = "telemetry_accept_failed", error = %error.kind());
                        sleep(Duration::from_millis(100)).await;
                    }
                }
            }
        }))
    }
}

async fn serve_one(stream: TcpStream, telemetry: Arc<Telemetry>) {
    let service = service_fn(|request| std::future::ready(Ok::<_, Infallible>(answer(&telemetry, &request))));
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_WITHIN)
        .max_headers(MAX_HEADERS)
        .max_buf_size(MAX_HEAD_BYTES)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), service);
    // Whoever is too slow, or sends no HTTP, is simply left.
    let _ = timeout(CONNECTION_WITHIN, connection).await;
}

/// The answer to a request. Its body is not looked at.
fn answer(telemetry: &Telemetry, request: &Request<Incoming>) -> Response<String> {
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        let refused = text(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD\n");
        return with(refused, ALLOW, "GET, HEAD");
    }
    match request.uri().path() {
        "/metrics" => {
            let accept = request.headers().get(ACCEPT).and_then(|value| value.to_str().ok());
            let format = Format::accepted(accept);
            let body = format.encode(telemetry.families());
            let status = if body.is_empty() { StatusCode::INTERNAL_SERVER_ERROR } else { StatusCode::OK };
            with(with(response(status, body), CONTENT_TYPE, format.content_type()), CACHE_CONTROL, "no-store")
        }
        "/live" => {
            let live = telemetry.health().live();
            json(live.live, &live)
        }
        "/ready" => {
            let ready = telemetry.health().ready();
            json(ready.ready, &ready)
        }
        "/" => text(StatusCode::OK, "/metrics /live /ready\n"),
        _ => text(StatusCode::NOT_FOUND, "there are /metrics, /live and /ready\n"),
    }
}

fn json(good: bool, body: &impl Serialize) -> Response<String> {
    let status = if good { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    // Enums and flags: serialising them does not fail.
    let body = serde_json::to_string(body).unwrap_or_default();
    with(with(response(status, body + "\n"), CONTENT_TYPE, "application/json"), CACHE_CONTROL, "no-store")
}

fn text(status: StatusCode, body: &str) -> Response<String> {
    with(response(status, body.to_owned()), CONTENT_TYPE, "text/plain; charset=utf-8")
}

fn response(status: StatusCode, body: String) -> Response<String> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response
}

fn with(mut response: Response<String>, name: http::HeaderName, value: &'static str) -> Response<String> {
    response.headers_mut().insert(name, http::HeaderValue::from_static(value));
    response
}
