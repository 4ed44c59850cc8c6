//! Masked logins to an SQLite file: [`SqliteSink`] is a [`Sink`](fetch_etl_core::Sink) of
//! [`LoginRow`](fetch_etl_core::login::LoginRow)s that needs no server.
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use fetch_etl_sqlite::{SqliteSink, SqliteSinkConfig};
//!
//! # let directory = tempfile::tempdir()?;
//! let file = directory.path().join("logins.sqlite");
//! let sink = SqliteSink::connect(SqliteSinkConfig::new(format!("sqlite://{}", file.display()))).await?;
//! sink.migrate().await?; // makes the file, readable by its owner only
//! sink.check_schema().await?;
//! // … give it to a fetch_etl_core::pipeline::Pipeline
//! assert_eq!(sink.newest_rows(10).await?, Vec::<Vec<_>>::new());
//! # Ok(()) }
//! ```
//!
//! ```text
//!  Batch ──▶ BEGIN IMMEDIATE ─▶ etl_ledger ─▶ user_logins ─▶ etl_quarantine ─▶ COMMIT, on the disk
//!                               new keys       rows of those   rejects
//! ```
//!
//! It keeps the contract of the Postgres sink, and every column means the same. `user_logins`, `etl_ledger` and `etl_quarantine`
//! are written in one transaction, which is on the disk when a write returns.
//!
//! Operators work on the quarantine through [`Quarantine`](fetch_etl_core::Quarantine), as `etl-admin` does.
//!
//! # What differs
//! - There is one writer at a time: writes wait for each other, also those of other processes.
//! - The ledger knows a key whatever the day of sending and the key's origin, for
//!   [`ledger_retention_days`](SqliteSinkConfig::ledger_retention_days) after it was recorded.
//! - Who replayed or discarded a quarantined message is not known: SQLite has no users.
//! - A `user_logins` that is there already is not taken over: migrating fails.
//! - There is no vault, for there are no roles that could keep readers away from it, and so nobody is erased by name.
//!
//! # Compile time
//! All statements but those of the migrator and PRAGMAs are checked against the migrations when this crate is compiled. What the
//! check needs to know lies in `.sqlx`; no database is needed. `cargo xtask prepare` refreshes it.

mod config;
mod error;
mod file;
mod policy;
mod quarantine;
mod read;
mod rotation;
mod schema;
mod sink;

pub use config::SqliteSinkConfig;
pub use read::{LOGIN_COLUMNS, QUARANTINE_COLUMNS, TextRow};
pub use sink::SqliteSink;
