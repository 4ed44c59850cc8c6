//! With a recipient, rejected messages are kept for its holder and leave the queue.

use std::fs;

use fetch_etl_core::{KeyOrigin, MessageKey};
use fetch_etl_seal::{KeyPair, Opener, Purpose};
use fetch_etl_testing::postgres::TestDatabase;

use crate::support::{finish, local_queue, login, worker};

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
