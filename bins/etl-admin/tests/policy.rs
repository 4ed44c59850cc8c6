//! What a key's id beside a row says stays true, whatever is put in force and whatever is rotated.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use fetch_etl_core::PolicyStore as _;
use fetch_etl_core::login::LoginSchema;
use fetch_etl_sqlite::{SqliteSink, SqliteSinkConfig};

use crate::support::{Bench, Finished, MASKING_KEY, admin, finish, login, work};

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
            run(args).expect_error(1, "2 rows have already the key id 1, which is the id of another key");
        assert!(said.contains("rotate") && said.contains("an id that no row has"), "{said}");
    }
    write_config(&directory, &url, MASKING_KEY, "domain = \"eu\"");
    run("policy set --yes").expect_error(1, "of another key or domain");
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
            run(&directory, args)
                .expect_error(1, "2 rows have masks of device_id from before its method was");
        }
    }
    let untouched =
        "SELECT count(*) FROM user_logins WHERE mask_key_id = 1 AND length(masked_device_id) = 128";
    assert_eq!(bench.one::<i64>(untouched).await, 2);
    assert_eq!(bench.one::<i32>("SELECT key_id FROM etl.policy").await, 1, "nor is the new key in force");
    // As the hint says.
    bench
        .execute("UPDATE user_logins SET masked_device_id = NULL WHERE length(masked_device_id) = 128")
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
    run("policy set --yes").expect_error(1, "2 rows have already the key id 1");
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
