//! The binary, as a process of its own.

use std::io::Write;
use std::process::Stdio;

use serde_json::Value;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::time::timeout;

use crate::support::{PATIENCE, bodies, client, receive_from};

fn command() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_fetch-etl-local-sqs"));
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    command
}

/// Starts the server on a free port and reads the line that says where it is.
pub(crate) async fn start(arguments: &[&str]) -> (Child, Value) {
    let mut child = command().args(["--port", "0"]).args(arguments).spawn().unwrap();
    let mut line = String::new();
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    timeout(PATIENCE, stdout.read_line(&mut line)).await.unwrap().unwrap();
    (child, serde_json::from_str(&line).unwrap())
}

pub(crate) async fn stop(mut child: Child, signal: &str) {
    let pid = child.id().unwrap().to_string();
    assert!(Command::new("kill").args([signal, &pid]).status().await.unwrap().success());
    let status = timeout(PATIENCE, child.wait()).await.unwrap().unwrap();
    assert_eq!(status.code(), Some(0), "{signal}");
}

#[tokio::test]
async fn it_says_where_it_is_serves_what_it_loaded_and_stops_on_either_signal() {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    write!(file, "first\n\nsecond").unwrap();
    for signal in ["-TERM", "-INT"] {
        let path = file.path().to_str().unwrap();
        let (child, ready) = start(&[
            "--queue",
            "logins",
            "--queue",
            "other,delay=5",
            "--dead-letter",
            "logins=dead",
            "--load",
            path,
        ])
        .await;
        let endpoint = ready["endpoint"].as_str().unwrap();
        let queues = ready["queues"].as_object().unwrap();
        assert_eq!(queues.keys().collect::<Vec<_>>(), ["dead", "logins", "other"]);
        let messages = receive_from(&client(endpoint), queues["logins"].as_str().unwrap()).await;
        assert_eq!(bodies(&messages), ["first", "second"]);
        stop(child, signal).await;
    }
}

#[tokio::test]
async fn a_long_poll_does_not_hold_up_the_end() {
    let (child, ready) = start(&["--queue", "logins"]).await;
    let queue_url = ready["queues"]["logins"].as_str().unwrap().to_owned();
    let client = client(ready["endpoint"].as_str().unwrap());
    let poll = {
        let request = client.receive_message().queue_url(&queue_url).wait_time_seconds(20);
        tokio::spawn(async move { request.send().await })
    };
    // Once a second call is answered on the same runtime, the first has most likely been read; whether it was or not,
    // the end must not wait for it.
    receive_from(&client, &queue_url).await;
    let started = std::time::Instant::now();
    stop(child, "-TERM").await;
    assert!(started.elapsed().as_secs() < 15, "it waited for the long poll");
    // Empty or cut off, but over.
    let _ = timeout(PATIENCE, poll).await.unwrap().unwrap();
}

#[tokio::test]
async fn mistakes_end_it_with_one_line_and_a_code() {
    for (arguments, code, said) in [
        (&["--queue", "q,visibility=1"][..], 2, "unknown key"),
        (
            &["--queue", "q,delay=901"],
            1,
            "failed to create the queue q: Invalid value for the parameter DelaySeconds.",
        ),
        (&["--load", "/dev/null"], 1, "--load needs a --queue to fill"),
        (&["--queue", "q", "--load", "/nonexistent"], 1, "failed to load /nonexistent"),
        (&["--queue", "q", "--fault", "p:keep=1"], 1, "--fault names the queue p, which does not exist"),
        (&["--queue", "q", "--fault", "q:keep=2"], 2, "a probability is a number from 0 to 1"),
        (&["--host", "256.0.0.1"], 1, "failed to listen"),
    ] {
        let output = timeout(PATIENCE, command().args(["--port", "0"]).args(arguments).output())
            .await
            .unwrap()
            .unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {stderr}");
        assert!(stderr.contains(said), "{arguments:?}: {stderr}");
        assert!(output.stdout.is_empty());
    }
}
