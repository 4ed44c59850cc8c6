//! What happens when the queue or the database is not there, and how the worker stops.

use fetch_etl_testing::postgres::TestDatabase;
use fetch_etl_testing::proxy::PgProxy;
use rustix::process::Signal;

use crate::support::{Running, SqliteFile, finish, local_queue, login, worker};

/// An address that refuses connections: nobody listens on port 1.
const CLOSED: &str = "127.0.0.1:1";

#[tokio::test(flavor = "multi_thread")]
async fn a_queue_that_does_not_exist_is_told_at_once() {
    let server = local_queue().await;
    let database = SqliteFile::new();
    let ended = finish(
        worker(&["run"])
            .env("ETL_SOURCE__QUEUE_NAME", "no-such-queue")
            .env("ETL_SOURCE__ENDPOINT_URL", server.url())
            .env("ETL_SINK__DATABASE_URL", database.url()),
    );
    assert_eq!(ended.code, Some(1));
    let last = ended.stderr.lines().last().unwrap();
    let last: serde_json::Value = serde_json::from_str(last).unwrap();
    assert_eq!(last["event"], "failed");
    assert!(
        last["message"].as_str().unwrap().starts_with("the queue no-such-queue does not exist"),
        "{last}"
    );
}

#[test]
fn a_database_that_is_not_up_yet_is_waited_for_until_a_signal() {
    for (signal, name) in [(Signal::TERM, "SIGTERM"), (Signal::INT, "SIGINT")] {
        let mut running = Running::start(
            worker(&["run"])
                .env("ETL_SOURCE__QUEUE_NAME", "logins")
                .env("ETL_SOURCE__ENDPOINT_URL", "http://127.0.0.1:1")
                .env("ETL_SINK__DATABASE_URL", format!("postgres://etl:hunter2@{CLOSED}/logins")),
        );
        let waiting = running.event("not_ready");
        assert_eq!(waiting["part"], "the database");
        no_core_dump(running.pid());
        running.signal(signal);
        assert_eq!(running.event("shutdown_requested")["signal"], name);
        let (status, ended) = running.end();
        assert_eq!(status.code(), Some(0), "{}", ended.stderr);
        assert!(!ended.stderr.contains("hunter2"), "{}", ended.stderr);
    }
}

#[cfg(target_os = "linux")]
fn no_core_dump(pid: u32) {
    let limits = std::fs::read_to_string(format!("/proc/{pid}/limits")).unwrap();
    let core = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
    assert_eq!(core.split_whitespace().skip(4).take(2).collect::<Vec<_>>(), ["0", "0"], "{core}");
}

#[cfg(not(target_os = "linux"))]
fn no_core_dump(_: u32) {}

/// Of a process whose memory others of the same user may read, `/proc/<pid>` is that user's; else it is root's.
#[cfg(target_os = "linux")]
#[test]
fn no_other_process_may_read_a_workers_memory() {
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
    use std::os::unix::process::CommandExt as _;
    use std::process::Command;

    const NOBODY: u32 = 65_534;
    let is_root = rustix::process::geteuid().is_root();
    let mut described = worker(&["run"]);
    described
        .env("ETL_SOURCE__QUEUE_NAME", "logins")
        .env("ETL_SOURCE__ENDPOINT_URL", "http://127.0.0.1:1")
        .env("ETL_SINK__DATABASE_URL", format!("postgres://etl@{CLOSED}/logins"));
    let directory = tempfile::tempdir().unwrap();
    let program = directory.path().join("etl-worker");
    std::fs::copy(described.get_program(), &program).unwrap();
    let mut command = Command::new(program);
    command.args(described.get_args()).env_clear().stdin(std::process::Stdio::null());
    command.envs(described.get_envs().filter_map(|(name, value)| Some((name, value?))));
    if is_root {
        // Root's processes are root's whatever they say of themselves, so it runs as somebody else, who has to reach it.
        std::fs::set_permissions(directory.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
        command.uid(NOBODY).gid(NOBODY);
    }
    let mut running = Running::start(&mut command);
    running.event("not_ready");
    let owner = |pid: u32| std::fs::metadata(format!("/proc/{pid}/environ")).unwrap().uid();
    assert_eq!(owner(running.pid()), 0);
    let status = std::fs::read_to_string(format!("/proc/{}/status", running.pid())).unwrap();
    let uid = status.lines().find_map(|line| line.strip_prefix("Uid:")).unwrap();
    assert_ne!(uid.split_whitespace().next(), Some("0"), "of root's own processes this would say nothing");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_queue_that_is_not_up_yet_is_waited_for() {
    let database = SqliteFile::new();
    let mut running = Running::start(
        worker(&["run"])
            .env("ETL_SOURCE__QUEUE_URL", format!("http://{CLOSED}/000000000000/logins"))
            .env("ETL_SINK__DATABASE_URL", database.url()),
    );
    assert_eq!(running.event("not_ready")["part"], "the queue");
    running.signal(Signal::TERM);
    assert_eq!(running.end().0.code(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_database_is_not_waited_for() {
    let database = TestDatabase::create().await;
    let url = database.url().replace(database.name(), "no_such_database");
    let ended = finish(worker(&["migrate"]).env("ETL_SINK__DATABASE_URL", &url));
    assert_eq!(ended.code, Some(1));
    assert!(ended.stderr.contains("there is no such database"), "{}", ended.stderr);
    assert!(ended.stderr.contains("hint: createdb"), "{}", ended.stderr);
}

#[tokio::test(flavor = "multi_thread")]
async fn migrate_makes_the_tables_and_can_be_repeated() {
    let database = TestDatabase::create().await;
    for _ in 0..2 {
        let ended = finish(worker(&["migrate"]).env("DATABASE_URL", database.url()));
        assert_eq!(ended.code, Some(0), "{}", ended.stderr);
        assert!(ended.stdout.ends_with(" is up to date\n"), "{}", ended.stdout);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn migrate_says_that_a_table_it_took_over_is_too_narrow_for_masks() {
    let database = TestDatabase::create().await;
    let existing =
        "CREATE TABLE user_logins (user_id varchar(128), device_type varchar(32), masked_ip varchar(64),
        masked_device_id varchar(256), locale varchar(32), app_version integer, create_date date)";
    sqlx::query(existing).execute(&mut database.connect().await).await.unwrap();
    let ended = finish(worker(&["migrate"]).env("DATABASE_URL", database.url()));
    assert_eq!(ended.code, Some(1), "{}", ended.stdout);
    assert!(ended.stderr.contains("masked_ip is character varying(64)"), "{}", ended.stderr);
}

#[tokio::test(flavor = "multi_thread")]
async fn run_without_migrations_says_what_is_missing() {
    let server = local_queue().await;
    let database = TestDatabase::create().await;
    let ended = finish(
        worker(&["run"])
            .env("ETL_SOURCE__QUEUE_URL", server.queue_url("logins"))
            .env("ETL_SINK__DATABASE_URL", database.url())
            .env("ETL_SINK__MIGRATE", "false"),
    );
    assert_eq!(ended.code, Some(1));
    assert!(ended.stderr.contains("`etl-worker migrate` makes them"), "{}", ended.stderr);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signal_stops_a_worker_that_waits_for_messages() {
    let server = local_queue().await;
    let database = SqliteFile::new();
    let mut running = Running::start(
        worker(&["run"])
            .env("ETL_SOURCE__QUEUE_URL", server.queue_url("logins"))
            .env("ETL_SINK__DATABASE_URL", database.url()),
    );
    running.event("started");
    running.signal(Signal::TERM);
    let (status, ended) = running.end();
    assert_eq!(status.code(), Some(0), "{}", ended.stderr);
    assert_eq!(
        ended.stdout,
        "received 0 = inserted 0 + duplicates 0 + quarantined 0 + returned 0 + in flight 0\n"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_signal_ends_at_once_what_the_first_only_asked_for() {
    let server = local_queue().await;
    let database = TestDatabase::create().await;
    for (signal, code) in [(Signal::TERM, 143), (Signal::INT, 130)] {
        let proxy = PgProxy::in_front_of(database.url()).await.unwrap();
        let mut running = Running::start(
            worker(&["run"])
                .env("ETL_SOURCE__QUEUE_URL", server.queue_url("logins"))
                .env("ETL_SINK__DATABASE_URL", proxy.url_for(database.url()).unwrap()),
        );
        running.event("started");
        // The connections of the start are gone: what stands at the stall is the write.
        proxy.until(|stats| stats.open.is_empty()).await;
        proxy.stall();
        let logins = server.queue("logins").unwrap();
        logins.send_many([login("u-1", "203.0.113.7")]).unwrap();
        // The write has begun and hangs, so there is something left to finish.
        proxy.until(|stats| stats.stalled > 0).await;
        running.signal(signal);
        running.event("shutdown_requested");
        running.signal(signal);
        running.event("shutdown_forced");
        let stopped = running.event("stopped");
        assert_eq!((&stopped["in_flight"], &stopped["unaccounted"]), (&1.into(), &0.into()));
        let (status, ended) = running.end();
        assert_eq!(status.code(), Some(code), "{}", ended.stderr);
        assert_eq!(
            ended.stdout,
            "received 1 = inserted 0 + duplicates 0 + quarantined 0 + returned 0 + in flight 1\n"
        );
        logins.purge();
    }
}
