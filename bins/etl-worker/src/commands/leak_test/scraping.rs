//! Reading what a worker tells over HTTP, again and again while it runs.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

/// What is asked for.
const PATHS: [&str; 3] = ["/metrics", "/ready", "/live"];

/// How often.
const ASK_EACH: Duration = Duration::from_millis(200);

/// How long an answer may take.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);

/// Where a worker listens, once it has said so.
pub(super) type Address = watch::Sender<Option<SocketAddr>>;

/// Reads a worker's log to its end, and notes where it listens.
pub(super) async fn read_log(log: impl AsyncRead + Unpin, address: &Address) -> Vec<u8> {
    let mut log = BufReader::new(log);
    let mut all = Vec::new();
    loop {
        let start = all.len();
        match log.read_until(b'\n', &mut all).await {
            Ok(0) | Err(_) => return all,
            Ok(_) if address.borrow().is_none() => {
                if let Some(found) = listening_at(&all[start..]) {
                    address.send_replace(Some(found));
                }
            }
            Ok(_) => {}
        }
    }
}

fn listening_at(line: &[u8]) -> Option<SocketAddr> {
    let line: serde_json::Value = serde_json::from_slice(line).ok()?;
    if line["event"] != "telemetry_listening" {
        return None;
    }
    line["address"].as_str()?.parse().ok()
}

/// Asks for everything until it is dropped, and keeps all answers, heads included.
pub(super) async fn scrape(address: &Address, answers: &mut Vec<u8>) {
    let mut known = address.subscribe();
    // The sender outlives this.
    let Ok(address) = known.wait_for(Option::is_some).await.map(|address| *address) else { return };
    let Some(address) = address else { return };
    loop {
        for path in PATHS {
            if let Ok(Ok(answer)) = timeout(ANSWER_WITHIN, ask(address, path)).await {
                answers.extend(answer);
            }
        }
        sleep(ASK_EACH).await;
    }
}

async fn ask(address: SocketAddr, path: &str) -> std::io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect(address).await?;
    stream.write_all(format!("GET {path} HTTP/1.0\r\n\r\n").as_bytes()).await?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await?;
    Ok(answer)
}
