//! Migrating: several workers at once, beside an application's own migrations, and by roles without rights.

use fetch_etl_core::ErrorClass;
use fetch_etl_postgres::{PostgresSink, PostgresSinkConfig};
use fetch_etl_testing::postgres::TestDatabase;
use sqlx::migrate::Migrator;
use tokio::task::JoinSet;

use crate::support::{Bench, Message, Role, config, execute, good, migrations, report, sink_on};

#[tokio::test(flavor = "multi_thread")]
async fn workers_that_start_together_all_succeed() {
    const WORKERS: i64 = 8;
    let database = TestDatabase::create().await;
    let mut workers = JoinSet::new();
    for _ in 0..WORKERS {
        let config = config(&database);
        workers.spawn(async move { PostgresSink::connect(config).await?.migrate().await });
    }
    while let Some(migrated) = workers.join_next().await {
        migrated.unwrap().unwrap();
    }
    let mut bench =
        Bench { sink: sink_on(&database).await.into(), outside: database.connect().await, database };
    bench.sink.check_schema().await.unwrap();
    let applied = bench.one::<i64>("SELECT count(*) FROM etl.schema_migrations WHERE success").await;
    assert_eq!(applied, migrations());
}

#[tokio::test]
async fn migrating_again_changes_nothing() {
    let mut bench = Bench::open().await;
    bench.write(vec![good("m-1")]).await.unwrap();
    bench.sink.migrate().await.unwrap();
    assert_eq!(bench.keys().await, ["m-1"]);
    assert_eq!(bench.write(vec![good("m-1")]).await.unwrap(), report(0, 1, 0));
}

#[tokio::test]
async fn an_applications_own_migrations_are_left_alone() {
    let database = TestDatabase::create().await;
    let mut connection = database.connect().await;
    let theirs = "CREATE TABLE _sqlx_migrations (version bigint PRIMARY KEY, description text NOT NULL,
        installed_on timestamptz NOT NULL DEFAULT now(), success boolean NOT NULL, checksum bytea NOT NULL,
        execution_time bigint NOT NULL);
        INSERT INTO _sqlx_migrations VALUES (1, 'theirs', now(), true, '\\x00', 1)";
    execute(&mut connection, theirs).await;
    sink_on(&database).await.migrate().await.unwrap();
    let count: i64 =
        sqlx::query_scalar("SELECT count(*) FROM _sqlx_migrations").fetch_one(&mut connection).await.unwrap();
    assert_eq!(count, 1);
}

#[tokio::test]
async fn a_database_of_a_newer_version_is_refused() {
    let mut bench = Bench::open().await;
    bench.execute("INSERT INTO etl.schema_migrations VALUES (9999, 'future', now(), true, '\\x00', 1)").await;
    let error = bench.sink.migrate().await.unwrap_err();
    assert_eq!(error.class(), ErrorClass::Fatal);
    assert!(error.to_string().contains("9999") && error.to_string().contains("newer version"), "{error}");
}

/// The checked queries know the tables from plain files; the sink embeds the same ones.
#[tokio::test]
async fn the_embedded_migrations_are_the_files() {
    let files =
        Migrator::new(std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("migrations")).await.unwrap();
    let mut bench = Bench::open().await;
    let descriptions = "SELECT string_agg(description, ',' ORDER BY version) FROM etl.schema_migrations";
    let embedded = bench.one::<String>(descriptions).await;
    let expected: Vec<_> = files.iter().map(|migration| migration.description.to_string()).collect();
    assert_eq!(embedded, expected.join(","));
}

#[tokio::test]
async fn a_worker_needs_no_right_to_make_tables() {
    use fetch_etl_core::Sink;

    use crate::support::{bad, batch};

    let mut bench = Bench::open().await;
    let role = Role::create(&mut bench, "worker").await;
    let sink = role.sink(&bench.database).await;

    let denied = sink.write(&batch(vec![good("m-1")])).await.unwrap_err();
    assert_eq!((denied.class(), denied.code().unwrap().as_str()), (ErrorClass::Fatal, "42501"), "{denied}");

    bench.execute(&format!("GRANT etl_writer TO \"{}\"", role.name)).await;
    sink.check_schema().await.unwrap();
    assert_eq!(sink.write(&batch(vec![good("m-1"), bad("r-1")])).await.unwrap(), report(1, 0, 1));
    assert_eq!(sink.migrate().await.unwrap_err().class(), ErrorClass::Fatal);
    sink.close().await;
    role.drop(&mut bench).await;
}

/// A database with the migrations before this one, and what the others say, it included: each to be applied by itself.
async fn before(number: &str) -> (Bench, Vec<String>) {
    let directory = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("migrations");
    let mut files: Vec<_> = std::fs::read_dir(directory).unwrap().map(|file| file.unwrap().path()).collect();
    files.sort();
    let is_older = |file: &std::path::PathBuf| file.file_name().unwrap().to_str().unwrap() < number;
    let (older, newer): (Vec<_>, Vec<_>) = files.into_iter().partition(is_older);
    let read = |files: &[std::path::PathBuf]| -> Vec<_> {
        files.iter().map(|file| std::fs::read_to_string(file).unwrap()).collect()
    };
    let database = TestDatabase::create().await;
    let outside = database.connect().await;
    let mut bench = Bench { sink: sink_on(&database).await.into(), outside, database };
    apply(&mut bench, &read(&older)).await;
    (bench, read(&newer))
}

async fn apply(bench: &mut Bench, files: &[String]) {
    for file in files {
        bench.execute(file).await;
    }
}

/// Whether a rotation of before came to its end, nobody wrote down.
#[tokio::test]
async fn a_vault_that_was_rotated_before_0012_is_taken_as_in_the_middle_of_it() {
    for sealed_mask in [None, Some("sha512('x')")] {
        let (mut bench, newer) = before("0012").await;
        let (mask, key) = sealed_mask.map_or(("NULL", "NULL"), |mask| (mask, "1"));
        let entry = format!(
            "SELECT etl.put_policy_in_force('m', 2, 'c', 'd', 1, NULL);
            INSERT INTO etl.pii_vault (field, mask, mask_key_id, dek_id, ciphertext, sealed_mask, sealed_key_id)
            VALUES ('ip', sha512('y'), 2, '', '', {mask}, {key})"
        );
        bench.execute(&entry).await;
        apply(&mut bench, &newer).await;
        let target = bench.sink.unfinished_rotation().await.unwrap();
        assert_eq!(target.map(fetch_etl_core::KeyId::get), sealed_mask.map(|_| 2));
    }
}

/// Messages that were stored, and come again after it.
#[tokio::test]
async fn the_ledger_before_0013_is_known_until_it_is_past_retention() {
    let (mut bench, newer) = before("0013").await;
    let stored = "SELECT etl.ensure_ledger_partitions(ARRAY[etl.utc_today(), etl.utc_today() - 20], 35);
        INSERT INTO etl.ledger (key, day, recorded_on) VALUES
            ('today', etl.utc_today(), etl.utc_today()), ('then', etl.utc_today() - 20, etl.utc_today() - 20),
            ('named', '-infinity', etl.utc_today() - 20), ('other day', etl.utc_today() - 20, etl.utc_today());
        INSERT INTO etl.quarantine (key, reason, body_bytes, receive_count, sent_at)
        VALUES ('then', 'invalid_json', 1, 1, now() - interval '20 days')";
    bench.execute(stored).await;
    apply(&mut bench, &newer).await;
    let messages = || {
        vec![
            good("today"),
            good("then").sent_days_ago(20),
            good("named").named_by_producer(),
            good("other day"),
            good("new"),
        ]
    };
    assert_eq!(bench.write(messages()).await.unwrap(), report(2, 3, 0));
    assert_eq!(bench.write(messages()).await.unwrap(), report(0, 5, 0));
    assert_eq!(bench.write(vec![good("then").named_by_producer()]).await.unwrap(), report(0, 1, 0));

    let left = "SELECT string_agg(key, ', ' ORDER BY key) FROM etl.ledger_by_day";
    assert_eq!(bench.one::<String>(left).await, "named, other day, then, today");
    let config = PostgresSinkConfig { ledger_retention_days: 10, ..config(&bench.database) };
    PostgresSink::connect(config).await.unwrap().prune_ledger().await.unwrap();
    assert_eq!(bench.one::<String>(left).await, "today");
    assert_eq!(bench.write(vec![good("today")]).await.unwrap(), report(0, 1, 0));
}

/// A copy of it came under the same key, sent by somebody who did not say when the original was, and was rejected after the migration.
#[tokio::test]
async fn a_time_that_the_quarantine_knew_before_0013_is_not_forgotten() {
    let (mut bench, newer) = before("0013").await;
    let original = good("m").sent_days_ago(6);
    let rejected = format!(
        "INSERT INTO etl.quarantine (key, reason, body_bytes, receive_count, sent_at)
        VALUES ('m', 'invalid_json', 1, 1, to_timestamp({} / 1000.0))",
        original.sent_at
    );
    bench.execute(&rejected).await;
    apply(&mut bench, &newer).await;
    let copy = || good("m").sent_days_ago(1).named_by_producer();
    assert_eq!(bench.write(vec![original]).await.unwrap(), report(1, 0, 0));
    let broken = Message { body: "no JSON".to_owned(), ..copy() };
    assert_eq!(bench.write(vec![broken]).await.unwrap(), report(0, 0, 1));
    assert_eq!(bench.write(vec![copy()]).await.unwrap(), report(0, 1, 0));
}

/// The owner of what was there owns what takes its place: functions of before act on it with their owner's rights.
#[tokio::test]
async fn what_0013_makes_belongs_to_the_ledgers_owner() {
    let (mut bench, newer) = before("0013").await;
    let owner = Role::create(&mut bench, "owner").await;
    let owned = format!(
        "GRANT ALL ON SCHEMA etl TO {0}; ALTER TABLE etl.ledger OWNER TO {0}; ALTER TABLE etl.ledger_undated OWNER TO {0};
        ALTER FUNCTION etl.ensure_ledger_partitions OWNER TO {0}; ALTER FUNCTION etl.prune_ledger OWNER TO {0}",
        owner.quoted()
    );
    bench.execute(&owned).await;
    apply(&mut bench, &newer).await;
    let foreign = format!(
        "SELECT count(*) FROM (SELECT relowner AS owner FROM pg_class WHERE oid IN ('etl.ledger'::regclass, 'etl.ledger_undated'::regclass)
        UNION ALL SELECT proowner FROM pg_proc WHERE pronamespace = 'etl'::regnamespace AND proname ~ '^ledger_[aft]') AS made
        WHERE owner <> '{}'::regrole",
        owner.quoted()
    );
    assert_eq!(bench.one::<i64>(&foreign).await, 0);
    bench.execute(&format!("GRANT SELECT ON etl.quarantine TO {}", owner.quoted())).await;
    assert_eq!(bench.write(vec![good("m")]).await.unwrap(), report(1, 0, 0));
    owner.drop(&mut bench).await;
}

#[tokio::test]
async fn a_ledger_with_nothing_in_it_leaves_nothing_behind() {
    let mut bench = Bench::open().await;
    assert!(bench.one::<bool>("SELECT to_regclass('etl.ledger_by_day') IS NULL").await);
}

/// Rights that were granted by hand, before there were roles to be a member of.
#[tokio::test]
async fn a_role_that_wrote_before_the_roles_came_goes_on_writing() {
    use fetch_etl_core::Sink;

    use crate::support::{bad, batch};

    let (mut bench, newer) = before("0006").await;
    let role = Role::create(&mut bench, "worker").await;
    let grants = format!(
        "GRANT USAGE ON SCHEMA etl TO \"{0}\";
         GRANT SELECT, INSERT ON user_logins, etl.ledger TO \"{0}\";
         GRANT SELECT, INSERT, UPDATE ON etl.quarantine TO \"{0}\";
         GRANT EXECUTE ON FUNCTION etl.ensure_ledger_partitions, etl.prune_ledger TO \"{0}\"",
        role.name
    );
    bench.execute(&grants).await;
    apply(&mut bench, &newer).await;
    let sink = role.sink(&bench.database).await;
    sink.check_schema().await.unwrap();
    assert_eq!(sink.write(&batch(vec![good("m-1"), bad("r-1")])).await.unwrap(), report(1, 0, 1));
    sink.close().await;
    role.drop(&mut bench).await;
}
