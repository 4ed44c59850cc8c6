//! What keeps the audit: triggers on its tables and the functions that they call, as the migrations made them.

use sqlx::PgConnection;

use crate::AuditFinding;

/// A trigger of ours, which is on for everybody and on no condition but its own.
struct Trigger {
    table: &'static str,
    name: &'static str,
    function: &'static str,
    /// When it fires, as `pg_trigger.tgtype` has it: for each row 1, before 2, insert 4, delete 8, update 16, truncate 32.
    fires: i16,
    /// Its WHEN, as Postgres writes it.
    condition: &'static str,
}

const fn trigger(table: &'static str, name: &'static str, function: &'static str, fires: i16) -> Trigger {
    Trigger { table, name, function, fires, condition: "" }
}

const TRIGGERS: [Trigger; 8] = [
    trigger("etl.audit", "chain", "etl.chain_audit()", 1 + 2 + 4),
    trigger("etl.audit", "head_follows", "etl.advance_audit_head()", 1 + 4),
    trigger("etl.audit", "append_only", "etl.refuse_audit_change()", 1 + 2 + 8 + 16),
    trigger("etl.audit", "no_truncate", "etl.refuse_audit_change()", 2 + 32),
    trigger("etl.audit_head", "is_a_row", "etl.refuse_made_up_audit_head()", 1 + 2 + 16),
    Trigger {
        condition: "(new.seq <> (old.seq + 1))",
        ..trigger("etl.audit_head", "forward_only", "etl.refuse_audit_change()", 1 + 2 + 16)
    },
    trigger("etl.audit_head", "no_delete", "etl.refuse_audit_change()", 1 + 2 + 8),
    trigger("etl.audit_head", "no_truncate", "etl.refuse_audit_change()", 2 + 32),
];

/// The audit's functions and the SHA-256 of what each is: language, whose rights it runs with, settings, body, a line each. A migration
/// that replaces one changes its line here.
const FUNCTIONS: [(&str, &str); 7] = [
    (
        "etl.append_audit(text,text,text,text,text,text,bigint)",
        "c86f2aa8fb65c589e4c205ff2c092351fdfdac5616372e4038ab1bca1b09286d",
    ),
    ("etl.chain_audit()", "bff711d9407c4b8d89b5d19900a27986ef48439c2baefc35a66f9f65371ff100"),
    ("etl.advance_audit_head()", "11d0b1ee7569c2215a1efba2ed522492cbce1eee4f51b26604acfd8ce00a167a"),
    ("etl.refuse_made_up_audit_head()", "54c90c19b1fcf981c529748531bd740372a0b07d15e85ed397f32db4fc770824"),
    ("etl.refuse_audit_change()", "b6bb237d098cde050bd82ccddc8335cc84c459ec03d4567e4edfb327330d9316"),
    ("etl.audit_hash(etl.audit)", "15e6bf53e6e0ec713680a52863b9b397ee02e36ebc9ae5f6a16184bc8ce4f67d"),
    ("etl.audit_text(text)", "da34e9b35f015573e4bcee5750066909f66f984fc81197cbf682cb1b47035394"),
];

/// What is not as the migrations made it.
pub(crate) async fn findings(connection: &mut PgConnection) -> sqlx::Result<Vec<AuditFinding>> {
    let off = off(connection).await?.into_iter().map(AuditFinding::TriggerOff);
    let added = added(connection).await?.into_iter().map(AuditFinding::Added);
    let replaced = replaced(connection).await?.into_iter().map(AuditFinding::FunctionReplaced);
    Ok(off.chain(added).chain(replaced).collect())
}

/// One of the columns of `TRIGGERS`.
fn column<T>(of: impl Fn(&Trigger) -> T) -> Vec<T> {
    TRIGGERS.iter().map(of).collect()
}

async fn off(connection: &mut PgConnection) -> sqlx::Result<Vec<String>> {
    sqlx::query_scalar!(
        r#"SELECT wanted.table_name || '.' || wanted.trigger_name AS "name!"
        FROM unnest($1::text[], $2::text[], $3::text[], $4::smallint[], $5::text[])
            AS wanted (table_name, trigger_name, function_name, fires, condition)
        WHERE NOT EXISTS (
            SELECT FROM pg_trigger AS t
            WHERE t.tgrelid = to_regclass(wanted.table_name) AND t.tgname = wanted.trigger_name::name AND t.tgenabled = 'A'
                AND t.tgfoid = to_regprocedure(wanted.function_name) AND t.tgtype = wanted.fires AND t.tgconstraint = 0
                AND t.tgnargs = 0 AND t.tgattr::text = ''
                AND coalesce(substring(pg_get_triggerdef(t.oid) FROM ' WHEN \((.*)\) EXECUTE '), '') = wanted.condition
        )
        ORDER BY 1"#,
        &column(|trigger| trigger.table) as &[&str],
        &column(|trigger| trigger.name) as &[&str],
        &column(|trigger| trigger.function) as &[&str],
        &column(|trigger| trigger.fires),
        &column(|trigger| trigger.condition) as &[&str]
    )
    .fetch_all(connection)
    .await
}

/// Triggers and rules of others: one of theirs may change a row before it is chained, or keep it out.
async fn added(connection: &mut PgConnection) -> sqlx::Result<Vec<String>> {
    sqlx::query_scalar!(
        r#"SELECT format('the %s %I on %s', o.kind, o.name, tables.name) AS "added!"
        FROM (
            SELECT 'trigger' AS kind, tgname AS name, tgrelid AS table_id FROM pg_trigger WHERE NOT tgisinternal
            UNION ALL SELECT 'rule', rulename, ev_class FROM pg_rewrite
        ) AS o
            JOIN unnest(ARRAY['etl.audit', 'etl.audit_head']) AS tables (name) ON o.table_id = to_regclass(tables.name)
        WHERE NOT EXISTS (
            SELECT FROM unnest($1::text[], $2::text[]) AS ours (table_name, trigger_name)
            WHERE o.kind = 'trigger' AND ours.table_name = tables.name AND ours.trigger_name::name = o.name
        )
        ORDER BY 1"#,
        &column(|trigger| trigger.table) as &[&str],
        &column(|trigger| trigger.name) as &[&str]
    )
    .fetch_all(connection)
    .await
}

async fn replaced(connection: &mut PgConnection) -> sqlx::Result<Vec<String>> {
    let (names, digests): (Vec<_>, Vec<_>) = FUNCTIONS.into_iter().unzip();
    sqlx::query_scalar!(
        r#"SELECT wanted.name AS "name!"
        FROM unnest($1::text[], $2::text[]) AS wanted (name, digest)
        WHERE NOT EXISTS (
            SELECT FROM pg_proc AS p JOIN pg_language AS l ON l.oid = p.prolang
            WHERE p.oid = to_regprocedure(wanted.name) AND wanted.digest = encode(sha256(convert_to(
                concat_ws(chr(10), l.lanname, p.prosecdef::text, array_to_string(p.proconfig, ','), p.prosrc), 'UTF8'
            )), 'hex')
        )
        ORDER BY 1"#,
        &names as &[&str],
        &digests as &[&str]
    )
    .fetch_all(connection)
    .await
}
