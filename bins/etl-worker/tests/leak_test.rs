//! The leak test finds what is leaked on purpose, nothing else, and leaves nothing behind.

use std::process::Command;

use fetch_etl_testing::postgres::TestDatabase;
use sqlx::AssertSqlSafe;

use crate::support::{Finished, PATIENCE, SqliteFile, finish, finish_within, local_queue, login, worker};

/// As few messages as show every kind of them.
const MESSAGES: &str = "100";

/// A leak test with few messages, in a directory of its own for whatever it makes. Each has a seed of its own: tests share a server and
/// its WAL, and one would find what another planted.
fn leak_test(args: &[&str]) -> (Finished, tempfile::TempDir) {
    let directory = tempfile::tempdir().unwrap();
    let mut command = worker(&["leak-test", "--messages", MESSAGES]);
    command.args(args).env("TMPDIR", directory.path());
    // What is set for the user's own worker must not reach the test's.
    command
        .env("ETL_SINK__DATABASE_URL", "postgres://nobody@127.0.0.1:1/nothing")
        .env("ETL_NO_SUCH_KEY", "1")
        .env("RUST_LOG", "error");
    // Several workers one after another, each with waits of its own.
    (finish_within(5 * PATIENCE, &mut command), directory)
}

/// A row of the table: bytes, proof, findings.
fn row<'s>(stdout: &'s str, place: &str) -> [&'s str; 3] {
    let line = stdout.lines().find(|line| line.trim_start().starts_with(&format!("{place}  ")));
    let cells: Vec<_> = line.unwrap_or_else(|| panic!("{place}: {stdout}")).split("  ").collect();
    let cells: Vec<_> = cells.iter().map(|cell| cell.trim()).filter(|cell| !cell.is_empty()).collect();
    <[&str; 4]>::try_from(cells).map(|[_, bytes, proof, findings]| [bytes, proof, findings]).unwrap()
}

const ANSWERS: &str = "metrics, /live and /ready";

const WORKERS: [&str; 4] =
    ["worker with a key", "worker without a key", "worker that panics", "worker with refused rows"];

fn is_clean(ended: &Finished, places: &[&str]) {
    let Finished { code, stdout, stderr } = ended;
    assert_eq!(*code, Some(0), "{stdout}{stderr}");
    assert!(stdout.ends_with("nothing found\n"), "{stdout}");
    assert!(stdout.contains("worker with a key: 67 rows, 33 rejects sealed, "), "{stdout}");
    assert!(stdout.contains("worker without a key: 17 rows, 8 rejects left in the queue\n"), "{stdout}");
    let outputs =
        WORKERS.iter().flat_map(|name| ["stdout", "stderr"].map(|stream| format!("{stream} of the {name}")));
    for place in outputs.chain(places.iter().map(|place| (*place).to_owned())) {
        let [bytes, proof, findings] = row(stdout, &place);
        assert_eq!(findings, "0", "{place}");
        let (planted, found) = proof.split_once(", found ").unwrap();
        let planted: u32 = planted.strip_prefix("planted ").unwrap().parse().unwrap();
        assert!(planted > 100 && found == planted.to_string(), "{place}: {proof}");
        assert!(place == "stdout of the worker that panics" || bytes != "0", "{place}: {bytes}");
    }
    assert!(
        stdout.contains("not looked at by design: the workers' memory, swap space, the queue"),
        "{stdout}"
    );
    assert_eq!(stderr, "", "there is no terminal to show progress on");
}

#[test]
fn without_a_leak_nothing_is_found_and_nothing_left() {
    let (ended, directory) = leak_test(&[]);
    is_clean(&ended, &["SQLite files", ANSWERS]);
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
}

#[test]
fn what_is_kept_is_named() {
    let (ended, _directory) = leak_test(&["--keep"]);
    assert_eq!(ended.code, Some(0), "{}{}", ended.stdout, ended.stderr);
    let kept: Vec<_> = ended.stdout.lines().filter_map(|line| line.strip_prefix("kept: file ")).collect();
    assert_eq!(kept.len(), 2, "{}", ended.stdout);
    assert!(kept.iter().all(|file| std::path::Path::new(file).is_file()), "{kept:?}");
}

/// Place, and what is said of the findings in it.
fn is_found(ended: &Finished, place: &str, field: &str) {
    let Finished { code, stdout, stderr } = ended;
    assert_eq!(*code, Some(1), "{stdout}{stderr}");
    assert_ne!(row(stdout, place)[2], "0", "{stdout}");
    let found: Vec<_> = stdout.lines().filter(|line| line.starts_with("found: ")).collect();
    assert_eq!(found.len(), 2, "ip and device_id, and nowhere else: {found:?}");
    assert!(found.iter().all(|line| line.contains(place)), "{found:?}");
    let said = found.iter().find(|line| line.contains(&format!("({field} of message 0)")));
    let said = said.unwrap_or_else(|| panic!("{field}: {found:?}"));
    assert!(said.contains("canary ") && said.ends_with("as it was sent, raw"), "{said}");
    assert!(
        stderr.starts_with("error: ") && stderr.contains(" of the made-up values are where none may be"),
        "{stderr}"
    );
    assert!(!stdout.contains("nothing found"), "{stdout}");
}

#[test]
fn a_value_that_a_worker_prints_is_found() {
    is_found(&leak_test(&["--plant", "stdout"]).0, "stdout of the worker that leaks", "ip");
}

#[test]
fn a_value_that_a_worker_logs_is_found() {
    is_found(&leak_test(&["--plant", "stderr"]).0, "stderr of the worker that leaks", "device_id");
}

#[test]
fn a_value_that_is_stored_in_place_of_its_mask_is_found() {
    is_found(&leak_test(&["--plant", "database"]).0, "SQLite files", "ip");
}

async fn exists(server: &TestDatabase, name: &str) -> bool {
    let asking = "SELECT EXISTS (SELECT FROM pg_database WHERE datname = $1)";
    sqlx::query_scalar(asking).bind(name).fetch_one(&mut server.connect().await).await.unwrap()
}

/// The names of the databases that a test made.
fn databases(stdout: &str) -> Vec<String> {
    let words = stdout.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
    let mut names: Vec<_> =
        words.filter(|word| word.starts_with("etl_leak_test_")).map(str::to_owned).collect();
    names.sort();
    names.dedup();
    names
}

#[tokio::test(flavor = "multi_thread")]
async fn on_postgres_nothing_is_found_and_nothing_left() {
    let server = TestDatabase::create().await;
    let (ended, _directory) = leak_test(&["--database-url", server.url()]);
    is_clean(&ended, &["table user_logins", "tables of the schema etl", "sessions of the database", ANSWERS]);
    // Whether the server's files can be read depends on the machine; that is said, either way.
    for (place, missing) in [
        ("data directory and WAL  ", "not looked at: the server's data directory and WAL, because "),
        ("the server's log  ", "not looked at: the server's log, because "),
        ("pg_stat_statements  ", "not looked at: pg_stat_statements, because "),
    ] {
        assert_ne!(ended.stdout.contains(place), ended.stdout.contains(missing), "{place}: {}", ended.stdout);
    }
    let names = databases(&ended.stdout);
    assert_eq!(names.len(), 2, "{}", ended.stdout);
    for name in names {
        assert!(!exists(&server, &name).await, "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn on_postgres_a_planted_leak_is_found_and_databases_are_kept_on_demand() {
    let server = TestDatabase::create().await;
    let (ended, _directory) = leak_test(&["--database-url", server.url(), "--plant", "database", "--keep"]);
    let Finished { code, stdout, stderr } = &ended;
    assert_eq!(*code, Some(1), "{stdout}{stderr}");
    assert_ne!(row(stdout, "table user_logins")[2], "0", "{stdout}");
    assert_eq!(row(stdout, "tables of the schema etl")[2], "0", "{stdout}");
    let kept: Vec<_> = stdout.lines().filter_map(|line| line.strip_prefix("kept: database ")).collect();
    assert_eq!(kept.len(), 2, "{stdout}");
    for name in kept {
        assert!(exists(&server, name).await, "{name}");
        let drop = AssertSqlSafe(format!("DROP DATABASE {name}"));
        sqlx::raw_sql(drop).execute(&mut server.connect().await).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_role_that_may_make_no_database_gets_a_hint() {
    let server = TestDatabase::create().await;
    let role = format!("leak_test_{}", server.name());
    let mut connection = server.connect().await;
    let mut execute = async |statement: String| {
        sqlx::raw_sql(AssertSqlSafe(statement)).execute(&mut connection).await.unwrap();
    };
    execute(format!("CREATE ROLE {role} LOGIN PASSWORD 'hunter2'")).await;
    let (scheme, rest) = server.url().split_once("://").unwrap();
    let host = rest.split_once('@').map_or(rest, |(_, host)| host);
    let (ended, _directory) = leak_test(&["--database-url", &format!("{scheme}://{role}:hunter2@{host}")]);
    execute(format!("DROP ROLE {role}")).await;
    assert_eq!(ended.code, Some(1), "{}", ended.stdout);
    assert!(
        ended.stderr.starts_with("error: the role may not create the test's databases\nhint: "),
        "{}",
        ended.stderr
    );
    assert!(!ended.stderr.contains("hunter2"), "{}", ended.stderr);
}

#[test]
fn what_cannot_be_asked_for_exits_with_2() {
    for args in [
        &["leak-test", "--plant", "queue"][..],
        &["leak-test", "--messages", "1"],
        &["leak-test", "--database-url", "mysql://root:hunter2@db/x"],
        &["leak-test", "--database-url", "sqlite://logins.sqlite"],
    ] {
        let ended = finish(&mut worker(args));
        assert_eq!(ended.code, Some(2), "{args:?}: {}", ended.stderr);
        assert!(!ended.stderr.contains("hunter2"), "{}", ended.stderr);
    }
    let nobody =
        finish(&mut worker(&["leak-test", "--database-url", "postgres://etl:hunter2@127.0.0.1:1/x"]));
    assert_eq!(nobody.code, Some(1), "{}", nobody.stderr);
    assert!(nobody.stderr.starts_with("error: Postgres cannot be reached"), "{}", nobody.stderr);
}

fn misdeed(masker: &str, queue_url: &str, endpoint: Option<String>, database: &SqliteFile) -> Command {
    let mut command = worker(&["leak-test-worker", "--masker", masker]);
    command.env("RUST_LOG", "trace").env("RUST_BACKTRACE", "full");
    command.env("ETL_SOURCE__QUEUE_URL", queue_url).env("ETL_SINK__DATABASE_URL", database.url());
    command.envs(endpoint.map(|endpoint| ("ETL_SOURCE__ENDPOINT_URL", endpoint)));
    command
}

#[tokio::test(flavor = "multi_thread")]
async fn a_panic_in_the_pipeline_shows_its_place_and_no_value() {
    let server = local_queue().await;
    server.queue("logins").unwrap().send_many([login("canary-user", "203.0.113.77")]).unwrap();
    let database = SqliteFile::new();
    let ended = finish(&mut misdeed("panic", &server.queue_url("logins"), Some(server.url()), &database));
    assert_eq!(ended.code, Some(1), "{}", ended.stderr);
    let lines: Vec<serde_json::Value> =
        ended.stderr.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let panic = lines.iter().find(|line| line["event"] == "panic").unwrap();
    assert!(panic["place"].as_str().unwrap().contains("misdeeds.rs:"), "{panic}");
    for value in ["canary-user", "203.0.113.77", "593-47-5928", "cannot mask"] {
        assert!(!ended.stderr.contains(value) && !ended.stdout.contains(value), "{value}: {}", ended.stderr);
    }
}

#[test]
fn a_worker_that_leaks_reads_from_no_real_queue() {
    let database = SqliteFile::new();
    for endpoint in [None, Some("http://127.0.0.1.example.org:9324".to_owned())] {
        let queue = "https://sqs.us-east-1.amazonaws.com/123456789012/logins";
        let ended = finish(&mut misdeed("print", queue, endpoint, &database));
        assert_eq!(ended.code, Some(2), "{}", ended.stderr);
        assert!(ended.stderr.contains("on 127.0.0.1 only"), "{}", ended.stderr);
    }
    let help = finish(&mut worker(&["--help"]));
    assert!(
        help.stdout.contains("leak-test ") && !help.stdout.contains("leak-test-worker"),
        "{}",
        help.stdout
    );
}
