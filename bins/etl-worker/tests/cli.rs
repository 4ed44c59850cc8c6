//! Command line, configuration and exit codes.

use std::fs;

use crate::support::{finish, worker};

#[test]
fn every_command_s_help_has_an_example() {
    for args in [
        &["--help"][..],
        &["run", "--help"],
        &["demo", "--help"],
        &["check", "--help"],
        &["migrate", "--help"],
        &["health", "--help"],
        &["leak-test", "--help"],
    ] {
        let help = finish(&mut worker(args));
        assert_eq!(help.code, Some(0), "{args:?}");
        let examples = help.stdout.split_once("Examples:").map(|(_, examples)| examples);
        assert!(examples.is_some_and(|text| text.contains("etl-worker")), "{args:?}: {}", help.stdout);
    }
}

#[test]
fn a_wrong_command_line_exits_with_2() {
    for args in [
        &[][..],
        &["walk"],
        &["run", "--fast"],
        &["demo", "--messages", "0"],
        &["demo", "--messages", "many"],
    ] {
        assert_eq!(finish(&mut worker(args)).code, Some(2), "{args:?}");
    }
}

#[test]
fn a_wrong_configuration_exits_with_2_and_says_everything_at_once() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("etl.toml");
    fs::write(&file, "[source]\nqueue_nmae = \"logins\"\nwait_time_s = 25\n").unwrap();
    let file = file.to_str().unwrap();
    for command in ["run", "check"] {
        let ended = finish(
            worker(&[command, "--config", file]).env("ETL_SINK__DATABASE_URL", "mysql://u:hunter2@db/x"),
        );
        assert_eq!((ended.code, ended.stdout.as_str()), (Some(2), ""));
        assert_eq!(
            ended.stderr,
            format!(
                "error: the configuration has 4 problems\n  \
                 source.queue_nmae: unknown key; the nearest known one is source.queue_name [{file} line 2]\n  \
                 source.wait_time_s: expected a whole number from 0 to 20 seconds (SQS refuses a long poll of more than \
                 20 seconds), found 25 [{file} line 3]\n  \
                 source.queue_url: missing, and so is source.queue_name; expected one of the two: the queue's URL (in the \
                 environment: ETL_SOURCE__QUEUE_URL)\n  \
                 sink.database_url: expected postgres://user:password@host:port/database or sqlite://file, found something \
                 else (not shown: it may hold a password) [environment variable ETL_SINK__DATABASE_URL]\n\
                 hint: every key with its default is in config/etl.example.toml\n"
            )
        );
    }
}

#[test]
fn a_missing_file_and_a_bad_key_exit_with_2() {
    let ended = finish(&mut worker(&["run", "--config", "no/such/etl.toml"]));
    assert_eq!(ended.code, Some(2));
    assert!(
        ended.stderr.starts_with(
            "error: no/such/etl.toml: cannot read the configuration file: there is no such file\n"
        )
    );

    let ended = finish(
        worker(&["run"])
            .env("ETL_SOURCE__QUEUE_NAME", "logins")
            .env("DATABASE_URL", "sqlite://x.sqlite")
            .env("ETL_MASKING__KEY", "aHVudGVyMg=="),
    );
    assert_eq!(ended.code, Some(2));
    assert_eq!(
        ended.stderr,
        "error: masking.key: the key has 7 bytes, of at least 32\nhint: etl-admin keygen master makes a key\n"
    );
}

#[test]
fn a_wrong_log_filter_exits_with_2() {
    let ended = finish(worker(&["check"]).env("RUST_LOG", "fetch_etl_core=loud"));
    assert_eq!(ended.code, Some(2));
    assert!(ended.stderr.starts_with("error: RUST_LOG: expected a list of filters"), "{}", ended.stderr);
}
