//! A panic tells where, never what.

use std::process::Command;

use etl_worker::telemetry::{Format, install_panic_hook};

const CHILD: &str = "ETL_WORKER_TEST_PANICS";

/// Not a test of its own: the process that the test below starts, so that the hook is not that of all tests.
#[test]
#[ignore = "run by the test below"]
fn child() {
    let format = match std::env::var(CHILD).as_deref() {
        Ok("json") => Format::Json,
        _ => Format::Text,
    };
    install_panic_hook(format);
    let address = "203.0.113.7";
    panic!("cannot work with {address}");
}

fn stderr_of_child(format: &str) -> String {
    let child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "panics::child", "--ignored", "--nocapture", "--test-threads=1"])
        .env(CHILD, format)
        .output()
        .unwrap();
    assert!(!child.status.success());
    String::from_utf8(child.stderr).unwrap()
}

#[test]
fn a_panic_prints_its_place_and_not_its_message() {
    let text = stderr_of_child("text");
    assert!(text.contains("tests/panics.rs:") && text.contains("panics::child"), "{text}");
    assert!(!text.contains("203.0.113.7") && !text.contains("cannot work"), "{text}");

    let json = stderr_of_child("json");
    let line = json.lines().find_map(|line| serde_json::from_str::<serde_json::Value>(line).ok()).unwrap();
    assert_eq!(line["event"], "panic");
    assert!(line["place"].as_str().unwrap().contains("tests/panics.rs:"), "{line}");
    assert!(!json.contains("203.0.113.7"), "{json}");
}
