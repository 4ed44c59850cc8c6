//! The suite of policies finds what it is there to find.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering::SeqCst};

use async_trait::async_trait;
use fetch_etl_core::login::LoginRow;
use fetch_etl_core::{
    Batch, ErrorClass, KeyId, MaskPolicy, PolicyInForce, PolicyStore, Sink, SinkCode, SinkError, WriteReport,
};
use fetch_etl_testing::sink_contract::{
    self, LoginEvents, PolicySink, PolicyStorage, SinkHarness, Store, Stored, login_columns,
};
use fetch_etl_testing::{FakeMasker, InMemorySink};
use tokio::sync::{Mutex, RwLock};

/// What a store of policies may do wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Flaw {
    None,
    EachWorkerForItself,
    ForgetsTheDomain,
    KeepsTheVersion,
    ReplacesAnything,
    LooksThenPuts,
    HoldsToNothing,
    FailsAfterAChangeEvenIfHeldToIt,
    StoresBeforeItLooks,
    CallsItRetryable,
    HoldsEverybody,
    LooksBeforeItWaits,
    TellsKeyIdsOfNothing,
}

/// What all workers share.
#[derive(Default)]
struct Disk {
    sink: InMemorySink<LoginRow>,
    // Writers hold it shared, and who changes the policy alone.
    in_force: RwLock<Option<PolicyInForce>>,
    changes: AtomicI64,
    held_by_any: AtomicI64,
    waits: AtomicI64,
}

struct Worker {
    flaw: Flaw,
    disk: Arc<Disk>,
    own: Mutex<Option<PolicyInForce>>,
    held_to: AtomicI64,
}

impl Worker {
    fn is_open(&self, in_force: Option<&PolicyInForce>) -> bool {
        let held_to = match self.flaw {
            Flaw::HoldsToNothing => 0,
            Flaw::HoldsEverybody => self.disk.held_by_any.load(SeqCst),
            _ => self.held_to.load(SeqCst),
        };
        let spoilt = self.flaw == Flaw::FailsAfterAChangeEvenIfHeldToIt && self.disk.changes.load(SeqCst) > 1;
        held_to == 0 || !spoilt && in_force.is_some_and(|policy| policy.version == held_to)
    }
}

#[async_trait]
impl Sink<LoginRow> for Worker {
    async fn write(&self, batch: &Batch<LoginRow>) -> Result<WriteReport, SinkError> {
        let lock = self.disk.in_force.read().await;
        let open = self.is_open(lock.as_ref());
        if self.flaw == Flaw::StoresBeforeItLooks {
            self.disk.sink.write(batch).await?;
        }
        if !open {
            let class =
                if self.flaw == Flaw::CallsItRetryable { ErrorClass::BadRow } else { ErrorClass::Fatal };
            return Err(SinkError::new(class, "changed").with_code(Some(SinkCode::POLICY_CHANGED)));
        }
        if self.flaw == Flaw::LooksBeforeItWaits {
            drop(lock);
            // Not all writers in step.
            for _ in 0..self.disk.waits.fetch_add(1, SeqCst) % 7 {
                tokio::task::yield_now().await;
            }
        }
        self.disk.sink.write(batch).await
    }
}

#[async_trait]
impl PolicyStore for Worker {
    async fn policy_in_force(&self) -> Result<Option<PolicyInForce>, SinkError> {
        if self.flaw == Flaw::EachWorkerForItself {
            return Ok(self.own.lock().await.clone());
        }
        Ok(self.disk.in_force.read().await.clone())
    }

    async fn put_in_force(
        &self,
        policy: &MaskPolicy,
        replaces: Option<i64>,
    ) -> Result<Option<PolicyInForce>, SinkError> {
        let current = |in_force: &Option<PolicyInForce>| in_force.as_ref().map(|policy| policy.version);
        let mut fits = current(&*self.disk.in_force.read().await) == replaces;
        if self.flaw == Flaw::LooksThenPuts {
            tokio::task::yield_now().await;
        }
        let mut in_force = self.disk.in_force.write().await;
        if self.flaw != Flaw::LooksThenPuts {
            fits = current(&in_force) == replaces || self.flaw == Flaw::ReplacesAnything;
        }
        if !fits {
            return Ok(None);
        }
        let grown = current(&in_force).unwrap_or(0) + 1;
        let version = if self.flaw == Flaw::KeepsTheVersion { 1 } else { grown };
        let put = PolicyInForce { version, policy: policy.clone() };
        let mut kept = put.clone();
        if self.flaw == Flaw::ForgetsTheDomain {
            kept.policy.domain = "default".to_owned();
        }
        *in_force = Some(kept.clone());
        *self.own.lock().await = Some(kept);
        self.disk.changes.fetch_add(1, SeqCst);
        Ok(Some(put))
    }

    async fn key_ids_in_use(&self) -> Result<Vec<Option<KeyId>>, SinkError> {
        let empty = self.disk.sink.is_empty() && self.flaw != Flaw::TellsKeyIdsOfNothing;
        Ok(if empty { vec![] } else { vec![Some(FakeMasker::KEY_ID)] })
    }

    fn hold_to(&self, version: i64) {
        self.held_to.store(version, SeqCst);
        self.disk.held_by_any.store(version, SeqCst);
    }
}

struct Storage {
    flaw: Flaw,
    disk: Arc<Disk>,
}

impl Storage {
    fn new_worker(&self) -> Arc<Worker> {
        let disk = Arc::clone(&self.disk);
        Arc::new(Worker { flaw: self.flaw, disk, own: Mutex::default(), held_to: AtomicI64::new(0) })
    }
}

#[async_trait]
impl Store<LoginRow> for Storage {
    fn sink(&self) -> Arc<dyn Sink<LoginRow>> {
        self.new_worker()
    }
    async fn reopened(&self) -> Arc<dyn Sink<LoginRow>> {
        self.new_worker()
    }
    async fn stored(&self) -> Stored {
        self.disk.sink.stored(login_columns)
    }
    async fn refuse_key(&self, key: &str) {
        self.disk.sink.refuse_key(key);
    }
    async fn refuse_nothing(&self) {
        self.disk.sink.refuse_nothing();
    }
}

#[async_trait]
impl PolicyStorage<LoginRow> for Storage {
    async fn worker(&self) -> Arc<dyn PolicySink<LoginRow>> {
        self.new_worker()
    }
}

struct Harness(Flaw);

#[async_trait]
impl SinkHarness for Harness {
    type Events = LoginEvents;
    type Store = Storage;
    async fn open(&self) -> Storage {
        Storage { flaw: self.0, disk: Arc::default() }
    }
}

#[tokio::test]
async fn a_store_without_a_flaw_passes() {
    sink_contract::run_on_policies(&Harness(Flaw::None)).await;
}

#[tokio::test]
async fn the_suite_finds_every_flaw() {
    const FENCE: &str = "held to another policy, a write is a fatal error and nothing is stored";
    for (flaw, rule) in [
        (Flaw::EachWorkerForItself, "a policy that was put in force is the one in force, for every worker"),
        (Flaw::ForgetsTheDomain, "a policy comes back as it was"),
        (Flaw::KeepsTheVersion, "the version grows with every change"),
        (Flaw::ReplacesAnything, "nothing is changed where another policy is in force"),
        (Flaw::LooksThenPuts, "of several that are put in force at once, one is"),
        (Flaw::FailsAfterAChangeEvenIfHeldToIt, "held to the policy in force, writes pass"),
        (Flaw::HoldsToNothing, FENCE),
        (Flaw::StoresBeforeItLooks, FENCE),
        (Flaw::CallsItRetryable, FENCE),
        (Flaw::HoldsEverybody, "who is not held to a policy is not checked, whatever others are held to"),
        (Flaw::LooksBeforeItWaits, "when a change returns, writes under the old policy are finished"),
        (Flaw::TellsKeyIdsOfNothing, "the key ids beside the stored rows are told, each once"),
    ] {
        let broken = sink_contract::policy_violations(&Harness(flaw)).await;
        assert!(
            broken.iter().any(|violation| violation.rule == rule),
            "{flaw:?} passed {rule:?}: {broken:?}"
        );
    }
}
