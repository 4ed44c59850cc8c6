use fetch_etl_core::{ErrorClass, KeyOrigin, SinkError};

use super::workbench::{Message, Workbench, days_later, expect_report, unexpected, write_with_retries};
use super::{EventSource, QuarantineRow, SinkHarness, Store};
use crate::Violation;
use crate::contract::{Checked, check, drop_after, ensure};

/// How many rows the largest batch of the suite has: what the pipeline's default writes at once.
const MANY: u64 = 5_000;

pub(super) async fn all<H: SinkHarness>(h: &H) -> Vec<Violation> {
    [
        check("every column holds what the row holds", columns(h)).await,
        check("keys are compared exactly", exact_keys(h)).await,
        check("a batch of 5,000 rows is written at once", large_batch(h)).await,
        check("durable: another sink on the same storage knows what is stored", durable(h)).await,
        check("idempotent: a known key is not stored again", known_keys(h)).await,
        check("idempotent: equal keys of one batch count once", equal_keys(h)).await,
        check("idempotent: a key sent again on another day is known", known_on_another_day(h)).await,
        check("idempotent: writes at the same time store each key once", concurrent(h)).await,
        check("atomic: an error means that nothing is stored", failed_write(h)).await,
        check("atomic: a write that is dropped stores all or nothing", dropped_write(h)).await,
        check("classified: a row that the store refuses is a bad row", refused_row(h)).await,
        check("an error shows no value of a row", silent_error(h)).await,
        check("rejects are quarantined with what is known of them", quarantine(h)).await,
        check("a message rejected again is quarantined once", quarantined_again(h)).await,
        check("a sealed body is kept with its reject, byte for byte", sealed(h)).await,
        check("a sealed body is what counts, and is not taken away", sealed_and_not(h)).await,
        check("rows and rejects are written together", together(h)).await,
    ]
    .into_iter()
    .flatten()
    .collect()
}

async fn columns<H: SinkHarness>(h: &H) -> Checked {
    let bench = Workbench::open(h).await;
    let batch = bench.batch(bench.goods(0..420));
    ensure(batch.rejects().is_empty(), || "the harness's events make rejects".to_owned())?;
    expect_report(bench.write(&batch).await?, 420, 0, 0)?;
    bench.expect(bench.rows_of(&batch), vec![]).await
}

async fn exact_keys<H: SinkHarness>(h: &H) -> Checked {
    let bench = Workbench::open(h).await;
    let longest = "ключ".repeat(32);
    let keys = [
        "a", "A", "a ", " a", "á", "a\u{301}", "a'b", "a\"b", "a\\b", "a%", "{a,b}", "NULL", "a\nb", &longest,
    ];
    let messages = (0..).zip(keys).map(|(n, key)| Message {
        key: key.to_owned(),
        origin: KeyOrigin::Attribute,
        ..bench.good(n)
    });
    let batch = bench.batch(messages);
    expect_report(bench.write(&batch).await?, keys.len() as u64, 0, 0)?;
    bench.expect(bench.rows_of(&batch), vec![]).await
}

async fn large_batch<H: SinkHarness>(h: &H) -> Checked {
    let bench = Workbench::open(h).await;
    let batch = bench.batch(bench.goods(0..MANY));
    expect_report(bench.write(&batch).await?, MANY, 0, 0)?;
    bench.expect(bench.rows_of(&batch), vec![]).await
}

async fn durable<H: SinkHarness>(h: &H) -> Checked {
    let bench = Workbench::open(h).await;
    let batch = bench.batch(bench.goods(0..10));
    expect_report(bench.write(&batch).await?, 10, 0, 0)?;
    let report = bench.store.reopened().await.write(&batch).await.map_err(|error| unexpected(&error))?;
    expect_report(report, 0, 10, 0)?;
    bench.expect(bench.rows_of(&batch), vec![]).await
}

async fn known_keys<H: SinkHarness>(h: &H) -> Checked {
    let bench = Workbench::open(h).await;
    expect_report(bench.write(&bench.batch(bench.goods(0..10))).await?, 10, 0, 0)?;
    expect_report(bench.write(&bench.batch(bench.goods(0..10))).await?, 0, 10, 0)?;
    expect_report(bench.write(&bench.batch(bench.goods(5..15))).await?, 5, 5, 0)?;
    bench.expect(bench.rows_of(&bench.batch(bench.goods(0..15))), vec![]).await
}

async fn equal_keys<H: SinkHarness>(h: &H) -> Checked {
    let bench = Workbench::open(h).await;
    let batch = bench.batch(bench.goods([0, 1, 0, 2, 1, 0]));
    expect_report(bench.write(&batch).await?, 3, 3, 0)?;
    bench.expect(bench.rows_of(&bench.batch(bench.goods(0..3))), vec![]).await
}

/// A producer that sends its event again, or a replay, makes a new message with a new time and the same key.
async fn known_on_another_day<H: SinkHarness>(h: &H) -> Checked {
    let bench = Workbench::open(h).await;
    let sent = |days| {
        let messages = bench.goods(0..10).into_iter().map(|message| Message {
            origin: KeyOrigin::Attribute,
            sent_at: days_later(message.sent_at, days),
            ..message
        });
        bench.batch(messages.collect::<Vec<_>>())
    };
    let first = sent(-3);
    expect_report(bench.write(&first).await?, 10, 0, 0)?;
    expect_report(bench.write(&sent(-1)).await?, 0, 10, 0)?;
    expect_report(bench.write(&sent(-4)).await?, 0, 10, 0)?;
    bench.expect(bench.rows_of(&first), vec![]).await
}

async fn concurrent<H: SinkHarness>(h: &H) -> Checked {
    const WRITERS: u64 = 8;
    const KEYS: u64 = 400;
    let bench = Workbench::open(h).await;
    let mut writes = tokio::task::JoinSet::new();
    for writer in 0..WRITERS {
        // Each has half of the keys, in an order of its own: a sink that takes locks as the rows come meets deadlocks here.
        let start = writer * KEYS / WRITERS;
        let mut messages = bench.goods((0..KEYS / 2).map(|n| (start + n) % KEYS));
        if writer % 2 == 1 {
            messages.reverse();
        }
        let (sink, batch) = (bench.store.sink(), bench.batch(messages));
        writes.spawn(async move { write_with_retries(&*sink, &batch).await });
    }
    let (mut inserted, mut duplicates) = (0, 0);
    while let Some(write) = writes.join_next().await {
        let report = write.map_err(|error| format!("a write did not end: {error}"))??;
        inserted += report.inserted;
        duplicates += report.duplicates;
    }
    bench.expect(bench.rows_of(&bench.batch(bench.goods(0..KEYS))), vec![]).await?;
    ensure(inserted == KEYS && duplicates == WRITERS * KEYS / 2 - KEYS, || {
        format!("{inserted} inserted and {duplicates} duplicates were reported for {KEYS} keys")
    })
}

/// Writes rows of which one is refused, and rejects; returns the error.
async fn write_a_refused_row<H: SinkHarness>(bench: &Workbench<H>) -> Result<SinkError, String> {
    bench.store.refuse_key("m-7").await;
    let messages = [bench.goods(0..10), bench.bads(1)].concat();
    match bench.store.sink().write(&bench.batch(messages)).await {
        Ok(report) => Err(format!("a batch with a refused row was written: {report:?}")),
        Err(error) => Ok(error),
    }
}

async fn failed_write<H: SinkHarness>(h: &H) -> Checked {
    let bench = Workbench::open(h).await;
    let known = bench.batch(bench.goods(100..103));
    bench.write(&known).await?;
    write_a_refused_row(&bench).await?;
    bench.expect(bench.rows_of(&known), vec![]).await?;
    // Nor may the ledger remember the keys: then their rows would never be stored.
    bench.store.refuse_nothing().await;
    let batch = bench.batch(bench.goods(0..10));
    expect_report(bench.write(&batch).await?, 10, 0, 0)?;
    bench.expect([bench.rows_of(&known), bench.rows_of(&batch)].concat(), vec![]).await
}

async fn dropped_write<H: SinkHarness>(h: &H) -> Checked {
    const ROWS: usize = 50;
    let bench = Workbench::open(h).await;
    let mut expected = Vec::new();
    for polls in 0..10_u64 {
        let first = polls * ROWS as u64;
        let batch = bench.batch(bench.goods(first..first + ROWS as u64));
        let sink = bench.store.sink();
        drop_after(usize::try_from(polls).unwrap_or(0), sink.write(&batch)).await;
        let more = bench.store.stored().await.rows.len() - expected.len();
        ensure(more == 0 || more == ROWS, || {
            format!("a write of {ROWS} rows that was dropped after {polls} polls stored {more} of them")
        })?;
        let report = write_with_retries(&*sink, &batch).await?;
        ensure(report.inserted + report.duplicates == ROWS as u64, || format!("the report is {report:?}"))?;
        expected.extend(bench.rows_of(&batch));
    }
    bench.expect(expected, vec![]).await
}

async fn refused_row<H: SinkHarness>(h: &H) -> Checked {
    let bench = Workbench::open(h).await;
    let error = write_a_refused_row(&bench).await?;
    ensure(error.class() == ErrorClass::BadRow, || format!("the class is {}: {error}", error.class()))?;
    let others = bench.batch(bench.goods((0..10).filter(|&n| n != 7)));
    expect_report(bench.write(&others).await?, 9, 0, 0)
}

async fn silent_error<H: SinkHarness>(h: &H) -> Checked {
    let bench = Workbench::open(h).await;
    let error = write_a_refused_row(&bench).await?;
    let shown = format!("{error} {error:?} {error:#?}");
    let source = std::error::Error::source(&error);
    let shown = format!("{shown} {:?}", source.map(ToString::to_string));
    let masks = bench.rows_of(&bench.batch([bench.good(7)]));
    let values = masks.iter().flat_map(|row| row.values()).flatten().filter(|value| value.len() > 5);
    let canary = bench.events.canary().to_owned();
    let leaks = values.chain([&canary]).filter(|value| shown.contains(*value)).count();
    ensure(leaks == 0, || format!("{leaks} values of the row stand in the error's text"))
}

async fn quarantine<H: SinkHarness>(h: &H) -> Checked {
    let bench = Workbench::open(h).await;
    let batch = bench.batch(bench.bads(3));
    ensure(batch.rows().is_empty() && !batch.is_empty(), || {
        "the harness's rejected bodies make rows".to_owned()
    })?;
    expect_report(bench.write(&batch).await?, 0, 0, batch.rejects().len() as u64)?;
    bench.expect(vec![], batch.rejects().iter().map(QuarantineRow::from).collect()).await
}

async fn quarantined_again<H: SinkHarness>(h: &H) -> Checked {
    let bench = Workbench::open(h).await;
    let count = bench.bads(1).len() as u64;
    expect_report(bench.write(&bench.batch(bench.bads(1))).await?, 0, 0, count)?;
    expect_report(bench.write(&bench.batch(bench.bads(2))).await?, 0, 0, count)?;
    // Both deliveries of a message may meet in one batch.
    let twice = bench.batch([bench.bads(3), bench.bads(4)].concat());
    expect_report(bench.write(&twice).await?, 0, 0, 2 * count)?;
    let newest = twice.rejects().iter().filter(|reject| reject.attempt() == 4).map(QuarantineRow::from);
    bench.expect(vec![], newest.collect()).await
}

async fn sealed<H: SinkHarness>(h: &H) -> Checked {
    let bench = Workbench::open(h).await;
    let unsealed = bench.batch(bench.bads(1));
    bench.write(&unsealed).await?;
    // A recipient was configured since: the message is about to be deleted, so its body must be here now.
    let sealed = bench.sealed_batch(bench.bads(2));
    expect_report(bench.write(&sealed).await?, 0, 0, sealed.rejects().len() as u64)?;
    bench.expect(vec![], sealed.rejects().iter().map(QuarantineRow::from).collect()).await
}

async fn sealed_and_not<H: SinkHarness>(h: &H) -> Checked {
    let bench = Workbench::open(h).await;
    // Of one message, one delivery could not be sealed, and that is the newest.
    let mut batch = bench.batch(bench.bads(4));
    batch.append(bench.sealed_batch(bench.bads(3)));
    batch.append(bench.sealed_batch(bench.bads(2)));
    let rejects = batch.rejects().len() as u64;
    expect_report(bench.write(&batch).await?, 0, 0, rejects)?;
    let third = bench.sealed_batch(bench.bads(3));
    let kept: Vec<_> = third.rejects().iter().map(QuarantineRow::from).collect();
    bench.expect(vec![], kept.clone()).await?;
    // Nor in a batch of its own does it take away what may be the only copy.
    let fifth = bench.batch(bench.bads(5));
    bench.write(&fifth).await?;
    let newest = fifth.rejects().iter().map(QuarantineRow::from);
    let expected = newest.zip(kept).map(|(newest, kept)| QuarantineRow { sealed: kept.sealed, ..newest });
    bench.expect(vec![], expected.collect()).await
}

async fn together<H: SinkHarness>(h: &H) -> Checked {
    let bench = Workbench::open(h).await;
    let batch = bench.batch([bench.goods(0..30), bench.bads(1)].concat());
    let quarantine: Vec<_> = batch.rejects().iter().map(QuarantineRow::from).collect();
    let rejects = quarantine.len() as u64;
    expect_report(bench.write(&batch).await?, 30, 0, rejects)?;
    bench.expect(bench.rows_of(&batch), quarantine.clone()).await?;
    expect_report(bench.write(&batch).await?, 0, 30, rejects)?;
    bench.expect(bench.rows_of(&batch), quarantine).await
}
