//! A Postgres server, as far as a leak test needs it.

use std::path::{Path, PathBuf};
use std::str::FromStr as _;

use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _};

use super::store::Part;
use crate::failure::Failure;

const PREFIX: &str = "etl_leak_test_";

/// A server with our databases on it.
pub(super) struct Server {
    url: String,
    options: PgConnectOptions,
    id: String,
    /// The WAL's file when the test began: the ones before it hold nothing of ours.
    first_wal: Option<String>,
}

/// What of a server's files can be read from here.
pub(super) struct Files {
    /// The data directory.
    pub(super) data: PathBuf,
    /// In it, the directories and files that may hold our rows.
    pub(super) parts: Vec<PathBuf>,
    /// The file of the server's log, or why there is none to be read.
    pub(super) log: Result<PathBuf, String>,
}

impl Server {
    /// Makes the databases. That the URL's own is there is all that is asked of it.
    pub(super) async fn create(url: &str) -> Result<Self, Failure> {
        let options = PgConnectOptions::from_str(url)
            .map_err(|_| Failure::usage("--database-url: it is no URL of a Postgres"))?
            .disable_statement_logging();
        let id = format!("{:012x}", fastrand::u64(..1 << 48));
        let mut server = Self { url: url.to_owned(), options, id, first_wal: None };
        for part in Part::ALL {
            let create = format!("CREATE DATABASE {} TEMPLATE template0 ENCODING 'UTF8'", server.name(part));
            if let Err(error) = server.execute(create).await {
                let failure = creating_failed(&error);
                // The first may be there already; where nothing can be made, nothing can be dropped either.
                let _ = server.drop_all().await;
                return Err(failure);
            }
        }
        server.first_wal = wal_file(&mut server.connect(Part::Keyed).await?).await;
        Ok(server)
    }

    pub(super) fn name(&self, part: Part) -> String {
        format!("{PREFIX}{}_{}", self.id, part.suffix())
    }

    pub(super) fn url(&self, part: Part) -> String {
        with_database(&self.url, &self.name(part))
    }

    pub(super) async fn connect(&self, part: Part) -> Result<PgConnection, Failure> {
        let options = self.options.clone().database(&self.name(part));
        options.connect().await.map_err(|_| Failure::failed("the test's own database does not answer"))
    }

    async fn execute(&self, statement: String) -> sqlx::Result<()> {
        let mut connection = self.options.connect().await?;
        sqlx::raw_sql(AssertSqlSafe(statement)).execute(&mut connection).await?;
        connection.close().await
    }

    pub(super) async fn drop_all(&self) -> Result<(), Failure> {
        for part in Part::ALL {
            let name = self.name(part);
            // Workers that were killed may still be connected. (WITH (FORCE) would need Postgres 13.)
            let end =
                format!("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'");
            let dropped = match self.execute(end).await {
                Ok(()) => self.execute(format!("DROP DATABASE IF EXISTS {name}")).await,
                Err(error) => Err(error),
            };
            dropped.map_err(|_| {
                Failure::failed(format!("the test's database {name} cannot be dropped"))
                    .hint(format!("DROP DATABASE {name}; it holds made-up logins only"))
            })?;
        }
        Ok(())
    }

    /// What the sessions of our databases do, a line each.
    pub(super) async fn activity(connection: &mut PgConnection) -> sqlx::Result<Vec<String>> {
        let activity = "SELECT activity::text FROM pg_stat_activity AS activity WHERE datname LIKE $1";
        sqlx::query_scalar(activity).bind(format!("{PREFIX}%")).fetch_all(connection).await
    }

    /// The statements that pg_stat_statements knows, or why they cannot be read.
    pub(super) async fn statements(&self) -> Result<Vec<String>, String> {
        let mut connection = self.connect(Part::Keyed).await.map_err(|failure| failure.to_string())?;
        let libraries: Option<String> =
            sqlx::query_scalar("SELECT current_setting('shared_preload_libraries', true)")
                .fetch_one(&mut connection)
                .await
                .map_err(|_| "the server does not say whether it has it".to_owned())?;
        if !libraries.unwrap_or_default().contains("pg_stat_statements") {
            return Err("the server does not have it loaded".to_owned());
        }
        // In our own database, which is dropped with it.
        let created =
            sqlx::raw_sql("CREATE EXTENSION IF NOT EXISTS pg_stat_statements").execute(&mut connection).await;
        created.map_err(|_| "the role may not create the extension".to_owned())?;
        sqlx::query_scalar("SELECT query FROM pg_stat_statements WHERE query IS NOT NULL")
            .fetch_all(&mut connection)
            .await
            .map_err(|_| "the role may not read it".to_owned())
    }

    /// The server's files, where it is on this machine and they may be read.
    pub(super) async fn files(&self) -> Result<Files, String> {
        let mut connection = self.connect(Part::Keyed).await.map_err(|failure| failure.to_string())?;
        // What is committed is in the WAL; this brings it to the tables' files, too. Without the right to it, the WAL must do.
        let _ = sqlx::raw_sql("CHECKPOINT").execute(&mut connection).await;
        let data: String = sqlx::query_scalar("SELECT current_setting('data_directory')")
            .fetch_one(&mut connection)
            .await
            .map_err(|_| "the role may not see where it is".to_owned())?;
        let data = PathBuf::from(data);
        let oids: Vec<i64> = sqlx::query_scalar("SELECT oid::bigint FROM pg_database WHERE datname LIKE $1")
            .bind(format!("{PREFIX}{}%", self.id))
            .fetch_all(&mut connection)
            .await
            .map_err(|_| "the server does not say which files are ours".to_owned())?;
        let ours: Vec<_> = oids.iter().map(|oid| data.join("base").join(oid.to_string())).collect();
        readable(&data, &ours)?;
        let wal = match (&self.first_wal, wal_file(&mut connection).await) {
            (Some(first), Some(last)) => files_between(&data.join("pg_wal"), first, &last)?,
            _ => return Err("the server does not say which files of its WAL are ours".to_owned()),
        };
        let others = ["global", "pg_stat", "pg_stat_tmp", "pg_replslot", "pg_logical", "base/pgsql_tmp"];
        let others = others.iter().map(|name| data.join(name)).filter(|path| path.is_dir());
        let log: sqlx::Result<Option<String>> =
            sqlx::query_scalar("SELECT pg_current_logfile()").fetch_one(&mut connection).await;
        let log = match log {
            Ok(Some(file)) => Ok(data.join(file)),
            Ok(None) => {
                Err("the server leaves it to whoever started it (logging_collector is off)".to_owned())
            }
            Err(_) => Err("the role may not see where it is".to_owned()),
        };
        Ok(Files { parts: ours.iter().cloned().chain(wal).chain(others).collect(), data, log })
    }
}

/// The file of the WAL that is written to.
async fn wal_file(connection: &mut PgConnection) -> Option<String> {
    sqlx::query_scalar("SELECT pg_walfile_name(pg_current_wal_lsn())").fetch_one(connection).await.ok()
}

/// The files of the WAL from one to another. Those with later names are old ones that are to be written over.
fn files_between(directory: &Path, first: &str, last: &str) -> Result<Vec<PathBuf>, String> {
    let entries = std::fs::read_dir(directory)
        .map_err(|error| format!("{} cannot be read ({})", directory.display(), error.kind()))?;
    let is_ours = |path: &PathBuf| {
        path.file_name().and_then(|name| name.to_str()).is_some_and(|name| first <= name && name <= last)
    };
    Ok(entries.flatten().map(|entry| entry.path()).filter(is_ours).collect())
}

/// Another machine may have a directory of the same name: only ours has our databases.
fn readable(data: &Path, ours: &[PathBuf]) -> Result<(), String> {
    for directory in ours {
        if let Err(error) = std::fs::read_dir(directory) {
            return Err(match error.kind() {
                std::io::ErrorKind::NotFound => {
                    "the server is on another machine, as far as one can see from here".to_owned()
                }
                kind => format!("{} cannot be read ({kind})", data.display()),
            });
        }
    }
    if ours.is_empty() { Err("the server does not say which files are ours".to_owned()) } else { Ok(()) }
}

fn creating_failed(error: &sqlx::Error) -> Failure {
    let code = error.as_database_error().and_then(|error| error.code());
    match code.as_deref() {
        Some("42501") => Failure::failed("the role may not create the test's databases").hint(
            "ALTER ROLE … CREATEDB allows it; or leave --database-url away: the test makes an SQLite file then",
        ),
        Some(code @ ("28P01" | "28000")) => {
            Failure::failed(format!("Postgres does not let the role in (SQLSTATE {code})"))
                .hint("check the user and password in the database URL, and the server's pg_hba.conf")
        }
        Some("3D000") => Failure::failed("there is no database as --database-url names it")
            .hint("name one that is there, such as postgres; the test makes its own"),
        Some(code) => Failure::failed(format!("the test's databases cannot be created (SQLSTATE {code})")),
        None => Failure::failed("Postgres cannot be reached").hint("check host and port in the database URL"),
    }
}

/// The same server, another database.
fn with_database(url: &str, name: &str) -> String {
    let (address, parameters) = match url.split_once('?') {
        Some((address, parameters)) => (address, format!("?{parameters}")),
        None => (url, String::new()),
    };
    let host = address.find("://").map_or(0, |scheme| scheme + "://".len());
    let end = address[host..].find('/').map_or(address.len(), |slash| host + slash);
    format!("{}/{name}{parameters}", &address[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_database_is_replaced_and_nothing_else() {
        for (url, expected) in [
            ("postgres://u:p@h:1/postgres", "postgres://u:p@h:1/x"),
            ("postgres://h", "postgres://h/x"),
            ("postgres:///postgres?host=/run", "postgres:///x?host=/run"),
        ] {
            assert_eq!(with_database(url, "x"), expected);
        }
    }
}
