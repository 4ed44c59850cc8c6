use std::collections::{BTreeMap, HashSet};
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use fetch_etl_core::{
    Batch, ErrorClass, Masked, MessageKey, Rejected, Sink, SinkError, UnixMillis, WriteReport,
};

use crate::Fault;
use crate::faults::{Course, Script};
use crate::sink_contract::{Columns, QuarantineRow, Stored};

/// A sink in memory, true to the contract: a ledger, rows and a quarantine, and faults on request.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// use fetch_etl_core::login::LoginRow;
/// use fetch_etl_core::{ErrorClass, SinkError};
/// use fetch_etl_testing::{Fault, InMemorySink};
///
/// let sink = InMemorySink::<LoginRow>::new();
/// // The first write is done and then reported as failed, the second finds the store down, the third goes well.
/// sink.next(Fault::DoneThenFail(SinkError::new(ErrorClass::Retryable, "connection cut while committing")));
/// sink.next(Fault::Fail(SinkError::new(ErrorClass::Retryable, "connection refused")));
/// assert_eq!(sink.len(), 0);
/// # }
/// ```
pub struct InMemorySink<R> {
    state: Mutex<State<R>>,
}

/// A stored row and what came with it.
#[derive(Debug, Clone)]
pub struct SinkRow<R> {
    /// The row.
    pub row: R,
    /// Its message's key.
    pub key: MessageKey,
    /// When its message was sent.
    pub sent_at: UnixMillis,
}

/// How large a batch was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchSize {
    /// Rows.
    pub rows: usize,
    /// Rejects.
    pub rejects: usize,
}

type Predicate<R> = Box<dyn Fn(&Masked<R>) -> bool + Send>;

struct State<R> {
    rows: Vec<SinkRow<R>>,
    ledger: HashSet<Box<str>>,
    quarantine: BTreeMap<Box<str>, QuarantineRow>,
    script: Script<SinkError>,
    misreport: Option<WriteReport>,
    is_bad: Option<Predicate<R>>,
    writes: Vec<BatchSize>,
}

impl<R> Default for InMemorySink<R> {
    fn default() -> Self {
        let state = State {
            rows: Vec::new(),
            ledger: HashSet::new(),
            quarantine: BTreeMap::new(),
            script: Script::default(),
            misreport: None,
            is_bad: None,
            writes: Vec::new(),
        };
        Self { state: Mutex::new(state) }
    }
}

impl<R> InMemorySink<R> {
    /// An empty sink.
    pub fn new() -> Self {
        Self::default()
    }

    fn state(&self) -> MutexGuard<'_, State<R>> {
        // A scripted predicate may panic; the state is whole all the same.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many rows are stored.
    pub fn len(&self) -> usize {
        self.state().rows.len()
    }

    /// Whether no row is stored.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The quarantine, by key.
    pub fn quarantine(&self) -> Vec<QuarantineRow> {
        self.state().quarantine.values().cloned().collect()
    }

    /// The size of every batch that was tried to be written, failed ones included, in order.
    pub fn writes(&self) -> Vec<BatchSize> {
        self.state().writes.clone()
    }

    /// Queues a fault: each write takes one, in order.
    pub fn next(&self, fault: Fault<SinkError>) {
        self.state().script.push(fault);
    }

    /// Fails every write that has no fault of its own, until it is called with `None`.
    pub fn set_outage(&self, error: Option<SinkError>) {
        self.state().script.set_outage(error);
    }

    /// Lets the next write report something that is not true.
    pub fn misreport_next(&self, report: WriteReport) {
        self.state().misreport = Some(report);
    }

    /// From now on every batch with a row that the predicate holds for is refused as
    /// [`BadRow`](fetch_etl_core::ErrorClass::BadRow).
    pub fn refuse_if(&self, is_bad: impl Fn(&Masked<R>) -> bool + Send + 'static) {
        self.state().is_bad = Some(Box::new(is_bad));
    }

    /// [`refuse_if`](Self::refuse_if) for the row with one key.
    pub fn refuse_key(&self, key: &str) {
        let key = key.to_owned();
        self.refuse_if(move |row| row.key().as_str() == key);
    }

    /// Ends [`refuse_if`](Self::refuse_if).
    pub fn refuse_nothing(&self) {
        self.state().is_bad = None;
    }

    /// What is stored, in the terms of the contract suite.
    pub fn stored(&self, columns: impl Fn(&R, &MessageKey, UnixMillis) -> Columns) -> Stored {
        let state = self.state();
        let rows =
            state.rows.iter().map(|stored| columns(&stored.row, &stored.key, stored.sent_at)).collect();
        Stored { rows, quarantine: state.quarantine.values().cloned().collect() }
    }
}

impl<R: Clone> InMemorySink<R> {
    /// The stored rows, in the order in which they were stored.
    pub fn rows(&self) -> Vec<SinkRow<R>> {
        self.state().rows.clone()
    }
}

impl<R: Clone> State<R> {
    fn write(&mut self, batch: &Batch<R>) -> Result<WriteReport, SinkError> {
        if let Some(is_bad) = &self.is_bad
            && batch.rows().iter().any(is_bad)
        {
            return Err(SinkError::new(ErrorClass::BadRow, "a row was refused"));
        }
        let mut report = WriteReport::default();
        for row in batch.rows() {
            if self.ledger.insert(row.key().as_str().into()) {
                self.rows.push(SinkRow {
                    row: row.row().clone(),
                    key: row.key().clone(),
                    sent_at: row.sent_at(),
                });
                report.inserted += 1;
            } else {
                report.duplicates += 1;
            }
        }
        for reject in batch.rejects_by_key() {
            let mut row = QuarantineRow::from(reject);
            let kept = self.quarantine.remove(reject.key().as_str());
            row.sealed = row.sealed.or_else(|| kept?.sealed);
            self.quarantine.insert(reject.key().as_str().into(), row);
        }
        report.quarantined = batch.rejects().len() as u64;
        Ok(self.misreport.take().unwrap_or(report))
    }
}

impl From<&Rejected> for QuarantineRow {
    fn from(rejected: &Rejected) -> Self {
        let reject = rejected.reject();
        Self {
            key: rejected.key().as_str().to_owned(),
            reason: reject.reason.as_str().to_owned(),
            field: reject.field.as_deref().map(str::to_owned),
            position: reject.position,
            length: reject.length,
            attempt: rejected.attempt(),
            sealed: rejected.sealed().cloned(),
        }
    }
}

#[async_trait]
impl<R: Clone + Send + Sync + 'static> Sink<R> for InMemorySink<R> {
    async fn write(&self, batch: &Batch<R>) -> Result<WriteReport, SinkError> {
        let fault = {
            let mut state = self.state();
            state.writes.push(BatchSize { rows: batch.rows().len(), rejects: batch.rejects().len() });
            state.script.take()
        };
        match Course::begin(fault).await {
            Course::Normal => self.state().write(batch),
            Course::Fail(error) => Err(error),
            Course::DoneThenFail(error) => self.state().write(batch).and(Err(error)),
        }
    }
}

impl<R> fmt::Debug for InMemorySink<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.state();
        f.debug_struct("InMemorySink")
            .field("rows", &state.rows.len())
            .field("quarantine", &state.quarantine.len())
            .field("writes", &state.writes.len())
            .finish_non_exhaustive()
    }
}
