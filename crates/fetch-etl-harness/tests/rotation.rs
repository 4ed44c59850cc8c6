//! The fence around a fleet, and rotations of keys beside workers that write.

use fetch_etl_harness::{Ended, Masking, Opinion, Running, binary, rows};

use super::support::{Stage, ids, logins};

/// `etl-admin` with the configuration of a worker that masks like this.
fn admin(stage: &Stage, masking: &Masking, arguments: &[&str]) -> Running {
    let environment = stage.environment_masking(masking);
    Running::start(&binary("etl-admin"), arguments, environment)
}

fn done(running: Running, code: i32) -> Ended {
    let ended = running.wait();
    ended.assert_code(code);
    ended
}

fn hmac(key_hex: &str) -> Masking {
    Masking::Hmac { key_hex: key_hex.to_owned(), domain: "default".into(), key_id: 1 }
}

/// The public half of a new pair of keys.
fn recipient() -> String {
    let directory = tempfile::tempdir().expect("there is room for a directory");
    let file = |name| directory.path().join(name).display().to_string();
    let arguments = ["keygen", "--private-key", &file("private"), "--public-key", &file("public")];
    done(Running::start(&binary("etl-admin"), arguments, []), 0);
    std::fs::read_to_string(file("public")).expect("the key was written").trim().to_owned()
}

/// Small batches, so that there is a middle.
const SLOW: [&str; 4] = ["--set", "pipeline.max_batch_rows=50", "--set", "pipeline.max_in_flight=500"];

#[tokio::test]
async fn a_worker_with_another_policy_refuses_to_start_until_it_is_put_in_force() {
    let stage = Stage::new(Masking::keyed(), 600).await;
    let other = hmac(&"5a3c".repeat(16));
    stage.queue.send(logins(300)).await;
    let first = stage.worker(&[]);
    stage.wait_for_rows(300).await;

    let refused = done(stage.worker_masking(&other, &["--until-empty"]), 1);
    let said = "this worker's masking policy is not the one in force in the database: key 1 is not the key that the database \
                knows by this id";
    assert!(refused.stderr.contains(said), "{}", refused.stderr);
    let refused = done(stage.worker_masking(&Masking::Sha512, &["--until-empty"]), 1);
    assert!(refused.stderr.contains("the method is ip=sha512 device_id=sha512 here"), "{}", refused.stderr);
    assert_eq!(stage.count_rows().await, 300);

    // On purpose: the worker that has the old policy writes nothing more, and the message is not lost.
    let shown = done(admin(&stage, &other, &["policy", "show"]), 1);
    assert!(
        shown.stdout.contains("the configuration does not fit: key 1 is not the key"),
        "{}",
        shown.stdout
    );
    // Not under the id of the key in force; a key's id is all that tells masks apart.
    for arguments in [&["policy", "set", "--yes"][..], &["policy", "set", "--yes", "--reuse-key-id"]] {
        let refused = done(admin(&stage, &other, arguments), 1);
        assert!(refused.stderr.contains("the key id 1 is that of another key"), "{}", refused.stderr);
    }
    let Masking::Hmac { key_hex, domain, .. } = other else { unreachable!("it was made above") };
    let other = Masking::Hmac { key_hex, domain, key_id: 7 };
    done(admin(&stage, &other, &["policy", "set", "--dry-run"]), 0);
    done(admin(&stage, &other, &["policy", "set", "--yes"]), 0);
    stage.queue.send(logins(1)).await;
    let stopped = done(first, 1);
    assert!(stopped.stderr.contains("is not the one in force in the database"), "{}", stopped.stderr);
    assert_eq!(stage.count_rows().await, 300);
    done(stage.worker_masking(&other, &["--until-empty"]), 0);
    assert_eq!(stage.count_rows().await, 301);
}

#[tokio::test]
async fn rows_without_a_policy_must_fit_the_first_one() {
    let stage = Stage::new(Masking::Sha512, 600).await;
    stage.queue.send(logins(10)).await;
    done(stage.worker(&["--until-empty"]), 0);
    // As in a database of a version that knew no policies.
    stage.execute("DELETE FROM etl.policy; DELETE FROM etl.policy_history").await;
    let refused = done(stage.worker_masking(&Masking::keyed(), &["--until-empty"]), 1);
    let said = "the stored rows were masked with key 0, and the configured keys are 1";
    assert!(refused.stderr.contains(said), "{}", refused.stderr);
    done(stage.worker(&["--until-empty"]), 0);
}

/// Workers write all the time, the rotation is killed again and again: all rows are masked with both keys in the end.
#[tokio::test]
async fn a_rotation_beside_workers_and_through_kill_9_loses_and_mixes_nothing() {
    const MESSAGES: usize = 9_000;
    let mut stage = Stage::new(Masking::keyed(), 30).await;
    // With a vault: its entries change their masks, too, while workers bring the same values under new masks.
    stage.besides.push(("ETL_VAULT__RECIPIENT".into(), recipient()));
    let mut sent = stage.queue.send(logins(MESSAGES / 3)).await;
    let old = stage.worker(&SLOW);
    stage.wait_for_rows(MESSAGES as u64 / 3).await;

    // A worker that has both keys goes on with the one in force.
    stage.masking = Masking::rotated();
    let ready = stage.worker(&SLOW);
    sent.extend(stage.queue.send(logins(MESSAGES / 3)).await);
    stage.wait_for_rows(MESSAGES as u64 / 2).await;
    assert_eq!(stage.key_ids().await, [1]);
    let dry = done(admin(&stage, &stage.masking, &["rotate", "--dry-run"]), 0);
    assert!(dry.stdout.contains("would put key 2 in force"), "{}", dry.stdout);
    assert_eq!(stage.key_ids().await, [1]);

    for _ in 0..3 {
        let mut rotating = admin(&stage, &stage.masking, &["rotate"]);
        stage.wait_for_fewer_of_key(1, &mut rotating).await;
        let killed = rotating.kill();
        assert_eq!(killed.stderr, "");
        sent.extend(stage.queue.send(logins(MESSAGES / 9)).await);
    }
    let rotated = done(admin(&stage, &stage.masking, &["rotate"]), 0);
    assert!(rotated.stdout.contains("up to key 2"), "{}", rotated.stdout);
    let stopped = done(old, 1);
    assert!(stopped.stderr.contains("the key id is 1 here and 2 in the database"), "{}", stopped.stderr);
    ready.signal("TERM");
    done(ready, 0);
    stage.drain().await;

    let stored = rows(&mut stage.database.connect().await).await;
    let stored_ids: Vec<_> = stored.iter().filter_map(|row| row.message_id.as_deref()).collect();
    assert_eq!(stored.len(), sent.len(), "exactly one row each");
    assert!(stored_ids.into_iter().eq(ids(&sent)), "and for exactly the messages that were sent");
    assert_eq!(stage.key_ids().await, [2]);
    if let Some(opinion) = Opinion::ask(&stage.masking, &sent) {
        opinion.assert_rows(&stored);
    }
    let (kept, missing): (i64, i64) = sqlx::query_as(
        "SELECT (SELECT count(*) FROM etl.pii_vault WHERE mask_key_id = 2),
            (SELECT count(*) FROM user_logins WHERE NOT EXISTS (
                SELECT FROM etl.pii_vault WHERE field = 'ip' AND encode(mask, 'hex') = masked_ip
            ) OR NOT EXISTS (
                SELECT FROM etl.pii_vault WHERE field = 'device_id' AND encode(mask, 'hex') = masked_device_id
            ))",
    )
    .fetch_one(&mut stage.database.connect().await)
    .await
    .expect("the vault can be read");
    assert!(kept > 0 && missing == 0, "{missing} rows do not lead to their values, of {kept} that are kept");
    let again = done(admin(&stage, &stage.masking, &["rotate"]), 0);
    assert_eq!(again.stdout, "brought 0 rows up to key 2\n");
}

/// Rows of plain SHA-512, those of the first users among them, get a key without being read in.
#[tokio::test]
async fn plain_masks_get_a_key() {
    let mut stage = Stage::new(Masking::Sha512, 600).await;
    let sent = stage.queue.send(logins(500)).await;
    done(stage.worker(&["--until-empty"]), 0);
    // Rows from before this program.
    stage.execute("UPDATE user_logins SET mask_key_id = NULL WHERE user_id LIKE 'u-1%'").await;
    let Masking::Hmac { key_hex, .. } = Masking::keyed() else { unreachable!("keyed() has a key") };
    stage.masking = Masking::Chain { keys_hex: vec![key_hex], begins_plain: true, domain: "default".into() };
    let partly = done(admin(&stage, &stage.masking, &["rotate"]), 1);
    assert!(partly.stdout.contains("left out: 111 rows"), "{}", partly.stdout);
    done(admin(&stage, &stage.masking, &["rotate", "--unnamed-are-sha512"]), 0);
    let stored = rows(&mut stage.database.connect().await).await;
    if let Some(opinion) = Opinion::ask(&stage.masking, &sent) {
        opinion.assert_rows(&stored);
    }
}

#[tokio::test]
async fn what_cannot_be_rotated_is_said() {
    let stage = Stage::new(Masking::keyed(), 600).await;
    done(stage.worker(&["--until-empty"]), 0);
    let one = done(admin(&stage, &stage.masking, &["rotate"]), 2);
    assert!(one.stderr.contains("there is one key only, so there is nothing to rotate"), "{}", one.stderr);
    let Masking::Chain { keys_hex, domain, .. } = Masking::rotated() else {
        unreachable!("two keys are a chain")
    };
    let swapped = keys_hex.into_iter().rev().collect();
    let swapped = Masking::Chain { keys_hex: swapped, begins_plain: false, domain };
    let other = done(admin(&stage, &swapped, &["rotate"]), 1);
    assert!(other.stderr.contains("key 1 is not the key that the database knows"), "{}", other.stderr);
}
