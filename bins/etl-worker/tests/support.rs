//! Starting the worker, and a queue and a database for it.

use std::collections::VecDeque;
use std::io::{BufRead as _, BufReader, Read as _};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

/// How long anything may take before a test gives up. Generous: two cores may be busy with other tests.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// The worker, in an environment of which nothing is known to it but what the test says.
pub(crate) fn worker(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_etl-worker"));
    command.args(args).env_clear().stdin(Stdio::null());
    // Placeholders: no test may find the credentials of whoever runs it.
    command
        .env("AWS_ACCESS_KEY_ID", "local")
        .env("AWS_SECRET_ACCESS_KEY", "local")
        .env("AWS_REGION", "us-east-1");
    command.env("AWS_EC2_METADATA_DISABLED", "true");
    if let Some(directory) = std::env::var_os("TMPDIR") {
        command.env("TMPDIR", directory);
    }
    command
}

/// A finished run of the worker.
#[derive(Debug)]
pub(crate) struct Finished {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl From<Output> for Finished {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

/// Runs the worker to its end, which must come by itself.
pub(crate) fn finish(command: &mut Command) -> Finished {
    finish_within(PATIENCE, command)
}

/// The same for what takes longer.
pub(crate) fn finish_within(patience: Duration, command: &mut Command) -> Finished {
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let pid = child.id();
    let (sender, ended) = channel();
    std::thread::spawn(move || sender.send(child.wait_with_output()));
    let output = ended.recv_timeout(patience).or_else(|_| {
        kill_process(pid_of(pid), Signal::KILL).unwrap();
        ended.recv()
    });
    let finished: Finished = output.unwrap().unwrap().into();
    assert!(finished.code.is_some(), "it did not end by itself: {finished:?}");
    finished
}

fn pid_of(id: u32) -> Pid {
    Pid::from_raw(i32::try_from(id).unwrap()).unwrap()
}

/// A worker that runs beside the test. It is killed when this is dropped.
pub(crate) struct Running {
    child: Child,
    lines: Receiver<String>,
    seen: Vec<String>,
    unread: VecDeque<Value>,
}

impl Running {
    pub(crate) fn start(command: &mut Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            // The receiver may be gone; reading on keeps the worker's pipe from filling up.
            stderr.lines().map_while(Result::ok).for_each(|line| drop(sender.send(line)));
        });
        Self { child, lines, seen: Vec::new(), unread: VecDeque::new() }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits until the worker logs this event, and returns the log line.
    pub(crate) fn event(&mut self, name: &str) -> Value {
        let deadline = Instant::now() + PATIENCE;
        loop {
            while let Some(line) = self.unread.pop_front() {
                if line["event"] == name {
                    return line;
                }
            }
            match self.lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(line) => self.note(line),
                Err(RecvTimeoutError::Timeout) => {
                    panic!("no event {name} in time; there was: {}", self.seen.join("\n"))
                }
                Err(RecvTimeoutError::Disconnected) => {
                    panic!("ended without {name}; there was: {}", self.seen.join("\n"))
                }
            }
        }
    }

    fn note(&mut self, line: String) {
        self.unread.extend(serde_json::from_str(&line).ok());
        self.seen.push(line);
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(pid_of(self.child.id()), signal).unwrap();
    }

    /// Waits for the end, and returns what was written until then.
    pub(crate) fn end(mut self) -> (ExitStatus, Finished) {
        let mut stdout = String::new();
        self.child.stdout.take().unwrap().read_to_string(&mut stdout).unwrap();
        let status = self.child.wait().unwrap();
        while let Ok(line) = self.lines.recv_timeout(PATIENCE) {
            self.note(line);
        }
        (status, Finished { code: status.code(), stdout, stderr: self.seen.join("\n") })
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// An SQLite file in a directory that goes with this.
pub(crate) struct SqliteFile {
    pub(crate) directory: tempfile::TempDir,
}

impl SqliteFile {
    pub(crate) fn new() -> Self {
        Self { directory: tempfile::tempdir().unwrap() }
    }

    pub(crate) fn url(&self) -> String {
        format!("sqlite://{}", self.directory.path().join("logins.sqlite").display())
    }
}

/// A local queue with a dead-letter queue, served by the test's own process, so that it outlives any worker.
pub(crate) async fn local_queue() -> fetch_etl_local_sqs::RunningServer {
    use fetch_etl_local_sqs::{LocalSqs, QueueConfig};
    let queue = QueueConfig::new("logins").dead_letter("logins-dead", 3);
    LocalSqs::builder().queue(queue).bind("127.0.0.1:0").await.unwrap()
}

/// A sample login with this user and address.
pub(crate) fn login(user: &str, ip: &str) -> String {
    format!(
        r#"{{"user_id":"{user}","app_version":"2.3.0","device_type":"ios","ip":"{ip}","locale":"DE","device_id":"593-47-5928"}}"#
    )
}

/// A call of an SQS server, as a client without signatures makes it.
pub(crate) fn sqs_call(endpoint: &str, operation: &str, body: &str) {
    use std::io::Write as _;
    let address = endpoint.trim_start_matches("http://").trim_end_matches('/');
    let mut stream = std::net::TcpStream::connect(address).unwrap();
    let head = format!(
        "POST / HTTP/1.1\r\nhost: {address}\r\nx-amz-target: AmazonSQS.{operation}\r\n\
         content-type: application/x-amz-json-1.0\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
        body.len()
    );
    stream.write_all(format!("{head}{body}").as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
}
