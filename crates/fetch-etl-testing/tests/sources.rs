use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use async_trait::async_trait;
use fetch_etl_core::{
    AckFailure, Committed, Delivery, ExtendOutcome, Held, MessageSource, Pii, Returned, SourceError,
    SourceLimits, UnixMillis,
};
use fetch_etl_testing::source_contract::{self, Queue, Setup, SourceHarness};
use fetch_etl_testing::{InMemorySource, SourceSettings};

/// What a source may do wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Flaw {
    None,
    AckDoesNothing,
    AckForgetsTheLast,
    SecondAckFails,
    ExtendDoesNothing,
    ExtendAlwaysExtended,
    ExtendFails,
    NackDoesNothing,
    NackIgnoresDelay,
    IgnoresMax,
    MangledBody,
    LongIds,
    AttemptAlwaysOne,
    OwnSentAt,
    NoLease,
    SleepsThroughArrivals,
    FailsWhenEmpty,
    LosesADroppedReceive,
    WrongLimits,
}

struct Flawed {
    flaw: Flaw,
    inner: Arc<InMemorySource>,
    dropped: AtomicBool,
}

#[async_trait]
impl MessageSource for Flawed {
    fn limits(&self) -> SourceLimits {
        let limits = self.inner.limits();
        match self.flaw {
            Flaw::WrongLimits => SourceLimits { max_batch: limits.max_batch + 1, ..limits },
            _ => limits,
        }
    }

    async fn receive(&self, max: usize) -> Result<Vec<Delivery>, SourceError> {
        let max = if self.flaw == Flaw::IgnoresMax { self.limits().max_receive } else { max };
        if self.flaw == Flaw::SleepsThroughArrivals {
            tokio::time::sleep(Duration::from_secs(15)).await;
        }
        let mut waiting = Waiting { dropped: &self.dropped, done: false };
        let received = self.inner.receive(max).await;
        waiting.done = true;
        let mut received = received?;
        if received.is_empty() && self.flaw == Flaw::FailsWhenEmpty {
            return Err(SourceError::retryable("nothing there"));
        }
        for delivery in &mut received {
            match self.flaw {
                Flaw::MangledBody => {
                    let text = String::from_utf8_lossy(delivery.body.expose()).replace("\r\n", "\n");
                    delivery.body = Pii::new(text.into_bytes());
                }
                Flaw::LongIds => delivery.id = format!("{:0>129}", delivery.id).into(),
                Flaw::AttemptAlwaysOne => delivery.attempt = 1,
                Flaw::OwnSentAt => delivery.sent_at = Some(UnixMillis::new(i64::from(delivery.attempt))),
                _ => {}
            }
        }
        Ok(received)
    }

    async fn extend(&self, held: &[Held], lease: Duration) -> Result<Vec<ExtendOutcome>, SourceError> {
        match self.flaw {
            Flaw::ExtendDoesNothing => Ok(vec![ExtendOutcome::Extended; held.len()]),
            Flaw::ExtendFails => Err(SourceError::retryable("not today")),
            Flaw::ExtendAlwaysExtended => {
                self.inner.extend(held, lease).await?;
                Ok(vec![ExtendOutcome::Extended; held.len()])
            }
            _ => self.inner.extend(held, lease).await,
        }
    }

    async fn ack(&self, mut committed: Vec<Committed>) -> Result<(), AckFailure> {
        match self.flaw {
            Flaw::AckDoesNothing => return Ok(()),
            Flaw::AckForgetsTheLast => drop(committed.pop()),
            _ => {}
        }
        let before = self.inner.left();
        let count = committed.len();
        self.inner.ack(committed).await?;
        if self.flaw == Flaw::SecondAckFails && before - self.inner.left() < count {
            let error = SourceError::fatal("no such message");
            return Err(AckFailure { error, unacked: Vec::new() });
        }
        Ok(())
    }

    async fn nack(&self, returned: Vec<Returned>, delay: Duration) -> Result<(), SourceError> {
        match self.flaw {
            Flaw::NackDoesNothing => Ok(()),
            Flaw::NackIgnoresDelay => self.inner.nack(returned, Duration::ZERO).await,
            _ => self.inner.nack(returned, delay).await,
        }
    }
}

/// Notices that a receive was dropped while it waited.
struct Waiting<'s> {
    dropped: &'s AtomicBool,
    done: bool,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.dropped.fetch_or(!self.done, Relaxed);
    }
}

struct FlawedQueue(Arc<Flawed>);

#[async_trait]
impl Queue for FlawedQueue {
    fn source(&self) -> Arc<dyn MessageSource> {
        self.0.clone()
    }
    async fn send(&self, body: &str) {
        // A receive that nobody waits for any more takes the message and tells nobody.
        if self.0.flaw == Flaw::LosesADroppedReceive && self.0.dropped.load(Relaxed) {
            return;
        }
        self.0.inner.send(body);
    }
    async fn left(&self) -> u64 {
        self.0.inner.left() as u64
    }
}

struct Harness(Flaw);

#[async_trait]
impl SourceHarness for Harness {
    type Queue = FlawedQueue;
    async fn open(&self, Setup { lease, wait }: Setup) -> FlawedQueue {
        let lease = if self.0 == Flaw::NoLease { Duration::ZERO } else { lease };
        let inner = InMemorySource::with(SourceSettings { lease, wait, ..SourceSettings::default() });
        FlawedQueue(Arc::new(Flawed {
            flaw: self.0,
            inner: Arc::new(inner),
            dropped: AtomicBool::new(false),
        }))
    }
}

#[tokio::test(start_paused = true)]
async fn the_in_memory_source_keeps_the_contract() {
    source_contract::run(&Harness(Flaw::None)).await;
}

#[tokio::test]
async fn it_keeps_the_contract_on_a_running_clock_too() {
    source_contract::run(&Harness(Flaw::None)).await;
}

#[tokio::test(start_paused = true)]
async fn the_suite_finds_every_flaw() {
    for (flaw, rule) in [
        (Flaw::AckDoesNothing, "an acked message never comes back"),
        (Flaw::AckForgetsTheLast, "the limits are usable: full batches of each call"),
        (Flaw::SecondAckFails, "acking again is harmless"),
        (Flaw::ExtendDoesNothing, "an extended lease lasts"),
        (Flaw::ExtendAlwaysExtended, "the lease of an acked message is lost"),
        (Flaw::ExtendAlwaysExtended, "a receipt that a later delivery replaced does nothing"),
        (Flaw::ExtendFails, "an extended lease lasts"),
        (Flaw::NackDoesNothing, "a message given back at once comes at once"),
        (Flaw::NackIgnoresDelay, "a message given back with a delay comes after it"),
        (Flaw::IgnoresMax, "a receive brings at most what it was asked for"),
        (Flaw::MangledBody, "every message is delivered, byte for byte"),
        (Flaw::LongIds, "every message is delivered, byte for byte"),
        (Flaw::AttemptAlwaysOne, "a message that is not acked comes back as the same one"),
        (Flaw::OwnSentAt, "a message that is not acked comes back as the same one"),
        (Flaw::NoLease, "a received message is invisible while its lease lasts"),
        (Flaw::SleepsThroughArrivals, "a waiting receive wakes when a message arrives"),
        (Flaw::FailsWhenEmpty, "a receive from an empty queue brings nothing and does not fail"),
        (Flaw::LosesADroppedReceive, "a receive that is dropped loses no message"),
        (Flaw::WrongLimits, "the limits are usable: full batches of each call"),
    ] {
        let broken = source_contract::violations(&Harness(flaw)).await;
        assert!(
            broken.iter().any(|violation| violation.rule == rule),
            "{flaw:?} passed {rule:?}: {broken:?}"
        );
    }
}
