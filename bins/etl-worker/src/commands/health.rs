//! `etl-worker health`: asks a worker that runs on this machine whether it is well. For images in which there is no curl.

use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use crate::cli::HealthArgs;
use crate::failure::{ExitCode, Failure};
use crate::report;

/// Longest wait for each step: whoever asks has a limit of their own.
const PATIENCE: Duration = Duration::from_secs(3);
/// An answer is a line and a few words; what is longer comes from somebody else.
const MAX_ANSWER_BYTES: u64 = 64 * 1024;

pub(super) fn run(args: &HealthArgs) -> Result<ExitCode, Failure> {
    let path = if args.ready { "/ready" } else { "/live" };
    let address = args.address;
    let answer = ask(address, path)
        .map_err(|error| Failure::failed(format!("no worker answers at {address}: {}", error.kind())))?;
    let status = status(&answer)
        .ok_or_else(|| Failure::failed(format!("what answers at {address} speaks no HTTP")))?;
    if status != 200 {
        return Err(Failure::failed(format!("{path} of {address} answers with {status}")));
    }
    report::print("ok\n");
    Ok(ExitCode::Done)
}

/// One GET, and all of the answer.
fn ask(address: SocketAddr, path: &str) -> io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    stream.write_all(
        format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n").as_bytes(),
    )?;
    let mut answer = Vec::new();
    stream.take(MAX_ANSWER_BYTES).read_to_end(&mut answer)?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

/// `HTTP/1.1 200 OK`
fn status(answer: &str) -> Option<u16> {
    let rest = answer.strip_prefix("HTTP/1.")?;
    rest.split_whitespace().nth(1)?.parse().ok()
}
