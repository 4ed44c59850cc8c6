//! `etl-worker health`: asks a worker that runs on this machine whether it is well. For images in which there is no curl.

use std::env;
use std::io::{self, Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::time::Duration;

use crate::cli::HealthArgs;
use crate::failure::{ExitCode, Failure};
use crate::report;
use crate::settings::keys::env_name;

/// Where a worker listens that was told by other means than the environment, most likely.
const USUAL: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 9600);

/// Longest wait for each step: whoever asks has a limit of their own.
const PATIENCE: Duration = Duration::from_secs(3);
/// An answer is a line and a few words; what is longer comes from somebody else.
const MAX_ANSWER_BYTES: u64 = 64 * 1024;

pub(super) fn run(args: &HealthArgs) -> Result<ExitCode, Failure> {
    let path = if args.ready { "/ready" } else { "/live" };
    let address = match args.address {
        Some(address) => reached_at(address),
        None => listens_at(env::var(env_name("telemetry.listen")).ok().as_deref())?,
    };
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

/// Where a worker with this environment is asked.
fn listens_at(listen: Option<&str>) -> Result<SocketAddr, Failure> {
    let Some(text) = listen.filter(|text| !text.is_empty()) else { return Ok(USUAL) };
    let address = text.parse().map_err(|_| {
        Failure::usage(format!(
            "{}: expected an IP address and a port, such as {USUAL}",
            env_name("telemetry.listen")
        ))
    })?;
    Ok(reached_at(address))
}

/// All addresses of a machine are none that could be asked everywhere.
fn reached_at(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_asks_where_the_worker_listens() {
        for (listen, asked) in [
            (None, "127.0.0.1:9600"),
            (Some(""), "127.0.0.1:9600"),
            (Some("0.0.0.0:9700"), "127.0.0.1:9700"),
            (Some("[::]:9700"), "[::1]:9700"),
            (Some("10.0.0.7:9600"), "10.0.0.7:9600"),
        ] {
            assert_eq!(listens_at(listen).unwrap().to_string(), asked, "{listen:?}");
        }
        assert!(listens_at(Some("localhost:9600")).is_err());
    }
}
