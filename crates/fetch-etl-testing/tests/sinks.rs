use std::collections::{BTreeMap, HashSet};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use fetch_etl_core::login::LoginRow;
use fetch_etl_core::{Batch, ErrorClass, Sink, SinkError, WriteReport};
use fetch_etl_testing::sink_contract::{
    self, Columns, LoginEvents, QuarantineRow, SinkHarness, Store, Stored, login_columns,
};
use fetch_etl_testing::{InMemorySink, Violation};

struct InMemory(Arc<InMemorySink<LoginRow>>);

struct InMemoryHarness;

#[async_trait]
impl SinkHarness for InMemoryHarness {
    type Events = LoginEvents;
    type Store = InMemory;
    async fn open(&self) -> InMemory {
        InMemory(Arc::default())
    }
}

#[async_trait]
impl Store<LoginRow> for InMemory {
    fn sink(&self) -> Arc<dyn Sink<LoginRow>> {
        self.0.clone()
    }
    async fn reopened(&self) -> Arc<dyn Sink<LoginRow>> {
        self.0.clone()
    }
    async fn stored(&self) -> Stored {
        self.0.stored(login_columns)
    }
    async fn refuse_key(&self, key: &str) {
        self.0.refuse_key(key);
    }
    async fn refuse_nothing(&self) {
        self.0.refuse_nothing();
    }
}

#[tokio::test]
async fn the_in_memory_sink_keeps_the_contract() {
    sink_contract::run(&InMemoryHarness).await;
}

/// What a sink may do wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Flaw {
    None,
    ForgetsKeys,
    ForgetsKeysOnRestart,
    LedgerPerDay,
    KeysWithoutCase,
    StoresWhatComesBeforeTheBadRow,
    KeepsTheLedgerOfAFailedWrite,
    WritesRowByRow,
    LooksThenInserts,
    CallsAllInserted,
    CallsABadRowFatal,
    ShowsTheRowInItsError,
    ShowsTheMaskInItsError,
    DropsRejects,
    KeepsOldRejects,
    EmptyForNull,
    RefusesLargeBatches,
    LosesRejectsOfMixedBatches,
    DropsSealedBodies,
    TakesTheLastReject,
    TakesSealedBodiesAway,
    Hangs,
}

#[derive(Default)]
struct Disk {
    rows: Vec<Columns>,
    ledger: HashSet<String>,
    quarantine: BTreeMap<String, QuarantineRow>,
    refused: Option<String>,
}

/// A sink with one flaw.
struct Flawed {
    flaw: Flaw,
    disk: Arc<Mutex<Disk>>,
    lock: tokio::sync::Mutex<()>,
}

impl Flawed {
    fn on(disk: Arc<Mutex<Disk>>, flaw: Flaw) -> Arc<Self> {
        Arc::new(Self { flaw, disk, lock: tokio::sync::Mutex::new(()) })
    }

    fn known_as(&self, row: &fetch_etl_core::Masked<LoginRow>) -> String {
        let key = row.key().as_str();
        match self.flaw {
            Flaw::LedgerPerDay => format!("{key}/{}", row.sent_at().utc_day()),
            Flaw::KeysWithoutCase => key.to_lowercase(),
            _ => key.to_owned(),
        }
    }

    fn refuse(&self, batch: &Batch<LoginRow>) -> Option<SinkError> {
        let mut disk = self.disk.lock().unwrap();
        let bad = batch.rows().iter().position(|row| Some(row.key().as_str()) == disk.refused.as_deref())?;
        for row in &batch.rows()[..bad] {
            if self.flaw == Flaw::StoresWhatComesBeforeTheBadRow {
                disk.rows.push(login_columns(row.row(), row.key(), row.sent_at()));
            }
            if self.flaw == Flaw::KeepsTheLedgerOfAFailedWrite {
                disk.ledger.insert(self.known_as(row));
            }
        }
        let row = batch.rows()[bad].row();
        let class = if self.flaw == Flaw::CallsABadRowFatal { ErrorClass::Fatal } else { ErrorClass::BadRow };
        let text = match self.flaw {
            Flaw::ShowsTheRowInItsError => format!("cannot store {}", row.user_id),
            Flaw::ShowsTheMaskInItsError => {
                format!("cannot store {:?}", row.masked_device_id.as_ref().unwrap().to_text())
            }
            _ => "cannot store a row".to_owned(),
        };
        Some(SinkError::new(class, text))
    }

    async fn store_rows(&self, batch: &Batch<LoginRow>) -> WriteReport {
        let mut report = WriteReport::default();
        for row in batch.rows() {
            let known = self.disk.lock().unwrap().ledger.contains(&self.known_as(row));
            if matches!(self.flaw, Flaw::WritesRowByRow | Flaw::LooksThenInserts) {
                tokio::task::yield_now().await;
            }
            if known && self.flaw != Flaw::ForgetsKeys {
                report.duplicates += 1;
                continue;
            }
            let mut columns = login_columns(row.row(), row.key(), row.sent_at());
            if self.flaw == Flaw::EmptyForNull {
                columns.values_mut().for_each(|value| *value = Some(value.take().unwrap_or_default()));
            }
            let mut disk = self.disk.lock().unwrap();
            disk.ledger.insert(self.known_as(row));
            disk.rows.push(columns);
            report.inserted += 1;
        }
        report
    }

    fn store_rejects(&self, batch: &Batch<LoginRow>) {
        let mut disk = self.disk.lock().unwrap();
        let rejects = match self.flaw {
            Flaw::TakesTheLastReject => batch.rejects().iter().collect(),
            _ => batch.rejects_by_key(),
        };
        for reject in rejects {
            let mut row = QuarantineRow::from(reject);
            let kept = disk.quarantine.get(&row.key).and_then(|row| row.sealed.clone());
            if self.flaw != Flaw::TakesSealedBodiesAway {
                row.sealed = row.sealed.or(kept);
            }
            match self.flaw {
                Flaw::DropsRejects => {}
                Flaw::DropsSealedBodies => {
                    row.sealed = None;
                    disk.quarantine.insert(row.key.clone(), row);
                }
                Flaw::LosesRejectsOfMixedBatches if !batch.rows().is_empty() => {}
                Flaw::KeepsOldRejects => {
                    disk.quarantine.entry(row.key.clone()).or_insert(row);
                }
                _ => {
                    disk.quarantine.insert(row.key.clone(), row);
                }
            }
        }
    }
}

#[async_trait]
impl Sink<LoginRow> for Flawed {
    async fn write(&self, batch: &Batch<LoginRow>) -> Result<WriteReport, SinkError> {
        let _one_at_a_time = match self.flaw {
            Flaw::LooksThenInserts => None,
            _ => Some(self.lock.lock().await),
        };
        if self.flaw == Flaw::Hangs {
            std::future::pending::<()>().await;
        }
        if self.flaw == Flaw::RefusesLargeBatches && batch.len() > 1_000 {
            return Err(SinkError::new(ErrorClass::Fatal, "too many parameters"));
        }
        if let Some(error) = self.refuse(batch) {
            return Err(error);
        }
        let mut report = self.store_rows(batch).await;
        self.store_rejects(batch);
        report.quarantined = batch.rejects().len() as u64;
        if self.flaw == Flaw::CallsAllInserted {
            report = WriteReport { inserted: report.inserted + report.duplicates, duplicates: 0, ..report };
        }
        Ok(report)
    }
}

struct FlawedStore {
    flaw: Flaw,
    disk: Arc<Mutex<Disk>>,
    sink: Arc<Flawed>,
}

#[async_trait]
impl Store<LoginRow> for FlawedStore {
    fn sink(&self) -> Arc<dyn Sink<LoginRow>> {
        self.sink.clone()
    }
    async fn reopened(&self) -> Arc<dyn Sink<LoginRow>> {
        if self.flaw == Flaw::ForgetsKeysOnRestart {
            self.disk.lock().unwrap().ledger.clear();
        }
        Flawed::on(self.disk.clone(), self.flaw)
    }
    async fn stored(&self) -> Stored {
        let disk = self.disk.lock().unwrap();
        Stored { rows: disk.rows.clone(), quarantine: disk.quarantine.values().cloned().collect() }
    }
    async fn refuse_key(&self, key: &str) {
        self.disk.lock().unwrap().refused = Some(key.to_owned());
    }
    async fn refuse_nothing(&self) {
        self.disk.lock().unwrap().refused = None;
    }
}

struct FlawedHarness(Flaw);

#[async_trait]
impl SinkHarness for FlawedHarness {
    type Events = LoginEvents;
    type Store = FlawedStore;
    async fn open(&self) -> FlawedStore {
        let disk = Arc::default();
        FlawedStore { flaw: self.0, sink: Flawed::on(Arc::clone(&disk), self.0), disk }
    }
}

async fn broken_rules(flaw: Flaw) -> Vec<Violation> {
    sink_contract::violations(&FlawedHarness(flaw)).await
}

/// On the paused clock, so that the check which hangs is given up at once.
#[tokio::test(start_paused = true)]
async fn the_suite_finds_every_flaw() {
    for (flaw, rules) in [
        (
            Flaw::ForgetsKeys,
            &[
                "idempotent: a known key is not stored again",
                "idempotent: equal keys of one batch count once",
            ][..],
        ),
        (Flaw::ForgetsKeysOnRestart, &["durable: another sink on the same storage knows what is stored"][..]),
        (Flaw::LedgerPerDay, &["idempotent: a key sent again on another day is known"][..]),
        (Flaw::KeysWithoutCase, &["keys are compared exactly"][..]),
        (Flaw::StoresWhatComesBeforeTheBadRow, &["atomic: an error means that nothing is stored"][..]),
        (Flaw::KeepsTheLedgerOfAFailedWrite, &["atomic: an error means that nothing is stored"][..]),
        (Flaw::WritesRowByRow, &["atomic: a write that is dropped stores all or nothing"][..]),
        (Flaw::LooksThenInserts, &["idempotent: writes at the same time store each key once"][..]),
        (Flaw::CallsAllInserted, &["idempotent: a known key is not stored again"][..]),
        (Flaw::CallsABadRowFatal, &["classified: a row that the store refuses is a bad row"][..]),
        (Flaw::ShowsTheRowInItsError, &["an error shows no value of a row"][..]),
        (Flaw::ShowsTheMaskInItsError, &["an error shows no value of a row"][..]),
        (Flaw::DropsRejects, &["rejects are quarantined with what is known of them"][..]),
        (Flaw::KeepsOldRejects, &["a message rejected again is quarantined once"][..]),
        (Flaw::EmptyForNull, &["every column holds what the row holds"][..]),
        (Flaw::RefusesLargeBatches, &["a batch of 5,000 rows is written at once"][..]),
        (Flaw::LosesRejectsOfMixedBatches, &["rows and rejects are written together"][..]),
        (Flaw::DropsSealedBodies, &["a sealed body is kept with its reject, byte for byte"][..]),
        (Flaw::TakesTheLastReject, &["a sealed body is what counts, and is not taken away"][..]),
        (Flaw::TakesSealedBodiesAway, &["a sealed body is what counts, and is not taken away"][..]),
        (Flaw::Hangs, &["every column holds what the row holds"][..]),
    ] {
        let broken = broken_rules(flaw).await;
        for rule in rules {
            assert!(
                broken.iter().any(|violation| violation.rule == *rule),
                "{flaw:?} passed {rule:?}: {broken:?}"
            );
        }
    }
}

#[tokio::test]
async fn a_sink_without_a_flaw_passes() {
    assert_eq!(broken_rules(Flaw::None).await, []);
}

#[tokio::test]
#[should_panic(expected = "- atomic: an error means that nothing is stored: 10 rows are stored instead of 3")]
async fn what_is_broken_is_told_in_the_contracts_words() {
    sink_contract::run(&FlawedHarness(Flaw::StoresWhatComesBeforeTheBadRow)).await;
}
