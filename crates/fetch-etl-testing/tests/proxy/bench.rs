//! A ledger, a proxy in front of its database, and a connection past the proxy to see what is true.

use std::io;

use fetch_etl_testing::postgres::TestDatabase;
use fetch_etl_testing::proxy::PgProxy;
use sqlx::{AssertSqlSafe, Connection as _, Error, PgConnection};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

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

    /// A session through the proxy that speaks the protocol by hand.
    pub(super) async fn raw_client(&self) -> TcpStream {
        let (_, database) = self.url.rsplit_once('/').unwrap();
        let database = database.split('?').next().unwrap();
        let parameters = format!("user\0postgres\0database\0{database}\0\0");
        let length = u32::try_from(parameters.len() + 8).unwrap();
        let startup = [&length.to_be_bytes(), &196_608_u32.to_be_bytes(), parameters.as_bytes()].concat();
        let mut client = TcpStream::connect(self.proxy.addr()).await.unwrap();
        client.write_all(&startup).await.unwrap();
        // Up to the first ReadyForQuery: a Z, its length, and I for idle.
        let mut seen = Vec::new();
        while !seen.ends_with(b"Z\0\0\0\x05I") {
            assert_ne!(client.read_buf(&mut seen).await.unwrap(), 0, "the session was refused");
        }
        client
    }

    /// Has the server end all sessions but our own.
    pub(super) async fn end_all_sessions(&mut self) {
        let end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() \
                   AND backend_type = 'client backend' AND pid <> pg_backend_pid()";
        sqlx::query(end).execute(&mut self.direct).await.unwrap();
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

/// The ways to write a row.
#[derive(Debug, Clone, Copy)]
pub(super) enum Way {
    Statement,
    Transaction,
    /// Everything in one simple query.
    Script,
}

pub(super) async fn write(client: &mut PgConnection, way: Way, key: i64) -> Result<(), Error> {
    match way {
        Way::Statement => _ = sqlx::query(INSERT).bind(key).execute(client).await?,
        Way::Transaction => {
            let mut transaction = client.begin().await?;
            sqlx::query(INSERT).bind(key).execute(&mut *transaction).await?;
            transaction.commit().await?;
        }
        Way::Script => {
            let script = format!("BEGIN; INSERT INTO etl.ledger VALUES ({key}); COMMIT; SELECT 1");
            sqlx::raw_sql(AssertSqlSafe(script)).execute(client).await?;
        }
    }
    Ok(())
}

/// What went wrong with the connection.
pub(super) fn io_error<T>(result: Result<T, Error>) -> io::ErrorKind {
    match result {
        Err(Error::Io(error)) => error.kind(),
        Err(error) => panic!("not an error of the connection: {error}"),
        Ok(_) => panic!("no error"),
    }
}
