use std::time::Duration;

/// Which file a [`SqliteSink`](crate::SqliteSink) writes, and what it keeps.
#[derive(Debug, Clone)]
pub struct SqliteSinkConfig {
    /// `sqlite://path` or `sqlite:path`. A database in memory is refused: it would keep nothing.
    pub database_url: String,
    /// For how many days a message is known as stored, at least 1: longer than the queue and its dead-letter queue together
    /// keep a message. 35.
    pub ledger_retention_days: u32,
    /// Whether what is written comes out of the quarantine: a message that is rejected again stays there as it is found, and one
    /// that somebody replayed or discarded meanwhile is not opened again. `false`.
    pub replays: bool,
    /// Longest wait for another writer, of this process or another one. 60 s.
    pub busy_timeout: Duration,
}

impl SqliteSinkConfig {
    /// The defaults for a file.
    pub fn new(database_url: impl Into<String>) -> Self {
        Self {
            database_url: database_url.into(),
            ledger_retention_days: 35,
            replays: false,
            busy_timeout: Duration::from_secs(60),
        }
    }
}
