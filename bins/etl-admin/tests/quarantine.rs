//! Looking at rejected messages, and giving them up.

use fetch_etl_seal::KeyPair;

use crate::support::{Bench, VALUES, admin, broken, finish, login, refused};

#[tokio::test(flavor = "multi_thread")]
async fn a_list_says_what_was_rejected_and_nothing_that_was_in_it() {
    let mut bench = Bench::open().await;
    bench.refuse(vec![refused(None), refused(Some("order\u{1b}[2J17")), broken()]).await;
    let all = bench.quarantine("list").expect(0);
    assert_eq!(all.lines().count(), 5, "{all}");
    assert!(all.contains("refused_by_sink  SQLSTATE 23514") && all.contains("missing_field"), "{all}");
    assert!(
        all.contains("order\\u{1b}[2J17") && !all.contains('\u{1b}'),
        "a key must not steer the terminal: {all}"
    );
    assert!(all.contains(&bench.pair.recipient().id().to_string()), "{all}");
    for value in VALUES {
        assert!(!all.contains(value), "{all}");
    }
    for (filter, lines) in [
        ("--reason missing_field", 1),
        ("--reason missing_field,refused_by_sink", 3),
        ("--reason too_long", 0),
        ("--since 1h", 3),
        ("--until 1h", 0),
        ("--since 2020-01-01 --until 2020-01-02T00:00Z", 0),
        ("--state discarded", 0),
        ("--state all", 3),
        ("--key order\u{1b}[2J17", 1),
        ("--limit 2", 2),
    ] {
        let listed = bench.quarantine(&format!("list {filter}")).expect(0);
        let heading = usize::from(lines > 0);
        assert_eq!(listed.lines().count(), heading + lines + 1, "{filter}: {listed}");
    }
    let limited = bench.quarantine("list --limit 2").expect(0);
    assert!(limited.ends_with("3 messages, of which the newest 2 are shown (--limit)\n"), "{limited}");
}

/// Whoever can write to the database does not get hold of the operator's terminal.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_of_the_database_steers_the_terminal() {
    let mut bench = Bench::open().await;
    bench.refuse(vec![refused(Some("a")), refused(Some("b"))]).await;
    bench
        .execute(
            "UPDATE etl.quarantine SET reason = E'r\\x1b[2J', sink_code = E'c\\x1b]0;', field = E'f\\u061c',
                recipient_id = E'id\\x1b[8m'
            WHERE key = 'a';
            UPDATE etl.quarantine SET state = 'discarded', closed_at = now(), closed_by = E'by\\u202e' WHERE key = 'b'",
        )
        .await;
    let reveal = "show a --private-key recipient.key --reveal-personal-data --reason ticket";
    for args in ["list --state all", "show a", "show b", "replay --private-key recipient.key --all", reveal] {
        let said = bench.quarantine(args);
        let printed = format!("{}{}", said.stdout, said.stderr);
        let steers = |c: &char| c.is_control() && *c != '\n' || ['\u{61c}', '\u{202e}'].contains(c);
        assert_eq!(printed.chars().find(steers), None, "{args}: {printed:?}");
        assert!(printed.contains("\\u{"), "{args}: {printed:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_is_shown_only_to_the_holder_of_its_key_who_asks_for_it() {
    let mut bench = Bench::open().await;
    let message = refused(Some("order-17"));
    bench.refuse(vec![message.clone()]).await;
    let shown = bench.quarantine("show order-17").expect(0);
    assert!(shown.contains("order-17 (the producer's)") && shown.contains("refused_by_sink"), "{shown}");
    for value in VALUES {
        assert!(!shown.contains(value), "{shown}");
    }
    let reveal = "show order-17 --reveal-personal-data --reason ticket --private-key";
    let revealed = bench.quarantine(&format!("{reveal} recipient.key")).expect(0);
    assert_eq!(revealed, message.body);

    bench.quarantine("show order-17 --reveal-personal-data --reason ticket").expect_usage("--private-key");
    let other = KeyPair::generate().unwrap();
    bench.write_key("other.key", &other, 0o600);
    let said = bench.quarantine(&format!("{reveal} other.key"));
    assert!(said.stdout.is_empty(), "{said:?}");
    said.expect_error(1, &format!("this key is {}", other.recipient().id()));
    bench.quarantine("show order-18").expect_error(1, "knows no message of this key");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_is_shown_only_after_the_audit_knows() {
    let mut bench = Bench::open().await;
    bench.refuse(vec![refused(Some("order-17"))]).await;
    let reveal = "show order-17 --reveal-personal-data --private-key recipient.key --reason";
    bench
        .quarantine("show order-17 --reveal-personal-data --private-key recipient.key")
        .expect_usage("--reason");
    bench.quarantine(&format!("{reveal} ticket")).expect(0);
    let audited: String =
        bench.one("SELECT string_agg(action || '|' || subject || '|' || reason, ';') FROM etl.audit").await;
    assert_eq!(audited, "show|rejected message order-17|ticket");
    bench.execute("DROP FUNCTION etl.append_audit CASCADE").await;
    let said = bench.quarantine(&format!("{reveal} ticket"));
    assert!(said.stdout.is_empty(), "{said:?}");
    said.expect_error(1, "append_audit");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_private_key_that_others_may_read_is_refused_unless_that_is_allowed() {
    let mut bench = Bench::open().await;
    bench.refuse(vec![refused(Some("order-17"))]).await;
    bench.write_key("open.key", &bench.pair, 0o640);
    let reveal = "show order-17 --reveal-personal-data --reason ticket --private-key";
    let said =
        bench.quarantine(&format!("{reveal} open.key")).expect_error(2, "others on this machine may read");
    assert!(said.contains("hint: chmod 600"), "{said}");
    bench.quarantine(&format!("{reveal} open.key --insecure-permissions")).expect(0);
    bench
        .quarantine(&format!("{reveal} no.key"))
        .expect_error(2, "cannot read the private key no.key: there is no such file");
    std::fs::write(bench.path("public.key"), bench.pair.recipient().to_text()).unwrap();
    let said = bench.quarantine(&format!("{reveal} public.key --insecure-permissions"));
    said.expect_error(2, "this is a public key");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_discarded_is_gone_and_only_that() {
    let mut bench = Bench::open().await;
    bench.refuse(vec![refused(Some("a")), refused(Some("b")), broken()]).await;
    bench.quarantine("discard --key a").expect_usage("<--yes|--dry-run>");
    bench
        .quarantine("discard --yes")
        .expect_usage("<--all|--reason <REASON>|--since <WHEN>|--until <WHEN>|--key <KEY>>");
    let said = bench.quarantine("discard --reason refused_by_sink --dry-run").expect(0);
    assert_eq!((said.as_str(), bench.states().await.as_str()), ("would discard 2 messages\n", "open:3"));
    assert_eq!(bench.quarantine("discard --key a --yes").expect(0), "discarded 1 message\n");
    assert_eq!(bench.states().await, "discarded:1 open:2");
    let shown = bench.quarantine("show a").expect(0);
    let role: String = bench.one("SELECT session_user::text").await;
    assert!(
        shown.lines().any(|line| line.starts_with("closed: ") && line.ends_with(&format!("Z by {role}"))),
        "{shown}"
    );
    let bodies: String = bench
        .one("SELECT string_agg(state, ' ' ORDER BY state) FROM etl.quarantine WHERE sealed_body IS NOT NULL")
        .await;
    assert_eq!(bodies, "open open");
    assert_eq!(bench.quarantine("discard --all --yes").expect(0), "discarded 2 messages\n");
    assert_eq!(bench.quarantine("discard --all --yes").expect(0), "discarded 0 messages\n");
    assert_eq!(
        bench.replay("--all").expect(0).lines().next(),
        Some("replayed 0 messages: 0 stored now, 0 stored before")
    );
    assert_eq!(bench.rows().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_never_sealed_is_counted_and_said() {
    let mut bench = Bench::open().await;
    bench.work(vec![broken()], false).await;
    bench.refuse(vec![]).await;
    let said = bench.replay("--all").expect(0);
    assert!(said.contains("left out: 1 message without a sealed body"), "{said}");
    let said = bench.quarantine("discard --all --dry-run").expect(0);
    assert!(said.contains("1 of them without a sealed body"), "{said}");
    bench.work(vec![login("DE", None)], false).await;
    assert_eq!(bench.rows().await, 1);
}

#[test]
fn a_database_that_is_not_there_is_said() {
    let directory = tempfile::tempdir().unwrap();
    let url = format!("sqlite://{}", directory.path().join("logins.sqlite").display());
    let said = finish(admin(&["quarantine", "list"]).env("ETL_SINK__DATABASE_URL", url));
    said.expect_error(1, "logins.sqlite missing: `etl-worker migrate` makes them");
    finish(&mut admin(&["quarantine", "list"])).expect_error(2, "sink.database_url: missing");
    let said = finish(
        admin(&["quarantine", "list"]).env("ETL_SINK__DATABASE_URL", "postgres://a:hunter2@127.0.0.1:1/b"),
    );
    let said = said.expect_error(1, "postgres://a:[hidden]@127.0.0.1:1/b: cannot reach");
    assert!(!said.contains("hunter2"), "{said}");
}
