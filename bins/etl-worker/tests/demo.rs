//! The demo shows what it promises, on both databases, and no address.

use fetch_etl_testing::postgres::TestDatabase;

use crate::support::{Finished, finish, worker};

const MESSAGES: u64 = 2_000;
const BAD: u64 = MESSAGES / 50;

fn demo(database_url: Option<&str>) -> Finished {
    let directory = tempfile::tempdir().unwrap();
    let messages = MESSAGES.to_string();
    let mut command = worker(&["demo", "--messages", &messages]);
    command.env("TMPDIR", directory.path());
    // A worker's environment is nothing to the demo: made-up rows must not get into somebody's database.
    command.env("DATABASE_URL", "postgres://nobody@127.0.0.1:1/nothing");
    if let Some(url) = database_url {
        command.args(["--database-url", url]);
    }
    let ended = finish(&mut command);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let files = std::fs::read_dir(directory.path()).unwrap().count();
    assert_eq!(files, usize::from(database_url.is_none()), "what it leaves behind is what it says");
    ended
}

fn shows_everything(ended: &Finished) {
    let Finished { stdout, stderr, .. } = ended;
    for promised in [
        "2,000 made-up logins, 40 bad ones among them",
        "masked_device_id",
        " messages/s",
        &format!("inserted {} + duplicates 0 + quarantined 0", MESSAGES - BAD),
        "in flight 0",
        &format!("{BAD} rejected messages are left in the queue for its dead-letter policy"),
    ] {
        assert!(stdout.contains(promised), "{promised}: {stdout}");
    }
    for reason in fetch_etl_core::RejectReason::ALL {
        let is_shown = stdout.contains(&format!("\n  {reason} "));
        assert_eq!(is_shown, reason != fetch_etl_core::RejectReason::RefusedBySink, "{reason}: {stdout}");
    }
    // Eight rows, each with the beginnings of two masks.
    let is_mask = |word: &str| word.len() == 12 && word.bytes().all(|byte| byte.is_ascii_hexdigit());
    assert_eq!(
        stdout.split(|c: char| !c.is_alphanumeric()).filter(|word| is_mask(word)).count(),
        16,
        "{stdout}"
    );
    for network in ["192.0.2.", "198.51.100.", "203.0.113."] {
        assert!(!stdout.contains(network) && !stderr.contains(network), "{stdout}{stderr}");
    }
}

#[test]
fn the_demo_needs_nothing_and_leaves_an_sqlite_file() {
    let ended = demo(None);
    shows_everything(&ended);
    assert!(ended.stdout.contains("sqlite3 ") && ended.stdout.contains("rm -r "), "{}", ended.stdout);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_demo_writes_to_a_postgres_that_is_named() {
    let database = TestDatabase::create().await;
    let ended = demo(Some(database.url()));
    shows_everything(&ended);
    assert!(ended.stdout.contains("psql postgres://"), "{}", ended.stdout);
}

#[test]
fn a_database_url_that_is_none_exits_with_2() {
    let ended = finish(&mut worker(&["demo", "--database-url", "mysql://root:hunter2@db/x"]));
    assert_eq!(ended.code, Some(2));
    assert!(ended.stderr.starts_with("error: --database-url: expected postgres://"), "{}", ended.stderr);
    assert!(!ended.stderr.contains("hunter2"), "{}", ended.stderr);
}
