//! A rejected message from the queue to the quarantine and back, with nothing but the real programs and each kind of key.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use fetch_etl_harness::{Ended, Masking, Opinion, Running, Sent, binary, rows};
use serde::Deserialize;

use super::support::{Stage, logins};

#[derive(Deserialize)]
struct Hostile {
    body: String,
    expect: String,
}

#[tokio::test]
async fn with_a_key_pair_of_keygen_every_reject_goes_there_and_back() {
    let directory = tempfile::tempdir().expect("a directory");
    let keygen = Running::start(
        &binary("etl-admin"),
        [
            "keygen",
            "--private-key",
            &path(&directory, "private"),
            "--public-key",
            &path(&directory, "public"),
        ],
        [],
    );
    keygen.wait().assert_code(0);
    there_and_back(directory.path()).await;
}

/// As it is made by a KMS or openssl, with the public half in PEM.
#[tokio::test]
async fn with_an_rsa_key_every_reject_goes_there_and_back() {
    let directory = tempfile::tempdir().expect("a directory");
    let vectors = include_str!("../../fetch-etl-seal/tests/vectors.json");
    let vectors: serde_json::Value = serde_json::from_str(vectors).expect("valid vectors");
    for half in ["public", "private"] {
        let file = directory.path().join(half);
        let text = vectors["keys"]["rsa3072"][half].as_str().expect("a key");
        assert!(text.starts_with("-----BEGIN "));
        fs::write(&file, text).expect("a key is written");
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).expect("a file of ours");
    }
    there_and_back(directory.path()).await;
}

fn path(directory: &tempfile::TempDir, name: &str) -> String {
    directory.path().join(name).display().to_string()
}

async fn there_and_back(keys: &Path) {
    let stage = Stage::new(Masking::keyed(), 30).await;
    // The worker makes the tables, and then they refuse some of what is good.
    stage.worker(&["--until-empty"]).wait().assert_code(0);
    let mut outside = stage.database.connect().await;
    let refuse = "ALTER TABLE user_logins ADD CONSTRAINT refusal CHECK (user_id !~ '^u-[0-4]')";
    sqlx::raw_sql(refuse).execute(&mut outside).await.expect("the table is ours");

    let hostile: Vec<Hostile> =
        serde_json::from_str(include_str!("../../../fixtures/hostile.json")).expect("the fixtures are valid");
    let hostile = hostile.into_iter().filter(|case| case.expect != "row" && !case.body.is_empty());
    let bad = stage.queue.send(hostile.map(|case| case.body)).await;
    let good = stage.queue.send(logins(50)).await;
    let public = keys.join("public").display().to_string();
    let worked =
        stage.worker(&["--until-empty", "--set", &format!("quarantine.recipient_file={public}")]).wait();
    worked.assert_code(0);
    let refused = 50 - stage.count_rows().await;
    assert!(refused > 25, "{}", worked.stdout);
    assert_eq!(stage.queue.depth().await, (0, 0), "what is sealed is deleted");

    let count = bad.len() as u64 + refused;
    let listed = admin(&stage, &["list", "--limit", "1000"]);
    assert!(listed.assert_code(0).stdout.ends_with(&format!("{count} messages\n")), "{}", listed.stdout);
    no_body_in(&bad, &listed);
    let private = keys.join("private").display().to_string();
    for sent in bad.iter().step_by(7) {
        let shown = admin(
            &stage,
            &["show", &sent.id, "--private-key", &private, "--reveal-personal-data", "--reason", "ticket"],
        );
        assert_eq!(shown.assert_code(0).stdout, sent.body);
    }
    sqlx::raw_sql("ALTER TABLE user_logins DROP CONSTRAINT refusal")
        .execute(&mut outside)
        .await
        .expect("the table is ours");

    let replayed = admin(&stage, &["replay", "--private-key", &private, "--all"]);
    let first = format!("replayed {refused} messages: {refused} stored now, 0 stored before\n");
    assert!(replayed.assert_code(1).stdout.starts_with(&first), "{}", replayed.stdout);
    no_body_in(&bad, &replayed);
    let stored = rows(&mut outside).await;
    assert_eq!(stored.len(), 50);
    if let Some(opinion) = Opinion::ask(&stage.masking, &good) {
        opinion.assert_rows(&stored);
    }
    let discarded = admin(&stage, &["discard", "--all", "--yes"]);
    assert_eq!(discarded.assert_code(0).stdout, format!("discarded {} messages\n", bad.len()));
}

/// `etl-admin quarantine …` with the worker's configuration.
fn admin(stage: &Stage, arguments: &[&str]) -> Ended {
    let environment = stage.worker_environment();
    Running::start(&binary("etl-admin"), [&["quarantine"], arguments].concat(), environment).wait()
}

fn no_body_in(sent: &[Sent], ended: &Ended) {
    let printed = format!("{}{}", ended.stdout, ended.stderr);
    for Sent { body, .. } in sent.iter().filter(|sent| sent.body.len() > 20) {
        assert!(!printed.contains(body), "a message was printed");
    }
}
