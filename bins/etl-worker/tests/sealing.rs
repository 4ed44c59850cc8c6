//! With a recipient, rejected messages are kept for its holder and leave the queue.

use std::fs;

use fetch_etl_core::{KeyOrigin, MessageKey};
use fetch_etl_seal::{KeyPair, Opener, Purpose};
use fetch_etl_testing::postgres::TestDatabase;

use crate::support::{SqliteFile, finish, local_queue, login, worker};

#[tokio::test(flavor = "multi_thread")]
async fn a_rejected_message_is_sealed_and_deleted_and_opens_for_its_recipient() {
    const BAD: &str = r#"{"user_id":7,"ip":"203.0.113.7"}"#;
    let server = local_queue().await;
    let database = TestDatabase::create().await;
    let directory = tempfile::tempdir().unwrap();
    let pair = KeyPair::generate().unwrap();
    let public = directory.path().join("recipient.pub");
    fs::write(&public, pair.recipient().to_text()).unwrap();
    let logins = server.queue("logins").unwrap();
    logins.send_many([login("u-1", "203.0.113.8"), BAD.to_owned()]).unwrap();
    let ended = finish(
        worker(&["run", "--until-empty"])
            .env("ETL_SOURCE__QUEUE_URL", server.queue_url("logins"))
            .env("ETL_SINK__DATABASE_URL", database.url())
            .env("ETL_QUARANTINE__RECIPIENT_FILE", &public),
    );
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    assert!(
        ended.stdout.starts_with("received 2 = inserted 1 + duplicates 0 + quarantined 1 "),
        "{}",
        ended.stdout
    );
    assert_eq!(
        {
            let stats = logins.stats();
            (stats.ready + stats.in_flight + stats.delayed, stats.deleted)
        },
        (0, 2),
        "it was deleted from the queue"
    );
    assert!(!ended.stderr.contains("203.0.113.7"), "{}", ended.stderr);
    let mut connection = database.connect().await;
    let (key, sealed): (String, Vec<u8>) = sqlx::query_as("SELECT key, sealed_body FROM etl.quarantine")
        .fetch_one(&mut connection)
        .await
        .unwrap();
    let key = MessageKey::new(key, KeyOrigin::MessageId);
    let opened = Opener::new(pair).open(Purpose::Quarantine, &key, &sealed).unwrap();
    assert_eq!(opened.expose(), BAD.as_bytes());
}

#[test]
fn a_private_key_in_a_workers_configuration_is_refused_and_not_shown() {
    let private = KeyPair::generate().unwrap().to_private_text().unwrap();
    for command in ["run", "check"] {
        let ended = finish(
            worker(&[command])
                .env("ETL_SOURCE__QUEUE_NAME", "logins")
                .env("ETL_SINK__DATABASE_URL", "sqlite://logins.sqlite")
                .env("ETL_QUARANTINE__RECIPIENT", private.as_str()),
        );
        assert_eq!(ended.code, Some(2), "{}", ended.stderr);
        assert!(ended.stderr.contains("quarantine.recipient: this is a private key"), "{}", ended.stderr);
        let secret = private.rsplit(':').next().unwrap();
        assert!(!ended.stderr.contains(secret) && !ended.stdout.contains(secret));
    }
}

/// Whoever can write the configuration can put a public key of their own there: it does not go unnoticed.
#[tokio::test(flavor = "multi_thread")]
async fn another_recipient_than_the_one_that_was_sealed_to_last_is_found_and_warned_about() {
    const BAD: &str = r#"{"user_id":7,"ip":"203.0.113.7"}"#;
    let server = local_queue().await;
    let database = TestDatabase::create().await;
    let (ours, theirs) = (KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
    let command = |args: &[&str], vault: &KeyPair, quarantine: &KeyPair| {
        let mut command = worker(args);
        command
            .env("ETL_SOURCE__QUEUE_URL", server.queue_url("logins"))
            .env("ETL_SINK__DATABASE_URL", database.url())
            .env("ETL_VAULT__RECIPIENT", vault.recipient().to_text())
            .env("ETL_QUARANTINE__RECIPIENT", quarantine.recipient().to_text());
        finish(&mut command)
    };
    let run = |vault: &KeyPair, quarantine: &KeyPair| {
        let logins = server.queue("logins").unwrap();
        logins.send_many([login("u-1", "203.0.113.8"), BAD.to_owned()]).unwrap();
        let ended = command(&["run", "--until-empty"], vault, quarantine);
        assert_eq!(ended.code, Some(0), "{}", ended.stderr);
        ended.stderr
    };
    let is_found = |vault: &KeyPair, quarantine: &KeyPair| {
        let said = command(&["check"], vault, quarantine).stdout;
        ["vault", "quarantine"].map(|section| said.contains(&format!("{section}.recipient is the recipient")))
    };
    for _ in 0..2 {
        let said = run(&ours, &ours);
        assert!(!said.contains("recipient_changed") && !said.contains("recipient_not_compared"), "{said}");
        assert_eq!(is_found(&ours, &ours), [false, false]);
    }
    assert_eq!(is_found(&theirs, &ours), [true, false]);
    assert_eq!(is_found(&ours, &theirs), [false, true]);
    let said = command(&["check"], &theirs, &ours).stdout;
    for id in [ours.recipient().id(), theirs.recipient().id()] {
        assert!(said.contains(&id.to_string()), "{said}");
    }
    let said = run(&theirs, &theirs);
    let warned: Vec<_> = said.lines().filter(|line| line.contains("recipient_changed")).collect();
    assert_eq!(warned.len(), 2, "{said}");
    for section in ["vault", "quarantine"] {
        let setting = format!("\"setting\":\"{section}.recipient\"");
        assert!(warned.iter().any(|line| line.contains(&setting) && line.contains("WARN")), "{said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn another_recipient_of_the_quarantine_is_found_in_an_sqlite_file_as_well() {
    let server = local_queue().await;
    let database = SqliteFile::new();
    let (ours, theirs) = (KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
    let command = |args: &[&str], pair: &KeyPair| {
        let mut command = worker(args);
        command
            .env("ETL_SOURCE__QUEUE_URL", server.queue_url("logins"))
            .env("ETL_SINK__DATABASE_URL", database.url())
            .env("ETL_QUARANTINE__RECIPIENT", pair.recipient().to_text());
        finish(&mut command)
    };
    server.queue("logins").unwrap().send_many(["no JSON".to_owned()]).unwrap();
    assert_eq!(command(&["run", "--until-empty"], &ours).code, Some(0));
    let found = "quarantine.recipient is the recipient";
    assert!(!command(&["check"], &ours).stdout.contains(found));
    assert!(command(&["check"], &theirs).stdout.contains(found));
    assert!(command(&["run", "--until-empty"], &theirs).stderr.contains("recipient_changed"));
}
