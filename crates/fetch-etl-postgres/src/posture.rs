//! How the database is set up, and what our login may do in it: what `etl-worker check` judges. Writing needs none of it.

use fetch_etl_core::{SinkError, UnixMillis};
use sqlx::{Connection, PgConnection};

use crate::PostgresSink;
use crate::error::Failure;

/// How a database is set up, and what the login that asks may do in it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct DatabasePosture {
    /// The login.
    pub login: String,
    /// Whether it may do anything.
    pub is_superuser: bool,
    /// The tables of ours that it owns, or that a role owns of which it is a member.
    pub owns: Vec<String>,
    /// Its rights on `user_logins` that writing rows does not need.
    pub rights_on_rows: Vec<String>,
    /// Its rights on ledger and quarantine that writing rows does not need, as `DELETE on etl.ledger`.
    pub rights_on_books: Vec<String>,
    /// The schemas of our tables in which it may make others.
    pub creates_in: Vec<String>,
    /// The tables of the vault that it may read.
    pub readable_vault: Vec<String>,
    /// Whether it may write to the masking policy but for the first.
    pub can_change_policy: bool,
    /// Whether the server takes no writes, or none from this login.
    pub is_read_only: bool,
    /// Whether the server waits for its disk.
    pub fsync: bool,
    /// Whether it recovers from a page that was written by half.
    pub full_page_writes: bool,
    /// What the login's sessions begin with. Our own do not leave it `off`.
    pub synchronous_commit: String,
    /// The settings by which the server's log quotes values in a session of this login. Not those that our sessions change, as they can
    /// where it is a superuser.
    pub quoting_settings: Vec<String>,
    /// By how many milliseconds this machine's clock is at least ahead of the server's; negative where it is behind, 0 where they agree
    /// as far as can be told.
    pub clock_ahead_ms: i64,
}

impl PostgresSink {
    /// How the database is set up, and what our login may do in it. Tables may be missing.
    ///
    /// # Errors
    /// The question failed; nothing else did.
    pub async fn posture(&self) -> Result<DatabasePosture, SinkError> {
        let mut connection = self.sessions.connect_alone().await?;
        let posture = self.sessions.patiently(look(&mut connection)).await?;
        connection.close().await.map_err(Failure::from)?;
        Ok(posture)
    }
}

async fn look(connection: &mut PgConnection) -> sqlx::Result<DatabasePosture> {
    let clock_ahead_ms = clock_ahead(connection).await?;
    let settings = sqlx::query!(
        r#"SELECT
            current_user::text AS "login!",
            (SELECT rolsuper FROM pg_roles WHERE rolname = current_user) AS "is_superuser!",
            pg_is_in_recovery() OR current_setting('transaction_read_only')::boolean AS "is_read_only!",
            current_setting('fsync')::boolean AS "fsync!",
            current_setting('full_page_writes')::boolean AS "full_page_writes!",
            current_setting('synchronous_commit') AS "synchronous_commit!",
            -- By way of pg_settings: Postgres 12 does not know the second one.
            ARRAY(
                SELECT name FROM pg_settings
                WHERE (name = 'log_error_verbosity' AND setting <> 'terse')
                    OR (name = 'log_parameter_max_length' AND setting <> '0')
                ORDER BY name
            ) AS "quoting_settings!""#
    )
    .fetch_one(&mut *connection)
    .await?;
    let rights = sqlx::query!(
        r#"SELECT
            ARRAY(
                SELECT oid::regclass::text FROM pg_class
                WHERE (oid = to_regclass('user_logins') OR relnamespace = to_regnamespace('etl'))
                    AND relkind IN ('r', 'p') AND NOT relispartition AND pg_has_role(relowner, 'USAGE')
                ORDER BY 1
            ) AS "owns!",
            ARRAY(
                SELECT name FROM unnest(ARRAY['UPDATE', 'DELETE', 'TRUNCATE']) AS rights (name)
                WHERE has_table_privilege(to_regclass('user_logins'), name)
            ) AS "rights_on_rows!",
            ARRAY(
                SELECT "right" || ' on ' || "table"
                FROM (
                    VALUES (1, 'etl.ledger', 'UPDATE'), (2, 'etl.ledger', 'DELETE'), (3, 'etl.ledger', 'TRUNCATE'),
                        (4, 'etl.quarantine', 'DELETE'), (5, 'etl.quarantine', 'TRUNCATE')
                ) AS rights (number, "table", "right")
                WHERE has_table_privilege(to_regclass("table"), "right")
                ORDER BY number
            ) AS "rights_on_books!",
            ARRAY(
                SELECT quote_ident(nspname) FROM pg_namespace
                WHERE (
                        oid = to_regnamespace('etl')
                        OR oid = (SELECT relnamespace FROM pg_class WHERE oid = to_regclass('user_logins'))
                    )
                    AND has_schema_privilege(oid, 'CREATE')
                ORDER BY 1
            ) AS "creates_in!",
            ARRAY(
                SELECT oid::regclass::text FROM pg_class
                WHERE oid IN (to_regclass('etl.pii_vault'), to_regclass('etl.vault_data_keys'))
                    AND has_any_column_privilege(oid, 'SELECT')
                ORDER BY 1
            ) AS "readable_vault!",
            coalesce(has_any_column_privilege(to_regclass('etl.policy'), 'INSERT, UPDATE'), false)
                OR coalesce(has_table_privilege(to_regclass('etl.policy'), 'DELETE, TRUNCATE'), false) AS "can_change_policy!""#
    )
    .fetch_one(&mut *connection)
    .await?;
    let quoting_settings = if settings.is_superuser { Vec::new() } else { settings.quoting_settings };
    Ok(DatabasePosture {
        login: settings.login,
        is_superuser: settings.is_superuser,
        owns: rights.owns,
        rights_on_rows: rights.rights_on_rows,
        rights_on_books: rights.rights_on_books,
        creates_in: rights.creates_in,
        readable_vault: rights.readable_vault,
        can_change_policy: rights.can_change_policy,
        is_read_only: settings.is_read_only,
        fsync: settings.fsync,
        full_page_writes: settings.full_page_writes,
        synchronous_commit: settings.synchronous_commit,
        quoting_settings,
        clock_ahead_ms,
    })
}

async fn clock_ahead(connection: &mut PgConnection) -> sqlx::Result<i64> {
    let query = sqlx::query_scalar!(
        r#"SELECT floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint AS "millis!""#
    );
    let before = UnixMillis::now();
    let theirs = query.fetch_one(&mut *connection).await?;
    Ok(UnixMillis::ahead(before, UnixMillis::new(theirs), UnixMillis::new(theirs + 1), UnixMillis::now()))
}
