//! Masked logins to Postgres: [`PostgresSink`] is a [`Sink`](fetch_etl_core::Sink) of
//! [`LoginRow`](fetch_etl_core::login::LoginRow)s.
//!
//! ```no_run
//! # async fn example() -> Result<(), fetch_etl_core::SinkError> {
//! use fetch_etl_postgres::{PostgresSink, PostgresSinkConfig};
//!
//! let sink = PostgresSink::connect(PostgresSinkConfig::new("postgres://etl:secret@db/logins")).await?;
//! sink.migrate().await?;
//! sink.check_schema().await?;
//! // … give it to a fetch_etl_core::pipeline::Pipeline
//! # Ok(()) }
//! ```
//!
//! ```text
//!  Batch ──▶ one statement, one transaction
//!             1  lock, shared: is the masking policy in force? who is erased?
//!             2  keys ─────▶ etl.ledger        those that are new
//!             3  rows ─────▶ user_logins       only where the key was new
//!             4  rejects ──▶ etl.quarantine    key, reason, sealed body
//!             5  values ───▶ etl.pii_vault     sealed, where a vault is configured
//!            COMMIT ──▶ WriteReport: inserted, duplicates ──▶ the pipeline acks
//! ```
//!
//! # A batch is one statement
//! It records the keys in the ledger (`etl.ledger`), stores rows in `user_logins` only for the keys that were new, and keeps
//! rejects in `etl.quarantine`; being one statement, it is one transaction and one round trip. The columns travel as arrays.
//!
//! Nearly always all keys are new, so they are recorded as if they were; only where that fails, and for some writes after it, each is
//! looked up. Keys are recorded in order, so that writers with the same keys wait for each other and do not deadlock.
//!
//! The statement joins nothing, so that one plan is good for batches of any size and need not be made again for each write.
//!
//! # What the ledger remembers
//! - A key that the **queue** gave ([`KeyOrigin::MessageId`](fetch_etl_core::KeyOrigin)) is unique with the time at which its message
//!   was sent, which no redelivery changes ([`Masked::queued_at`](fetch_etl_core::Masked::queued_at)). In the order of that time,
//!   messages that are stored together lie together, so writing them costs the same however large the ledger is. Each UTC day is a
//!   partition: made when its first key comes, dropped when it is more than
//!   [`ledger_retention_days`](PostgresSinkConfig::ledger_retention_days) old.
//! - A key that the **producer** gave ([`KeyOrigin::Attribute`](fetch_etl_core::KeyOrigin)) is unique whatever the time, since an
//!   event may be sent again tomorrow. It is remembered for that many days after it was recorded. So is the key of a message whose
//!   source knows no times.
//! - A time of sending outside the retained days (a broken clock; a message older than the retention) gets no partition; its key
//!   is remembered like a producer's. Only where a message is delivered first outside and then inside of the retained days, or
//!   the other way round, it may be stored twice; no queue that forgets messages before the ledger does gives cause for that.
//! - The same text as a queue's **and** as a producer's key comes from a replay out of the quarantine. So a key that the quarantine
//!   knows is looked for as both, under the times that the quarantine knows of it, one such batch at a time. (A message that was stored and
//!   never quarantined is not known there: a producer's key of the same text is another message then.)
//!
//! All of it is enforced by unique indexes, or under a lock: writers in any number of processes may race.
//!
//! # The quarantine
//! A reject is known by its message's key, with whose key that is, why, and the body if it was sealed. Operators work on it
//! through [`Quarantine`](fetch_etl_core::Quarantine), as `etl-admin` does. What is replayed or discarded stays as
//! a record, without its body.
//!
//! # The masking policy
//! [`PolicyStore`](fetch_etl_core::PolicyStore) keeps it in `etl.policy`. Every write takes a lock, shared, for the time of its
//! transaction, and looks whether its policy is in force; whoever changes the policy takes the lock alone. Persons in `etl.erased`
//! are looked up under the same lock, so none of theirs slips in beside an erasure.
//!
//! # Personal data
//! The vault (`etl.pii_vault`) keeps values sealed to a recipient. [`PostgresSink::find_masks`] finds what it keeps by mask, row or person;
//! [`PostgresSink::append_audit`] says who looks, before anything is opened; [`Maintenance`] erases a person, and rotates keys.
//!
//! # The vault
//! What a batch has for the vault ([`VaultEntry`](fetch_etl_core::VaultEntry)) is stored in the batch's transaction, in the order of
//! field and mask, so that writers with the same values wait for each other and do not deadlock. Of two entries with one field and
//! mask the first stays.
//!
//! # Roles
//! Migrating makes three group roles, where it may: `etl_writer` for workers, `etl_analyst` for those who read `user_logins`, and
//! `etl_reveal` for those who may have values back. A writer can add to the vault and neither read nor change it, and reads of
//! `user_logins` only the masks and their key ids. What each may do is said in one place, the function `etl.grant_roles` (migration
//! 0014); `deploy/roles.sql` is for the DBA, where migrating may not create roles.
//!
//! # Compile time
//! All statements but those of the migrator, and of [`PostgresSink::read_as_text`], which finds out the tables' names, are checked against the migrations when this crate is compiled. What the check needs
//! to know lies in `.sqlx`; no database is needed, and `DATABASE_URL` is not looked at. `cargo xtask prepare` refreshes it.
//!
//! # Values in errors and logs
//! Errors hold SQLSTATE and the names of constraint, table and column; not Postgres's own text, which quotes values. The server's
//! log quotes them, too: the row that a constraint refuses, and the parameters of a statement that `log_min_duration_statement`
//! finds slow. Where our role is a superuser each session switches that off; for a role that is none, a superuser does it once:
//! `ALTER ROLE etl SET log_error_verbosity = terse; ALTER ROLE etl SET log_parameter_max_length = 0`.
//!
//! # Requirements
//! Postgres 12 or newer; reached directly or through a pooler in session mode.

mod audit;
mod chain;
mod columns;
mod config;
mod erase;
mod error;
mod ledger;
mod maintenance;
mod policy;
mod posture;
mod prune;
mod quarantine;
mod read;
mod reveal;
mod rotation;
mod schema;
mod session;
mod sink;
mod text;
mod triggers;
mod vault;

pub use audit::{AuditEvent, AuditHead, AuditRecord, NotAHead};
pub use chain::{AuditFinding, AuditVerdict};
pub use config::PostgresSinkConfig;
pub use erase::Erasure;
pub use maintenance::Maintenance;
pub use posture::DatabasePosture;
pub use prune::Pruned;
pub use read::{LOGIN_COLUMNS, QUARANTINE_COLUMNS, TextRow};
pub use reveal::{FoundMask, FoundMasks, KeptValue, Sought};
pub use sink::PostgresSink;
