//! The databases of a leak test: made for it, looked through, dropped.

use std::path::{Path, PathBuf};

use fetch_etl_canary::Campaign;
use sqlx::{AssertSqlSafe, Connection as _, SqliteConnection};
use tempfile::TempDir;

use super::postgres::Server;
use crate::failure::Failure;
use crate::settings::{DatabaseKind, DatabaseUrl};

/// Where the workers write to.
pub(super) enum Store {
    Sqlite { directory: TempDir },
    Postgres { server: Box<Server> },
}

/// One of its databases.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    /// Of the workers that mask with a key.
    Keyed,
    /// Of the worker that does not.
    Plain,
}

impl Part {
    pub(super) const ALL: [Self; 2] = [Self::Keyed, Self::Plain];

    /// What its name ends with.
    pub(super) fn suffix(self) -> &'static str {
        match self {
            Self::Keyed => "keyed",
            Self::Plain => "plain",
        }
    }
}

/// How many rows and rejects there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) rows: u64,
    pub(super) rejects: u64,
}

impl Store {
    /// Makes the databases.
    pub(super) async fn create(database_url: Option<&str>) -> Result<Self, Failure> {
        let Some(url) = database_url else {
            let directory =
                tempfile::Builder::new().prefix("fetch-etl-leak-test-").tempdir().map_err(|error| {
                    Failure::failed(format!("cannot make a directory for the SQLite files: {}", error.kind()))
                })?;
            return Ok(Self::Sqlite { directory });
        };
        match DatabaseUrl::parse(url).map(|url| url.kind()) {
            Some(DatabaseKind::Postgres) => {
                Ok(Self::Postgres { server: Box::new(Server::create(url).await?) })
            }
            Some(DatabaseKind::Sqlite) => Err(Failure::usage(
                "--database-url: expected postgres://…; without it the test makes SQLite files of its own",
            )),
            None => Err(Failure::usage("--database-url: expected postgres://…, found something else")),
        }
    }

    /// What it is, for people.
    pub(super) fn describe(&self) -> String {
        match self {
            Self::Sqlite { .. } => "SQLite".to_owned(),
            Self::Postgres { server } => {
                format!("Postgres ({})", Part::ALL.map(|part| server.name(part)).join(", "))
            }
        }
    }

    /// The URL of one, for a worker.
    pub(super) fn url(&self, part: Part) -> String {
        match self {
            Self::Sqlite { directory } => format!("sqlite://{}", file(directory.path(), part).display()),
            Self::Postgres { server } => server.url(part),
        }
    }

    pub(super) async fn counts(&self, part: Part) -> Result<Counts, Failure> {
        let count = |(rows, rejects): (i64, i64)| Counts {
            rows: rows.unsigned_abs(),
            rejects: rejects.unsigned_abs(),
        };
        let counted = match self {
            Self::Sqlite { directory } => {
                let counting =
                    "SELECT (SELECT count(*) FROM user_logins), (SELECT count(*) FROM etl_quarantine)";
                let mut connection = open(directory.path(), part).await?;
                let counted = sqlx::query_as(counting).fetch_one(&mut connection).await;
                close(connection).await;
                counted
            }
            Self::Postgres { server } => {
                let counting =
                    "SELECT (SELECT count(*) FROM user_logins), (SELECT count(*) FROM etl.quarantine)";
                sqlx::query_as(counting).fetch_one(&mut server.connect(part).await?).await
            }
        };
        counted.map(count).map_err(|_| Failure::failed("the rows of the test cannot be counted"))
    }

    /// From now on the database refuses the logins that are marked for it. Postgres quotes the whole row then.
    pub(super) async fn refuse_marked(&self) -> Result<(), Failure> {
        let mark = Campaign::REFUSED_LOCALES;
        let refused = match self {
            Self::Sqlite { directory } => {
                let trigger = format!(
                    "CREATE TRIGGER leak_test_refuses BEFORE INSERT ON user_logins WHEN NEW.locale LIKE '%{mark}'
                    BEGIN SELECT RAISE(ABORT, 'refused'); END"
                );
                let mut connection = open(directory.path(), Part::Keyed).await?;
                let made = sqlx::raw_sql(AssertSqlSafe(trigger)).execute(&mut connection).await;
                close(connection).await;
                made.map(drop)
            }
            Self::Postgres { server } => {
                let constraint = format!(
                    "ALTER TABLE user_logins ADD CONSTRAINT leak_test_refuses CHECK (locale NOT LIKE '%{mark}')"
                );
                let mut connection = server.connect(Part::Keyed).await?;
                sqlx::raw_sql(AssertSqlSafe(constraint)).execute(&mut connection).await.map(drop)
            }
        };
        refused.map_err(|_| Failure::failed("the database cannot be told to refuse rows"))
    }

    /// Drops what was made, or keeps it and says what it is.
    pub(super) async fn end(self, keep: bool) -> Result<Vec<String>, Failure> {
        let names = match &self {
            Self::Sqlite { directory } => Part::ALL
                .map(|part| format!("kept: file {}", file(directory.path(), part).display()))
                .to_vec(),
            Self::Postgres { server } => {
                Part::ALL.map(|part| format!("kept: database {}", server.name(part))).to_vec()
            }
        };
        match self {
            Self::Sqlite { directory } if keep => drop(directory.keep()),
            Self::Sqlite { directory } => directory.close().map_err(|error| {
                Failure::failed(format!("cannot remove the SQLite files: {}", error.kind()))
            })?,
            Self::Postgres { .. } if keep => {}
            Self::Postgres { server } => server.drop_all().await?,
        }
        Ok(if keep { names } else { Vec::new() })
    }
}

fn file(directory: &Path, part: Part) -> PathBuf {
    directory.join(format!("{}.sqlite", part.suffix()))
}

async fn open(directory: &Path, part: Part) -> Result<SqliteConnection, Failure> {
    let url = format!("sqlite://{}", file(directory, part).display());
    SqliteConnection::connect(&url).await.map_err(|_| Failure::failed("the SQLite file cannot be opened"))
}

async fn close(connection: SqliteConnection) {
    // What was read is read; the file is looked at as it is.
    let _ = connection.close().await;
}
