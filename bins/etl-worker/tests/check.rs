//! `check` shows the configuration without its secrets, and what is unsafe.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use crate::support::{SqliteFile, finish, local_queue, worker};

const KEY: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";

#[tokio::test(flavor = "multi_thread")]
async fn what_is_safe_and_reachable_has_no_findings() {
    let server = local_queue().await;
    let database = SqliteFile::new();
    let key = database.directory.path().join("key");
    fs::write(&key, KEY).unwrap();
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
    let check = || {
        finish(
            worker(&["check", "--set", "pipeline.writers=3"])
                .env("ETL_SOURCE__QUEUE_URL", server.queue_url("logins"))
                .env("ETL_MASKING__KEY_FILE", &key)
                .env("ETL_SINK__DATABASE_URL", database.url()),
        )
    };
    let fresh = check();
    assert_eq!(fresh.code, Some(0), "{}", fresh.stdout);
    let words = " migrations are to be applied, and run does that (sink.migrate = true)\n";
    assert!(fresh.stdout.contains(words) && fresh.stdout.ends_with("\nno findings\n"), "{}", fresh.stdout);
    let mut migrate = worker(&["migrate"]);
    assert_eq!(finish(migrate.env("ETL_SINK__DATABASE_URL", database.url())).code, Some(0));
    let ended = check();
    assert!(ended.stdout.contains("answers; its tables fit\n"), "{}", ended.stdout);
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""), "{}", ended.stdout);
    assert!(ended.stdout.ends_with("\nno findings\n"), "{}", ended.stdout);
    assert!(
        ended.stdout.contains("writers = 3") && ended.stdout.contains("# --set on the command line"),
        "{}",
        ended.stdout
    );
    assert!(ended.stdout.contains("masking   hmac-sha512\n"), "{}", ended.stdout);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_unsafe_is_found_and_exits_with_1() {
    let server = local_queue().await;
    let database = SqliteFile::new();
    let ended = finish(
        worker(&["check", "--set", "sink.migrate=false"])
            // The dead-letter queue has none of its own.
            .env("ETL_SOURCE__QUEUE_URL", server.queue_url("logins-dead"))
            .env("ETL_SINK__DATABASE_URL", database.url()),
    );
    assert_eq!(ended.code, Some(1), "{}", ended.stderr);
    for found in [
        "masking.method: masks made without a key can be reversed by trying all values",
        "source: the queue has no dead-letter queue",
        "`etl-worker migrate` makes",
    ] {
        assert!(ended.stdout.contains(found), "{found}: {}", ended.stdout);
    }
}

#[test]
fn what_cannot_be_reached_is_a_finding_and_no_secret_is_shown() {
    let ended = finish(
        worker(&["check"])
            .env("ETL_SOURCE__QUEUE_URL", "http://127.0.0.1:1/000000000000/logins")
            .env("ETL_MASKING__KEY", KEY)
            .env("ETL_SINK__DATABASE_URL", "postgres://etl:hunter2@127.0.0.1:1/logins"),
    );
    assert_eq!(ended.code, Some(1), "{}", ended.stderr);
    assert!(
        ended.stdout.contains("source: cannot reach 127.0.0.1:1: connection refused"),
        "{}",
        ended.stdout
    );
    assert!(
        ended.stdout.contains("sink: postgres://etl:[hidden]@127.0.0.1:1/logins: cannot reach"),
        "{}",
        ended.stdout
    );
    for secret in ["hunter2", KEY] {
        assert!(
            !ended.stdout.contains(secret) && !ended.stderr.contains(secret),
            "{}{}",
            ended.stdout,
            ended.stderr
        );
    }
}
