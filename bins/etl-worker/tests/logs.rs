//! Logs at the most open level hold nothing of a message.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::support::{SqliteFile, finish, local_queue, login, worker};

/// Values that no log line may hold, raw or as the base64 that a body would be in.
const CANARIES: [&str; 3] = ["canary-user-7f3a", "203.0.113.77", "593-47-5928"];

#[tokio::test(flavor = "multi_thread")]
async fn rust_log_opens_up_no_library() {
    let server = local_queue().await;
    let broken = format!("{{\"ip\":\"{}\",\"device_id\":\"{}\"", CANARIES[1], CANARIES[2]);
    server.queue("logins").unwrap().send_many([login(CANARIES[0], CANARIES[1]), broken]).unwrap();
    let database = SqliteFile::new();
    for filter in [
        "trace",
        "aws_smithy_runtime=trace,aws_sdk_sqs=trace,hyper=trace,hyper_util=trace,sqlx=trace,h2=trace,info",
    ] {
        let ended = finish(
            worker(&["run", "--until-empty"])
                .env("RUST_LOG", filter)
                .env("ETL_SOURCE__QUEUE_URL", server.queue_url("logins"))
                .env("ETL_SINK__DATABASE_URL", database.url()),
        );
        assert_eq!(ended.code, Some(0), "{}", ended.stderr);
        for canary in CANARIES {
            assert!(!ended.stderr.contains(canary), "{canary}: {}", ended.stderr);
            assert!(!ended.stdout.contains(canary), "{canary}: {}", ended.stdout);
        }
        for line in ended.stderr.lines() {
            let line: Value = serde_json::from_str(line).unwrap();
            let target = line["target"].as_str().unwrap();
            let ours = target.starts_with("fetch_etl_") || target.starts_with("etl_worker");
            assert!(ours || line["level"] == "WARN" || line["level"] == "ERROR", "{line}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_start_and_the_end_are_told_in_stable_events() {
    let server = local_queue().await;
    server.queue("logins").unwrap().send_many([login("u-1", "203.0.113.7")]).unwrap();
    let database = SqliteFile::new();
    let ended = finish(
        worker(&["run", "--until-empty"])
            .env("ETL_SOURCE__QUEUE_URL", server.queue_url("logins"))
            .env("ETL_SINK__DATABASE_URL", database.url()),
    );
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let lines: Vec<Value> = ended.stderr.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let event = |name: &str| {
        lines.iter().find(|line| line["event"] == name).unwrap_or_else(|| panic!("{name}: {lines:?}"))
    };
    let started = event("started");
    assert_eq!(started["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(started["source"], server.queue_url("logins"));
    assert_eq!(started["masking"], "sha512");
    let warning = event("masks_reversible")["message"].as_str().unwrap().to_owned();
    assert!(warning.contains("all IPv4 addresses take 0.8 s"), "{warning}");
    assert_eq!(event("stopped")["inserted"], 1);
    assert_eq!(
        ended.stdout,
        "received 1 = inserted 1 + duplicates 0 + quarantined 0 + returned 0 + in flight 0\n"
    );
}

/// A log line of the sources: its event, its level, and where.
struct Logged {
    event: String,
    level: String,
    file: String,
}

/// Every log line in the program's sources; tests log what they like.
fn logged() -> Vec<Logged> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut files = Vec::new();
    for directory in ["bins", "crates"] {
        for package in fs::read_dir(root.join(directory)).unwrap() {
            let package = package.unwrap().path();
            // The queue for tests is a program of its own.
            if !package.ends_with("fetch-etl-local-sqs") {
                sources(&package.join("src"), &mut files);
            }
        }
    }
    let mut logged = Vec::new();
    for file in files {
        let text = fs::read_to_string(&file).unwrap();
        let text = text.split("#[cfg(test)]\nmod tests {").next().unwrap();
        let file = file.display().to_string();
        for level in ["error", "warn", "info", "debug", "trace"] {
            for (at, found) in text.match_indices(&format!("{level}!(")) {
                let before = text[..at].chars().next_back().unwrap_or(' ');
                if before.is_alphanumeric() || before == '_' {
                    continue;
                }
                let rest = text[at + found.len()..].trim_start();
                let event = rest.strip_prefix("event = \"").and_then(|rest| rest.split('"').next());
                let event =
                    event.unwrap_or_else(|| panic!("{file}: a log line without an event: {rest:.80}"));
                logged.push(Logged { event: event.to_owned(), level: level.to_owned(), file: file.clone() });
            }
        }
    }
    logged
}

fn sources(directory: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
}

#[test]
fn every_event_is_documented_with_its_level_and_no_other() {
    let document = include_str!("../../../docs/LOGGING.md");
    let (_, table) = document.split_once("| event | level | fields | when |\n|---|---|---|---|\n").unwrap();
    let rows = table.lines().take_while(|line| line.starts_with('|'));
    let mut documented = BTreeMap::new();
    for row in rows {
        let cells: Vec<_> = row.split('|').map(str::trim).collect();
        let event = cells[1].trim_matches('`');
        assert!(!cells[4].is_empty(), "{event} says nothing");
        assert_eq!(documented.insert(event, cells[2]), None, "{event} is there twice");
    }
    let logged = logged();
    assert!(logged.len() > 40, "{}", logged.len());
    for Logged { event, level, file } in &logged {
        assert_eq!(documented.get(event.as_str()), Some(&level.as_str()), "{event} in {file}");
    }
    for event in documented.keys() {
        // A panic is told by a hook, not by the logger.
        assert!(
            *event == "panic" || logged.iter().any(|line| line.event == *event),
            "{event} is never logged"
        );
    }
}
