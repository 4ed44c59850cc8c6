//! The local queue's control interface.

use http_body_util::{BodyExt as _, Full};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::{Method, Request};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpStream;

use crate::LocalQueue;

impl LocalQueue {
    /// Puts a plan of faults to work, such as `{"seed": 7, "faults": {"redeliver": 0.2}}`.
    pub async fn set_faults(&self, plan: &Value) {
        self.control(Method::PUT, Self::NAME, "faults", plan.to_string()).await;
    }

    /// Ends all faults.
    pub async fn clear_faults(&self) {
        self.control(Method::DELETE, Self::NAME, "faults", String::new()).await;
    }

    /// How many faults of a kind there have been since the server started.
    pub async fn injected(&self, kind: &str) -> u64 {
        let faults = self.control(Method::GET, Self::NAME, "faults", String::new()).await;
        faults["injected"][kind].as_u64().expect("a number for each kind of fault")
    }

    /// The figures of one of its queues, by the server's own count.
    pub async fn figures(&self, queue: &str) -> Value {
        self.control(Method::GET, queue, "stats", String::new()).await
    }

    async fn control(&self, method: Method, queue: &str, resource: &str, body: String) -> Value {
        let address = self.endpoint().trim_start_matches("http://");
        let stream = TcpStream::connect(address).await.expect("the queue listens");
        let (mut sender, connection) =
            http1::handshake(TokioIo::new(stream)).await.expect("the queue speaks HTTP");
        let connection = tokio::spawn(connection);
        let request = Request::builder()
            .method(method)
            .uri(format!("/control/queues/{queue}/{resource}"))
            .header("host", address)
            .body(Full::new(Bytes::from(body)))
            .expect("a request is complete");
        let response = sender.send_request(request).await.expect("the queue answers");
        let status = response.status();
        let body = response.into_body().collect().await.expect("the answer is whole").to_bytes();
        connection.abort();
        assert!(status.is_success(), "{status}: {}", String::from_utf8_lossy(&body));
        serde_json::from_slice(&body).expect("the answer is JSON")
    }
}
