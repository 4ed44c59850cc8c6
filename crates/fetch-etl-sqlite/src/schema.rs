//! The tables: making them, and checking that they are there.

use fetch_etl_core::{ErrorClass, SinkError};
use sqlx::migrate::{MigrateError, Migrator};

use crate::error::{error_without_rows, migrate_error, not_migrated};
use crate::{LOGIN_COLUMNS, QUARANTINE_COLUMNS, SqliteSink, file};

static MIGRATOR: Migrator = sqlx::migrate!();

impl SqliteSink {
    /// Makes the file, for its owner only, and our tables in it.
    ///
    /// # Errors
    /// What was applied before the failing migration stays; it goes on from there when called again.
    pub async fn migrate(&self) -> Result<(), SinkError> {
        file::create(self.path())?;
        let mut migrated = self.try_to_migrate().await;
        // SQLite's migrator takes no lock of its own: where another process applies the same migration at the same time, ours
        // fails, and finds it applied when it tries again.
        for _ in MIGRATOR.iter() {
            if migrated.is_ok() {
                break;
            }
            migrated = self.try_to_migrate().await;
        }
        migrated.map_err(|error| migrate_error(&error))
    }

    async fn try_to_migrate(&self) -> Result<(), MigrateError> {
        // With a log written ahead readers do not hold up writers. The file remembers it.
        sqlx::query("PRAGMA journal_mode = WAL").execute(&self.pool).await?;
        MIGRATOR.run(&self.pool).await
    }

    /// How many migrations [`migrate`](Self::migrate) would apply. For those who want to know before.
    ///
    /// # Errors
    /// Fatal where the file has a `user_logins` that is not ours.
    pub async fn pending_migrations(&self) -> Result<usize, SinkError> {
        if !self.path().exists() {
            return Ok(MIGRATOR.iter().count());
        }
        let has = async |table: &'static str| {
            let query = sqlx::query_scalar(
                "SELECT EXISTS (SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = ?)",
            );
            let found = query.bind(table).fetch_one(&self.pool).await;
            found.map_err(|error| error_without_rows(&error))
        };
        if !has("etl_schema_migrations").await? {
            if has("user_logins").await? {
                let text = "the file has a table user_logins that is not ours: name another file";
                return Err(SinkError::new(ErrorClass::Fatal, text));
            }
            return Ok(MIGRATOR.iter().count());
        }
        // The table is the migrator's own, which the checked statements do not know.
        let applied = sqlx::query_scalar("SELECT version FROM etl_schema_migrations WHERE success");
        let applied: Vec<i64> =
            applied.fetch_all(&self.pool).await.map_err(|error| error_without_rows(&error))?;
        Ok(MIGRATOR.iter().filter(|migration| !applied.contains(&migration.version)).count())
    }

    /// Checks that our tables are there, with the columns that we write.
    ///
    /// # Errors
    /// Fatal, with every finding, where they are not.
    pub async fn check_schema(&self) -> Result<(), SinkError> {
        if !self.path().exists() {
            return Err(not_migrated(&self.path().display().to_string()));
        }
        let query = sqlx::query_scalar!(
            r#"SELECT t.name || '.' || c.name AS "column!: String"
            FROM sqlite_schema AS t JOIN pragma_table_info(t.name) AS c WHERE t.type = 'table'"#
        );
        let found = query.fetch_all(&self.pool).await.map_err(|error| error_without_rows(&error))?;
        let tables = [
            ("user_logins", &LOGIN_COLUMNS[..]),
            ("etl_ledger", &["key", "recorded_on"]),
            ("etl_quarantine", &QUARANTINE_COLUMNS),
            (
                "etl_quarantine",
                &["body_bytes", "recipient_id", "sealed_body", "state", "by_producer", "closed_at"],
            ),
        ];
        let needed = tables
            .iter()
            .flat_map(|(table, columns)| columns.iter().map(move |column| format!("{table}.{column}")));
        let missing: Vec<_> = needed.filter(|column| !found.contains(column)).collect();
        if missing.is_empty() { Ok(()) } else { Err(not_migrated(&missing.join(", "))) }
    }
}
