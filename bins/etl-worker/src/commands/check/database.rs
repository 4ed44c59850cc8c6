//! What is unsafe about a database.

use fetch_etl_postgres::DatabasePosture;

use super::code;
use super::facts::database_leaves_machine;
use super::finding::{Finding, finding};
use crate::settings::{DatabaseKind, SinkSettings};

/// What is unsafe about the server and our login there.
pub(super) fn list(settings: &SinkSettings, database: &DatabasePosture) -> Vec<Finding> {
    let mut findings = server(database);
    findings.extend(rights(settings, database));
    findings
}

fn server(database: &DatabasePosture) -> Vec<Finding> {
    let mut findings = Vec::new();
    if database.is_read_only {
        let fix = "name the primary server in sink.database_url, or ALTER DATABASE … SET default_transaction_read_only = off";
        findings.push(finding(&code::DATABASE_READ_ONLY, "the server is a standby, or read-only", fix));
    }
    if !database.fsync {
        let fix = "ALTER SYSTEM SET fsync = on; SELECT pg_reload_conf()";
        findings.push(finding(
            &code::DATABASE_FSYNC_OFF,
            "the server does not wait for its disk (fsync = off)",
            fix,
        ));
    }
    if !database.full_page_writes {
        let fix = "ALTER SYSTEM SET full_page_writes = on; SELECT pg_reload_conf()";
        let what = "the server keeps no copy of pages that it overwrites (full_page_writes = off)";
        findings.push(finding(&code::DATABASE_FULL_PAGE_WRITES_OFF, what, fix));
    }
    let login = quoted(&database.login);
    if database.synchronous_commit == "off" {
        let fix = format!("ALTER ROLE {login} SET synchronous_commit = on");
        let what = "a commit of this login does not wait for the disk (synchronous_commit = off)";
        findings.push(finding(&code::DATABASE_SYNCHRONOUS_COMMIT_OFF, what, fix));
    }
    if !database.quoting_settings.is_empty() {
        let fix = format!(
            "as a superuser: ALTER ROLE {login} SET log_error_verbosity = terse; ALTER ROLE {login} SET log_parameter_max_length = 0"
        );
        let what = format!("the server's log may quote values ({})", database.quoting_settings.join(", "));
        findings.push(finding(&code::DATABASE_LOG_QUOTES, what, fix));
    }
    findings
}

/// Of what a superuser or an owner may do besides, nothing is said: it is all of it.
fn rights(settings: &SinkSettings, database: &DatabasePosture) -> Vec<Finding> {
    let migrating = if settings.migrate {
        "; migrate as the tables' owner (etl-worker migrate), and run with sink.migrate = false"
    } else {
        ""
    };
    let own_login = format!("CREATE ROLE etl_worker LOGIN; GRANT etl_writer TO etl_worker{migrating}");
    let login = quoted(&database.login);
    if database.is_superuser {
        let what = format!("the worker's login {login} is a superuser");
        return vec![finding(&code::DATABASE_SUPERUSER, what, own_login)];
    }
    let mut findings = Vec::new();
    if !database.owns.is_empty() {
        let what = format!("the worker's login {login} owns {}", some_of(&database.owns));
        return vec![finding(&code::DATABASE_OWNS_TABLES, what, own_login)];
    }
    if !database.rights_on_rows.is_empty() {
        let rights = database.rights_on_rows.join(", ");
        let fix =
            format!("REVOKE {rights} ON user_logins FROM {login}, or from the role that it has them of");
        let what = format!("the worker's login {login} has {rights} on user_logins");
        findings.push(finding(&code::DATABASE_CHANGES_ROWS, what, fix));
    }
    if !database.readable_vault.is_empty() {
        let tables = database.readable_vault.join(", ");
        let fix = format!("REVOKE SELECT ON {tables} FROM {login}, or etl_reveal from it");
        let what = format!("the worker's login {login} can read {tables}");
        findings.push(finding(&code::DATABASE_READS_VAULT, what, fix));
    }
    if database.can_change_policy {
        let fix = format!("REVOKE ALL ON etl.policy FROM {login}");
        let what = format!("the worker's login {login} can change the masking policy");
        findings.push(finding(&code::DATABASE_CHANGES_POLICY, what, fix));
    }
    if !database.rights_on_books.is_empty() {
        let rights = database.rights_on_books.join(", ");
        let fix = format!(
            "REVOKE UPDATE, DELETE, TRUNCATE ON etl.ledger FROM {login}; REVOKE DELETE, TRUNCATE ON etl.quarantine FROM {login}, or from the role that it has them of"
        );
        let what = format!("the worker's login {login} has {rights}");
        findings.push(finding(&code::DATABASE_CHANGES_LEDGER, what, fix));
    }
    if !database.creates_in.is_empty() {
        let schemas = database.creates_in.join(", ");
        let fix = format!(
            "REVOKE CREATE ON SCHEMA {schemas} FROM {login}, or from PUBLIC, which has it in the schema public before Postgres 15"
        );
        let what = format!("the worker's login {login} may make tables in the schema {schemas}");
        findings.push(finding(&code::DATABASE_CREATES_OBJECTS, what, fix));
    }
    findings
}

fn some_of(tables: &[String]) -> String {
    match tables {
        [first, second, _, rest @ ..] => format!("{first}, {second} and {} more", rest.len() + 1),
        few => few.join(", "),
    }
}

/// As SQL writes a name.
fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// It may be looked at without the database.
pub(super) fn connection(settings: &SinkSettings) -> Option<Finding> {
    let url = settings.database.expose();
    let pghost = std::env::var("PGHOST").ok();
    let is_open = settings.database.kind() == DatabaseKind::Postgres
        && database_leaves_machine(url, pghost.as_deref())
        && !demands_tls(url);
    is_open.then(|| {
        finding(
            &code::DATABASE_IN_CLEAR,
            "the connection to the database, on another machine, need not be encrypted",
            "add ?sslmode=verify-full (or require) to sink.database_url",
        )
    })
}

fn demands_tls(url: &str) -> bool {
    ["require", "verify-ca", "verify-full"].iter().any(|mode| {
        ["sslmode", "ssl-mode"].iter().any(|name| {
            let parameters = url.split_once('?').map_or("", |(_, query)| query);
            parameters.split('&').any(|parameter| parameter == format!("{name}={mode}"))
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_demands_tls_by_its_mode() {
        for (query, demands) in [
            ("?sslmode=require", true),
            ("?a=b&sslmode=verify-full", true),
            ("?ssl-mode=verify-ca", true),
            ("?sslmode=prefer", false),
            ("", false),
            ("?x=sslmode=require", false),
        ] {
            assert_eq!(demands_tls(&format!("postgres://etl@db/logins{query}")), demands, "{query}");
        }
    }

    #[test]
    fn many_tables_are_not_all_named() {
        let tables = |count: usize| (1..=count).map(|table| format!("t{table}")).collect::<Vec<_>>();
        assert_eq!(some_of(&tables(2)), "t1, t2");
        assert_eq!(some_of(&tables(5)), "t1, t2 and 3 more");
        assert_eq!(quoted("a\"b"), "\"a\"\"b\"");
    }
}
