//! What all measurements stand on: a Postgres, files with backlogs, queues and databases of their own.

use std::path::PathBuf;
use std::str::FromStr as _;

use fetch_etl_harness::{Ended, LocalQueue, Running, binary};
use fetch_etl_scratch_postgres::{Binaries, Cluster, Durability};
use fetch_etl_seal::KeyPair;
use fetch_etl_testing::postgres::TestDatabase;
use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{ConnectOptions as _, Connection as _};
use tempfile::TempDir;

use crate::load::{self, Values};
use crate::proc::{self, Processes};
use crate::{Result, Scale, say};

/// Longer than any measurement: a message that comes twice would be measured twice.
const VISIBILITY_TIMEOUT_S: u32 = 3_600;

/// The table that rows go to, as every version of the worker has had it; it is made where there is none.
pub(crate) const USER_LOGINS: &str = include_str!("../../../migrations/postgres/0001_user_logins.sql");

pub(crate) struct Rig {
    pub(crate) scale: Scale,
    server: Server,
    postmaster: Option<u32>,
    directory: TempDir,
    /// Public key of the vault. Nobody has the private one: nothing is opened here.
    recipient: String,
}

enum Server {
    /// Made for this run, with the settings that a server has unless told otherwise.
    Own(Cluster),
    Given(String),
}

impl Rig {
    /// On the server of this URL, or on a cluster made for it.
    pub(crate) async fn new(scale: Scale, database_url: Option<String>) -> Result<Self> {
        let server = match database_url {
            Some(url) => Server::Given(url),
            None => {
                let binaries =
                    Binaries::find().ok_or("no Postgres server on this machine; set DATABASE_URL to one")?;
                say("making a Postgres cluster");
                Server::Own(Cluster::start(&binaries, Durability::Full)?)
            }
        };
        let directory = tempfile::Builder::new().prefix("fetch-etl-bench-").tempdir()?;
        let recipient = KeyPair::generate()?.recipient().to_text();
        let mut rig = Self { scale, server, postmaster: None, directory, recipient };
        rig.postmaster = find_postmaster(&mut rig.connect().await?).await?;
        if rig.postmaster.is_none() {
            say("the Postgres server runs elsewhere: its CPU cannot be measured");
        }
        Ok(rig)
    }

    fn url(&self) -> String {
        match &self.server {
            Server::Own(cluster) => cluster.url(),
            Server::Given(url) => url.clone(),
        }
    }

    /// The server's first process, where it is one of this machine's.
    pub(crate) fn postmaster(&self) -> Option<u32> {
        self.postmaster
    }

    /// The vault's public key.
    pub(crate) fn recipient(&self) -> &str {
        &self.recipient
    }

    /// The server's version, and whose it is.
    pub(crate) async fn describe_postgres(&self) -> Result<String> {
        let version: String =
            sqlx::query_scalar("SHOW server_version").fetch_one(&mut self.connect().await?).await?;
        let whose = match self.server {
            Server::Own(_) => "a cluster made for it, default settings",
            Server::Given(_) => "the server at DATABASE_URL",
        };
        Ok(format!("Postgres {version} ({whose})"))
    }

    async fn connect(&self) -> Result<PgConnection> {
        // sqlx's error may quote the URL, and the URL may hold a password.
        let options = PgConnectOptions::from_str(&self.url()).map_err(|_| "the database URL is not valid")?;
        Ok(options.disable_statement_logging().connect().await?)
    }

    /// A new queue with a backlog of its own.
    pub(crate) fn queue(&self, messages: u64, values: Values) -> Result<LocalQueue> {
        if messages == 0 {
            return Ok(LocalQueue::start(VISIBILITY_TIMEOUT_S, &[]));
        }
        let file = self.backlog(messages, values)?;
        let file = file.to_str().ok_or("the temporary directory's name is not UTF-8")?;
        Ok(LocalQueue::start(VISIBILITY_TIMEOUT_S, &["--load", file]))
    }

    /// A file with so many messages; made when it is first asked for.
    fn backlog(&self, messages: u64, values: Values) -> Result<PathBuf> {
        let path = self.directory.path().join(format!("{}-{messages}.jsonl", values.word()));
        if !path.exists() {
            load::write_backlog(&path, messages, values)?;
        }
        Ok(path)
    }

    /// An empty database.
    pub(crate) async fn database(&self) -> TestDatabase {
        TestDatabase::create_on(&self.url()).await
    }

    /// A database with the worker's tables.
    pub(crate) async fn migrated_database(&self) -> Result<TestDatabase> {
        let database = self.database().await;
        let environment = [("ETL_SINK__DATABASE_URL".to_owned(), database.url().to_owned())];
        // `check` of a queue is no part of migrating, but a configuration without one is none.
        let queue = [("ETL_SOURCE__QUEUE_NAME".to_owned(), LocalQueue::NAME.to_owned())];
        let worker = Running::start(&binary("etl-worker"), ["migrate"], environment.into_iter().chain(queue));
        succeeded("etl-worker migrate", &worker.wait())?;
        Ok(database)
    }

    /// Lets the server write down what earlier measurements left, so that it does not do so in the next one.
    pub(crate) async fn settle(&self) -> Result<()> {
        let mut connection = self.connect().await?;
        sqlx::query("CHECKPOINT").execute(&mut connection).await?;
        Ok(connection.close().await?)
    }
}

/// The parent of the process that answers, where that is a process of this machine and Postgres's.
async fn find_postmaster(connection: &mut PgConnection) -> Result<Option<u32>> {
    let backend: i32 = sqlx::query_scalar("SELECT pg_backend_pid()").fetch_one(connection).await?;
    let is_postgres = |id: u32| proc::name_of(id).is_some_and(|name| name.starts_with("postgres"));
    let backend = u32::try_from(backend).ok().filter(|id| is_postgres(*id));
    Ok(backend.and_then(|id| Processes::now().parent_of(id)).filter(|id| is_postgres(*id)))
}

/// Whether a process ended as it should; what it said last otherwise.
pub(crate) fn succeeded(what: &str, ended: &Ended) -> Result<()> {
    if ended.status.success() {
        return Ok(());
    }
    let last = ended.stderr.lines().last().unwrap_or("it said nothing");
    Err(format!("{what} failed ({}): {last}", ended.status).into())
}
