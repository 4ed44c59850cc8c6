//! What is found about the masks, secrets and sizes.

use super::{KEY, Setup, chmod};

/// The bytes 0, 1, 2, …: nobody's secret.
const COUNTED: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
const OTHER: &str = "q0mWcVnO4Jt1sXyZ7uKdEhGfRb9aLpQx3TiCjMv5w8U=";

#[tokio::test(flavor = "multi_thread")]
async fn masks_without_a_key() {
    let mut setup = Setup::new().await;
    setup.unset("ETL_MASKING__KEY_FILE");
    setup.finds("masking-unkeyed");
    // One field is enough.
    let mut setup = Setup::new().await;
    setup.set("ETL_MASKING__FIELDS__IP", "sha512");
    setup.finds("masking-unkeyed");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_is_not_random() {
    let mut setup = Setup::new().await;
    let ring = setup.key_file("ring", &format!("3:{COUNTED}"));
    setup.set("ETL_MASKING__KEY_FILE", ring.to_str().unwrap());
    let report = setup.finds("masking-key-made-up");
    assert!(report.what("masking-key-made-up").contains("with the id 3"));
    assert!(!report.json.to_string().contains(COUNTED));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_part_of_each_value_in_clear() {
    let mut setup = Setup::new().await;
    setup.set("ETL_MASKING__FIELDS__DEVICE_ID", "partial");
    let what = "the last 4 characters of device_id are stored in clear";
    assert_eq!(setup.finds("masking-partial").what("masking-partial"), what);
}

#[tokio::test(flavor = "multi_thread")]
async fn another_policy_than_the_one_in_force_and_a_newer_key() {
    let mut setup = Setup::new().await;
    assert_eq!(setup.run(&["run", "--until-empty"]).code, Some(0));
    assert_eq!(setup.check().exit, 0);
    let other = setup.key_file("other", OTHER);
    setup.set("ETL_MASKING__KEY_FILE", other.to_str().unwrap());
    let report = setup.finds("policy-differs");
    assert!(
        report.what("policy-differs").ends_with("key 1 is not the key that the database knows by this id")
    );
    let ring = setup.key_file("ring", &format!("1:{KEY}\n2:{OTHER}"));
    setup.set("ETL_MASKING__KEY_FILE", ring.to_str().unwrap());
    setup.finds("policy-newer-key-waits");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_that_everybody_can_read() {
    let setup = Setup::new().await;
    let key = setup.key_file("key", KEY);
    for (mode, exit) in [(0o644, 1), (0o640, 0), (0o600, 0)] {
        chmod(&key, mode);
        assert_eq!(setup.check().exit, exit, "{mode:o}");
    }
    chmod(&key, 0o604);
    setup.finds("secret-file-open");

    // A password in the configuration file itself, too, and no file without one.
    for (password, expected) in [(":hunter2", true), ("", false)] {
        let mut setup = Setup::new().await;
        setup.unset("ETL_SINK__DATABASE_URL");
        let url = format!("[sink]\ndatabase_url = \"postgres://etl{password}@127.0.0.1:1/logins\"\n");
        let file = setup.key_file("etl.toml", &url);
        chmod(&file, 0o644);
        let ended = setup.run(&["check", "--format", "json", "--config", file.to_str().unwrap()]);
        assert_eq!(ended.stdout.contains("secret-file-open"), expected, "{}", ended.stdout);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ledger_that_forgets_before_the_queues_do() {
    // 4 days in the queue and 14 in the dead-letter queue.
    let mut setup = Setup::new().await;
    setup.set("ETL_LEDGER__RETENTION_DAYS", "19");
    assert_eq!(setup.check().exit, 0);
    setup.set("ETL_LEDGER__RETENTION_DAYS", "18");
    setup.finds("ledger-retention-short");
}
