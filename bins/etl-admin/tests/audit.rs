//! The audit, as an operator looks at it.

use crate::support::{Bench, VALUES, finish, login_of};

/// What a head is printed as.
pub(crate) fn head_of(said: &str) -> String {
    let line = said.lines().find_map(|line| line.strip_prefix("audit head: "));
    line.unwrap_or_else(|| panic!("no head in {said}")).to_owned()
}

impl Bench {
    /// As somebody who may do everything, and leaves no trigger off behind them.
    async fn without_triggers(&mut self, sql: &str) {
        let all_on = "DO $$ DECLARE t pg_trigger; BEGIN
            FOR t IN SELECT * FROM pg_trigger WHERE NOT tgisinternal AND tgrelid IN ('etl.audit'::regclass, 'etl.audit_head'::regclass)
            LOOP EXECUTE format('ALTER TABLE %s ENABLE ALWAYS TRIGGER %I', t.tgrelid::regclass, t.tgname); END LOOP; END $$";
        let off = "ALTER TABLE etl.audit DISABLE TRIGGER ALL; ALTER TABLE etl.audit_head DISABLE TRIGGER ALL";
        self.execute(&format!("{off}; {sql}; {all_on}")).await;
    }
}

async fn audited() -> Bench {
    let bench = Bench::open().await;
    bench.work_with_vault(vec![login_of("u-secret", "m-1", VALUES[0], VALUES[1])]).await;
    let reveal = "reveal --row m-1 --private-key recipient.key";
    finish(&mut bench.with_reason(reveal, "ticket 4711")).expect(0);
    finish(&mut bench.with_reason("reveal --user u-secret --level exists", "ticket \u{1b}[2J")).expect(0);
    finish(&mut bench.with_reason("erase --user u-2 --yes", "request 12")).expect(0);
    bench
}

#[tokio::test(flavor = "multi_thread")]
async fn who_did_what_and_why_is_listed() {
    let bench = audited().await;
    let listed = bench.run("audit list").expect(0);
    let lines: Vec<Vec<&str>> = listed.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(lines.len(), 6, "{listed}");
    for (line, action) in [(1, "reveal"), (2, "reveal"), (3, "erase"), (4, "erase_finished")] {
        assert_eq!((lines[line][0], lines[line][2]), (&*line.to_string(), "postgres"), "{listed}");
        assert!(lines[line].contains(&action), "{listed}");
        assert!(lines[line].contains(&"on"), "the machine: {listed}");
    }
    assert!(
        listed.contains("row m-1 ") && listed.contains("  partial  2  ") && listed.contains("ticket 4711\n"),
        "{listed}"
    );
    assert!(listed.contains("user u-secret ") && listed.contains("ticket \\u{1b}[2J"), "{listed}");
    assert!(listed.ends_with("\n4 rows\n"), "{listed}");
    assert!(!listed.contains(VALUES[0]) && !listed.contains(VALUES[1]), "{listed}");
    assert!(bench.run("audit list --limit 1").expect(0).contains("erase_finished"));
    assert_eq!(bench.run("audit list --since 2999-01-01").expect(0), "0 rows\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_somebody_changed_is_named_and_ends_with_1() {
    let mut bench = audited().await;
    let sound = bench.run("audit verify").expect(0);
    assert!(sound.starts_with("4 rows, each as it was written; without --expect-head"), "{sound}");
    let head = head_of(&sound);
    let expecting = format!("audit verify --expect-head {head}");
    let sound = bench.run(&expecting).expect(0);
    assert!(sound.contains("and row 4 is the one that was noted"), "{sound}");

    bench.without_triggers("UPDATE etl.audit SET reason = 'x' WHERE seq = 2").await;
    let said = bench.run("audit verify").expect(1);
    assert_eq!(
        said,
        "row 2 was changed: it does not fit its hash\n4 rows: the audit was tampered with, or damaged\n"
    );
    bench.without_triggers("DELETE FROM etl.audit WHERE seq IN (2, 4)").await;
    let said = bench.run("audit verify").expect(1);
    assert!(said.starts_with("row 2 is missing\nrow 4 is missing\n2 rows: "), "{said}");
    // All of it forged, with the head.
    bench
        .without_triggers("DELETE FROM etl.audit; UPDATE etl.audit_head SET seq = 0, hash = decode(repeat('00', 64), 'hex')")
        .await;
    bench
        .execute(
            "SELECT etl.append_audit('a', 'b', 'reveal', 'harmless', 'row', 'exists', 0) FROM generate_series(1, 4)",
        )
        .await;
    bench.run("audit verify").expect(0);
    let said = bench.run(&expecting).expect(1);
    assert!(said.starts_with("row 4 has another hash than expected"), "{said}");
    bench.execute("ALTER TABLE etl.audit DISABLE TRIGGER chain").await;
    let said = bench.run("audit verify").expect(1);
    assert!(said.starts_with("the trigger etl.audit.chain is missing, switched off or replaced"), "{said}");
}
