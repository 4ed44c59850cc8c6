//! Makes batches, and compares what is stored with what should be.

use std::sync::Arc;

use fetch_etl_core::{
    Batch, Delivery, ErrorClass, KeyOrigin, MessageKey, Pii, Receipt, SealError, SealedBody, Sealer, Sink,
    SinkError, Stager, UnixMillis, WriteReport,
};

use super::{Columns, EventSource, QuarantineRow, RowOf, SinkHarness, Store, Stored};
use crate::FakeMasker;
use crate::contract::{Checked, ensure};

const MILLIS_PER_DAY: i64 = 86_400_000;

/// A message for a batch.
#[derive(Clone)]
pub(super) struct Message {
    pub(super) key: String,
    pub(super) origin: KeyOrigin,
    pub(super) body: String,
    pub(super) attempt: u32,
    pub(super) sent_at: UnixMillis,
}

/// Seals nothing: what it makes is as long as a sealed body, different for each key, and has every byte in it.
struct FakeSealer;

impl Sealer for FakeSealer {
    fn seal(&self, key: &MessageKey, body: &Pii<[u8]>) -> Result<SealedBody, SealError> {
        let salt = key.as_str().bytes().fold(0, u8::wrapping_add);
        let length = body.expose().len().max(256) + 48;
        Ok(SealedBody::new("suite", (0..length).map(|n| salt.wrapping_add(n as u8)).collect()))
    }
}

/// A fresh store, and the means to fill it.
pub(super) struct Workbench<H: SinkHarness> {
    pub(super) store: H::Store,
    pub(super) events: H::Events,
    stager: Stager<<H::Events as EventSource>::Schema>,
    now: UnixMillis,
}

impl<H: SinkHarness> Workbench<H> {
    pub(super) async fn open(harness: &H) -> Self {
        let events = H::Events::default();
        let stager = Stager::new(events.schema(), Arc::new(FakeMasker));
        Self { store: harness.open().await, events, stager, now: UnixMillis::now() }
    }

    /// The n-th good message, with the key `m-n`; sent a minute apart, so that a day and its partition change among many.
    pub(super) fn good(&self, n: u64) -> Message {
        let minutes = i64::try_from(n).unwrap_or(0).rem_euclid(2 * 24 * 60);
        Message {
            key: format!("m-{n}"),
            origin: KeyOrigin::MessageId,
            body: self.events.body(n),
            attempt: 1,
            sent_at: UnixMillis::new(self.now.get() - minutes * 60_000),
        }
    }

    /// Messages that are rejected, with the keys `r-0`, `r-1`, …
    pub(super) fn bads(&self, attempt: u32) -> Vec<Message> {
        let bad = |(n, body)| Message {
            key: format!("r-{n}"),
            origin: KeyOrigin::MessageId,
            body,
            attempt,
            sent_at: self.now,
        };
        (0..).zip(self.events.rejected_bodies()).map(bad).collect()
    }

    pub(super) fn goods(&self, numbers: impl IntoIterator<Item = u64>) -> Vec<Message> {
        numbers.into_iter().map(|n| self.good(n)).collect()
    }

    pub(super) fn batch(&self, messages: impl IntoIterator<Item = Message>) -> Batch<RowOf<H>> {
        self.stage(&self.stager, messages)
    }

    /// A batch whose rejects carry their sealed bodies.
    pub(super) fn sealed_batch(&self, messages: impl IntoIterator<Item = Message>) -> Batch<RowOf<H>> {
        let stager =
            Stager::new(self.events.schema(), Arc::new(FakeMasker)).with_sealer(Some(Arc::new(FakeSealer)));
        self.stage(&stager, messages)
    }

    fn stage(
        &self,
        stager: &Stager<<H::Events as EventSource>::Schema>,
        messages: impl IntoIterator<Item = Message>,
    ) -> Batch<RowOf<H>> {
        let deliveries = messages.into_iter().map(|message| {
            let key = (message.origin == KeyOrigin::Attribute).then(|| message.key.clone().into());
            Delivery {
                id: message.key.into(),
                key,
                attempt: message.attempt,
                sent_at: Some(message.sent_at),
                trace: None,
                body: Pii::new(message.body.into_bytes()),
                receipt: Receipt::new(""),
            }
        });
        stager.stage(deliveries.collect()).batch
    }

    /// Writes good messages and expects it to go well.
    pub(super) async fn write(&self, batch: &Batch<RowOf<H>>) -> Result<WriteReport, String> {
        self.store.sink().write(batch).await.map_err(|error| unexpected(&error))
    }

    /// What the store must hold for these batches, each key once.
    pub(super) fn rows_of(&self, batch: &Batch<RowOf<H>>) -> Vec<Columns> {
        batch.rows().iter().map(|row| H::Events::columns(row.row(), row.key(), row.sent_at())).collect()
    }

    /// Checks that exactly these rows and quarantine rows are stored.
    pub(super) async fn expect(&self, rows: Vec<Columns>, quarantine: Vec<QuarantineRow>) -> Checked {
        let mut found = self.store.stored().await;
        let mut expected = Stored { rows, quarantine };
        for stored in [&mut found, &mut expected] {
            stored.rows.sort();
            stored.quarantine.sort_by(|a, b| a.key.cmp(&b.key));
        }
        ensure(found.rows.len() == expected.rows.len(), || {
            format!("{} rows are stored instead of {}", found.rows.len(), expected.rows.len())
        })?;
        for (found, expected) in found.rows.iter().zip(&expected.rows) {
            ensure(found == expected, || format!("a row is {found:?} instead of {expected:?}"))?;
        }
        ensure(found.quarantine == expected.quarantine, || {
            format!("the quarantine holds {:?} instead of {:?}", found.quarantine, expected.quarantine)
        })
    }
}

/// Checks a report.
pub(super) fn expect_report(found: WriteReport, inserted: u64, duplicates: u64, quarantined: u64) -> Checked {
    let expected = WriteReport { inserted, duplicates, quarantined, erased: 0 };
    ensure(found == expected, || format!("the report is {found:?} instead of {expected:?}"))
}

pub(super) fn unexpected(error: &SinkError) -> String {
    format!("the write failed ({}): {error}", error.class())
}

/// Writes as the pipeline does: again while the error says that it may pass.
pub(super) async fn write_with_retries<R: Send + Sync + 'static>(
    sink: &dyn Sink<R>,
    batch: &Batch<R>,
) -> Result<WriteReport, String> {
    const TRIES: usize = 100;
    let mut last = String::new();
    for _ in 0..TRIES {
        match sink.write(batch).await {
            Ok(report) => return Ok(report),
            Err(error) if error.class() == ErrorClass::Retryable => last = unexpected(&error),
            Err(error) => return Err(unexpected(&error)),
        }
        tokio::task::yield_now().await;
    }
    Err(format!("{last}, {TRIES} times in a row"))
}

/// The same instant on another day.
pub(super) fn days_later(sent_at: UnixMillis, days: i64) -> UnixMillis {
    UnixMillis::new(sent_at.get() + days * MILLIS_PER_DAY)
}
