//! What a key's id beside a row says stays true, whatever is put in force and whatever is rotated.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use fetch_etl_core::PolicyStore as _;
use fetch_etl_core::login::LoginSchema;
use fetch_etl_sqlite::{SqliteSink, SqliteSinkConfig};

use crate::support::{Bench, Finished, MASKING_KEY, PATIENCE, admin, finish, login, wait, work};

/// Another key than the worker's.
fn other_key() -> String {
    MASKING_KEY.replace("AAEC", "AAED")
}

/// A configuration with these keys and nothing else about masking.
fn write_config(directory: &Path, url: &str, ring: &str, masking: &str) {
    fs::write(directory.join("ring.key"), ring).unwrap();
    let config = format!("[masking]\nkey_file = \"ring.key\"\n{masking}\n[sink]\ndatabase_url = \"{url}\"\n");
    fs::write(directory.join("etl.toml"), config).unwrap();
}

fn run(directory: &Path, args: &str) -> Finished {
    finish(admin(&[]).args(args.split(' ')).args(["--config", "etl.toml"]).current_dir(directory))
}

/// A database with the policy of the tests' key in force, and two rows under it.
async fn with_rows() -> Bench {
    let bench = Bench::open().await;
    run(bench.directory.path(), "policy set --yes").expect(0);
    assert_eq!(bench.work(vec![login("DE", Some("a")), login("AT", Some("b"))], false).await.inserted, 2);
    bench
}

#[tokio::test(flavor = "multi_thread")]
async fn another_key_under_an_id_that_rows_have_is_refused() {
    let mut bench = with_rows().await;
    let (directory, url) = (bench.directory.path().to_owned(), bench.database.url().to_owned());
    let run = |args: &str| run(&directory, args);
    write_config(&directory, &url, &other_key(), "");
    for args in ["policy set --dry-run", "policy set --yes", "policy set --yes --reuse-key-id"] {
        let said =
            run(args).expect_error(1, "the key id 1 is that of another key or domain in the policy in force");
        assert!(said.contains("rotate") && said.contains("a line 2:KEY"), "{said}");
    }
    write_config(&directory, &url, MASKING_KEY, "domain = \"eu\"");
    run("policy set --yes").expect_error(1, "that of another key or domain");
    assert_eq!(bench.one::<i64>("SELECT version FROM etl.policy").await, 1, "nothing was changed");

    // What to do instead.
    write_config(&directory, &url, &format!("7:{}", other_key()), "");
    run("policy set --yes").expect(0);
    // And back, which nobody can check.
    write_config(&directory, &url, MASKING_KEY, "");
    run("policy set --yes").expect_error(1, "whether their masks are of this very key is not known");
    run("policy set --yes --reuse-key-id").expect(0);
    assert_eq!(bench.one::<i64>("SELECT version FROM etl.policy").await, 3);
    // A rotation does not get around it: rows have the id of its newest key.
    bench.execute("UPDATE user_logins SET mask_key_id = 2 WHERE locale = 'AT'").await;
    bench.use_two_keys();
    run("rotate").expect_error(1, "1 row has already the key id 2");
    assert_eq!(bench.one::<i32>("SELECT key_id FROM etl.policy").await, 1, "the new key is not in force");
    run("rotate --reuse-key-id").expect(0);
}

/// Two keys under one id are not to be had either by being faster than the first row.
#[tokio::test(flavor = "multi_thread")]
async fn another_key_under_the_id_in_force_is_refused_before_there_are_rows() {
    let mut bench = Bench::open().await;
    let (directory, url) = (bench.directory.path().to_owned(), bench.database.url().to_owned());
    run(&directory, "policy set --yes").expect(0);
    write_config(&directory, &url, &other_key(), "");
    run(&directory, "policy set --yes").expect_error(1, "the key id 1 is that of another key");
    assert_eq!(bench.one::<i64>("SELECT version FROM etl.policy").await, 1);

    // Of rows that are gone, the vault still keeps what a rotation would take for masks of the key with that id.
    write_config(&directory, &url, &format!("2:{}", other_key()), "");
    run(&directory, "policy set --yes").expect(0);
    bench
        .execute(
            "INSERT INTO etl.pii_vault (field, mask, mask_key_id, dek_id, ciphertext) VALUES ('ip', sha512('x'), 1, '', '')",
        )
        .await;
    write_config(&directory, &url, MASKING_KEY, "");
    run(&directory, "policy set --yes").expect_error(1, "1 value of the vault has already the key id 1");
}

/// An erasure would ask for ever to finish it.
#[tokio::test(flavor = "multi_thread")]
async fn a_policy_without_the_key_of_an_unfinished_rotation_is_refused() {
    let mut bench = with_rows().await;
    let (directory, url) = (bench.directory.path().to_owned(), bench.database.url().to_owned());
    bench.use_two_keys();
    run(&directory, "rotate").expect(0);
    bench.execute("INSERT INTO etl.rotation (target_key_id) VALUES (2)").await;
    write_config(&directory, &url, &format!("7:{MASKING_KEY}"), "");
    run(&directory, "policy set --yes").expect_error(1, "a rotation to the key 2 is unfinished");
    bench.use_two_keys();
    run(&directory, "rotate").expect(0);
    write_config(&directory, &url, &format!("7:{MASKING_KEY}"), "");
    run(&directory, "policy set --yes").expect(0);
}

/// What was looked at before there was the right to rotate is looked at again.
#[tokio::test(flavor = "multi_thread")]
async fn a_rotation_does_not_go_on_under_a_policy_that_it_has_not_seen() {
    let mut bench = with_rows().await;
    let directory = bench.directory.path().to_owned();
    bench.use_two_keys();
    run(&directory, "rotate").expect(0);
    // Something to do, under a policy that has the newest key already: so it need not be put in force.
    bench.execute("UPDATE user_logins SET mask_key_id = 1").await;
    let mut other = bench.database.connect().await;
    sqlx::raw_sql("SELECT pg_advisory_lock(etl.maintenance_lock())").execute(&mut other).await.unwrap();
    let rotating = bench.any("rotate").spawn().unwrap();
    let asks = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'etl-admin'
        AND datname = current_database() AND query LIKE '%pg_try_advisory_lock%'";
    let deadline = Instant::now() + PATIENCE;
    while bench.one::<i64>(asks).await == 0 {
        assert!(Instant::now() < deadline, "it never asked for the right: {:?}", wait(rotating));
        tokio::task::yield_now().await;
    }
    bench.execute("SELECT etl.put_policy_in_force('m', 9, 'c', 'd', 1, version) FROM etl.policy").await;
    sqlx::raw_sql("SELECT pg_advisory_unlock_all()").execute(&mut other).await.unwrap();
    wait(rotating).expect_error(1, "somebody else changed the policy just now: run it again");
    assert_eq!(bench.one::<i64>("SELECT count(*) FROM user_logins WHERE mask_key_id = 1").await, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_field_does_not_go_from_one_kind_of_digests_to_another_under_one_key_id() {
    let bench = with_rows().await;
    let (directory, url) = (bench.directory.path().to_owned(), bench.database.url().to_owned());
    write_config(&directory, &url, MASKING_KEY, "fields.device_id = \"sha512\"");
    run(&directory, "policy set --yes").expect_error(1, "masks of device_id that look like those of sha512");
    write_config(&directory, &url, MASKING_KEY, "fields.device_id = \"partial\"");
    run(&directory, "policy set --yes").expect(0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rotation_gives_no_row_a_key_id_that_is_untrue_for_a_field_that_lost_its_key() {
    let mut bench = with_rows().await;
    let (directory, url) = (bench.directory.path().to_owned(), bench.database.url().to_owned());
    let ring = format!("1:{MASKING_KEY}\n2:{}\n", other_key());
    for method in ["redact", "drop", "partial"] {
        let masking = format!("fields.device_id = \"{method}\"");
        write_config(&directory, &url, MASKING_KEY, &masking);
        run(&directory, "policy set --yes").expect(0);
        write_config(&directory, &url, &ring, &masking);
        for args in ["rotate --dry-run", "rotate"] {
            let said = run(&directory, args)
                .expect_error(1, "2 rows have masks of device_id from before its method was");
            assert!(said.contains("length(masked_device_id) = 128 AND mask_key_id IN (1)"), "{said}");
        }
    }
    let untouched =
        "SELECT count(*) FROM user_logins WHERE mask_key_id = 1 AND length(masked_device_id) = 128";
    assert_eq!(bench.one::<i64>(untouched).await, 2);
    assert_eq!(bench.one::<i32>("SELECT key_id FROM etl.policy").await, 1, "nor is the new key in force");
    // As the hint says.
    bench
        .execute(
            "UPDATE user_logins SET masked_device_id = NULL WHERE length(masked_device_id) = 128 AND mask_key_id IN (1)",
        )
        .await;
    let said = run(&directory, "rotate").expect(0);
    assert!(said.starts_with("brought 2 rows up to key 2"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn on_an_sqlite_file_as_well() {
    let directory = tempfile::tempdir().unwrap();
    let url = format!("sqlite://{}", directory.path().join("logins.sqlite").display());
    let sink = Arc::new(SqliteSink::connect(SqliteSinkConfig::new(&url)).await.unwrap());
    sink.migrate().await.unwrap();
    let run = |args: &str| run(directory.path(), args);
    write_config(directory.path(), &url, MASKING_KEY, "");
    run("policy set --yes").expect(0);
    let messages = vec![login("DE", Some("a")), login("AT", Some("b"))];
    assert_eq!(work(sink.clone(), Arc::default(), LoginSchema, messages, None).await.inserted, 2);

    write_config(directory.path(), &url, &other_key(), "");
    run("policy set --yes").expect_error(1, "the key id 1 is that of another key");
    write_config(directory.path(), &url, MASKING_KEY, "fields.device_id = \"sha512\"");
    run("policy set --yes").expect_error(1, "masks of device_id that look like those of sha512");
    let masking = "fields.device_id = \"drop\"";
    write_config(directory.path(), &url, MASKING_KEY, masking);
    run("policy set --yes").expect(0);
    write_config(directory.path(), &url, &format!("1:{MASKING_KEY}\n2:{}\n", other_key()), masking);
    run("rotate").expect_error(1, "2 rows have masks of device_id from before its method was drop");
    let in_force = sink.policy_in_force().await.unwrap().unwrap();
    assert_eq!((in_force.version, in_force.policy.key_id.get()), (2, 1));
}
