//! A ledger, a proxy in front of its database, and a connection past the proxy to see what is true.

use std::io;

use fetch_etl_testing::postgres::TestDatabase;
use fetch_etl_testing::proxy::PgProxy;
use sqlx::{Connection as _, Error, PgConnection};

pub(super) const INSERT: &str = "INSERT INTO etl.ledger (key) VALUES ($1)";

pub(super) struct Bench {
    pub(super) proxy: PgProxy,
    direct: PgConnection,
    url: String,
    _database: TestDatabase,
}

impl Bench {
    pub(super) async fn new() -> Self {
        let database = TestDatabase::create().await;
        let mut direct = database.connect().await;
        let create = "CREATE SCHEMA etl; CREATE TABLE etl.ledger (key bigint PRIMARY KEY, text text)";
        sqlx::raw_sql(create).execute(&mut direct).await.unwrap();
        let proxy = PgProxy::in_front_of(database.url()).await.unwrap();
        Self { url: proxy.url_for(database.url()).unwrap(), proxy, direct, _database: database }
    }

    /// A connection through the proxy.
    pub(super) async fn connect(&self) -> Result<PgConnection, Error> {
        PgConnection::connect(&self.url).await
    }

    /// Waits until the server has ended all sessions but our own: what they had been sent is done, or undone.
    pub(super) async fn server_is_through(&mut self) {
        let count = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() \
                     AND backend_type = 'client backend' AND pid <> pg_backend_pid()";
        while sqlx::query_scalar::<_, i64>(count).fetch_one(&mut self.direct).await.unwrap() > 0 {}
    }

    /// Whether the row is there for everybody to see.
    pub(super) async fn has(&mut self, key: i64) -> bool {
        let count = sqlx::query_scalar("SELECT count(*) FROM etl.ledger WHERE key = $1").bind(key);
        let found: i64 = count.fetch_one(&mut self.direct).await.unwrap();
        found == 1
    }
}

/// What went wrong with the connection.
pub(super) fn io_error<T>(result: Result<T, Error>) -> io::ErrorKind {
    match result {
        Err(Error::Io(error)) => error.kind(),
        Err(error) => panic!("not an error of the connection: {error}"),
        Ok(_) => panic!("no error"),
    }
}
