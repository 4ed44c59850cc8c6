//! What an operator does with the quarantine that a sink fills.

use std::collections::BTreeSet;
use std::sync::Arc;

use async_trait::async_trait;
use fetch_etl_core::{
    KeyOrigin, MessageKey, Quarantine, QuarantineEntry, QuarantineFilter, QuarantineState, RejectReason,
    Sink, SinkError, UnixMillis,
};

use super::workbench::{Message, Workbench, expect_report, unexpected};
use super::{EventSource, RowOf, SinkHarness, Store};
use crate::Violation;
use crate::contract::{Checked, assert_none, check, ensure};

/// A store whose quarantine can be worked on.
#[async_trait]
pub trait QuarantineStore<R>: Store<R> {
    /// The quarantine that the sink under test fills.
    fn quarantine(&self) -> Arc<dyn Quarantine>;

    /// Another sink on the same storage, which writes replays: what it rejects is in no queue.
    async fn replaying(&self) -> Arc<dyn Sink<R>>;
}

/// Runs the suite of [`Quarantine`].
///
/// # Panics
/// When a rule is broken: the message lists every broken rule and what was seen instead.
pub async fn run_on_quarantine<H: SinkHarness>(harness: &H)
where
    H::Store: QuarantineStore<RowOf<H>>,
{
    let violations: Vec<Violation> = [
        check("an entry says what is known of its message", entries(harness)).await,
        check("a filter means what fits all of it", filters(harness)).await,
        check("sealed bodies come page by page, under the very key, for their recipient", pages(harness))
            .await,
        check("what is replayed keeps its entry and loses its body", replayed(harness)).await,
        check(
            "what is discarded keeps its entry and loses its body, and only what is open",
            discarded(harness),
        )
        .await,
        check("a replay opens nothing that was closed meanwhile; a delivery does", reopened(harness)).await,
        check("an entry whose message becomes a row is closed with it", closed_with_its_row(harness)).await,
        check("a message that did not become a row stays open", not_closed(harness)).await,
    ]
    .into_iter()
    .flatten()
    .collect();
    assert_none("quarantine", &violations);
}

const HOUR: i64 = 3_600_000;

fn in_hours(hours: i64) -> UnixMillis {
    UnixMillis::new(UnixMillis::now().get() + hours * HOUR)
}

fn any() -> QuarantineFilter {
    QuarantineFilter::default()
}

fn with_keys(keys: &[&str]) -> QuarantineFilter {
    QuarantineFilter { keys: keys.iter().map(|&key| key.to_owned()).collect(), ..any() }
}

fn told(error: SinkError) -> String {
    format!("the quarantine failed ({}): {error}", error.class())
}

/// Rejects with the keys r-0, r-1, …; the first two were sealed, and the first of them has a producer's key.
async fn fill<H: SinkHarness>(bench: &Workbench<H>) -> Result<Vec<Message>, String> {
    let mut messages = bench.bads(3);
    if let Some(first) = messages.first_mut() {
        first.origin = KeyOrigin::Attribute;
    }
    let (sealed, unsealed) = messages.split_at(2);
    for batch in [bench.sealed_batch(sealed.to_vec()), bench.batch(unsealed.to_vec())] {
        let rejects = batch.rejects().len() as u64;
        expect_report(bench.write(&batch).await?, 0, 0, rejects)?;
    }
    Ok(messages)
}

async fn only(quarantine: &dyn Quarantine, key: &str) -> Result<QuarantineEntry, String> {
    let mut entries = quarantine.list(&with_keys(&[key]), 10).await.map_err(told)?;
    match (entries.pop(), entries.len()) {
        (Some(entry), 0) => Ok(entry),
        (_, more) => Err(format!("{key} has {more} entries too many, or none")),
    }
}

async fn entries<H: SinkHarness>(h: &H) -> Checked
where
    H::Store: QuarantineStore<RowOf<H>>,
{
    let bench = Workbench::open(h).await;
    let messages = fill(&bench).await?;
    let batch = bench.batch(messages.clone());
    let quarantine = bench.store.quarantine();
    let all = quarantine.list(&any(), 1_000).await.map_err(told)?;
    ensure(all.len() == messages.len(), || format!("{} of {} entries", all.len(), messages.len()))?;
    ensure(all.is_sorted_by(|a, b| a.first_seen_at >= b.first_seen_at), || {
        "not the newest first".to_owned()
    })?;
    for (rejected, message) in batch.rejects().iter().zip(&messages) {
        let entry = only(&*quarantine, &message.key).await?;
        let reject = rejected.reject();
        let found = (
            (entry.by_producer, entry.reason.as_str(), entry.field.as_deref()),
            (entry.line.zip(entry.column_number), entry.length, entry.body_bytes, entry.receive_count),
            (entry.state.as_str(), entry.closed_at.is_some(), entry.closed_by.is_some()),
        );
        let position = reject.position.map(|(line, column)| (line.into(), column.into()));
        let expected = (
            (message.origin == KeyOrigin::Attribute, reject.reason.as_str(), reject.field.as_deref()),
            (position, reject.length.map(Into::into), rejected.body_bytes().into(), message.attempt.into()),
            ("open", false, false),
        );
        ensure(found == expected, || format!("an entry says {found:?} instead of {expected:?}"))?;
        for time in [&entry.sent_at, &entry.first_seen_at, &entry.last_seen_at] {
            ensure(time.len() == "2026-11-24T10:00:00.000Z".len() && time.ends_with('Z'), || time.clone())?;
        }
    }
    ensure(quarantine.list(&any(), 3).await.map_err(told)?.len() == 3, || {
        "the limit does not hold".to_owned()
    })
}

async fn filters<H: SinkHarness>(h: &H) -> Checked
where
    H::Store: QuarantineStore<RowOf<H>>,
{
    let bench = Workbench::open(h).await;
    let messages = fill(&bench).await?;
    let quarantine = bench.store.quarantine();
    let all = messages.len() as u64;
    let batch = bench.batch(messages);
    let reasons: BTreeSet<RejectReason> =
        batch.rejects().iter().map(|reject| reject.reject().reason).collect();
    for reason in RejectReason::ALL {
        let of = batch.rejects().iter().filter(|reject| reject.reject().reason == reason).count() as u64;
        expect_count(&*quarantine, &QuarantineFilter { reasons: vec![reason], ..any() }, of).await?;
    }
    let all_reasons = QuarantineFilter { reasons: reasons.into_iter().collect(), ..any() };
    let (since, until) = (
        |at| QuarantineFilter { since: Some(at), ..any() },
        |at| QuarantineFilter { until: Some(at), ..any() },
    );
    let states = |states: &[QuarantineState]| QuarantineFilter { states: states.to_vec(), ..any() };
    let (first, last) = (UnixMillis::new(i64::MIN), UnixMillis::new(i64::MAX));
    for (filter, expected) in [
        (any(), all),
        (all_reasons, all),
        (with_keys(&["r-0", "r-1", "no such key", "r-0"]), 2),
        (with_keys(&["R-0", "r-0 ", "r_0", "%"]), 0),
        (states(&[QuarantineState::Open]), all),
        (states(&[QuarantineState::Replayed, QuarantineState::Discarded]), 0),
        (states(&QuarantineState::ALL), all),
        (since(in_hours(-1)), all),
        (since(in_hours(1)), 0),
        (until(in_hours(1)), all),
        (until(in_hours(-1)), 0),
        // Whatever somebody asks for, it is no error.
        (since(first), all),
        (until(first), 0),
        (since(last), 0),
        (until(last), all),
        (QuarantineFilter { since: Some(in_hours(-1)), until: Some(in_hours(1)), ..with_keys(&["r-1"]) }, 1),
    ] {
        expect_count(&*quarantine, &filter, expected).await?;
    }
    let counted = quarantine.count(&any()).await.map_err(told)?;
    let by_recipient = [("suite".to_owned(), 2)];
    ensure(counted.without_body == all - 2 && counted.by_recipient == by_recipient, || format!("{counted:?}"))
}

async fn expect_count(quarantine: &dyn Quarantine, filter: &QuarantineFilter, expected: u64) -> Checked {
    let counted = quarantine.count(filter).await.map_err(told)?.messages;
    let listed = quarantine.list(filter, 1_000).await.map_err(told)?.len() as u64;
    ensure((counted, listed) == (expected, expected), || {
        format!("{filter:?} means {counted} by count and {listed} by list, instead of {expected}")
    })
}

async fn pages<H: SinkHarness>(h: &H) -> Checked
where
    H::Store: QuarantineStore<RowOf<H>>,
{
    let bench = Workbench::open(h).await;
    let bodies = bench.events.rejected_bodies();
    // In an order that is not that of their bytes, in most collations.
    let keys = ["b", "B", "a", "ä", "a b", "A", "'", "\u{10ffff}", "m\n"];
    let message = |((n, key), body): ((u64, &str), &String)| {
        let origin = if n % 2 == 0 { KeyOrigin::Attribute } else { KeyOrigin::MessageId };
        let sent_at = UnixMillis::new(bench.good(n).sent_at.get() - 7);
        Message { key: key.to_owned(), origin, body: body.clone(), attempt: 4, sent_at }
    };
    let batch = bench.sealed_batch((0..).zip(keys).zip(bodies.iter().cycle()).map(message));
    bench.write(&batch).await?;
    let quarantine = bench.store.quarantine();
    let mut found = Vec::new();
    let mut after = String::new();
    loop {
        let page = quarantine.sealed(&any(), "suite", &after, 2).await.map_err(told)?;
        ensure(page.len() <= 2, || format!("a page of {}", page.len()))?;
        let Some(last) = page.last() else { break };
        last.key.as_str().clone_into(&mut after);
        found.extend(page);
    }
    let expected = batch.rejects_by_key();
    ensure(found.len() == expected.len(), || format!("{} of {} bodies came", found.len(), expected.len()))?;
    for (found, expected) in found.iter().zip(expected) {
        let same_message = found.key == *expected.key()
            && found.sent_at == expected.sent_at()
            && found.attempt == 4
            && found.field.as_deref() == expected.reject().field.as_deref();
        ensure(same_message && Some(&found.body) == expected.sealed(), || {
            format!("{:?} of {:?} came instead of {:?}", found.key, found.sent_at, expected.sent_at())
        })?;
    }
    let others = quarantine.sealed(&any(), "another", "", 100).await.map_err(told)?;
    ensure(others.is_empty(), || format!("{} bodies came that another recipient opens", others.len()))
}

/// Checks that a message is closed, as this, and without a body.
async fn expect_closed(quarantine: &dyn Quarantine, key: &str, state: QuarantineState) -> Checked {
    let entry = only(quarantine, key).await?;
    let found = (entry.state.as_str(), entry.recipient_id.as_deref(), entry.closed_at.is_some());
    ensure(found == (state.as_str(), None, true), || format!("{key} is {found:?} instead of {state}"))
}

async fn replayed<H: SinkHarness>(h: &H) -> Checked
where
    H::Store: QuarantineStore<RowOf<H>>,
{
    let bench = Workbench::open(h).await;
    fill(&bench).await?;
    let quarantine = bench.store.quarantine();
    for expected in [2, 0] {
        let done = quarantine.mark_replayed(&["r-1", "no such key", "r-2"]).await.map_err(told)?;
        ensure(done == expected, || format!("{done} noted instead of {expected}"))?;
    }
    expect_closed(&*quarantine, "r-1", QuarantineState::Replayed).await?;
    expect_closed(&*quarantine, "r-2", QuarantineState::Replayed).await?;
    let left = quarantine.sealed(&any(), "suite", "", 10).await.map_err(told)?;
    let left: Vec<_> = left.iter().map(|message| message.key.clone()).collect();
    ensure(left == [MessageKey::new("r-0", KeyOrigin::Attribute)], || {
        format!("{} bodies are left", left.len())
    })?;
    ensure(only(&*quarantine, "r-0").await?.state == "open", || "another message was noted, too".to_owned())
}

async fn discarded<H: SinkHarness>(h: &H) -> Checked
where
    H::Store: QuarantineStore<RowOf<H>>,
{
    let bench = Workbench::open(h).await;
    let all = fill(&bench).await?.len() as u64;
    let quarantine = bench.store.quarantine();
    quarantine.mark_replayed(&["r-0"]).await.map_err(told)?;
    let mut left = all - 1;
    for (filter, limit) in [(with_keys(&["r-0", "r-1"]), 10), (any(), 1), (any(), 1_000), (any(), 1_000)] {
        let expected = if filter.keys.is_empty() { left.min(limit.into()) } else { 1 };
        let done = quarantine.discard(&filter, limit).await.map_err(told)?;
        ensure(done == expected, || format!("{done} discarded instead of {expected}"))?;
        left -= done;
    }
    expect_closed(&*quarantine, "r-0", QuarantineState::Replayed).await?;
    expect_closed(&*quarantine, "r-1", QuarantineState::Discarded).await
}

async fn reopened<H: SinkHarness>(h: &H) -> Checked
where
    H::Store: QuarantineStore<RowOf<H>>,
{
    let bench = Workbench::open(h).await;
    let messages = fill(&bench).await?;
    let (quarantine, replaying) = (bench.store.quarantine(), bench.store.replaying().await);
    quarantine.discard(&with_keys(&["r-0"]), 10).await.map_err(told)?;
    quarantine.mark_replayed(&["r-2"]).await.map_err(told)?;
    let again =
        bench.batch(messages.iter().take(3).cloned().map(|message| Message { attempt: 9, ..message }));
    let report = replaying.write(&again).await.map_err(|error| unexpected(&error))?;
    expect_report(report, 0, 0, 3)?;
    expect_closed(&*quarantine, "r-0", QuarantineState::Discarded).await?;
    expect_closed(&*quarantine, "r-2", QuarantineState::Replayed).await?;
    let open = only(&*quarantine, "r-1").await?;
    let found = (open.state.as_str(), open.receive_count, open.recipient_id.as_deref());
    ensure(found == ("open", 9, Some("suite")), || format!("what stayed open is {found:?}"))?;
    // What the queue delivers is there, and nobody has done anything about it.
    bench.write(&again).await?;
    let entry = only(&*quarantine, "r-0").await?;
    let found = (entry.state.as_str(), entry.closed_at.is_some(), entry.closed_by.is_some());
    ensure(found == ("open", false, false), || format!("what was delivered again is {found:?}"))
}

/// A good message that is delivered under the key of an entry.
fn mended<H: SinkHarness>(bench: &Workbench<H>, n: u64, entry: &Message) -> Message {
    Message { key: entry.key.clone(), origin: entry.origin, ..bench.good(n) }
}

/// Checks that an entry is open, with a body or without.
async fn expect_open(quarantine: &dyn Quarantine, key: &str, recipient: Option<&str>) -> Checked {
    let entry = only(quarantine, key).await?;
    let found = (entry.state.as_str(), entry.recipient_id.as_deref(), entry.closed_at.is_some());
    ensure(found == ("open", recipient, false), || format!("{key} is {found:?} instead of open"))
}

async fn closed_with_its_row<H: SinkHarness>(h: &H) -> Checked
where
    H::Store: QuarantineStore<RowOf<H>>,
{
    let bench = Workbench::open(h).await;
    let entries = fill(&bench).await?;
    let (quarantine, replaying) = (bench.store.quarantine(), bench.store.replaying().await);
    quarantine.discard(&with_keys(&["r-3"]), 10).await.map_err(told)?;
    // Sealed and not, under a producer's key and the queue's; r-3 was given up before.
    let messages = (0..4).zip(&entries).map(|(n, entry)| mended(&bench, n, entry));
    let batch = bench.batch(messages.collect::<Vec<_>>());
    expect_report(bench.write(&batch).await?, 4, 0, 0)?;
    for key in ["r-0", "r-1", "r-2"] {
        expect_closed(&*quarantine, key, QuarantineState::Replayed).await?;
    }
    expect_closed(&*quarantine, "r-3", QuarantineState::Discarded).await?;
    expect_count(&*quarantine, &open(), entries.len() as u64 - 4).await?;
    let again = quarantine.mark_replayed(&["r-0", "r-1", "r-2"]).await.map_err(told)?;
    ensure(again == 0, || format!("{again} were noted twice"))?;
    // Rejected although it is a row, and then known as the row that it is: by a worker, and by a replay.
    for sink in [bench.store.sink(), replaying] {
        bench.write(&bench.sealed_batch(entries.iter().take(1).cloned())).await?;
        expect_open(&*quarantine, "r-0", Some("suite")).await?;
        let known = bench.batch(entries.iter().take(1).map(|entry| mended(&bench, 0, entry)));
        let report = sink.write(&known).await.map_err(|error| unexpected(&error))?;
        expect_report(report, 0, 1, 0)?;
        expect_closed(&*quarantine, "r-0", QuarantineState::Replayed).await?;
    }
    Ok(())
}

async fn not_closed<H: SinkHarness>(h: &H) -> Checked
where
    H::Store: QuarantineStore<RowOf<H>>,
{
    let bench = Workbench::open(h).await;
    let entries = fill(&bench).await?;
    let quarantine = bench.store.quarantine();
    let all = entries.len() as u64;
    let [first, second, ..] = entries.as_slice() else { return Err("too few kinds of rejects".to_owned()) };
    // Refused with its whole batch.
    bench.store.refuse_key(&second.key).await;
    let refused = bench.batch([mended(&bench, 0, first), mended(&bench, 1, second)]);
    ensure(bench.store.sink().write(&refused).await.is_err(), || "the row was not refused".to_owned())?;
    bench.store.refuse_nothing().await;
    expect_open(&*quarantine, &first.key, Some("suite")).await?;
    // Two deliveries under one key, of which one is rejected: its body may be the only copy that is left. However often the
    // batch is written.
    for inserted in [1, 0] {
        let mut both = bench.batch([mended(&bench, 0, first)]);
        both.append(bench.sealed_batch([first.clone()]));
        expect_report(bench.write(&both).await?, inserted, 1 - inserted, 1)?;
        expect_open(&*quarantine, &first.key, Some("suite")).await?;
    }
    // Nobody's business.
    bench.write(&bench.batch(bench.goods(10..20))).await?;
    expect_count(&*quarantine, &open(), all).await
}

fn open() -> QuarantineFilter {
    QuarantineFilter { states: vec![QuarantineState::Open], ..any() }
}
