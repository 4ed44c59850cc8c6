//! The same work on an SQLite file.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::sync::Arc;

use fetch_etl_core::login::LoginSchema;
use fetch_etl_seal::KeyPair;
use fetch_etl_sqlite::{SqliteSink, SqliteSinkConfig};

use crate::support::{Finished, MASKING_KEY, Stricter, VALUES, admin, broken, finish, login, work};

#[tokio::test(flavor = "multi_thread")]
async fn what_a_worker_with_an_sqlite_file_sealed_is_listed_shown_replayed_and_discarded() {
    let directory = tempfile::tempdir().unwrap();
    let url = format!("sqlite://{}", directory.path().join("logins.sqlite").display());
    let pair = KeyPair::generate().unwrap();
    let key = directory.path().join("recipient.key");
    fs::write(&key, pair.to_private_text().unwrap().as_bytes()).unwrap();
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
    let quarantine = |args: &str| -> Finished {
        finish(
            admin(&["quarantine"])
                .args(args.split(' '))
                .current_dir(directory.path())
                .env("ETL_SINK__DATABASE_URL", &url)
                .env("ETL_MASKING__KEY", MASKING_KEY),
        )
    };
    let sink = Arc::new(SqliteSink::connect(SqliteSinkConfig::new(&url)).await.unwrap());
    sink.migrate().await.unwrap();
    let good = login("DE", Some("order-17"));
    let messages = vec![good.clone(), broken(), broken()];
    let summary = work(sink.clone(), Arc::default(), Stricter, messages, Some(pair.recipient())).await;
    assert_eq!(summary.quarantined, 3);

    let listed = quarantine("list").expect(0);
    assert!(listed.contains("order-17   wrong_type  locale") && listed.ends_with("3 messages\n"), "{listed}");
    assert!(VALUES.iter().all(|value| !listed.contains(value)), "{listed}");
    let shown = quarantine("show order-17").expect(0);
    assert!(shown.contains("order-17 (the producer's)"), "{shown}");
    let revealed =
        quarantine("show order-17 --private-key recipient.key --reveal-personal-data --reason ticket")
            .expect(0);
    assert_eq!(revealed, good.body);

    let said = quarantine("replay --private-key recipient.key --all").expect(1);
    assert_eq!(
        said,
        "replayed 1 message: 1 stored now, 0 stored before\n\
         rejected again, and still open: missing_field 2\n"
    );
    assert_eq!(sink.newest_rows(10).await.unwrap().len(), 1);
    // The row is known as the message that it was.
    let again = work(sink.clone(), Arc::default(), LoginSchema, vec![good], None).await;
    assert_eq!((again.inserted, again.duplicates), (0, 1));
    assert_eq!(quarantine("discard --reason missing_field --yes").expect(0), "discarded 2 messages\n");
    let all = quarantine("list --state all").expect(0);
    assert!(all.ends_with("3 messages\n"), "{all}");
    let shown = quarantine("show order-17").expect(0);
    assert!(shown.contains("replayed") && shown.contains("\nclosed: "), "{shown}");
    let nothing = quarantine("replay --private-key recipient.key --all").expect(0);
    assert_eq!(nothing, "replayed 0 messages: 0 stored now, 0 stored before\n");
}
