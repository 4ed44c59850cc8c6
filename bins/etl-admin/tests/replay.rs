//! A replay: every message once, whatever happens.

use std::fs;
use std::time::{Duration, Instant};

use fetch_etl_seal::KeyPair;

use crate::support::{Bench, PATIENCE, VALUES, admin, broken, finish, login, refused, sent_days_ago, wait};

/// From the queue to the quarantine and back into the table.
#[tokio::test(flavor = "multi_thread")]
async fn a_refused_message_becomes_the_row_that_it_would_have_been() {
    let mut bench = Bench::open().await;
    bench.work(vec![login("DE", None)], true).await;
    bench.refuse(vec![sent_days_ago(3, refused(None))]).await;
    let listed = bench.quarantine("list").expect(0);
    assert!(listed.contains("refused_by_sink") && listed.ends_with("1 message\n"), "{listed}");

    bench.write_key("other.key", &KeyPair::generate().unwrap(), 0o600);
    let wrong = bench.quarantine("replay --private-key other.key --all");
    wrong.expect_error(
        1,
        &format!("none of the 1 message is sealed to it, but to {}", bench.pair.recipient().id()),
    );
    let tried = bench.replay("--all --dry-run").expect(0);
    assert_eq!(tried, "would replay 1 message, unless the database refuses some\n");
    assert_eq!((bench.rows().await, bench.states().await.as_str()), (1, "open:1"));

    let said = bench.replay("--reason refused_by_sink").expect(0);
    assert_eq!(said, "replayed 1 message: 1 stored now, 0 stored before\n");
    assert_eq!((bench.rows().await, bench.states().await.as_str()), (2, "replayed:1"));
    let equal: bool = bench
        .one(
            "SELECT count(DISTINCT (masked_ip, masked_device_id, mask_key_id, user_id, app_version)) = 1
                AND max(length(masked_ip)) = 128
                AND array_agg(create_date ORDER BY create_date) = ARRAY[etl.utc_today() - 3, etl.utc_today()]
            FROM user_logins",
        )
        .await;
    assert!(equal, "masked otherwise than by the worker, or of another day");
    let in_its_day: bool =
        bench.one("SELECT bool_or(sent_at_millis / 86400000 = etl.utc_today() - 3 - date '1970-01-01') AND count(*) = 2 FROM etl.ledger").await;
    assert!(in_its_day, "a later delivery of the message must find its key");
    let body_is_gone: bool = bench.one("SELECT bool_and(sealed_body IS NULL) FROM etl.quarantine").await;
    assert!(body_is_gone);

    let again = bench.replay("--all").expect(0);
    assert_eq!(again, "replayed 0 messages: 0 stored now, 0 stored before\n");
    assert_eq!(bench.rows().await, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_older_version_rejected_goes_through_the_rules_of_this_one() {
    let mut bench = Bench::open().await;
    bench.reject_by_schema(vec![login("DE", None), broken()]).await;
    let listed = bench.quarantine("list --reason wrong_type").expect(0);
    assert!(listed.contains("wrong_type  locale") && listed.ends_with("2 messages\n"), "{listed}");
    let said = bench.replay("--reason wrong_type").expect(1);
    assert_eq!(
        said,
        "replayed 1 message: 1 stored now, 0 stored before\n\
         rejected again, and still open: missing_field 1\n"
    );
    assert_eq!((bench.rows().await, bench.states().await.as_str()), (1, "open:1 replayed:1"));
    let reason: String =
        bench.one("SELECT reason || ' ' || field FROM etl.quarantine WHERE state = 'open'").await;
    assert_eq!(reason, "missing_field app_version");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replay_opens_nothing_that_the_audit_does_not_know_of() {
    let mut bench = Bench::open().await;
    bench.refuse(vec![refused(Some("a")), refused(Some("b"))]).await;
    bench.replay("--all --dry-run").expect(0);
    bench.replay("--key a").expect(0);
    let audited: String = bench
        .one("SELECT string_agg(concat_ws('|', action, subject, reason, entries), ';' ORDER BY seq) FROM etl.audit")
        .await;
    let subject = format!("rejected messages sealed to {}", bench.pair.recipient().id());
    assert_eq!(
        audited,
        format!("replay|{subject}|quarantine replay --dry-run|2;replay|{subject}|quarantine replay|1")
    );
    bench.execute("ALTER FUNCTION etl.append_audit RENAME TO another").await;
    bench.execute("CREATE FUNCTION etl.append_audit(text, text, text, text, text, text, bigint, OUT seq bigint, OUT hash bytea)
        LANGUAGE plpgsql AS 'BEGIN RAISE EXCEPTION USING ERRCODE = ''42501''; END'").await;
    for args in ["--all", "--all --dry-run"] {
        bench.replay(args).expect_error(1, "nothing is opened, for the audit could not be written");
    }
    assert_eq!((bench.rows().await, bench.states().await.as_str()), (1, "open:1 replayed:1"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_producers_key_stays_a_producers_key() {
    let mut bench = Bench::open().await;
    bench.refuse(vec![sent_days_ago(3, refused(Some("order-17")))]).await;
    bench.replay("--key order-17").expect(0);
    let undated: bool =
        bench.one("SELECT bool_and(sent_at_millis = -1) FROM etl.ledger WHERE key = 'order-17'").await;
    assert!(undated);
    // Long after, when nobody remembers the quarantine.
    bench.execute("DELETE FROM etl.quarantine").await;
    let summary = bench.work(vec![refused(Some("order-17"))], true).await;
    assert_eq!((summary.inserted, summary.duplicates), (0, 1));
}

/// The same event, sent twice with a key that nobody can store: the queue's ids would make two rows of it.
#[tokio::test(flavor = "multi_thread")]
async fn a_message_whose_own_key_is_unusable_is_not_quietly_stored_under_another_one() {
    let mut bench = Bench::open().await;
    let too_long = "k".repeat(129);
    bench.work(vec![login("DE", Some(&too_long)), login("DE", Some(&too_long))], true).await;
    bench.refuse(vec![refused(Some("a"))]).await;
    let left = "2 messages left open, for the producer's key is unusable";
    let tried = bench.replay("--all --dry-run").expect(1);
    assert!(tried.starts_with("would replay 1 message,") && tried.contains(left), "{tried}");
    let said = bench.replay("--all").expect(1);
    assert!(said.starts_with("replayed 1 message: 1 stored now") && said.contains(left), "{said}");
    assert!(said.contains("--by-queue-id"), "{said}");
    assert_eq!((bench.rows().await, bench.states().await.as_str()), (1, "open:2 replayed:1"));
    let said = bench.replay("--all --by-queue-id").expect(0);
    assert_eq!(said, "replayed 2 messages: 2 stored now, 0 stored before\n");
    assert_eq!((bench.rows().await, bench.states().await.as_str()), (3, "replayed:3"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_rejected_again_stays_with_its_new_reason() {
    let mut bench = Bench::open().await;
    bench.refuse(vec![refused(Some("a")), refused(Some("b")), broken()]).await;
    bench.execute("ALTER TABLE user_logins ADD CONSTRAINT other CHECK (message_id <> 'b') NOT VALID").await;
    let said = bench.replay("--all").expect(1);
    assert_eq!(
        said,
        "replayed 1 message: 1 stored now, 0 stored before\n\
         rejected again, and still open: missing_field 1, refused_by_sink 1\n"
    );
    assert_eq!(bench.states().await, "open:2 replayed:1");
    let bodies: i64 = bench.one("SELECT count(sealed_body) FROM etl.quarantine WHERE state = 'open'").await;
    assert_eq!(bodies, 2, "their bodies are all that is left of them");
    bench.execute("ALTER TABLE user_logins DROP CONSTRAINT other").await;
    assert!(
        bench.replay("--reason refused_by_sink").expect(0).starts_with("replayed 1 message: 1 stored now")
    );
    assert_eq!(bench.rows().await, 2);
    assert_eq!(
        bench.replay("--all --dry-run").expect(1).lines().nth(1),
        Some("would be rejected again: missing_field 1")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_came_again_meanwhile_is_not_stored_twice() {
    let mut bench = Bench::open().await;
    bench.refuse(vec![refused(Some("a"))]).await;
    assert_eq!(bench.work(vec![sent_days_ago(1, refused(Some("a")))], true).await.inserted, 1);
    // That closed the entry: nothing is left for the time when the ledger has forgotten the key.
    assert_eq!((bench.rows().await, bench.states().await.as_str()), (1, "replayed:1"));
    assert_eq!(bench.replay("--all").expect(0), "replayed 0 messages: 0 stored now, 0 stored before\n");
    assert_eq!(bench.rows().await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_under_another_messages_key_does_not_open() {
    let mut bench = Bench::open().await;
    bench.refuse(vec![refused(Some("a")), refused(Some("b")), refused(Some("c"))]).await;
    bench
        .execute(
            "UPDATE etl.quarantine AS q SET sealed_body = o.sealed_body FROM etl.quarantine AS o
            WHERE (q.key, o.key) IN (('a', 'b'), ('b', 'a'))",
        )
        .await;
    let said = bench.replay("--all").expect(1);
    assert!(
        said.starts_with("replayed 1 message: 1 stored now") && said.ends_with(":\n  a\n  b\n"),
        "{said}"
    );
    assert_eq!((bench.rows().await, bench.states().await.as_str()), (1, "open:2 replayed:1"));
    let reveal = "show a --private-key recipient.key --reveal-personal-data --reason ticket";
    bench.quarantine(reveal).expect_error(1, "it belongs elsewhere, or was changed after sealing");
}

/// Killed when the rows are stored and nothing of that is noted yet: the worst moment.
#[tokio::test(flavor = "multi_thread")]
async fn a_killed_replay_goes_on_and_stores_nothing_twice() {
    const MESSAGES: usize = 300;
    let mut bench = Bench::open().await;
    bench.refuse((0..MESSAGES).map(|_| refused(None)).collect()).await;
    let mut holder = bench.database.connect().await;
    sqlx::raw_sql("BEGIN; SELECT FROM etl.quarantine FOR UPDATE").execute(&mut holder).await.unwrap();
    let mut running = bench.command("replay --private-key recipient.key --all").spawn().unwrap();
    let waits = "SELECT count(*) FROM pg_stat_activity
        WHERE application_name = 'etl-admin' AND wait_event_type = 'Lock' AND datname = current_database()";
    let deadline = Instant::now() + PATIENCE;
    while bench.one::<i64>(waits).await == 0 || bench.rows().await == 0 {
        assert!(Instant::now() < deadline, "it never came to marking: {:?}", wait(running));
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    running.kill().unwrap();
    running.wait().unwrap();
    // What it had asked the server for must not be done after its death.
    bench
        .execute("SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE application_name = 'etl-admin' AND datname = current_database()")
        .await;
    sqlx::raw_sql("ROLLBACK").execute(&mut holder).await.unwrap();
    let stored = bench.rows().await;
    assert_eq!(bench.states().await, format!("open:{MESSAGES}"));
    let said = bench.replay("--all").expect(0);
    let expected = format!(
        "replayed {MESSAGES} messages: {} stored now, {stored} stored before\n",
        MESSAGES as i64 - stored
    );
    assert_eq!(said, expected);
    assert_eq!((bench.rows().await, bench.states().await), (MESSAGES as i64, format!("replayed:{MESSAGES}")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_configuration_that_is_wrong_is_said_before_anything_is_opened() {
    let bench = Bench::open().await;
    let masking = bench.quarantine("replay --private-key recipient.key --all --set masking.method=sha512");
    masking.expect_error(2, "masking.method: sha512 uses no key");
    let key = bench.quarantine("replay --private-key recipient.key --all --set masking.domain=a/b");
    key.expect_error(2, "masking.domain: ");
    let ended = finish(
        admin(&["quarantine", "replay", "--all", "--private-key", "recipient.key"])
            .current_dir(bench.directory.path()),
    );
    ended.expect_error(2, "sink.database_url: missing");
    assert!(VALUES.iter().all(|value| !bench.replay("--all").stdout.contains(value)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_writes_nothing_not_even_the_first_policy() {
    let mut bench = Bench::open().await;
    bench.reject_by_schema(vec![login("DE", Some("order-17"))]).await;
    let written = "SELECT (SELECT count(*) FROM etl.policy) + (SELECT count(*) FROM etl.policy_history)
        + (SELECT count(*) FROM user_logins)";
    let entry = "SELECT xmin::text::bigint FROM etl.quarantine";
    let before: i64 = bench.one(entry).await;
    let tried = bench.replay("--all --dry-run").expect(0);
    assert_eq!(tried, "would replay 1 message, unless the database refuses some\n");
    assert_eq!(bench.one::<i64>(written).await, 0);
    assert_eq!(bench.one::<i64>(entry).await, before);
    bench.replay("--all").expect(0);
    assert_eq!(bench.one::<i64>("SELECT count(*) FROM etl.policy").await, 1);
    // And where one is in force it is held to it.
    let other =
        bench.quarantine("replay --private-key recipient.key --all --dry-run --set masking.domain=eu");
    other.expect_error(1, "is not the one in force in the database");
}

#[tokio::test(flavor = "multi_thread")]
async fn with_a_recipient_for_the_vault_the_values_of_replayed_messages_are_kept() {
    let mut bench = Bench::open().await;
    bench.reject_by_schema(vec![login("DE", Some("order-17")), login("AT", Some("order-18"))]).await;
    bench.replay("--key order-18").expect(0);
    assert_eq!(bench.one::<i64>("SELECT count(*) FROM etl.pii_vault").await, 0, "the vault is off");
    let mut config = fs::read_to_string(bench.path("etl.toml")).unwrap();
    config.push_str(&format!("[vault]\nrecipient = \"{}\"\n", bench.pair.recipient().to_text()));
    fs::write(bench.path("etl.toml"), config).unwrap();
    bench.replay("--key order-17 --dry-run").expect(0);
    assert_eq!(bench.one::<i64>("SELECT count(*) FROM etl.pii_vault").await, 0, "nothing is written");
    bench.replay("--key order-17").expect(0);
    let reveal = "reveal --row order-17 --private-key recipient.key --level full --reveal-personal-data";
    let said = finish(&mut bench.with_reason(reveal, "ticket 4711")).expect(0);
    assert!(said.contains(VALUES[0]) && said.contains(VALUES[1]) && said.contains("2 values kept"), "{said}");
}
