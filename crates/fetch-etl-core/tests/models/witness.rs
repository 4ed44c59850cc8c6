//! Source and sink that look on: they keep their own account of who holds what, and note each breach of the rules.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use fetch_etl_core::login::LoginRow;
use fetch_etl_core::{
    AckFailure, Batch, Committed, Delivery, ExtendOutcome, Held, MessageSource, QueueDepth, Returned, Sink,
    SinkError, SourceError, SourceLimits, WriteReport,
};
use fetch_etl_testing::{InMemorySink, InMemorySource};
use tokio::time::Instant;

/// After so many tries the pipeline gives an ack up, and the message is not its own any more.
const ACK_TRIES: u32 = 6;

/// One delivery, by the receipt's handle.
struct Hold {
    until: Instant,
    /// The source said that it is somebody else's.
    lost: bool,
    /// A write that it was part of has succeeded.
    written: bool,
    ack_tries: u32,
}

#[derive(Default)]
struct Account {
    holds: HashMap<String, Hold>,
    settled: HashSet<String>,
    most_held: usize,
    breaches: Vec<String>,
}

impl Account {
    fn breach(&mut self, what: String) {
        self.breaches.push(what);
    }

    fn held(&self) -> usize {
        let now = Instant::now();
        self.holds.values().filter(|hold| !hold.lost && hold.until > now).count()
    }

    fn settle(&mut self, handle: &str) {
        self.holds.remove(handle);
        self.settled.insert(handle.to_owned());
    }
}

/// The account, and the parts that it is kept of.
#[derive(Clone)]
pub(super) struct Witness {
    pub(super) source: Arc<InMemorySource>,
    pub(super) sink: Arc<InMemorySink<LoginRow>>,
    account: Arc<Mutex<Account>>,
}

impl Witness {
    pub(super) fn new(source: InMemorySource, sink: InMemorySink<LoginRow>) -> Self {
        Self { source: Arc::new(source), sink: Arc::new(sink), account: Arc::default() }
    }

    fn account(&self) -> MutexGuard<'_, Account> {
        self.account.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The largest number of messages that were held at once.
    pub(super) fn most_held(&self) -> usize {
        self.account().most_held
    }

    pub(super) fn breaches(&self) -> Vec<String> {
        self.account().breaches.clone()
    }

    /// A new process knows nothing of what the one before it held.
    pub(super) fn forget_holds(&self) {
        self.account().holds.clear();
    }
}

#[async_trait]
impl MessageSource for Witness {
    fn limits(&self) -> SourceLimits {
        self.source.limits()
    }

    async fn receive(&self, max: usize) -> Result<Vec<Delivery>, SourceError> {
        let deliveries = self.source.receive(max).await?;
        let mut account = self.account();
        let until = Instant::now() + self.limits().lease.unwrap_or(Duration::MAX);
        for delivery in &deliveries {
            let hold = Hold { until, lost: false, written: false, ack_tries: 0 };
            account.holds.insert(delivery.receipt.handle().to_owned(), hold);
        }
        account.most_held = account.most_held.max(account.held());
        Ok(deliveries)
    }

    async fn extend(&self, held: &[Held], lease: Duration) -> Result<Vec<ExtendOutcome>, SourceError> {
        let asked_at = Instant::now();
        for held in held {
            let handle = held.receipt().handle();
            let mut account = self.account();
            if account.settled.contains(handle) {
                account.breach(format!("{handle} was extended after it was settled"));
            }
        }
        let outcomes = self.source.extend(held, lease).await?;
        let mut account = self.account();
        for (held, outcome) in held.iter().zip(&outcomes) {
            let Some(hold) = account.holds.get_mut(held.receipt().handle()) else { continue };
            match outcome {
                ExtendOutcome::Extended => hold.until = asked_at + lease,
                ExtendOutcome::Lost => hold.lost = true,
                ExtendOutcome::Failed => {}
            }
        }
        Ok(outcomes)
    }

    async fn ack(&self, committed: Vec<Committed>) -> Result<(), AckFailure> {
        let handles: Vec<_> = committed.iter().map(|token| token.receipt().handle().to_owned()).collect();
        for handle in &handles {
            let mut account = self.account();
            match account.holds.get_mut(handle) {
                Some(hold) if hold.written => hold.ack_tries += 1,
                Some(_) => account.breach(format!("{handle} was acked before its row was written")),
                None => account.breach(format!("{handle} was acked, which nobody held")),
            }
        }
        let result = self.source.ack(committed).await;
        let unacked: HashSet<_> = match &result {
            Ok(()) => HashSet::new(),
            Err(failure) => failure.unacked.iter().map(|token| token.receipt().handle().to_owned()).collect(),
        };
        let mut account = self.account();
        for handle in handles {
            let gave_up = account.holds.get(&handle).is_some_and(|hold| hold.ack_tries == ACK_TRIES);
            if gave_up || !unacked.contains(&handle) {
                account.settle(&handle);
            }
        }
        result
    }

    async fn nack(&self, returned: Vec<Returned>, delay: Duration) -> Result<(), SourceError> {
        let handles: Vec<_> = returned.iter().map(|token| token.receipt().handle().to_owned()).collect();
        let result = self.source.nack(returned, delay).await;
        let mut account = self.account();
        for handle in handles {
            if !account.holds.contains_key(&handle) {
                account.breach(format!("{handle} was given back, which nobody held"));
            }
            account.settle(&handle);
        }
        result
    }

    async fn depth(&self) -> Result<Option<QueueDepth>, SourceError> {
        self.source.depth().await
    }
}

#[async_trait]
impl Sink<LoginRow> for Witness {
    async fn write(&self, batch: &Batch<LoginRow>) -> Result<WriteReport, SinkError> {
        let rows = batch.rows().iter().map(|row| row.held());
        let handles: Vec<_> =
            rows.chain(batch.rejects().iter().map(|reject| reject.held())).map(handle).collect();
        for handle in &handles {
            let mut account = self.account();
            if account.holds.get(handle).is_some_and(|hold| hold.lost) {
                account.breach(format!("{handle} was written after it was lost"));
            }
        }
        let report = self.sink.write(batch).await?;
        let mut account = self.account();
        for handle in &handles {
            if let Some(hold) = account.holds.get_mut(handle) {
                hold.written = true;
            }
        }
        Ok(report)
    }
}

fn handle(held: &Held) -> String {
    held.receipt().handle().to_owned()
}
