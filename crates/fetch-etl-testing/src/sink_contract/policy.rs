//! The masking policy that a store holds its writers to.

use std::sync::Arc;

use async_trait::async_trait;
use fetch_etl_core::{
    Batch, ErrorClass, KeyId, MaskPolicy, PolicyInForce, PolicyStore, Sink, SinkCode, SinkError,
};
use tokio::sync::Notify;
use tokio::task::JoinSet;

use super::workbench::{Workbench, expect_report, unexpected};
use super::{QuarantineRow, RowOf, SinkHarness, Store};
use crate::contract::{Checked, assert_none, check, ensure};
use crate::{FakeMasker, Violation};

/// A sink that can be held to a policy.
pub trait PolicySink<R: Send + Sync + 'static>: Sink<R> + PolicyStore {}

impl<R: Send + Sync + 'static, T: Sink<R> + PolicyStore> PolicySink<R> for T {}

/// A store whose writers can be held to a policy.
#[async_trait]
pub trait PolicyStorage<R: Send + Sync + 'static>: Store<R> {
    /// A new sink on the storage, as another worker has one; it is held to nothing yet.
    async fn worker(&self) -> Arc<dyn PolicySink<R>>;
}

/// Runs the suite of [`PolicyStore`].
///
/// # Panics
/// When a rule is broken: the message lists every broken rule and what was seen instead.
pub async fn run_on_policies<H: SinkHarness>(harness: &H)
where
    H::Store: PolicyStorage<RowOf<H>>,
{
    assert_none("policy", &policy_violations(harness).await);
}

/// Runs the suite of [`PolicyStore`] and returns what is broken, for those who test the suite itself.
pub async fn policy_violations<H: SinkHarness>(h: &H) -> Vec<Violation>
where
    H::Store: PolicyStorage<RowOf<H>>,
{
    [
        check("a policy that was put in force is the one in force, for every worker", in_force(h)).await,
        check("a policy comes back as it was", as_it_was(h)).await,
        check("the version grows with every change", versions(h)).await,
        check("nothing is changed where another policy is in force", refused(h)).await,
        check("of several that are put in force at once, one is", at_once(h)).await,
        check("held to the policy in force, writes pass", held(h)).await,
        check("held to another policy, a write is a fatal error and nothing is stored", fence(h)).await,
        check("who is not held to a policy is not checked, whatever others are held to", unchecked(h)).await,
        check("when a change returns, writes under the old policy are finished", finished(h)).await,
        check("the key ids beside the stored rows are told, each once", key_ids(h)).await,
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn policy(methods: &str) -> MaskPolicy {
    MaskPolicy {
        methods: methods.to_owned(),
        key_id: FakeMasker::KEY_ID,
        key_check: "0a1b".to_owned(),
        domain: "default".to_owned(),
        canonical_version: 1,
    }
}

fn told(error: SinkError) -> String {
    format!("the policy store failed ({}): {error}", error.class())
}

async fn put(
    store: &dyn PolicyStore,
    policy: &MaskPolicy,
    replaces: Option<i64>,
) -> Result<Option<PolicyInForce>, String> {
    store.put_in_force(policy, replaces).await.map_err(told)
}

/// Puts a policy in force where nothing may be in its way, and returns its version.
async fn put_anyway(
    store: &dyn PolicyStore,
    policy: &MaskPolicy,
    replaces: Option<i64>,
) -> Result<i64, String> {
    let put =
        put(store, policy, replaces).await?.ok_or("a policy was refused that nothing was in the way of")?;
    ensure(put.policy == *policy, || format!("{:?} was put in force instead of {policy:?}", put.policy))?;
    Ok(put.version)
}

async fn expect_in_force(store: &dyn PolicyStore, version: i64, policy: &MaskPolicy) -> Checked {
    let expected = Some(PolicyInForce { version, policy: policy.clone() });
    let found = store.policy_in_force().await.map_err(told)?;
    ensure(found == expected, || format!("in force is {found:?} instead of {expected:?}"))
}

fn expect_changed(error: &SinkError) -> Checked {
    ensure(error.class() == ErrorClass::Fatal && error.code() == Some(SinkCode::POLICY_CHANGED), || {
        format!("the error does not say that the policy was changed ({}): {error}", error.class())
    })
}

async fn in_force<H: SinkHarness>(h: &H) -> Checked
where
    H::Store: PolicyStorage<RowOf<H>>,
{
    let bench = Workbench::open(h).await;
    let (one, two) = (bench.store.worker().await, bench.store.worker().await);
    let found = one.policy_in_force().await.map_err(told)?;
    ensure(found.is_none(), || format!("{found:?} is in force, and nobody put it"))?;
    let version = put_anyway(&*one, &policy("first"), None).await?;
    for store in [&one, &two, &bench.store.worker().await] {
        expect_in_force(&**store, version, &policy("first")).await?;
    }
    let second = put_anyway(&*two, &policy("second"), Some(version)).await?;
    expect_in_force(&*one, second, &policy("second")).await
}

async fn as_it_was<H: SinkHarness>(h: &H) -> Checked
where
    H::Store: PolicyStorage<RowOf<H>>,
{
    let bench = Workbench::open(h).await;
    let store = bench.store.worker().await;
    let mut version = None;
    for (text, number) in [("", 0), ("a'b\"c\\d\n%{}", i32::MAX), ("ключ 用户 👩‍👧", i32::MIN), ("NULL", -1)]
    {
        let policy = MaskPolicy {
            methods: format!("methods {text}"),
            key_id: KeyId::new(number),
            key_check: text.to_owned(),
            domain: text.repeat(50),
            canonical_version: number,
        };
        let put = put_anyway(&*store, &policy, version).await?;
        expect_in_force(&*bench.store.worker().await, put, &policy).await?;
        version = Some(put);
    }
    Ok(())
}

async fn versions<H: SinkHarness>(h: &H) -> Checked
where
    H::Store: PolicyStorage<RowOf<H>>,
{
    let bench = Workbench::open(h).await;
    let store = bench.store.worker().await;
    let mut last = None;
    // Also back to what was in force before.
    for methods in ["first", "second", "first", "first"] {
        let version = put_anyway(&*store, &policy(methods), last).await?;
        ensure(last < Some(version), || format!("version {version} comes after {last:?}"))?;
        last = Some(version);
    }
    Ok(())
}

async fn refused<H: SinkHarness>(h: &H) -> Checked
where
    H::Store: PolicyStorage<RowOf<H>>,
{
    let bench = Workbench::open(h).await;
    let store = bench.store.worker().await;
    let refused = |replaces| {
        let store = &store;
        async move {
            let put = put(&**store, &policy("refused"), replaces).await?;
            ensure(put.is_none(), || format!("{put:?} was put in force in the place of {replaces:?}"))
        }
    };
    refused(Some(1)).await?;
    let found = store.policy_in_force().await.map_err(told)?;
    ensure(found.is_none(), || format!("{found:?} is in force, and was refused"))?;
    let first = put_anyway(&*store, &policy("first"), None).await?;
    let second = put_anyway(&*store, &policy("second"), Some(first)).await?;
    for replaces in [None, Some(first), Some(second + 1)] {
        refused(replaces).await?;
        expect_in_force(&*store, second, &policy("second")).await?;
    }
    Ok(())
}

async fn at_once<H: SinkHarness>(h: &H) -> Checked
where
    H::Store: PolicyStorage<RowOf<H>>,
{
    const WORKERS: usize = 8;
    let bench = Workbench::open(h).await;
    let store = bench.store.worker().await;
    let mut replaces = None;
    for round in 0..3 {
        let mut puts = JoinSet::new();
        for worker in 0..WORKERS {
            let store = bench.store.worker().await;
            let policy = policy(&format!("{round} of worker {worker}"));
            puts.spawn(async move { put_with_retries(&*store, &policy, replaces).await });
        }
        let mut put = Vec::new();
        while let Some(ended) = puts.join_next().await {
            put.extend(ended.map_err(|error| format!("a change did not end: {error}"))??);
        }
        let [PolicyInForce { version, policy }] = put.as_slice() else {
            return Err(format!("{} of {WORKERS} were put in force", put.len()));
        };
        expect_in_force(&*store, *version, policy).await?;
        replaces = Some(*version);
    }
    Ok(())
}

/// A store that others use just now may say so; it is asked again.
async fn put_with_retries(
    store: &dyn PolicyStore,
    policy: &MaskPolicy,
    replaces: Option<i64>,
) -> Result<Option<PolicyInForce>, String> {
    const TRIES: usize = 100;
    for _ in 1..TRIES {
        match store.put_in_force(policy, replaces).await {
            Err(error) if error.class() == ErrorClass::Retryable => tokio::task::yield_now().await,
            ended => return ended.map_err(told),
        }
    }
    put(store, policy, replaces).await
}

async fn held<H: SinkHarness>(h: &H) -> Checked
where
    H::Store: PolicyStorage<RowOf<H>>,
{
    let bench = Workbench::open(h).await;
    let worker = bench.store.worker().await;
    let version = put_anyway(&*worker, &policy("first"), None).await?;
    worker.hold_to(version);
    let batch = bench.batch([bench.goods(0..10), bench.bads(1)].concat());
    let report = worker.write(&batch).await.map_err(|error| unexpected(&error))?;
    expect_report(report, 10, 0, batch.rejects().len() as u64)?;
    let second = put_anyway(&*worker, &policy("second"), Some(version)).await?;
    worker.hold_to(second);
    let report = worker.write(&batch).await.map_err(|error| unexpected(&error))?;
    expect_report(report, 0, 10, batch.rejects().len() as u64)
}

async fn fence<H: SinkHarness>(h: &H) -> Checked
where
    H::Store: PolicyStorage<RowOf<H>>,
{
    let bench = Workbench::open(h).await;
    let (worker, other) = (bench.store.worker().await, bench.store.worker().await);
    // What the quarantine knows, and what it does not, may go different ways.
    let known = bench.bads(1);
    let rejected = bench.batch(known.clone());
    bench.write(&rejected).await?;
    let quarantine: Vec<_> = rejected.rejects().iter().map(QuarantineRow::from).collect();
    let mut messages = bench.goods(0..10);
    messages.extend(
        known
            .iter()
            .take(1)
            .map(|reject| super::workbench::Message { key: reject.key.clone(), ..bench.good(10) }),
    );
    let batches =
        [bench.batch(messages.clone()), bench.batch(bench.goods(20..30)), bench.batch(bench.bads(2))];

    // Held to something where nothing is in force, then to what was replaced.
    worker.hold_to(1_000_000);
    expect_fence(&bench, &*worker, &batches, &quarantine).await?;
    let first = put_anyway(&*other, &policy("first"), None).await?;
    worker.hold_to(first);
    let second = put_anyway(&*other, &policy("second"), Some(first)).await?;
    expect_fence(&bench, &*worker, &batches, &quarantine).await?;

    // Nor may the ledger know what was not stored.
    worker.hold_to(second);
    let report = worker.write(&bench.batch(messages)).await.map_err(|error| unexpected(&error))?;
    expect_report(report, 11, 0, 0)
}

async fn expect_fence<H: SinkHarness>(
    bench: &Workbench<H>,
    worker: &dyn PolicySink<RowOf<H>>,
    batches: &[Batch<RowOf<H>>],
    quarantine: &[QuarantineRow],
) -> Checked {
    for batch in batches {
        match worker.write(batch).await {
            Ok(report) => return Err(format!("a write under another policy went well: {report:?}")),
            Err(error) => expect_changed(&error)?,
        }
        bench.expect(vec![], quarantine.to_vec()).await?;
    }
    Ok(())
}

async fn unchecked<H: SinkHarness>(h: &H) -> Checked
where
    H::Store: PolicyStorage<RowOf<H>>,
{
    let bench = Workbench::open(h).await;
    let (held, free) = (bench.store.worker().await, bench.store.worker().await);
    held.hold_to(1_000_000);
    let write = |numbers| {
        let batch = bench.batch(bench.goods(numbers));
        let free = &free;
        async move { free.write(&batch).await.map_err(|error| unexpected(&error)) }
    };
    expect_report(write(0..5).await?, 5, 0, 0)?;
    put_anyway(&*free, &policy("first"), None).await?;
    expect_report(write(5..10).await?, 5, 0, 0)
}

async fn finished<H: SinkHarness>(h: &H) -> Checked
where
    H::Store: PolicyStorage<RowOf<H>>,
{
    const WRITERS: u64 = 4;
    const BATCHES: u64 = 25;
    const ROWS: u64 = 10;
    let bench = Workbench::open(h).await;
    let changer = bench.store.worker().await;
    let version = put_anyway(&*changer, &policy("first"), None).await?;
    let busy = Arc::new(Notify::new());
    let mut writers = JoinSet::new();
    for writer in 0..WRITERS {
        let worker = bench.store.worker().await;
        worker.hold_to(version);
        let batches: Vec<_> = (0..BATCHES)
            .map(|n| bench.batch(bench.goods((0..ROWS).map(|row| (n * WRITERS + writer) * ROWS + row))))
            .collect();
        let busy = Arc::clone(&busy);
        writers.spawn(async move { write_until_refused(&*worker, &batches, &busy).await });
    }
    busy.notified().await;
    let put = put_with_retries(&*changer, &policy("second"), Some(version)).await?;
    ensure(put.is_some(), || "the change was refused".to_owned())?;
    let stored = bench.store.stored().await.rows.len() as u64;
    let mut written = 0;
    while let Some(ended) = writers.join_next().await {
        written += ended.map_err(|error| format!("a writer did not end: {error}"))??;
    }
    let later = bench.store.stored().await.rows.len() as u64;
    ensure(later == stored, || format!("{} rows came after the change", later - stored))?;
    ensure(written == stored, || format!("{written} rows were reported and {stored} are stored"))
}

/// Writes batch by batch, and again from the first one, until the fence closes; returns how many rows it wrote.
async fn write_until_refused<R: Send + Sync + 'static>(
    worker: &dyn PolicySink<R>,
    batches: &[Batch<R>],
    busy: &Notify,
) -> Result<u64, String> {
    /// A store that never says no is given up after so many writes.
    const ENOUGH: usize = 1_000;
    let mut written = 0;
    for batch in batches.iter().cycle().take(ENOUGH) {
        loop {
            match worker.write(batch).await {
                Ok(report) => written += report.inserted,
                Err(error) if error.class() == ErrorClass::Retryable => {
                    tokio::task::yield_now().await;
                    continue;
                }
                Err(error) => return expect_changed(&error).map(|()| written),
            }
            break;
        }
        busy.notify_one();
        // What writes without ever waiting would leave nobody the time to change anything.
        tokio::task::yield_now().await;
    }
    Err("the policy was changed, and writes under the old one went on".to_owned())
}

async fn key_ids<H: SinkHarness>(h: &H) -> Checked
where
    H::Store: PolicyStorage<RowOf<H>>,
{
    let bench = Workbench::open(h).await;
    let store = bench.store.worker().await;
    for (written, expected) in [(0..0, vec![]), (0..50, vec![Some(FakeMasker::KEY_ID)])] {
        let batch = bench.batch(bench.goods(written));
        if !batch.is_empty() {
            bench.write(&batch).await?;
        }
        let found = store.key_ids_in_use().await.map_err(told)?;
        ensure(found == expected, || format!("the key ids are {found:?} instead of {expected:?}"))?;
    }
    Ok(())
}
