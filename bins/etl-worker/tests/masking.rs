//! How values are masked, by the configuration: methods of single fields, the vault, and where the key comes from.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};

use fetch_etl_core::{KeyId, SealedDataKey};
use fetch_etl_local_sqs::RunningServer;
use fetch_etl_seal::{KeyPair, VaultOpener};
use fetch_etl_testing::postgres::TestDatabase;

use crate::support::{Finished, finish, local_queue, login, worker};

const KEY: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";

fn run(server: &RunningServer, database: &TestDatabase, env: &[(&str, &str)]) -> Finished {
    finish(
        worker(&["run", "--until-empty"])
            .env("ETL_SOURCE__QUEUE_URL", server.queue_url("logins"))
            .env("ETL_SINK__DATABASE_URL", database.url())
            .envs(env.iter().copied()),
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn each_field_is_masked_by_its_own_method() {
    let server = local_queue().await;
    let database = TestDatabase::create().await;
    let logins = server.queue("logins").unwrap();
    logins
        .send_many([login("u-1", "203.0.113.8"), login("u-2", "203.0.113.9"), login("u-3", "203.0.114.9")])
        .unwrap();
    let env = [
        ("ETL_MASKING__KEY", KEY),
        ("ETL_MASKING__FIELDS__IP", "ip-prefix"),
        ("ETL_MASKING__FIELDS__DEVICE_ID", "partial"),
    ];
    let ended = run(&server, &database, &env);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    assert!(ended.stderr.contains("ip=ip-prefix device_id=partial:4"), "{}", ended.stderr);
    let mut connection = database.connect().await;
    let rows: Vec<(String, String)> =
        sqlx::query_as("SELECT masked_ip, masked_device_id FROM user_logins ORDER BY user_id")
            .fetch_all(&mut connection)
            .await
            .unwrap();
    let [(a, device), (b, _), (c, _)] = rows.as_slice() else { panic!("{} rows", rows.len()) };
    assert!(a == b && a != c && a.len() == 128, "a mask for each network");
    assert_eq!(device, "…5928");

    // Another method is another policy.
    let refused = run(&server, &database, &[("ETL_MASKING__KEY", KEY)]);
    assert_eq!(refused.code, Some(1));
    assert!(
        refused.stderr.contains("ip=ip-prefix device_id=partial:4 in the database"),
        "{}",
        refused.stderr
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_dropped_is_null_and_needs_no_key() {
    let server = local_queue().await;
    let database = TestDatabase::create().await;
    server.queue("logins").unwrap().send_many([login("u-1", "203.0.113.8")]).unwrap();
    let env = [("ETL_MASKING__METHOD", "drop"), ("ETL_MASKING__FIELDS__DEVICE_ID", "redact")];
    let ended = run(&server, &database, &env);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    assert!(!ended.stderr.contains("masks_reversible"), "{}", ended.stderr);
    let mut connection = database.connect().await;
    let row: (Option<String>, Option<String>, i32) =
        sqlx::query_as("SELECT masked_ip, masked_device_id, mask_key_id FROM user_logins")
            .fetch_one(&mut connection)
            .await
            .unwrap();
    assert_eq!(row, (None, Some("[redacted]".to_owned()), 0));
}

#[test]
fn methods_and_keys_that_do_not_fit_are_refused() {
    for (env, said) in [
        (
            [("ETL_MASKING__FIELDS__IP", "ip-prefix"), ("ETL_X", "")],
            "masking.fields.ip: ip-prefix needs a key",
        ),
        ([("ETL_MASKING__FIELDS__IP", "md5"), ("ETL_X", "")], "masking.fields.ip: expected one of"),
        (
            [("ETL_MASKING__KEY", KEY), ("ETL_MASKING__METHOD", "drop")],
            "masking.method: drop uses no key, but one is set",
        ),
        (
            [("ETL_VAULT__RECIPIENT", "x"), ("ETL_MASKING__KEY", KEY)],
            "vault.recipient: the vault needs Postgres: SQLite has no roles",
        ),
        (
            [("ETL_VAULT__RECIPIENT", "x"), ("ETL_MASKING__METHOD", "drop")],
            "vault.recipient: nothing would be kept: masking.method and masking.fields give no field a method whose masks",
        ),
        (
            [("ETL_MASKING__FIELDS__DEVICE_ID", "ip-prefix"), ("ETL_MASKING__KEY", KEY)],
            "masking.fields.device_id: ip-prefix is for addresses, and device_id is none",
        ),
        (
            [("ETL_MASKING__METHOD", "ip-prefix"), ("ETL_MASKING__KEY", KEY)],
            "masking.method: ip-prefix is for addresses, and device_id is none; give it another method, in masking.fields.device_id",
        ),
        (
            [("ETL_MASKING__KEY_KMS_KEY_ID", "alias/etl"), ("ETL_MASKING__KEY", KEY)],
            "masking.key_kms_key_id: for which file? set masking.key_kms_file, too",
        ),
        (
            [("ETL_MASKING__KEY_KMS_FILE", "x"), ("ETL_MASKING__KEY_KMS_CONTEXT", "app=etl,stage")],
            "masking.key_kms_context: expected name=value",
        ),
        (
            [("ETL_MASKING__KEY_KMS_FILE", "x"), ("ETL_MASKING__KEY_KMS_CONTEXT", "app=a,app=b")],
            "masking.key_kms_context: app is there twice",
        ),
        (
            [("ETL_MASKING__KEY_SECRET_FIELD", "x"), ("ETL_MASKING__KEY", KEY)],
            "masking.key_secret_field: a field of which secret?",
        ),
        (
            [("ETL_MASKING__KEY_CREDENTIAL", "x"), ("ETL_MASKING__KEY", KEY)],
            "masking.key: masking.key_credential [environment variable ETL_MASKING__KEY_CREDENTIAL] is set as well",
        ),
    ] {
        let env = env.into_iter().filter(|(name, _)| *name != "ETL_X");
        let ended = finish(
            worker(&["run"])
                .env("ETL_SOURCE__QUEUE_NAME", "logins")
                .env("ETL_SINK__DATABASE_URL", "sqlite://logins.sqlite")
                .envs(env),
        );
        assert_eq!(ended.code, Some(2), "{}", ended.stderr);
        assert!(ended.stderr.contains(said), "{said} in: {}", ended.stderr);
    }
}

/// Each value once, found by its mask, and readable for the holder of the private key.
#[tokio::test(flavor = "multi_thread")]
async fn first_seen_values_go_to_the_vault_and_open_for_its_recipient() {
    let server = local_queue().await;
    let database = TestDatabase::create().await;
    let pair = KeyPair::generate().unwrap();
    let public = pair.recipient().to_text();
    let env = [("ETL_MASKING__KEY", KEY), ("ETL_VAULT__RECIPIENT", public.as_str())];
    let logins = server.queue("logins").unwrap();
    for _ in 0..2 {
        let bodies = (0..50).map(|n| login(&format!("u-{n}"), &format!("203.0.113.{}", n % 10)));
        logins.send_many(bodies).unwrap();
        let ended = run(&server, &database, &env);
        assert_eq!(ended.code, Some(0), "{}", ended.stderr);
        assert!(ended.stdout.starts_with("received 50 = inserted 50 "), "{}", ended.stdout);
    }
    let mut connection = database.connect().await;
    type Entry = (String, Vec<u8>, i32, Vec<u8>, Vec<u8>, String, Vec<u8>);
    let entries: Vec<Entry> = sqlx::query_as(
        "SELECT field, mask, mask_key_id, ciphertext, id, recipient_id, sealed_key
        FROM etl.pii_vault JOIN etl.vault_data_keys ON id = dek_id",
    )
    .fetch_all(&mut connection)
    .await
    .unwrap();
    let opener = VaultOpener::new(Arc::new(pair));
    let mut values: Vec<_> = entries
        .iter()
        .map(|(field, mask, mask_key_id, ciphertext, id, recipient_id, sealed)| {
            let data_key = SealedDataKey {
                id: id.as_slice().try_into().unwrap(),
                recipient_id: recipient_id.as_str().into(),
                bytes: sealed.as_slice().into(),
            };
            let mask = mask.as_slice().try_into().unwrap();
            let value = opener.open(&data_key, field, mask, KeyId::new(*mask_key_id), ciphertext).unwrap();
            format!("{field} {}", value.expose())
        })
        .collect();
    values.sort();
    let expected: Vec<_> = std::iter::once("device_id 593-47-5928".to_owned())
        .chain((0..10).map(|n| format!("ip 203.0.113.{n}")))
        .collect();
    assert_eq!(values, expected);
    let in_rows: bool = sqlx::query_scalar(
        "SELECT bool_and(EXISTS (SELECT FROM etl.pii_vault WHERE field = 'ip' AND encode(mask, 'hex') = masked_ip)) FROM user_logins",
    )
    .fetch_one(&mut connection)
    .await
    .unwrap();
    assert!(in_rows, "each row's mask leads to its value");
}

/// A service that gives every question this answer.
fn answering(body: String) -> String {
    answering_and_noting(body).0
}

/// The same, and each question.
fn answering_and_noting(body: String) -> (String, Receiver<String>) {
    let (sender, questions) = channel();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for connection in listener.incoming() {
            let mut connection = connection.unwrap();
            let _ = sender.send(question(&mut connection));
            let head = format!(
                "HTTP/1.1 200 OK\r\ncontent-type: application/x-amz-json-1.1\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
                body.len()
            );
            let _ = connection.write_all(format!("{head}{body}").as_bytes());
        }
    });
    (url, questions)
}

/// What follows on the head of a request.
fn question(connection: &mut TcpStream) -> String {
    let mut reader = BufReader::new(connection);
    let mut length = 0;
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).unwrap() <= 2 {
            break;
        }
        if let Some((name, value)) = line.split_once(':')
            && name.eq_ignore_ascii_case("content-length")
        {
            length = value.trim().parse().unwrap();
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).unwrap();
    String::from_utf8(body).unwrap()
}

fn check(url: &str, env: &[(&str, &str)]) -> Finished {
    let directory = tempfile::tempdir().unwrap();
    let database = format!("sqlite://{}", directory.path().join("logins.sqlite").display());
    finish(worker(&["migrate"]).env("ETL_SINK__DATABASE_URL", &database));
    finish(
        worker(&["check"])
            .env("ETL_SOURCE__QUEUE_NAME", "logins")
            .env("ETL_SOURCE__ENDPOINT_URL", "http://127.0.0.1:9")
            .env("ETL_SINK__DATABASE_URL", &database)
            .env("AWS_ENDPOINT_URL_SECRETS_MANAGER", url)
            .env("AWS_ENDPOINT_URL_KMS", url)
            .envs(env.iter().copied()),
    )
}

#[test]
fn a_key_comes_from_secrets_manager_or_the_build_says_that_it_cannot() {
    let url = answering(format!(r#"{{"Name":"prod/etl","SecretString":"{{\"mask\":\"{KEY}\"}}"}}"#));
    let env = [("ETL_MASKING__KEY_SECRET", "prod/etl"), ("ETL_MASKING__KEY_SECRET_FIELD", "mask")];
    let ended = check(&url, &env);
    if cfg!(feature = "secrets-manager") {
        // Only the queue is not there.
        assert_eq!(ended.code, Some(3), "{}{}", ended.stdout, ended.stderr);
        assert!(ended.stdout.contains("masking   hmac-sha512\n"), "{}", ended.stdout);
        let wrong = check(&url, &[env[0], ("ETL_MASKING__KEY_SECRET_FIELD", "other")]);
        assert_eq!(wrong.code, Some(2), "{}", wrong.stderr);
        assert!(wrong.stderr.starts_with("error: masking.key_secret: "), "{}", wrong.stderr);
        assert!(!wrong.stderr.contains(KEY));
    } else {
        assert_eq!(ended.code, Some(2), "{}", ended.stderr);
        let said = "masking.key_secret: AWS Secrets Manager needs a build with the feature secrets-manager";
        assert!(ended.stderr.contains(said), "{}", ended.stderr);
    }
}

#[test]
fn a_key_comes_from_a_file_that_kms_decrypts_or_the_build_says_that_it_cannot() {
    // Base64 of base64: KMS gives bytes.
    let url = answering(
        r#"{"KeyId":"k","Plaintext":"QUFFQ0F3UUZCZ2NJQ1FvTERBME9EeEFSRWhNVUZSWVhHQmthR3h3ZEhoOD0="}"#
            .to_owned(),
    );
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("key.kms");
    std::fs::write(&file, "Y2lwaGVydGV4dA==\n").unwrap();
    let ended = check(&url, &[("ETL_MASKING__KEY_KMS_FILE", file.to_str().unwrap())]);
    if cfg!(feature = "kms") {
        assert_eq!(ended.code, Some(3), "{}{}", ended.stdout, ended.stderr);
        assert!(ended.stdout.contains("masking   hmac-sha512\n"), "{}", ended.stdout);
    } else {
        assert_eq!(ended.code, Some(2), "{}", ended.stderr);
        let said = "masking.key_kms_file: AWS KMS needs a build with the feature kms";
        assert!(ended.stderr.contains(said), "{}", ended.stderr);
    }
}

/// Else whoever can write the file could put a key of another account's there, and know all masks.
#[test]
#[cfg_attr(not(feature = "kms"), ignore = "needs a build with the feature kms")]
fn kms_is_told_which_key_may_have_encrypted_the_file_and_its_context() {
    let (url, questions) = answering_and_noting(
        r#"{"KeyId":"k","Plaintext":"QUFFQ0F3UUZCZ2NJQ1FvTERBME9EeEFSRWhNVUZSWVhHQmthR3h3ZEhoOD0="}"#
            .to_owned(),
    );
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("key.kms");
    std::fs::write(&file, "Y2lwaGVydGV4dA==\n").unwrap();
    let env = [
        ("ETL_MASKING__KEY_KMS_FILE", file.to_str().unwrap()),
        ("ETL_MASKING__KEY_KMS_KEY_ID", "alias/etl"),
        ("ETL_MASKING__KEY_KMS_CONTEXT", "app=etl, stage=a=b"),
    ];
    let ended = check(&url, &env);
    assert!(ended.stdout.contains("masking   hmac-sha512\n"), "{}", ended.stdout);
    let question: serde_json::Value = serde_json::from_str(&questions.recv().unwrap()).unwrap();
    let expected = serde_json::json!({
        "CiphertextBlob": "Y2lwaGVydGV4dA==", "KeyId": "alias/etl", "EncryptionContext": {"app": "etl", "stage": "a=b"}
    });
    assert_eq!(question, expected);
}

#[test]
fn a_key_comes_from_a_credential_of_systemd() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("mask"), KEY).unwrap();
    let directory = directory.path().to_str().unwrap();
    let env = [("ETL_MASKING__KEY_CREDENTIAL", "mask"), ("CREDENTIALS_DIRECTORY", directory)];
    let ended = check("http://127.0.0.1:9", &env);
    assert_eq!(ended.code, Some(3), "{}{}", ended.stdout, ended.stderr);
    assert!(ended.stdout.contains("masking   hmac-sha512\n"), "{}", ended.stdout);
}
