//! `check` finds each thing that is unsafe, says what to do about it, and finds nothing where nothing is unsafe.

mod configuration;
mod database;
mod queue;

use std::collections::BTreeSet;
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use fetch_etl_local_sqs::{LocalSqs, QueueConfig, RunningServer};
use serde_json::Value;

use crate::support::{Finished, SqliteFile, finish, worker};

/// Random, once.
const KEY: &str = "pXhJ8mCf0bQZVnq1k8Gd5sYw2u7TeLrA4oNcHiB9xzM=";
const DAY: Duration = Duration::from_secs(24 * 60 * 60);
const PAGE: &str = include_str!("../../../../docs/CHECK.md");

/// A queue that has nothing to be found.
fn good_queue() -> QueueConfig {
    QueueConfig::new("logins").managed_encryption(true).dead_letter("logins-dead", 3)
}

/// Serves it, beside a dead-letter queue that keeps messages for two weeks.
async fn serve(queue: QueueConfig) -> RunningServer {
    let dead = QueueConfig::new("logins-dead").retention(14 * DAY);
    LocalSqs::builder().queue(dead).queue(queue).bind("127.0.0.1:0").await.unwrap()
}

/// A configuration that has nothing to be found, and what a test changes in it.
struct Setup {
    server: RunningServer,
    database: SqliteFile,
    env: Vec<(String, String)>,
}

impl Setup {
    async fn new() -> Self {
        Self::with_queue(good_queue()).await
    }

    async fn with_queue(queue: QueueConfig) -> Self {
        let server = serve(queue).await;
        let database = SqliteFile::new();
        let mut setup = Self { server, database, env: Vec::new() };
        let key = setup.key_file("key", KEY);
        setup.set("ETL_SOURCE__QUEUE_URL", &setup.server.queue_url("logins"));
        setup.set("ETL_MASKING__KEY_FILE", key.to_str().unwrap());
        setup.set("ETL_SINK__DATABASE_URL", &setup.database.url());
        setup
    }

    fn key_file(&self, name: &str, key: &str) -> PathBuf {
        let file = self.database.directory.path().join(name);
        fs::write(&file, key).unwrap();
        chmod(&file, 0o600);
        file
    }

    fn set(&mut self, name: &str, value: &str) {
        self.env.retain(|(set, _)| set != name);
        self.env.push((name.to_owned(), value.to_owned()));
    }

    fn unset(&mut self, name: &str) {
        self.env.retain(|(set, _)| set != name);
    }

    fn run(&self, args: &[&str]) -> Finished {
        finish(worker(args).envs(self.env.iter().map(|(name, value)| (name, value))))
    }

    fn check(&self) -> Report {
        Report::of(&self.run(&["check", "--format", "json"]))
    }

    /// This, and nothing else, is found.
    fn finds(&self, code: &str) -> Report {
        let report = self.check();
        assert_eq!(
            (report.codes(), report.exit),
            (BTreeSet::from([code.to_owned()]), 1),
            "{:#}",
            report.json
        );
        report
    }
}

fn chmod(file: &Path, mode: u32) {
    fs::set_permissions(file, fs::Permissions::from_mode(mode)).unwrap();
}

/// What `check --format json` said.
struct Report {
    json: Value,
    exit: i32,
}

impl Report {
    fn of(ended: &Finished) -> Self {
        assert_eq!(ended.stderr, "");
        let json = serde_json::from_str(&ended.stdout).unwrap();
        Self { json, exit: ended.code.unwrap() }
    }

    fn entries(&self, list: &str) -> &[Value] {
        self.json[list].as_array().unwrap()
    }

    fn codes(&self) -> BTreeSet<String> {
        self.entries("findings").iter().map(|found| found["code"].as_str().unwrap().to_owned()).collect()
    }

    /// What is said of a finding.
    fn what(&self, code: &str) -> &str {
        let found = self.entries("findings").iter().find(|found| found["code"] == code);
        found.unwrap()["what"].as_str().unwrap()
    }
}

/// A queue that tells these attributes, at that time, and answers other questions with an error.
fn scripted_queue(date: &'static str, attributes: &'static str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/000000000000/logins", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut request = String::new();
            let mut part = [0; 4096];
            while !request.ends_with('}') {
                let length = stream.read(&mut part).unwrap();
                request.push_str(std::str::from_utf8(&part[..length]).unwrap());
            }
            let (status, body) = if request.contains("GetQueueAttributes") {
                ("200 OK", format!(r#"{{"Attributes":{attributes}}}"#))
            } else {
                ("403 Forbidden", r#"{"__type":"com.amazonaws.sqs#AccessDenied"}"#.to_owned())
            };
            let length = body.len();
            let head = format!(
                "HTTP/1.1 {status}\r\ndate: {date}\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n"
            );
            stream.write_all(format!("{head}{body}").as_bytes()).unwrap();
        }
    });
    url
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_safe_and_reachable_has_no_findings() {
    let setup = Setup::new().await;
    let fresh = setup.run(&["check", "--set", "pipeline.writers=3"]);
    assert_eq!((fresh.code, fresh.stderr.as_str()), (Some(0), ""), "{}", fresh.stdout);
    let words = " migrations are to be applied, and run does that (sink.migrate = true)\n";
    assert!(fresh.stdout.contains(words) && fresh.stdout.ends_with("\nno findings\n"), "{}", fresh.stdout);
    assert_eq!(setup.run(&["migrate"]).code, Some(0));
    let ended = setup.run(&["check", "--set", "pipeline.writers=3"]);
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""), "{}", ended.stdout);
    for words in
        ["answers; its tables fit\n", "writers = 3", "# --set on the command line", "masking   hmac-sha512\n"]
    {
        assert!(ended.stdout.contains(words), "{words}: {}", ended.stdout);
    }
    assert!(ended.stdout.ends_with("\nno findings\n"), "{}", ended.stdout);
    let report = setup.check();
    assert_eq!((report.exit, &report.json["verdict"]), (0, &Value::from("clean")));
}

#[tokio::test(flavor = "multi_thread")]
async fn findings_are_grouped_and_each_says_why_and_what_to_do() {
    let mut setup = Setup::with_queue(QueueConfig::new("logins").managed_encryption(false)).await;
    setup.unset("ETL_MASKING__KEY_FILE");
    let ended = setup.run(&["check"]);
    assert_eq!(ended.code, Some(1));
    let (_, told) = ended.stdout.split_once("\n3 findings: 2 high, 1 medium\n").unwrap();
    let lines: Vec<_> = told.lines().filter(|line| !line.is_empty()).collect();
    let starts = [
        "queue",
        "  high, queue-no-dead-letter: the queue has no dead-letter queue",
        "      why: a message that is rejected comes back",
        "      fix: aws sqs set-queue-attributes --queue-url http://127.0.0.1:",
        "  medium, queue-not-encrypted: ",
        "      why: ",
        "      fix: aws sqs set-queue-attributes ",
        "masking",
        "  high, masking-unkeyed: masks made without a key can be reversed",
        "      why: there are 4.3 billion IPv4 addresses",
        "      fix: etl-admin keygen master",
    ];
    assert_eq!(lines.len(), starts.len(), "{told}");
    for (line, start) in lines.iter().zip(starts) {
        assert!(line.starts_with(start), "{start}: {line}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_accepted_does_not_count_and_is_still_told() {
    let mut setup = Setup::new().await;
    setup.unset("ETL_MASKING__KEY_FILE");
    let ended = setup.run(&["check", "--accept", "masking-unkeyed"]);
    assert_eq!(ended.code, Some(0), "{}", ended.stdout);
    assert!(ended.stdout.ends_with("\nno findings\n\naccepted: masking-unkeyed\n"), "{}", ended.stdout);
    let json = Report::of(&setup.run(&["check", "--format", "json", "--accept", "masking-unkeyed"]));
    assert_eq!((json.exit, json.codes().len()), (0, 0));
    assert_eq!(json.entries("accepted")[0]["code"], "masking-unkeyed");

    let unknown = setup.run(&["check", "--accept", "masking-unkeyd"]);
    assert_eq!(unknown.code, Some(2));
    assert!(unknown.stderr.contains("masking-unkeyed"), "the nearest one is named: {}", unknown.stderr);
}

#[test]
fn what_cannot_be_reached_is_not_checked_and_no_secret_is_shown() {
    let check = |args: &[&str]| {
        finish(
            worker(args)
                .env("ETL_SOURCE__QUEUE_URL", "http://127.0.0.1:1/000000000000/logins")
                .env("ETL_MASKING__KEY", KEY)
                .env("ETL_SINK__DATABASE_URL", "postgres://etl:hunter2@127.0.0.1:1/logins"),
        )
    };
    let text = check(&["check"]);
    let json = check(&["check", "--format", "json"]);
    for ended in [&text, &json] {
        assert_eq!(ended.code, Some(3), "{}", ended.stderr);
        for words in [
            "cannot reach 127.0.0.1:1: connection refused",
            "postgres://etl:[hidden]@127.0.0.1:1/logins: cannot reach",
        ] {
            assert!(ended.stdout.contains(words), "{words}: {}", ended.stdout);
        }
        for secret in ["hunter2", KEY] {
            assert!(!ended.stdout.contains(secret) && !ended.stderr.contains(secret), "{}", ended.stdout);
        }
    }
    let report = Report::of(&json);
    assert_eq!(report.json["verdict"], "not-checked");
    let about: Vec<_> = report.entries("not_checked").iter().map(|missing| &missing["about"]).collect();
    assert_eq!(about, ["queue", "database"]);
}

/// Each key of the object stands in the page, and each that stands there is in the object.
#[tokio::test(flavor = "multi_thread")]
async fn the_json_has_the_documented_keys() {
    let mut setup = Setup::new().await;
    setup.unset("ETL_MASKING__KEY_FILE");
    setup.set("ETL_SINK__DATABASE_URL", "postgres://etl@127.0.0.1:1/logins");
    let report = setup.check();
    let mut keys = BTreeSet::new();
    collect_keys("", &report.json, &mut keys);
    let documented: BTreeSet<_> = PAGE
        .lines()
        .filter_map(|line| line.strip_prefix("| `.")?.split_once('`'))
        .map(|(path, _)| format!(".{path}"))
        .collect();
    assert_eq!(keys, documented);
}

fn collect_keys(path: &str, value: &Value, keys: &mut BTreeSet<String>) {
    match value {
        Value::Object(entries) => {
            for (name, value) in entries {
                let path = format!("{path}.{name}");
                keys.insert(path.clone());
                collect_keys(&path, value, keys);
            }
        }
        Value::Array(values) => {
            values.iter().for_each(|value| collect_keys(&format!("{path}[]"), value, keys));
        }
        _ => {}
    }
}
