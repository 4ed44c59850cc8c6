//! The file and its tables.

use fetch_etl_core::ErrorClass;
use tokio::task::JoinSet;

use crate::support::{Bench, good, report, sink_on};

#[cfg(unix)]
#[tokio::test]
async fn only_the_owner_may_read_the_files() {
    use std::os::unix::fs::PermissionsExt;

    let bench = Bench::open().await;
    bench.write(vec![good("m-1")]).await.unwrap();
    let mut files = 0;
    for entry in bench.directory.path().read_dir().unwrap() {
        let entry = entry.unwrap();
        let mode = entry.metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{:?}", entry.file_name());
        files += 1;
    }
    assert!(files > 1, "the write-ahead log is a file too");
}

#[tokio::test]
async fn connecting_makes_no_file() {
    let bench = Bench::unmigrated().await;
    assert!(!bench.file().exists());
    let error = bench.sink.check_schema().await.unwrap_err();
    assert_eq!(error.class(), ErrorClass::Fatal);
    assert!(error.to_string().contains("`etl-worker migrate`"), "{error}");
}

#[tokio::test]
async fn what_we_migrated_fits_and_is_written_ahead() {
    let bench = Bench::open().await;
    bench.sink.check_schema().await.unwrap();
    assert_eq!(bench.one::<String>("PRAGMA journal_mode").await, "wal");
}

#[tokio::test]
async fn a_missing_column_is_named() {
    let bench = Bench::open().await;
    bench.execute("ALTER TABLE user_logins DROP COLUMN locale; DROP TABLE etl_ledger").await;
    let error = bench.sink.check_schema().await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "user_logins.locale, etl_ledger.key, etl_ledger.recorded_on missing: `etl-worker migrate` makes them"
    );
}

/// How many migrations there are.
fn migrations() -> usize {
    std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/migrations")).unwrap().count()
}

#[tokio::test(flavor = "multi_thread")]
async fn workers_that_start_together_all_succeed() {
    let bench = Bench::unmigrated().await;
    let mut workers = JoinSet::new();
    for _ in 0..6 {
        // A sink of its own, as another process has.
        let sink = sink_on(&bench.directory).await;
        workers.spawn(async move { sink.migrate().await });
    }
    while let Some(migrated) = workers.join_next().await {
        migrated.unwrap().unwrap();
    }
    bench.sink.check_schema().await.unwrap();
    let applied = bench.one::<i64>("SELECT count(*) FROM etl_schema_migrations WHERE success").await;
    assert_eq!(usize::try_from(applied).unwrap(), migrations());
}

#[tokio::test]
async fn migrating_again_changes_nothing() {
    let bench = Bench::open().await;
    bench.write(vec![good("m-1")]).await.unwrap();
    bench.sink.migrate().await.unwrap();
    assert_eq!(bench.write(vec![good("m-1")]).await.unwrap(), report(0, 1, 0));
}

#[tokio::test]
async fn somebody_elses_table_of_that_name_is_left_alone() {
    let bench = Bench::unmigrated().await;
    std::fs::File::create_new(bench.file()).unwrap();
    bench.execute("CREATE TABLE user_logins (theirs TEXT)").await;
    let error = bench.sink.migrate().await.unwrap_err();
    assert_eq!(error.class(), ErrorClass::Fatal);
    assert!(error.to_string().contains("is not ours"), "{error}");
    assert_eq!(bench.one::<String>("SELECT name FROM pragma_table_info('user_logins')").await, "theirs");
}

#[tokio::test]
async fn what_migrating_would_do_is_known_before() {
    let bench = Bench::unmigrated().await;
    assert_eq!(bench.sink.pending_migrations().await.unwrap(), migrations());
    assert!(!bench.file().exists(), "asking makes no file");
    bench.sink.migrate().await.unwrap();
    assert_eq!(bench.sink.pending_migrations().await.unwrap(), 0);
    bench.execute("DELETE FROM etl_schema_migrations WHERE version = 4").await;
    assert_eq!(bench.sink.pending_migrations().await.unwrap(), 1);

    let theirs = Bench::unmigrated().await;
    std::fs::File::create_new(theirs.file()).unwrap();
    theirs.execute("CREATE TABLE user_logins (theirs TEXT)").await;
    let error = theirs.sink.pending_migrations().await.unwrap_err();
    assert!(error.to_string().contains("not ours"), "{error}");
}
