//! Getting values back: with the key and a reason, and never unseen.

use std::process::Command;

use fetch_etl_seal::KeyPair;
use fetch_etl_testing::proxy::{CommitFault, Ending, FaultPlan, PgProxy, Writes};

use crate::audit::head_of;
use crate::support::{Bench, VALUES, finish, login_of, wait};

const PARTIAL: &str = "--private-key recipient.key";
const FULL: &str = "--private-key recipient.key --level full --reveal-personal-data";

async fn bench() -> Bench {
    let bench = Bench::open().await;
    let logins = vec![
        login_of("u-secret", "m-1", VALUES[0], VALUES[1]),
        login_of("u-secret", "m-2", VALUES[0], "d-2"),
        login_of("other", "m-3", "2001:db8:1:2::3", "d-\\u001b[2J\\u202e3"),
    ];
    assert_eq!(bench.work_with_vault(logins).await.inserted, 3);
    bench
}

impl Bench {
    fn reveal(&self, args: &str) -> Command {
        self.with_reason(&format!("reveal {args}"), "ticket 4711")
    }

    /// What the audit says last.
    async fn audited(&mut self) -> String {
        let sql = "SELECT coalesce((SELECT concat_ws('|', seq, action, subject, level, entries, reason) FROM etl.audit
            ORDER BY seq DESC LIMIT 1), 'nothing')";
        self.one(sql).await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_level_shows_what_it_says_and_the_audit_knows() {
    let mut bench = bench().await;
    let exists = finish(&mut bench.reveal("--row m-1 --level exists")).expect(0);
    assert_eq!(exists.matches("  kept\n").count(), 2, "{exists}");
    assert_eq!(bench.audited().await, "1|reveal|row m-1|exists|2|ticket 4711");
    let partial = finish(&mut bench.reveal(&format!("--row m-1 {PARTIAL}"))).expect(0);
    assert!(partial.contains("  203.0.113.0/24\n") && partial.contains("  …5928\n"), "{partial}");
    assert!(partial.contains("\n2 values kept\n"), "{partial}");
    assert_eq!(bench.audited().await, "2|reveal|row m-1|partial|2|ticket 4711");
    for said in [exists, partial] {
        assert!(VALUES.iter().all(|value| !said.contains(value)), "{said}");
    }
    let full = finish(&mut bench.reveal(&format!("--user u-secret {FULL}"))).expect(0);
    for value in [VALUES[0], VALUES[1], "d-2"] {
        assert_eq!(full.matches(&format!("  {value}\n")).count(), 1, "{full}");
    }
    assert_eq!(bench.audited().await, "3|reveal|user u-secret|full|3|ticket 4711");
    let noted = bench.run(&format!("audit verify --expect-head {}", head_of(&full)));
    noted.expect(0);

    let few = finish(&mut bench.reveal(&format!("--user u-secret --limit 1 {FULL}"))).expect(0);
    assert!(few.contains(VALUES[0]) && few.contains("there are more than 1 (--limit)\n"), "{few}");
    assert_eq!(bench.audited().await, "4|reveal|user u-secret|full|1|ticket 4711");
    let other = finish(&mut bench.reveal(&format!("--row m-3 {PARTIAL}"))).expect(0);
    assert!(other.contains("  2001:db8:1::/48\n"), "{other}");
    let other = finish(&mut bench.reveal(&format!("--row m-3 {FULL}"))).expect(0);
    assert!(other.contains("  d-\\u{1b}[2J\\u{202e}3\n"), "it cannot steer a terminal: {other}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mask_leads_to_its_value_and_a_value_to_nothing() {
    let mut bench = bench().await;
    let mask: String = bench.one("SELECT masked_ip FROM user_logins WHERE message_id = 'm-1'").await;
    let full = finish(&mut bench.reveal(&format!("--mask {mask} --field ip {FULL}"))).expect(0);
    assert!(full.contains(&format!("  {}\n", VALUES[0])), "{full}");
    assert_eq!(bench.audited().await, format!("1|reveal|mask ip {}…|full|1|ticket 4711", &mask[..16]));
    let wrong_field = finish(&mut bench.reveal(&format!("--mask {mask} --field device_id {FULL}"))).expect(1);
    assert!(wrong_field.starts_with("nothing is kept of it"), "{wrong_field}");
    finish(&mut bench.reveal(&format!("--row m-0 {PARTIAL}"))).expect(1);
    finish(&mut bench.reveal(&format!("--user {} {PARTIAL}", VALUES[0]))).expect(1);
    finish(&mut bench.reveal("--row m-0 --level exists")).expect(0);
    assert_eq!(
        bench.audited().await,
        "5|reveal|row m-0|exists|0|ticket 4711",
        "also where nothing was found"
    );
    finish(&mut bench.reveal(&format!("--mask {} {PARTIAL}", VALUES[0])))
        .expect_error(2, "expected the 128 hexadecimal characters");
}

/// Whoever has no key, or another one, was here all the same.
#[tokio::test(flavor = "multi_thread")]
async fn the_audit_is_written_before_anything_is_opened() {
    let mut bench = bench().await;
    let other = KeyPair::generate().unwrap();
    bench.write_key("other.key", &other, 0o600);
    let said =
        finish(&mut bench.reveal("--row m-1 --private-key other.key --level full --reveal-personal-data"))
            .expect(1);
    let why = format!(
        "does not open: sealed to recipient {}; this key is {}",
        bench.pair.recipient().id(),
        other.recipient().id()
    );
    assert_eq!(said.matches(&why).count(), 2, "{said}");
    assert!(
        said.contains("2 values not opened") && VALUES.iter().all(|value| !said.contains(value)),
        "{said}"
    );
    assert_eq!(bench.audited().await, "1|reveal|row m-1|full|2|ticket 4711");
    // What somebody put into the vault under another value's mask.
    bench
        .execute(
            "UPDATE etl.pii_vault AS v SET (dek_id, ciphertext) = (SELECT dek_id, ciphertext FROM etl.pii_vault WHERE field = 'ip' LIMIT 1)
            WHERE field = 'device_id'",
        )
        .await;
    let said = finish(&mut bench.reveal(&format!("--row m-1 {FULL}"))).expect(1);
    assert!(said.contains(VALUES[0]) && said.contains("1 value not opened"), "{said}");
}

/// A proxy that knows the audit's writes.
async fn proxy(bench: &Bench) -> (PgProxy, Command) {
    let url = bench.database.url();
    let address = url.split_once("://").unwrap().1.split('/').next().unwrap();
    let address = address.rsplit('@').next().unwrap();
    let writes = Writes::when(|statement| statement.contains("FROM etl.append_audit("));
    let proxy = PgProxy::start_with(address, writes).await.unwrap();
    let through = proxy.url_for(url).unwrap();
    let mut command = bench.reveal(&format!("--row m-1 {FULL}"));
    command.env("ETL_SINK__DATABASE_URL", through);
    (proxy, command)
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_shown_where_the_audit_is_not_known_to_be_written() {
    let mut bench = bench().await;
    let (proxy, mut command) = proxy(&bench).await;
    for (fault, audited) in [
        (CommitFault::Before(Ending::Cut), "nothing"),
        (CommitFault::After(Ending::Reset), "1|reveal|row m-1|full|2|ticket 4711"),
    ] {
        proxy.inject(FaultPlan::next_commit(fault));
        let child = command.spawn().unwrap();
        let ended = tokio::task::spawn_blocking(move || wait(child)).await.unwrap();
        assert_eq!(ended.stdout, "", "{fault:?}");
        ended.expect_error(1, "nothing is shown, for the audit could not be written: ");
        assert_eq!(bench.audited().await, audited, "{fault:?}");
    }
    let child = command.spawn().unwrap();
    let said = tokio::task::spawn_blocking(move || wait(child)).await.unwrap().expect(0);
    assert!(said.contains(VALUES[0]), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_before_it_knows_the_row_is_there_and_nothing_was_shown() {
    let mut bench = bench().await;
    let (proxy, mut command) = proxy(&bench).await;
    proxy.inject(FaultPlan::next_commit(CommitFault::HoldAfter));
    let mut child = command.spawn().unwrap();
    proxy.until(|stats| stats.injected.held_after == 1).await;
    child.kill().unwrap();
    assert_eq!(tokio::task::spawn_blocking(move || wait(child)).await.unwrap().stdout, "");
    assert_eq!(bench.audited().await, "1|reveal|row m-1|full|2|ticket 4711");
}

/// The group role for it is enough, and a role that may read the vault but not append to the audit gets nothing.
#[tokio::test(flavor = "multi_thread")]
async fn a_role_that_may_not_append_is_shown_nothing() {
    let mut bench = bench().await;
    let role = format!("revealer_{}", bench.database.name());
    bench
        .execute(&format!(
            "CREATE ROLE {role} LOGIN PASSWORD 'p'; GRANT USAGE ON SCHEMA etl TO {role};
            GRANT SELECT ON user_logins, etl.pii_vault, etl.vault_data_keys TO {role}"
        ))
        .await;
    let url = bench.database.url();
    let host = url.split_once("://").unwrap().1.rsplit('@').next().unwrap();
    let mut command = bench.reveal(&format!("--row m-1 {FULL}"));
    command.env("ETL_SINK__DATABASE_URL", format!("postgres://{role}:p@{host}"));
    let ended = finish(&mut command);
    assert_eq!(ended.stdout, "");
    ended.expect_error(1, "nothing is shown, for the audit could not be written: ");
    bench.execute(&format!("GRANT EXECUTE ON FUNCTION etl.append_audit TO {role}")).await;
    assert!(finish(&mut command).expect(0).contains(VALUES[0]));
    assert_eq!(bench.one::<String>("SELECT db_role FROM etl.audit").await, role);
    bench.execute(&format!("DROP OWNED BY {role}; DROP ROLE {role}")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_missing_is_said_before_anything_is_done() {
    let mut bench = bench().await;
    finish(&mut bench.reveal("--row m-1")).expect_error(2, "--level partial needs --private-key");
    finish(&mut bench.reveal("--row m-1 --level full --private-key recipient.key"))
        .expect_usage("--reveal-personal-data");
    finish(&mut bench.with_reason(&format!("reveal --row m-1 {PARTIAL}"), "  a  "))
        .expect_usage("that say why");
    bench.write_key("open.key", &bench.pair, 0o644);
    finish(&mut bench.reveal("--row m-1 --private-key open.key"))
        .expect_error(2, "others on this machine may read");
    assert_eq!(bench.audited().await, "nothing");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rotation_takes_nothing_away_from_those_who_may_know() {
    let mut bench = bench().await;
    let before: String = bench.one("SELECT masked_ip FROM user_logins WHERE message_id = 'm-1'").await;
    bench.use_two_keys();
    bench.run("rotate").expect(0);
    let after: String = bench.one("SELECT masked_ip FROM user_logins WHERE message_id = 'm-1'").await;
    assert_ne!(before, after);
    for what in ["--row m-1".to_owned(), format!("--mask {after}"), format!("--mask {before}")] {
        let full = finish(&mut bench.reveal(&format!("{what} {FULL}"))).expect(0);
        assert!(full.contains(&format!("  {}\n", VALUES[0])), "{what}: {full}");
    }
}
