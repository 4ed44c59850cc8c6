use std::fmt;
use std::time::Duration;

/// How a [`PostgresSink`](crate::PostgresSink) connects, and what it keeps.
///
/// ```
/// use std::time::Duration;
/// use fetch_etl_postgres::PostgresSinkConfig;
///
/// let config = PostgresSinkConfig {
///     max_connections: 8,
///     statement_timeout: Duration::from_secs(20),
///     ..PostgresSinkConfig::new("postgres://etl:hunter2@db/logins")
/// };
/// assert!(!format!("{config:?}").contains("hunter2"));
/// ```
#[derive(Clone)]
pub struct PostgresSinkConfig {
    /// `postgres://user:password@host:port/database?sslmode=…`. What it leaves out comes from libpq's environment variables
    /// and password file. Never shown.
    pub database_url: String,
    /// Most connections at once; a pipeline needs one for each writer. 4.
    pub max_connections: u32,
    /// For how many days a message is known as stored, at least 1: longer than the queue and its dead-letter queue together
    /// keep a message. 35.
    pub ledger_retention_days: u32,
    /// Whether what is written comes out of the quarantine: a message that is rejected again stays there as it is found, and one
    /// that somebody replayed or discarded meanwhile is not opened again. `false`.
    pub replays: bool,
    /// The name under which the database shows our sessions. `fetch-etl`.
    pub application_name: String,
    /// Longest wait for a connection, whether a new one or one that others use. 10 s.
    pub connect_timeout: Duration,
    /// Longest that a statement may take before the database is told to cancel it. The sink waits a little longer than that
    /// for the database's answer and then gives the connection up, so that a network that swallows packets does not hold it
    /// forever. 60 s.
    pub statement_timeout: Duration,
}

impl PostgresSinkConfig {
    /// The defaults for a database.
    pub fn new(database_url: impl Into<String>) -> Self {
        Self {
            database_url: database_url.into(),
            max_connections: 4,
            ledger_retention_days: 35,
            replays: false,
            application_name: "fetch-etl".to_owned(),
            connect_timeout: Duration::from_secs(10),
            statement_timeout: Duration::from_secs(60),
        }
    }
}

impl fmt::Debug for PostgresSinkConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            database_url: _,
            max_connections,
            ledger_retention_days,
            replays,
            application_name,
            connect_timeout,
            statement_timeout,
        } = self;
        f.debug_struct("PostgresSinkConfig")
            .field("database_url", &format_args!("[secret]"))
            .field("max_connections", max_connections)
            .field("ledger_retention_days", ledger_retention_days)
            .field("replays", replays)
            .field("application_name", application_name)
            .field("connect_timeout", connect_timeout)
            .field("statement_timeout", statement_timeout)
            .finish()
    }
}
