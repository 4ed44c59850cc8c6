//! Logs at the most open level hold nothing of a message.

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
