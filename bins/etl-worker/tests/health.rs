//! `health` says what a worker's own address says, by its exit code.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener;

use crate::support::{finish, worker};

/// Answers one request, and returns its first line.
fn answers(answer: &'static str) -> (String, std::thread::JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let asked = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let lines = BufReader::new(stream.try_clone().unwrap()).lines();
        let head: Vec<_> = lines.map(Result::unwrap).take_while(|line| !line.is_empty()).collect();
        stream.write_all(answer.as_bytes()).unwrap();
        head[0].clone()
    });
    (address, asked)
}

#[test]
fn the_answer_decides() {
    for (args, answer, code, request) in [
        (&[][..], "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok", 0, "GET /live HTTP/1.1"),
        (&["--ready"], "HTTP/1.1 200 OK\r\n\r\n", 0, "GET /ready HTTP/1.1"),
        (&["--ready"], "HTTP/1.1 503 Service Unavailable\r\n\r\n", 1, "GET /ready HTTP/1.1"),
        (&[], "220 mail.example ESMTP\r\n", 1, "GET /live HTTP/1.1"),
        (&[], "", 1, "GET /live HTTP/1.1"),
    ] {
        let (address, asked) = answers(answer);
        let ended = finish(worker(&["health", "--address", &address]).args(args));
        assert_eq!(ended.code, Some(code), "{answer}: {}", ended.stderr);
        assert_eq!(asked.join().unwrap(), request);
    }
}

#[test]
fn the_environment_of_the_worker_says_where_it_is() {
    let (address, asked) = answers("HTTP/1.1 200 OK\r\n\r\n");
    let everywhere = address.replace("127.0.0.1", "0.0.0.0");
    let ended = finish(worker(&["health"]).env("ETL_TELEMETRY__LISTEN", everywhere));
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    assert_eq!(asked.join().unwrap(), "GET /live HTTP/1.1");
    let ended = finish(worker(&["health"]).env("ETL_TELEMETRY__LISTEN", "localhost:9600"));
    assert_eq!(ended.code, Some(2), "{}", ended.stderr);
    assert!(ended.stderr.contains("ETL_TELEMETRY__LISTEN: expected an IP address"), "{}", ended.stderr);
}

#[test]
fn nobody_there_is_not_well() {
    let ended = finish(&mut worker(&["health", "--address", "127.0.0.1:1"]));
    assert_eq!(ended.code, Some(1));
    assert!(
        ended.stderr.contains("no worker answers at 127.0.0.1:1: connection refused"),
        "{}",
        ended.stderr
    );
}
