//! A Postgres database of its own for each test.

use std::collections::hash_map::RandomState;
use std::env;
use std::hash::{BuildHasher, Hasher};
use std::str::FromStr;
use std::thread;

use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection};

/// Where the server is looked for, in this order; the first that is set and not empty counts.
const URL_VARIABLES: [&str; 2] = ["FETCH_ETL_TEST_DATABASE_URL", "DATABASE_URL"];
const DEFAULT_URL: &str = "postgres://postgres@127.0.0.1:5432/postgres";

/// What the databases' names begin with, for who wants to find those that a killed test left behind.
const PREFIX_VARIABLE: &str = "FETCH_ETL_TEST_DATABASE_PREFIX";

/// An empty database, dropped when this is dropped, also when the test panics.
///
/// ```no_run
/// # async fn test() {
/// let database = fetch_etl_testing::postgres::TestDatabase::create().await;
/// let url = database.url(); // postgres://…/fetch_etl_test_1234_89abcdef01234567
/// # }
/// ```
#[derive(Debug)]
pub struct TestDatabase {
    name: String,
    url: String,
    server: PgConnectOptions,
}

impl TestDatabase {
    /// Makes a database on the server of `FETCH_ETL_TEST_DATABASE_URL`, else of `DATABASE_URL`, else on 127.0.0.1:5432 as
    /// `postgres`. Its name begins with `FETCH_ETL_TEST_DATABASE_PREFIX`, else `fetch_etl_test_<process>_`.
    ///
    /// # Panics
    /// Where there is no server, or it makes no database for us: a test without one fails, it is not skipped.
    pub async fn create() -> Self {
        Self::create_on(&server_url()).await
    }

    /// Makes a database on the server of this URL, as the user whom it names.
    ///
    /// # Panics
    /// As [`create`](Self::create).
    pub async fn create_on(url: &str) -> Self {
        let server = match PgConnectOptions::from_str(url) {
            Ok(server) => server.disable_statement_logging(),
            // sqlx's error may quote the URL, and the URL may hold a password.
            Err(_) => panic!("the URL of the Postgres for tests is not valid (from {URL_VARIABLES:?})"),
        };
        let name = new_name();
        // template0: nobody can be connected to it, which would make this fail.
        let create = format!("CREATE DATABASE \"{name}\" TEMPLATE template0 ENCODING 'UTF8'");
        if let Err(error) = execute(&server, create).await {
            let (host, port) = (server.get_host(), server.get_port());
            panic!(
                "no database for this test on the Postgres at {host}:{port} ({error}). \
                 Run `cargo xtask test`, which finds or starts one, or set FETCH_ETL_TEST_DATABASE_URL"
            );
        }
        Self { url: with_database(url, &name), name, server }
    }

    /// The database's URL, with the server's credentials.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The database's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// A new connection to it.
    ///
    /// # Panics
    /// When it cannot be made.
    pub async fn connect(&self) -> PgConnection {
        let options = self.server.clone().database(&self.name);
        match options.connect().await {
            Ok(connection) => connection,
            Err(error) => panic!("cannot connect to the test's own database: {error}"),
        }
    }
}

impl Drop for TestDatabase {
    fn drop(&mut self) {
        let server = self.server.clone();
        // FORCE: sinks under test may still be connected.
        let drop = format!("DROP DATABASE IF EXISTS \"{}\" WITH (FORCE)", self.name);
        // The test's own runtime is busy with dropping us, or gone.
        let dropping = thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.map_err(sqlx::Error::from)?.block_on(execute(&server, drop))
        });
        let name = &self.name;
        match dropping.join() {
            Ok(Ok(())) => {}
            // A panic while another is on its way would abort, and hide the test's own.
            Ok(Err(error)) if !thread::panicking() => {
                panic!("cannot drop the test's database {name}: {error}")
            }
            Err(_) if !thread::panicking() => panic!("cannot drop the test's database {name}"),
            Ok(Err(_)) | Err(_) => {}
        }
    }
}

async fn execute(server: &PgConnectOptions, statement: String) -> sqlx::Result<()> {
    let mut connection = server.connect().await?;
    sqlx::raw_sql(AssertSqlSafe(statement)).execute(&mut connection).await?;
    connection.close().await
}

fn server_url() -> String {
    let set = URL_VARIABLES.into_iter().filter_map(|name| env::var(name).ok()).find(|url| !url.is_empty());
    set.unwrap_or_else(|| DEFAULT_URL.to_owned())
}

fn new_name() -> String {
    let prefix = env::var(PREFIX_VARIABLE).ok().filter(|prefix| !prefix.is_empty());
    let prefix = prefix.unwrap_or_else(|| format!("fetch_etl_test_{}_", std::process::id()));
    // Each RandomState has keys of its own, so this is as random as tests need it.
    format!("{prefix}{:016x}", RandomState::new().build_hasher().finish())
}

/// The same server and parameters, another database.
fn with_database(url: &str, name: &str) -> String {
    let (address, parameters) = match url.split_once('?') {
        Some((address, parameters)) => (address, format!("?{parameters}")),
        None => (url, String::new()),
    };
    let start_of_host = address.find("://").map_or(0, |scheme| scheme + "://".len());
    let end_of_host = address[start_of_host..].find('/').map_or(address.len(), |slash| start_of_host + slash);
    format!("{}/{name}{parameters}", &address[..end_of_host])
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
            ("postgres://h/a?sslmode=require", "postgres://h/x?sslmode=require"),
        ] {
            assert_eq!(with_database(url, "x"), expected);
        }
    }

    #[tokio::test]
    async fn the_database_is_dropped_also_when_the_test_panics() {
        let database = TestDatabase::create().await;
        let (server, name) = (database.server.clone(), database.name.clone());
        let test = tokio::spawn(async move {
            // Still connected, as sinks are.
            let _connection = database.connect().await;
            panic!("{} fails", database.name());
        });
        assert!(test.await.is_err_and(|error| error.is_panic()));
        let mut connection = server.connect().await.unwrap();
        let find = "SELECT count(*) FROM pg_database WHERE datname = $1";
        let left: i64 = sqlx::query_scalar(find).bind(name).fetch_one(&mut connection).await.unwrap();
        assert_eq!(left, 0);
    }

    #[test]
    fn names_differ() {
        assert_ne!(new_name(), new_name());
    }
}
