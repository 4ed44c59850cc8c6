//! The tables: making them, and checking that those that are there will do.

use std::fmt;
use std::time::Duration;

use fetch_etl_core::login::LoginRow;
use fetch_etl_core::{ErrorClass, MessageKey, SinkError};
use sqlx::migrate::Migrator;
use sqlx::{Connection, PgConnection};

use crate::PostgresSink;
use crate::error::{Failure, migrate_error};

static MIGRATOR: Migrator = sqlx::migrate!();

/// Longest wait for another worker that is migrating just now.
const LOCK_TIMEOUT: Duration = Duration::from_secs(60);

/// Characters of a 512-bit mask.
const MASK_CHARS: usize = 128;

impl PostgresSink {
    /// Makes our tables, and takes an existing `user_logins` over with its rows. Workers that do so at the same time wait for
    /// each other. It needs the right to create schemas and, where `user_logins` exists, to own it; the worker itself
    /// does not, so it may be done once by another role.
    ///
    /// # Errors
    /// What was applied before the failing migration stays; it goes on from there when called again.
    pub async fn migrate(&self) -> Result<(), SinkError> {
        let pool = self.sessions.pool_for_migrating(LOCK_TIMEOUT);
        let migrated = MIGRATOR.run(&pool).await;
        // In any case: a failure leaves the migrator's lock with the connection.
        pool.close().await;
        migrated.map_err(migrate_error)
    }

    /// Checks that our tables are there and that `user_logins` can hold what we write. A column that is too short for a mask
    /// would otherwise show by the first message, and send every message to the quarantine.
    ///
    /// # Errors
    /// Fatal, with every finding, where it does not fit.
    pub async fn check_schema(&self) -> Result<(), SinkError> {
        let mut connection = self.sessions.connect_alone().await?;
        let missing = missing_objects(&mut connection).await?;
        if !missing.is_empty() {
            let text = format!("{} missing: `etl-worker migrate` makes them", missing.join(", "));
            return Err(SinkError::new(ErrorClass::Fatal, text));
        }
        let columns = columns(&mut connection).await?;
        connection.close().await.map_err(Failure::from)?;
        judge([misfits(&columns), missing_columns(&columns)].concat())
    }

    /// How many migrations [`migrate`](Self::migrate) would apply. For those who want to know before.
    ///
    /// # Errors
    /// Fatal where `user_logins` has columns that will not do after that either.
    pub async fn pending_migrations(&self) -> Result<usize, SinkError> {
        let mut connection = self.sessions.connect_alone().await?;
        let columns = columns(&mut connection).await?;
        let applied = applied_migrations(&mut connection).await.map_err(Failure::from)?;
        connection.close().await.map_err(Failure::from)?;
        judge(misfits(&columns))?;
        Ok(MIGRATOR.iter().filter(|migration| !applied.contains(&migration.version)).count())
    }
}

/// An error of all findings, where there are any.
fn judge(findings: Vec<String>) -> Result<(), SinkError> {
    if findings.is_empty() {
        return Ok(());
    }
    let text = format!("the table user_logins does not fit: {}", findings.join("; "));
    Err(SinkError::new(ErrorClass::Fatal, text))
}

/// The versions that the migrator noted; none before it ran for the first time. (The table is the migrator's own, which the
/// checked statements do not know.)
async fn applied_migrations(connection: &mut PgConnection) -> sqlx::Result<Vec<i64>> {
    let noted = "SELECT to_regclass('etl.schema_migrations') IS NOT NULL";
    if !sqlx::query_scalar::<_, bool>(noted).fetch_one(&mut *connection).await? {
        return Ok(Vec::new());
    }
    sqlx::query_scalar("SELECT version FROM etl.schema_migrations WHERE success").fetch_all(connection).await
}

/// Tables and functions of ours that are not there.
async fn missing_objects(connection: &mut PgConnection) -> Result<Vec<String>, SinkError> {
    let query = sqlx::query_scalar!(
        r#"SELECT name AS "name!" FROM (VALUES
            ('user_logins', to_regclass('user_logins') IS NULL),
            ('etl.ledger', to_regclass('etl.ledger') IS NULL),
            ('etl.quarantine', to_regclass('etl.quarantine') IS NULL),
            ('etl.quarantine.closed_at', to_regclass('etl.quarantine') IS NOT NULL AND NOT EXISTS (
                SELECT FROM pg_attribute
                WHERE attrelid = to_regclass('etl.quarantine') AND attname = 'closed_at' AND NOT attisdropped
            )),
            ('etl.quarantine.queued_at_millis', to_regclass('etl.quarantine') IS NOT NULL AND NOT EXISTS (
                SELECT FROM pg_attribute
                WHERE attrelid = to_regclass('etl.quarantine') AND attname = 'queued_at_millis' AND NOT attisdropped
            )),
            ('etl.pii_vault', to_regclass('etl.pii_vault') IS NULL),
            ('etl.audit', to_regclass('etl.audit') IS NULL),
            ('etl.rotation', to_regclass('etl.rotation') IS NULL),
            ('etl.append_audit()',
                to_regprocedure('etl.append_audit(text,text,text,text,text,text,bigint)') IS NULL),
            ('etl.enter()', to_regprocedure('etl.enter(bigint,text[])') IS NULL),
            ('etl.policy_in_force()', to_regprocedure('etl.policy_in_force()') IS NULL),
            ('etl.quarantine_matching()',
                to_regprocedure('etl.quarantine_matching(text[],text[],text[],bigint,bigint)') IS NULL),
            ('etl.ensure_ledger_partitions()', to_regprocedure('etl.ensure_ledger_partitions(date[],integer)') IS NULL),
            ('etl.ledger_add()', to_regprocedure('etl.ledger_add(text[],bigint[],integer,text[],boolean)') IS NULL),
            ('etl.quarantined()', to_regprocedure('etl.quarantined(text[])') IS NULL),
            ('etl.ledger_find()', to_regprocedure('etl.ledger_find(text[],text[],bigint[])') IS NULL),
            ('etl.prune_ledger()', to_regprocedure('etl.prune_ledger(integer)') IS NULL)
        ) AS objects (name, missing) WHERE missing"#
    );
    Ok(query.fetch_all(connection).await.map_err(Failure::from)?)
}

/// A column of `user_logins` as it is.
#[derive(Debug, Clone)]
struct Column {
    name: String,
    /// The type as in SQL, `character varying(256)`.
    shown_type: String,
    /// The type's own name, `varchar`.
    type_name: String,
    /// Most characters of a varchar that has a limit.
    max_chars: Option<i32>,
    /// Whether an INSERT must give it a value.
    must_be_given: bool,
}

async fn columns(connection: &mut PgConnection) -> Result<Vec<Column>, SinkError> {
    let query = sqlx::query_as!(
        Column,
        r#"SELECT
            a.attname::text AS "name!",
            format_type(a.atttypid, a.atttypmod) AS "shown_type!",
            t.typname::text AS "type_name!",
            CASE WHEN t.typname = 'varchar' AND a.atttypmod >= 4 THEN a.atttypmod - 4 END AS max_chars,
            a.attnotnull AND NOT a.atthasdef AND a.attidentity = '' AS "must_be_given!"
        FROM pg_attribute AS a JOIN pg_type AS t ON t.oid = a.atttypid
        WHERE a.attrelid = to_regclass('user_logins') AND a.attnum > 0 AND NOT a.attisdropped
        ORDER BY a.attnum"#
    );
    Ok(query.fetch_all(connection).await.map_err(Failure::from)?)
}

/// What a column must be.
#[derive(Clone, Copy)]
enum Needed {
    /// Text of at least so many characters.
    Chars(usize),
    /// Another type, by its own name and by its name in SQL.
    Type(&'static str, &'static str),
}

const COLUMNS: [(&str, Needed); 11] = [
    ("user_id", Needed::Chars(LoginRow::USER_ID_CHARS)),
    ("device_type", Needed::Chars(LoginRow::DEVICE_TYPE_CHARS)),
    ("masked_ip", Needed::Chars(MASK_CHARS)),
    ("masked_device_id", Needed::Chars(MASK_CHARS)),
    ("locale", Needed::Chars(LoginRow::LOCALE_CHARS)),
    ("app_version", Needed::Type("int4", "integer")),
    ("create_date", Needed::Type("date", "date")),
    ("app_version_text", Needed::Chars(LoginRow::APP_VERSION_CHARS)),
    ("message_id", Needed::Chars(MessageKey::MAX_CHARS)),
    ("mask_key_id", Needed::Type("int4", "integer")),
    ("ingested_at", Needed::Type("timestamptz", "timestamp with time zone")),
];

impl Needed {
    fn is_met_by(self, column: &Column) -> bool {
        match self {
            Self::Type(name, _) => column.type_name == name,
            Self::Chars(needed) => match column.type_name.as_str() {
                "text" => true,
                "varchar" => {
                    column.max_chars.is_none_or(|max| usize::try_from(max).is_ok_and(|max| max >= needed))
                }
                _ => false,
            },
        }
    }
}

impl fmt::Display for Needed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Chars(chars) => write!(f, "varchar({chars}) or longer, or text"),
            Self::Type(_, shown) => f.write_str(shown),
        }
    }
}

fn missing_columns(columns: &[Column]) -> Vec<String> {
    let missing = COLUMNS.iter().filter(|(name, _)| columns.iter().all(|column| column.name != *name));
    missing.map(|(name, _)| format!("{name} is missing, `etl-worker migrate` adds it")).collect()
}

/// What is wrong with the columns that are there, each with what would be right.
fn misfits(columns: &[Column]) -> Vec<String> {
    let mut findings = Vec::new();
    for (name, needed) in COLUMNS {
        let there = columns.iter().find(|column| column.name == name);
        if let Some(column) = there.filter(|column| !needed.is_met_by(column)) {
            findings.push(format!("{name} is {}, needed is {needed}", column.shown_type));
        }
    }
    let ours = |column: &&Column| COLUMNS.iter().any(|(name, _)| column.name == *name);
    for column in columns.iter().filter(|column| column.must_be_given && !ours(column)) {
        findings.push(format!("{} is NOT NULL without a default, and we have no value for it", column.name));
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    fn column(name: &str, type_name: &str, max_chars: Option<i32>) -> Column {
        Column {
            name: name.to_owned(),
            shown_type: format!("{type_name}{}", max_chars.map(|max| format!("({max})")).unwrap_or_default()),
            type_name: type_name.to_owned(),
            max_chars,
            must_be_given: false,
        }
    }

    fn fitting() -> Vec<Column> {
        let column = |(name, needed)| match needed {
            Needed::Chars(chars) => column(name, "varchar", i32::try_from(chars).ok()),
            Needed::Type(type_name, _) => column(name, type_name, None),
        };
        COLUMNS.into_iter().map(column).collect()
    }

    fn findings(columns: &[Column]) -> Vec<String> {
        [misfits(columns), missing_columns(columns)].concat()
    }

    #[test]
    fn what_is_long_enough_fits() {
        assert_eq!(findings(&fitting()), Vec::<String>::new());
        let mut wider = fitting();
        wider[0] = column("user_id", "text", None);
        wider[2] = column("masked_ip", "varchar", None);
        wider[3] = column("masked_device_id", "varchar", Some(256));
        wider.push(column("comment", "jsonb", None));
        assert_eq!(findings(&wider), Vec::<String>::new());
    }

    #[test]
    fn what_does_not_fit_is_named_with_what_would() {
        let mut columns = fitting();
        columns[2] = column("masked_ip", "varchar", Some(127));
        columns[3] = column("masked_device_id", "bpchar", Some(128));
        columns[5] = column("app_version", "text", None);
        columns.retain(|column| column.name != "message_id");
        columns.push(Column { must_be_given: true, ..column("tenant", "int4", None) });
        assert_eq!(
            findings(&columns),
            [
                "masked_ip is varchar(127), needed is varchar(128) or longer, or text",
                "masked_device_id is bpchar(128), needed is varchar(128) or longer, or text",
                "app_version is text, needed is integer",
                "tenant is NOT NULL without a default, and we have no value for it",
                "message_id is missing, `etl-worker migrate` adds it",
            ]
        );
    }
}
