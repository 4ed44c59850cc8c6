use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use fetch_etl_bench::Report;
use fetch_etl_harness::binary;
use sqlx::{Connection as _, PgConnection};

const PROGRAM: &str = env!("CARGO_BIN_EXE_fetch-etl-bench");

const OUR_WORKER: &str =
    "ETL_SOURCE__QUEUE_URL=$BENCH_QUEUE_URL ETL_SINK__DATABASE_URL=$BENCH_DATABASE_URL RUST_LOG=warn exec";

/// Says what it was given, and does nothing.
const IDLE_PEER: &str = "echo here $BENCH_ENDPOINT_URL $BENCH_DATABASE_URL; exec tail -f /dev/null";

fn bench(arguments: &[&str]) -> Output {
    command(arguments).output().unwrap()
}

fn command(arguments: &[&str]) -> Command {
    // The benchmark builds nothing itself.
    for program in ["etl-worker", "fetch-etl-local-sqs"] {
        binary(program);
    }
    let database = ["FETCH_ETL_TEST_DATABASE_URL", "DATABASE_URL"];
    let database =
        database.into_iter().filter_map(|name| std::env::var(name).ok()).find(|url| !url.is_empty());
    let database = database.unwrap_or_else(|| "postgres://postgres@127.0.0.1:5432/postgres".to_owned());
    let mut command = Command::new(PROGRAM);
    command.args(arguments).env("DATABASE_URL", database);
    command
}

fn read(path: &Path) -> Report {
    Report::from_json(&fs::read_to_string(path).unwrap()).unwrap()
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

#[test]
fn without_a_worker_beside_it_nothing_is_started() {
    // A link: the program is large, and where it is is what it goes by.
    let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let alone = directory.path().join("fetch-etl-bench");
    fs::hard_link(PROGRAM, &alone).unwrap();
    let output = Command::new(alone).args(["--smoke", "--only", "worker.hmac"]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.starts_with("bench: there is no etl-worker in "), "{said}");
    assert!(said.ends_with("; `cargo xtask bench` builds all that is needed\n"), "{said}");
}

#[tokio::test]
async fn a_signal_ends_all_that_was_started_and_leaves_nothing_behind() {
    for (signal, code) in [("TERM", 143), ("INT", 130)] {
        let temporary = tempfile::tempdir().unwrap();
        let mut command = command(&["--smoke", "--only", "peer", "--peer", IDLE_PEER]);
        let mut bench = command.env("TMPDIR", temporary.path()).stderr(Stdio::piped()).spawn().unwrap();
        let mut said = BufReader::new(bench.stderr.take().unwrap()).lines().map(Result::unwrap);
        let given = said.find(|line| line.starts_with("here ")).expect("the peer is started");
        let [_, endpoint, database] = given.split(' ').collect::<Vec<_>>()[..] else { panic!("{given}") };
        let queue = endpoint.trim_start_matches("http://");
        assert!(TcpStream::connect(queue).is_ok() && PgConnection::connect(database).await.is_ok());

        let sent = Command::new("kill").args(["-s", signal, &bench.id().to_string()]).status().unwrap();
        assert!(sent.success());
        // Up to the end of what all of them write to: the peer has gone, too.
        let rest: Vec<_> = said.collect();
        assert_eq!(bench.wait().unwrap().code(), Some(code), "{rest:?}");
        assert!(TcpStream::connect(queue).is_err(), "the queue is still there");
        assert!(PgConnection::connect(database).await.is_err(), "the database is still there");
        assert_eq!(fs::read_dir(temporary.path()).unwrap().count(), 0);
    }
}
