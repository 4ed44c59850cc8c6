use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Command, Output};

use fetch_etl_bench::Report;
use fetch_etl_harness::binary;

const OUR_WORKER: &str =
    "ETL_SOURCE__QUEUE_URL=$BENCH_QUEUE_URL ETL_SINK__DATABASE_URL=$BENCH_DATABASE_URL RUST_LOG=warn exec";

fn bench(arguments: &[&str]) -> Output {
    let database = ["FETCH_ETL_TEST_DATABASE_URL", "DATABASE_URL"];
    let database =
        database.into_iter().filter_map(|name| std::env::var(name).ok()).find(|url| !url.is_empty());
    let database = database.unwrap_or_else(|| "postgres://postgres@127.0.0.1:5432/postgres".to_owned());
    let program = env!("CARGO_BIN_EXE_fetch-etl-bench");
    Command::new(program).args(arguments).env("DATABASE_URL", database).output().unwrap()
}

fn read(path: &Path) -> Report {
    Report::from_json(&std::fs::read_to_string(path).unwrap()).unwrap()
}

#[test]
fn every_step_works() {
    let directory = tempfile::tempdir().unwrap();
    let json = directory.path().join("new").join("figures.json");
    let path = json.to_str().unwrap();
    let peer = format!("{OUR_WORKER} {} run", binary("etl-worker").display());
    let output = bench(&["--smoke", "--json", path, "--peer", &peer]);
    let (page, log) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{page}\n{log}");
    let report = read(&json);
    let measured: BTreeSet<_> =
        report.measurements.iter().map(|measurement| measurement.name.clone()).collect();
    let planned: BTreeSet<_> = fetch_etl_bench::names().into_iter().chain(["peer.1".to_owned()]).collect();
    assert_eq!(measured, planned);
    assert_eq!(report.get("worker.hmac").unwrap().runs[0].messages, 300);
    assert_eq!(report.get("worker.latency").unwrap().runs[0].messages, 100);
    assert_eq!(report.get("peer.1").unwrap().figure("rows"), Some(300.0));
    for name in planned {
        assert!(page.contains(&format!("| {name} | ")), "{name} is not in\n{page}");
    }
    assert!(page.contains("| efficiency | "), "{page}");

    let compared = bench(&["--compare", path, "--with", path]);
    let text = String::from_utf8_lossy(&compared.stdout);
    assert!(compared.status.success() && text.contains("| worker.hmac | × 1.00 | "), "{text}");
}

#[test]
fn a_peer_that_fails_is_said_and_the_rest_is_measured() {
    let directory = tempfile::tempdir().unwrap();
    let json = directory.path().join("figures.json");
    let arguments =
        ["--smoke", "--only", "limit.mask,peer", "--peer", "exit 3", "--json", json.to_str().unwrap()];
    let output = bench(&arguments);
    assert_eq!(output.status.code(), Some(1), "{}", String::from_utf8_lossy(&output.stderr));
    let report = read(&json);
    assert_eq!(report.failures, ["peer.1: it ended with 0 of 300 messages deleted"]);
    assert!(report.get("limit.mask.hmac").is_some());
}

#[test]
fn what_is_not_there_is_said_before_anything_is_measured() {
    for (arguments, expected) in [
        (&["--smoke", "--only", "nothing"][..], "nothing has such a name; there are limit.queue, "),
        (&["--smoke", "--compare", "/nonexistent.json"], "/nonexistent.json: "),
    ] {
        let output = bench(arguments);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && said.contains(expected), "{said}");
    }
}
