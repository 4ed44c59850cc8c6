//! The server, asked by good clients and bad ones.

use std::net::SocketAddr;
use std::time::Duration;

use fetch_etl_telemetry::Server;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_util::task::AbortOnDropHandle;

use crate::support::{Rig, Scrape};

/// Generous: two cores may be busy with other tests.
const PATIENCE: Duration = Duration::from_secs(60);

async fn serve(rig: &Rig) -> (SocketAddr, AbortOnDropHandle<()>) {
    let server = Server::bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
    (server.address(), server.serve(rig.telemetry.clone()))
}

/// Sends bytes and reads until the server closes.
async fn talk(address: SocketAddr, request: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    // Whoever sends too much is cut off while it sends.
    let _ = stream.write_all(request).await;
    let mut answer = Vec::new();
    let read = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut answer)).await.unwrap();
    drop(read);
    String::from_utf8(answer).unwrap()
}

async fn get(address: SocketAddr, path: &str) -> (u16, String, String) {
    let answer = talk(address, format!("GET {path} HTTP/1.1\r\nhost: x\r\n\r\n").as_bytes()).await;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("{path}: {answer:?}"));
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (status, head.to_lowercase(), body.to_owned())
}

#[tokio::test]
async fn three_paths_are_served() {
    let rig = Rig::new();
    let (address, _serving) = serve(&rig).await;
    let (status, head, body) = get(address, "/metrics").await;
    assert_eq!(status, 200);
    assert!(head.contains("content-type: text/plain; version=0.0.4"), "{head}");
    assert_eq!(Scrape::of(&body).get("etl_messages_received_total"), 0.0);
    let (status, head, body) = get(address, "/ready").await;
    assert_eq!(
        (status, body.as_str()),
        (503, "{\"ready\":false,\"not_ready\":[\"source\",\"sink\",\"policy\",\"pipeline\"]}\n")
    );
    assert!(head.contains("content-type: application/json"), "{head}");
    let (status, _, body) = get(address, "/live").await;
    assert_eq!((status, body.as_str()), (200, "{\"live\":true,\"phase\":\"starting\"}\n"));

    let rig = rig.in_order();
    let (status, _, body) = get(address, "/ready?verbose").await;
    assert_eq!((status, body.as_str()), (200, "{\"ready\":true,\"not_ready\":[]}\n"));
    rig.telemetry.health().stopped();
    assert_eq!(get(address, "/live").await.0, 503);
    assert_eq!(get(address, "/").await.0, 200);
    assert_eq!(get(address, "/etc/passwd").await.0, 404);
}

#[tokio::test]
async fn nothing_can_be_changed() {
    let rig = Rig::new();
    let (address, _serving) = serve(&rig).await;
    for method in ["POST", "PUT", "DELETE", "OPTIONS"] {
        let request = format!("{method} /metrics HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\n");
        assert!(talk(address, request.as_bytes()).await.starts_with("HTTP/1.1 405 "), "{method}");
    }
    let head = talk(address, b"HEAD /metrics HTTP/1.1\r\nhost: x\r\n\r\n").await;
    assert!(head.starts_with("HTTP/1.1 200 ") && head.ends_with("\r\n\r\n"), "{head}");
}

#[tokio::test]
async fn what_is_no_request_is_refused_and_the_next_one_answered() {
    let rig = Rig::new();
    let (address, _serving) = serve(&rig).await;
    let long_path = format!("GET /{} HTTP/1.1\r\n\r\n", "x".repeat(100_000));
    let many_headers = format!("GET /live HTTP/1.1\r\n{}\r\n", "a: b\r\n".repeat(1_000));
    for request in ["\0\0\0\0\r\n\r\n", "GET\r\n\r\n", "\u{16}\u{3}\u{1}", &long_path, &many_headers] {
        let answer = talk(address, request.as_bytes()).await;
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 4"), "{answer}");
    }
    assert_eq!(get(address, "/live").await.0, 200);
}

#[tokio::test]
async fn clients_that_say_nothing_keep_nobody_out_and_are_dropped() {
    let rig = Rig::new();
    let (address, _serving) = serve(&rig).await;
    let mut idle = Vec::new();
    for n in 0..200 {
        let mut stream = TcpStream::connect(address).await.unwrap();
        // Some say half of something.
        if n % 2 == 0 {
            let _ = stream.write_all(b"GET /metrics HTTP/1.1\r\nx: ").await;
        }
        idle.push(stream);
    }
    assert_eq!(get(address, "/live").await.0, 200);
    for mut stream in idle {
        let mut rest = Vec::new();
        let ended = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut rest)).await;
        assert!(ended.is_ok(), "the server lets go of it");
    }
}

#[tokio::test]
async fn a_port_that_is_taken_is_said() {
    let taken = Server::bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let error = Server::bind(taken.address()).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        format!("cannot listen on {}: another process does already", taken.address())
    );
    let nowhere: SocketAddr = "192.0.2.1:9600".parse().unwrap();
    let error = Server::bind(nowhere).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "cannot listen on 192.0.2.1:9600: no interface of this machine has that address"
    );
}
