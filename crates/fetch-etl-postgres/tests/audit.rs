//! The audit: what was appended stays as it was, and whatever somebody does to it shows.

use fetch_etl_core::ErrorClass;
use fetch_etl_postgres::{AuditEvent, AuditFinding, AuditHead, AuditVerdict};
use sqlx::{AssertSqlSafe, Connection};
use tokio::task::JoinSet;

use crate::support::{Bench, execute, sink_on};

const EVENT: AuditEvent<'static> = AuditEvent {
    os_user: "ann",
    host: Some("ops-1"),
    action: "reveal",
    reason: "ticket 4711",
    subject: "row m-1",
    level: Some("partial"),
    entries: 2,
};

/// An audit of so many rows, and a copy of it to put back.
async fn audited(rows: u64) -> (Bench, AuditHead) {
    let mut bench = Bench::open().await;
    let mut head = AuditHead { seq: 0, hash: [0; 64] };
    for entries in 0..rows {
        head = bench.sink.append_audit(&AuditEvent { entries, ..EVENT }).await.unwrap();
    }
    let copy =
        "CREATE TABLE etl.audit_copy AS TABLE etl.audit; CREATE TABLE etl.head_copy AS TABLE etl.audit_head";
    bench.execute(copy).await;
    (bench, head)
}

/// What somebody does who may do everything, and wants nobody to see it.
const TRIGGERS_OFF: &str =
    "ALTER TABLE etl.audit DISABLE TRIGGER ALL; ALTER TABLE etl.audit_head DISABLE TRIGGER ALL";
const TRIGGERS_ON: &str = "DO $$ DECLARE t pg_trigger; BEGIN
    FOR t IN SELECT * FROM pg_trigger WHERE NOT tgisinternal AND tgrelid IN ('etl.audit'::regclass, 'etl.audit_head'::regclass) LOOP
        EXECUTE format('ALTER TABLE %s ENABLE ALWAYS TRIGGER %I', t.tgrelid::regclass, t.tgname);
    END LOOP; END $$";

impl Bench {
    async fn without_triggers(&mut self, sql: &str) {
        self.execute(&format!("{TRIGGERS_OFF}; {sql}; {TRIGGERS_ON}")).await;
    }

    async fn verify(&self) -> AuditVerdict {
        self.sink.verify_audit(None).await.unwrap()
    }

    /// What shows after somebody who may do everything did this; the audit is as it was again after that.
    async fn tampered(&mut self, sql: &str) -> Vec<AuditFinding> {
        self.without_triggers(sql).await;
        let findings = self.verify().await.findings;
        let restore = "DELETE FROM etl.audit; INSERT INTO etl.audit TABLE etl.audit_copy;
            DELETE FROM etl.audit_head; INSERT INTO etl.audit_head TABLE etl.head_copy";
        self.without_triggers(restore).await;
        findings
    }
}

#[tokio::test]
async fn what_the_database_hashes_is_what_this_program_hashes() {
    let bench = Bench::open().await;
    let empty = bench.verify().await;
    assert_eq!((empty.rows, empty.findings, empty.head.seq), (0, vec![], 0));
    let long = "é漢\u{1f600}\n\t\\ ".repeat(1_000);
    let mut heads = Vec::new();
    for event in [
        EVENT,
        AuditEvent { host: None, level: None, entries: 0, ..EVENT },
        AuditEvent { host: Some(""), level: Some(""), os_user: "", subject: "", action: "", ..EVENT },
        AuditEvent { reason: &long, subject: &long, entries: u64::MAX, ..EVENT },
    ] {
        heads.push(bench.sink.append_audit(&event).await.unwrap());
    }
    let verdict = bench.verify().await;
    assert_eq!((verdict.rows, verdict.findings, verdict.head), (4, vec![], heads[3]));
    for head in &heads {
        assert_eq!(bench.sink.verify_audit(Some(*head)).await.unwrap().findings, []);
        assert_eq!(head.to_string().parse(), Ok(*head));
    }
    let records = bench.sink.audit_records(None, 2).await.unwrap();
    assert_eq!(records.iter().map(|record| record.seq).collect::<Vec<_>>(), [3, 4]);
    assert_eq!(records[1].reason, long);
    assert_eq!(records[0].db_role, "postgres");
}

#[tokio::test]
async fn a_long_audit_is_read_to_its_end() {
    let mut bench = Bench::open().await;
    let many = "SELECT etl.append_audit('u', 'h', 'reveal', 'why', 'row ' || n, 'full', n) FROM generate_series(1, 2500) n";
    bench.execute(many).await;
    let verdict = bench.verify().await;
    assert_eq!((verdict.rows, verdict.head.seq, verdict.findings), (2_500, 2_500, vec![]));
}

#[tokio::test]
async fn a_reason_is_not_left_out() {
    let bench = Bench::open().await;
    for reason in ["", " \n"] {
        let error = bench.sink.append_audit(&AuditEvent { reason, ..EVENT }).await.unwrap_err();
        assert_eq!(error.class(), ErrorClass::Fatal);
    }
    assert_eq!(bench.verify().await.rows, 0);
}

#[tokio::test]
async fn every_column_that_is_changed_shows() {
    let (mut bench, _) = audited(4).await;
    for change in [
        "at = at + interval '1 microsecond'",
        "at = 'infinity'",
        "db_role = 'somebody'",
        "os_user = 'bob'",
        "host = NULL",
        "host = ''",
        "action = 'erase'",
        "reason = 'ticket 4712'",
        "subject = 'row m-2'",
        "level = 'exists'",
        "level = NULL",
        "entries = entries + 1",
    ] {
        let found = bench.tampered(&format!("UPDATE etl.audit SET {change} WHERE seq = 2")).await;
        assert_eq!(found, [AuditFinding::Changed(2)], "{change}");
    }
    let found = bench.tampered("UPDATE etl.audit SET hash = sha512('x') WHERE seq = 2").await;
    assert_eq!(found, [AuditFinding::Changed(2), AuditFinding::Unlinked(3)]);
    let found = bench.tampered("UPDATE etl.audit SET prev_hash = sha512('x') WHERE seq = 2").await;
    assert_eq!(found, [AuditFinding::Unlinked(2), AuditFinding::Changed(2)]);
    let found = bench.tampered("UPDATE etl.audit SET seq = 9 WHERE seq = 4").await;
    assert_eq!(found, [AuditFinding::Missing(4, 8), AuditFinding::Changed(9), AuditFinding::Beyond(4)]);
    // With its hash, as somebody would who knows how it is made.
    let forged = "UPDATE etl.audit AS a SET reason = 'harmless' WHERE seq = 2;
        UPDATE etl.audit AS a SET hash = etl.audit_hash(a) WHERE seq = 2";
    assert_eq!(bench.tampered(forged).await, [AuditFinding::Unlinked(3)]);
    assert_eq!(bench.verify().await.findings, [], "it is as it was");
}

#[tokio::test]
async fn rows_that_are_removed_swapped_or_forged_show() {
    let (mut bench, head) = audited(5).await;
    for (removed, finding) in [
        ("seq = 3", AuditFinding::Missing(3, 3)),
        ("seq IN (2, 3)", AuditFinding::Missing(2, 3)),
        ("seq = 1", AuditFinding::Missing(1, 1)),
        ("seq = 5", AuditFinding::Missing(5, 5)),
        ("true", AuditFinding::Missing(1, 5)),
    ] {
        assert_eq!(bench.tampered(&format!("DELETE FROM etl.audit WHERE {removed}")).await, [finding]);
    }
    // The removed row's number given to the next ones.
    let closed_up = "DELETE FROM etl.audit WHERE seq = 3;
        UPDATE etl.audit SET seq = 3 WHERE seq = 4; UPDATE etl.audit SET seq = 4 WHERE seq = 5";
    let found = bench.tampered(closed_up).await;
    assert!(
        found.contains(&AuditFinding::Unlinked(3)) && found.contains(&AuditFinding::Changed(4)),
        "{found:?}"
    );
    let swapped = "UPDATE etl.audit SET seq = -2 WHERE seq = 2; UPDATE etl.audit SET seq = 2 WHERE seq = 4;
        UPDATE etl.audit SET seq = 4 WHERE seq = -2";
    let found = bench.tampered(swapped).await;
    for finding in [AuditFinding::Unlinked(2), AuditFinding::Changed(2), AuditFinding::Changed(4)] {
        assert!(found.contains(&finding), "{found:?}");
    }
    let forged =
        "INSERT INTO etl.audit SELECT 6, now(), 'a', 'b', NULL, 'reveal', 'c', 'd', NULL, 0, hash, hash
        FROM etl.audit WHERE seq = 5; UPDATE etl.audit AS a SET hash = etl.audit_hash(a) WHERE seq = 6";
    assert_eq!(bench.tampered(forged).await, [AuditFinding::Beyond(5)]);
    let first = "INSERT INTO etl.audit SELECT 0, now(), 'a', 'b', NULL, 'reveal', 'c', 'd', NULL, 0, prev_hash, prev_hash
        FROM etl.audit WHERE seq = 1";
    let found = bench.tampered(first).await;
    assert!(found.contains(&AuditFinding::Unlinked(0)), "{found:?}");
    assert_eq!(bench.tampered("DELETE FROM etl.audit_head").await, [AuditFinding::NoHead]);
    assert_eq!(
        bench.tampered("UPDATE etl.audit_head SET hash = sha512('x')").await,
        [AuditFinding::OtherHead(5)]
    );

    // Cut off with the head: nothing inside the database can show that, only what was noted outside of it.
    let cut = "DELETE FROM etl.audit WHERE seq = 5; UPDATE etl.audit_head SET (seq, hash) =
        (SELECT seq, hash FROM etl.audit ORDER BY seq DESC LIMIT 1)";
    bench.without_triggers(cut).await;
    assert_eq!(bench.verify().await.findings, []);
    let noted = bench.sink.verify_audit(Some(head)).await.unwrap();
    assert_eq!(noted.findings, [AuditFinding::Missing(5, 5)]);
    bench.execute("SELECT etl.append_audit('u', 'h', 'reveal', 'another', 'row', 'full', 1)").await;
    assert_eq!(bench.verify().await.findings, []);
    let noted = bench.sink.verify_audit(Some(head)).await.unwrap();
    assert_eq!(noted.findings, [AuditFinding::Unexpected(5)]);
}

/// Owners and superusers are not kept out, but they have to want it.
#[tokio::test]
async fn nothing_is_changed_by_accident() {
    let mut bench = Bench::open().await;
    let head = bench.sink.append_audit(&EVENT).await.unwrap();
    for sql in [
        "UPDATE etl.audit SET reason = 'x'",
        "DELETE FROM etl.audit",
        "TRUNCATE etl.audit",
        "SET session_replication_role = replica; DELETE FROM etl.audit",
        "DELETE FROM etl.audit_head",
        "TRUNCATE etl.audit_head",
        "UPDATE etl.audit_head SET seq = 0",
        "UPDATE etl.audit_head SET seq = seq + 1, hash = sha512('x')",
    ] {
        let mut connection = bench.database.connect().await;
        let refused = sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut connection).await.unwrap_err();
        assert!(refused.to_string().contains("append-only"), "{sql}: {refused}");
        connection.close().await.unwrap();
    }
    assert_eq!(bench.one::<i64>("SELECT count(*) FROM etl.audit").await, 1);
    let verdict = bench.verify().await;
    assert_eq!((verdict.findings, verdict.head), (vec![], head));
}

/// As the owner of the tables, or a superuser, in whatever replication role.
#[tokio::test]
async fn a_plain_insert_does_not_continue_the_chain_with_what_it_makes_up() {
    let mut bench = Bench::open().await;
    let head = bench.sink.append_audit(&EVENT).await.unwrap();
    let insert = |columns: &str, values: &str| {
        format!(
            "INSERT INTO etl.audit (os_user, action, reason, subject, entries{columns})
            SELECT 'bob', 'reveal', 'why', 'row', 0{values} FROM etl.audit_head AS h"
        )
    };
    let like_the_function = ", seq, at, db_role, prev_hash, hash";
    for (columns, values) in [
        (", seq", ", h.seq + 1"),
        (", seq", ", 77"),
        (", at", ", now() - interval '1 year'"),
        (", db_role", ", 'somebody'"),
        (", prev_hash", ", sha512('x')"),
        (", prev_hash", ", h.hash"),
        (", hash", ", sha512('x')"),
        (like_the_function, ", h.seq + 1, now(), 'somebody', h.hash, sha512('x')"),
    ] {
        for role in ["origin", "replica"] {
            let sql = format!("SET session_replication_role = {role}; {}", insert(columns, values));
            let mut connection = bench.database.connect().await;
            let refused = sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut connection).await.unwrap_err();
            assert!(refused.to_string().contains("are given by the database"), "{columns}: {refused}");
            connection.close().await.unwrap();
        }
    }
    assert_eq!(bench.verify().await.head, head);
    // Without all that it is a row as any other: the database says when, and as whom.
    bench.execute(&insert("", "")).await;
    let genuine =
        "SELECT db_role = session_user AND at BETWEEN now() - interval '1 hour' AND now() + interval '1 hour'
        FROM etl.audit WHERE seq = 2";
    assert!(bench.one::<bool>(genuine).await);
    let verdict = bench.verify().await;
    assert_eq!((verdict.rows, verdict.head.seq, verdict.findings), (2, 2, vec![]));
    let two = format!("{} UNION ALL SELECT 'bob', 'reveal', 'why', 'row', 0", insert("", ""));
    let forked = sqlx::raw_sql(AssertSqlSafe(two)).execute(&mut bench.outside).await.unwrap_err();
    assert!(forked.to_string().contains("audit_pkey"), "{forked}");
}

#[tokio::test]
async fn triggers_that_are_off_are_found_and_so_is_what_they_let_in() {
    let (mut bench, _) = audited(3).await;
    let forged = "INSERT INTO etl.audit (seq, at, db_role, os_user, action, reason, subject, entries, prev_hash, hash)
        SELECT h.seq + 1, now(), 'somebody', 'bob', 'reveal', 'why', 'row', 0, h.hash, sha512('x') FROM etl.audit_head AS h";
    assert_eq!(bench.tampered(forged).await, [AuditFinding::Changed(4), AuditFinding::Beyond(3)]);
    for (table, trigger) in [
        ("etl.audit", "chain"),
        ("etl.audit", "head_follows"),
        ("etl.audit", "append_only"),
        ("etl.audit", "no_truncate"),
        ("etl.audit_head", "is_a_row"),
        ("etl.audit_head", "forward_only"),
        ("etl.audit_head", "no_delete"),
        ("etl.audit_head", "no_truncate"),
    ] {
        // Also where it is on, but not for everybody.
        for off in ["DISABLE", "ENABLE", "ENABLE REPLICA"] {
            bench.execute(&format!("ALTER TABLE {table} {off} TRIGGER {trigger}")).await;
            assert_eq!(
                bench.verify().await.findings,
                [AuditFinding::TriggerOff(format!("{table}.{trigger}"))]
            );
        }
        bench.execute(TRIGGERS_ON).await;
    }
    bench.execute(TRIGGERS_OFF).await;
    assert_eq!(bench.verify().await.findings.len(), 8);
    // Nothing is said to be in the audit that is not.
    bench.sink.append_audit(&EVENT).await.unwrap_err();
}

#[tokio::test]
async fn triggers_and_functions_that_are_not_as_migrated_are_found() {
    let off = |trigger: &str| AuditFinding::TriggerOff(trigger.to_owned());
    let replaced = |function: &str| AuditFinding::FunctionReplaced(function.to_owned());
    let added = |what: &str| AuditFinding::Added(what.to_owned());
    let of_theirs = "CREATE FUNCTION theirs() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'";
    let again = |trigger: &str, how: &str| {
        format!(
            "DROP TRIGGER {trigger} ON etl.audit; CREATE TRIGGER {trigger} {how};
            ALTER TABLE etl.audit ENABLE ALWAYS TRIGGER {trigger}"
        )
    };
    for (change, finding) in [
        (
            "CREATE TRIGGER a_first BEFORE INSERT ON etl.audit FOR EACH ROW EXECUTE FUNCTION theirs()"
                .to_owned(),
            added("the trigger a_first on etl.audit"),
        ),
        (
            "CREATE TRIGGER chain BEFORE UPDATE ON etl.audit_head FOR EACH ROW EXECUTE FUNCTION theirs()"
                .to_owned(),
            added("the trigger chain on etl.audit_head"),
        ),
        (
            "CREATE RULE nothing AS ON INSERT TO etl.audit DO INSTEAD NOTHING".to_owned(),
            added("the rule nothing on etl.audit"),
        ),
        // Of the same name, and on.
        (
            again(
                "chain",
                "BEFORE INSERT ON etl.audit FOR EACH ROW WHEN (false) EXECUTE FUNCTION etl.chain_audit()",
            ),
            off("etl.audit.chain"),
        ),
        (
            again("chain", "BEFORE INSERT ON etl.audit FOR EACH ROW EXECUTE FUNCTION theirs()"),
            off("etl.audit.chain"),
        ),
        (
            again(
                "append_only",
                "BEFORE DELETE ON etl.audit FOR EACH ROW EXECUTE FUNCTION etl.refuse_audit_change()",
            ),
            off("etl.audit.append_only"),
        ),
        (
            again(
                "append_only",
                "BEFORE DELETE OR UPDATE OF seq ON etl.audit FOR EACH ROW EXECUTE FUNCTION etl.refuse_audit_change()",
            ),
            off("etl.audit.append_only"),
        ),
        (
            "DROP TRIGGER forward_only ON etl.audit_head;
            CREATE TRIGGER forward_only BEFORE UPDATE ON etl.audit_head FOR EACH ROW WHEN (NEW.seq < OLD.seq)
                EXECUTE FUNCTION etl.refuse_audit_change();
            ALTER TABLE etl.audit_head ENABLE ALWAYS TRIGGER forward_only"
                .to_owned(),
            off("etl.audit_head.forward_only"),
        ),
        (
            "CREATE OR REPLACE FUNCTION etl.refuse_audit_change() RETURNS trigger LANGUAGE plpgsql
                SET search_path = pg_catalog, pg_temp AS 'BEGIN RETURN coalesce(NEW, OLD); END'"
                .to_owned(),
            replaced("etl.refuse_audit_change()"),
        ),
        ("ALTER FUNCTION etl.chain_audit RESET search_path".to_owned(), replaced("etl.chain_audit()")),
        (
            "ALTER FUNCTION etl.append_audit(text,text,text,text,text,text,bigint) SECURITY INVOKER"
                .to_owned(),
            replaced("etl.append_audit(text,text,text,text,text,text,bigint)"),
        ),
    ] {
        let mut bench = Bench::open().await;
        bench.execute(of_theirs).await;
        assert_eq!(bench.verify().await.findings, []);
        bench.execute(&change).await;
        assert_eq!(bench.verify().await.findings, [finding], "{change}");
    }
}

#[tokio::test]
async fn who_may_only_read_rows_gets_neither_in_nor_at_it() {
    let mut bench = Bench::open().await;
    let role = format!("analyst_{}", bench.database.name());
    bench
        .execute(&format!(
            "CREATE ROLE {role}; GRANT SELECT ON user_logins TO {role}; GRANT USAGE ON SCHEMA etl TO {role}"
        ))
        .await;
    let mut connection = bench.database.connect().await;
    execute(&mut connection, &format!("SET ROLE {role}")).await;
    for sql in [
        "SELECT FROM etl.audit",
        "SELECT FROM etl.audit_head",
        "INSERT INTO etl.audit_head (seq, hash) VALUES (1, '')",
        "SELECT FROM etl.erased",
        "SELECT FROM etl.pii_vault",
        "SELECT FROM etl.append_audit('a', 'b', 'c', 'd', 'e', 'f', 1)",
    ] {
        let refused = sqlx::raw_sql(sql).execute(&mut connection).await.unwrap_err();
        let code = refused.as_database_error().unwrap().code().unwrap().into_owned();
        assert_eq!(code, "42501", "{sql}");
    }
    connection.close().await.unwrap();
    // Who may append may do just that, and stands there as who they are.
    bench
        .execute(&format!(
            "GRANT EXECUTE ON FUNCTION etl.append_audit TO {role}; SET SESSION AUTHORIZATION {role};
            SELECT etl.append_audit('root', 'b', 'reveal', 'd', 'e', 'f', 1); RESET SESSION AUTHORIZATION"
        ))
        .await;
    assert_eq!(bench.one::<String>("SELECT db_role FROM etl.audit").await, role);
    assert_eq!(bench.verify().await.findings, []);
    bench.execute(&format!("DROP OWNED BY {role}; DROP ROLE {role}")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chain_does_not_fork_however_many_append_at_once() {
    const WRITERS: u64 = 6;
    const EACH: u64 = 25;
    let bench = Bench::open().await;
    let mut writers = JoinSet::new();
    for writer in 0..WRITERS {
        let sink = sink_on(&bench.database).await;
        writers.spawn(async move {
            let subject = format!("user {writer}");
            let mut heads = Vec::new();
            for entries in 0..EACH {
                let event = AuditEvent { subject: &subject, entries, ..EVENT };
                heads.push(sink.append_audit(&event).await.unwrap());
            }
            heads
        });
    }
    let heads = writers.join_all().await.concat();
    let verdict = bench.verify().await;
    assert_eq!((verdict.rows, verdict.head.seq, verdict.findings), (WRITERS * EACH, 150, vec![]));
    for head in heads {
        assert_eq!(bench.sink.verify_audit(Some(head)).await.unwrap().findings, [], "{head:?}");
    }
}

/// A reader's snapshot is older than what is appended meanwhile; an appender's must not be.
#[tokio::test]
async fn an_older_snapshot_cannot_append_on_an_older_end() {
    let bench = Bench::open().await;
    let append = "SELECT etl.append_audit('u', 'h', 'reveal', 'why', 'row', 'full', 1)";
    let mut old = bench.database.connect().await;
    execute(&mut old, "BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT FROM etl.audit").await;
    bench.sink.append_audit(&EVENT).await.unwrap();
    let refused = sqlx::raw_sql(append).execute(&mut old).await.unwrap_err();
    let code = refused.as_database_error().unwrap().code().unwrap().into_owned();
    assert_eq!(code, "40001");
    execute(&mut old, "ROLLBACK").await;
    execute(&mut old, append).await;
    let verdict = bench.verify().await;
    assert_eq!((verdict.rows, verdict.findings), (2, vec![]));
}
