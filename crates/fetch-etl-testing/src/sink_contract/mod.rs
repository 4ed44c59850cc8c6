//! The contract of [`Sink`] as a suite that runs on any sink.
//!
//! Implement [`SinkHarness`] and [`Store`] for the sink and call [`run`] in a test:
//!
//! ```
//! use std::sync::Arc;
//!
//! use async_trait::async_trait;
//! use fetch_etl_core::{Sink, login::LoginRow};
//! use fetch_etl_testing::InMemorySink;
//! use fetch_etl_testing::sink_contract::{self, LoginEvents, SinkHarness, Store, Stored, login_columns};
//!
//! struct Harness;
//!
//! #[async_trait]
//! impl SinkHarness for Harness {
//!     type Events = LoginEvents;
//!     type Store = OneStore;
//!     async fn open(&self) -> OneStore {
//!         OneStore(Arc::new(InMemorySink::new())) // a real one: a database of its own, migrated
//!     }
//! }
//!
//! struct OneStore(Arc<InMemorySink<LoginRow>>);
//!
//! #[async_trait]
//! impl Store<LoginRow> for OneStore {
//!     fn sink(&self) -> Arc<dyn Sink<LoginRow>> {
//!         self.0.clone()
//!     }
//!     async fn reopened(&self) -> Arc<dyn Sink<LoginRow>> {
//!         self.0.clone() // a real one: a new connection to the same database
//!     }
//!     async fn stored(&self) -> Stored {
//!         self.0.stored(login_columns) // a real one: SELECT …
//!     }
//!     async fn refuse_key(&self, key: &str) {
//!         self.0.refuse_key(key); // a real one: ALTER TABLE … ADD CONSTRAINT … CHECK (message_id <> …)
//!     }
//!     async fn refuse_nothing(&self) {
//!         self.0.refuse_nothing(); // a real one: ALTER TABLE … DROP CONSTRAINT …
//!     }
//! }
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() {
//! sink_contract::run(&Harness).await;
//! # }
//! ```
//!
//! A sink whose quarantine operators work on ([`Quarantine`](fetch_etl_core::Quarantine)) has a suite for that, too:
//! [`run_on_quarantine`]. And so has one that can be held to a masking policy ([`PolicyStore`](fetch_etl_core::PolicyStore)):
//! [`run_on_policies`].
//!
//! The suite opens a fresh [`Store`] for every check. Run it on a clock that runs (not paused) when the sink does real I/O.

mod checks;
mod events;
mod policy;
mod quarantine;
mod workbench;

use std::sync::Arc;

use async_trait::async_trait;
use fetch_etl_core::{EventSchema, SealedBody, Sink};

pub use events::{Columns, EventSource, LoginEvents, login_columns, utc_date};
pub use policy::{PolicySink, PolicyStorage, policy_violations, run_on_policies};
pub use quarantine::{QuarantineStore, run_on_quarantine};

use crate::Violation;
use crate::contract::assert_none;

/// The row type of a harness.
pub type RowOf<H> = <<<H as SinkHarness>::Events as EventSource>::Schema as EventSchema>::Row;

/// How the suite gets at a sink.
#[async_trait]
pub trait SinkHarness: Send + Sync {
    /// Makes the messages that become rows: [`LoginEvents`] for sinks of login rows.
    type Events: EventSource;
    /// What the sink under test writes to.
    type Store: Store<RowOf<Self>>;

    /// An empty store, independent of every other.
    async fn open(&self) -> Self::Store;
}

/// A sink and what it stores, seen from outside.
#[async_trait]
pub trait Store<R>: Send + Sync {
    /// The sink under test.
    fn sink(&self) -> Arc<dyn Sink<R>>;

    /// Another sink on the same storage, as after a restart: nothing that only the first one holds in memory may matter.
    async fn reopened(&self) -> Arc<dyn Sink<R>>;

    /// All that is stored, in any order.
    async fn stored(&self) -> Stored;

    /// From now on the store itself refuses the row with this key with a data error, for example by a check constraint on the
    /// key's column; every other row passes.
    async fn refuse_key(&self, key: &str);

    /// Ends [`refuse_key`](Self::refuse_key).
    async fn refuse_nothing(&self);
}

/// What a store holds.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Stored {
    /// Every row, with the columns that [`EventSource::columns`] names.
    pub rows: Vec<Columns>,
    /// Every row of the quarantine.
    pub quarantine: Vec<QuarantineRow>,
}

/// What the quarantine keeps of a rejected message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QuarantineRow {
    /// The message's key.
    pub key: String,
    /// [`RejectReason::as_str`](fetch_etl_core::RejectReason::as_str).
    pub reason: String,
    /// The field concerned.
    pub field: Option<String>,
    /// Line and column of a JSON error.
    pub position: Option<(u32, u32)>,
    /// The length concerned.
    pub length: Option<u32>,
    /// The receive count of the newest delivery that was rejected.
    pub attempt: u32,
    /// The sealed body, where there was a recipient for it.
    pub sealed: Option<SealedBody>,
}

/// Runs the whole suite.
///
/// # Panics
/// When a rule is broken: the message lists every broken rule and what was seen instead.
pub async fn run<H: SinkHarness>(harness: &H) {
    assert_none("sink", &violations(harness).await);
}

/// Runs the whole suite and returns what is broken, for those who test the suite itself.
pub async fn violations<H: SinkHarness>(harness: &H) -> Vec<Violation> {
    checks::all(harness).await
}
