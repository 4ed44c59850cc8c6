use std::collections::BTreeSet;
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use fetch_etl_core::{ExtendOutcome, MessageSource};
use tokio::time::Instant;

use super::hands::{Seen, ack, collect, extend, nack, receive};
use super::{Queue, Setup, SourceHarness};
use crate::Violation;
use crate::contract::{Checked, check, ensure};

const SECOND: Duration = Duration::from_secs(1);
/// Longer than any check takes.
const LONG: Duration = Duration::from_secs(120);
/// A lease that a check waits out.
const SHORT: Duration = Duration::from_secs(2);

pub(super) async fn all<H: SourceHarness>(h: &H) -> Vec<Violation> {
    // Together, because most of them wait for leases to end.
    let checks: [Pin<Box<dyn Future<Output = Option<Violation>> + Send + '_>>; 15] = [
        Box::pin(check("every message is delivered, byte for byte", delivers_all(h))),
        Box::pin(check("a receive brings at most what it was asked for", respects_max(h))),
        Box::pin(check("a receive from an empty queue brings nothing and does not fail", empty_receive(h))),
        Box::pin(check("a waiting receive wakes when a message arrives", wakes(h))),
        Box::pin(check("a receive that is dropped loses no message", dropped_receive(h))),
        Box::pin(check("a received message is invisible while its lease lasts", hidden(h))),
        Box::pin(check("a message that is not acked comes back as the same one", comes_back(h))),
        Box::pin(check("an acked message never comes back", acked_for_good(h))),
        Box::pin(check("acking again is harmless", acked_again(h))),
        Box::pin(check("an extended lease lasts", extended(h))),
        Box::pin(check("the lease of an acked message is lost", extended_after_ack(h))),
        Box::pin(check("a message given back at once comes at once", nacked_now(h))),
        Box::pin(check("a message given back with a delay comes after it", nacked_later(h))),
        Box::pin(check("the limits are usable: full batches of each call", full_batches(h))),
        Box::pin(check("a receipt that a later delivery replaced does nothing", stale_receipt(h))),
    ];
    join_all(checks).await.into_iter().flatten().collect()
}

/// Runs futures together on this task.
async fn join_all<T>(
    futures: impl IntoIterator<Item = Pin<Box<dyn Future<Output = T> + Send + '_>>>,
) -> Vec<T> {
    let mut slots: Vec<_> = futures.into_iter().map(|future| (future, None)).collect();
    std::future::poll_fn(|cx| {
        for (future, slot) in slots.iter_mut().filter(|(_, slot)| slot.is_none()) {
            if let std::task::Poll::Ready(value) = future.as_mut().poll(cx) {
                *slot = Some(value);
            }
        }
        if slots.iter().all(|(_, slot)| slot.is_some()) {
            std::task::Poll::Ready(())
        } else {
            std::task::Poll::Pending
        }
    })
    .await;
    slots.into_iter().filter_map(|(_, slot)| slot).collect()
}

async fn queue_of<H: SourceHarness>(h: &H, lease: Duration, bodies: &[&str]) -> H::Queue {
    let queue = h.open(Setup { lease, wait: SECOND }).await;
    for body in bodies {
        queue.send(body).await;
    }
    queue
}

async fn expect_none(source: &dyn MessageSource, when: &str) -> Checked {
    let seen = receive(source, source.limits().max_receive).await?;
    ensure(seen.is_empty(), || format!("{} messages came {when}", seen.len()))
}

async fn expect_left(queue: &impl Queue, count: u64) -> Checked {
    let left = queue.left().await;
    ensure(left == count, || format!("the queue holds {left} messages instead of {count}"))
}

async fn delivers_all<H: SourceHarness>(h: &H) -> Checked {
    let mut bodies: Vec<String> = (0..25).map(|n| format!("{{\"n\":{n}}}")).collect();
    bodies.extend(
        ["\t\r\n \"<&>'", "пользователь 用户 👩‍👧 \u{e000}", " ", "{\"user_id\": \"\\u0000\"}"]
            .map(str::to_owned),
    );
    bodies.push("ä".repeat(50_000));
    let texts: Vec<_> = bodies.iter().map(String::as_str).collect();
    let queue = queue_of(h, LONG, &texts).await;
    let seen = collect(&*queue.source(), bodies.len()).await?;
    let found: BTreeSet<_> = seen.iter().map(|seen| seen.body.as_str()).collect();
    ensure(found == texts.iter().copied().collect(), || {
        "the bodies are not those that were sent".to_owned()
    })?;
    ensure(seen.iter().all(|seen| seen.attempt == 1), || {
        "the first delivery of a message does not count as attempt 1".to_owned()
    })
}

async fn respects_max<H: SourceHarness>(h: &H) -> Checked {
    let queue = queue_of(h, LONG, &["a"; 12]).await;
    let source = queue.source();
    let mut ids = BTreeSet::new();
    for max in [1, 2, source.limits().max_receive] {
        ids.extend(receive(&*source, max).await?.into_iter().map(|seen| seen.id));
    }
    ensure(!ids.is_empty(), || "nothing came of 12 messages".to_owned())
}

async fn empty_receive<H: SourceHarness>(h: &H) -> Checked {
    let queue = queue_of(h, LONG, &[]).await;
    expect_none(&*queue.source(), "out of an empty queue").await
}

async fn wakes<H: SourceHarness>(h: &H) -> Checked {
    const WAIT: Duration = Duration::from_secs(20);
    let queue = h.open(Setup { lease: LONG, wait: WAIT }).await;
    let (source, start) = (queue.source(), Instant::now());
    let send = async {
        queue.pass(Duration::from_millis(300)).await;
        queue.send("a").await;
    };
    let (seen, ()) = tokio::join!(receive(&*source, 1), send);
    let (seen, took) = (seen?.len(), start.elapsed());
    ensure(seen == 1 && took < WAIT / 2, || {
        format!("{seen} messages came after {took:?} of a wait of {WAIT:?}")
    })
}

async fn dropped_receive<H: SourceHarness>(h: &H) -> Checked {
    let queue = h.open(Setup { lease: SHORT, wait: 2 * SECOND }).await;
    let source = queue.source();
    tokio::select! {
        seen = receive(&*source, 1) => return ensure(seen?.is_empty(), || "an empty queue brought a message".to_owned()),
        () = queue.pass(SECOND / 2) => {}
    }
    queue.send("a").await;
    let seen = collect(&*source, 1).await?;
    ack(&*source, &seen).await?;
    expect_left(&queue, 0).await
}

async fn hidden<H: SourceHarness>(h: &H) -> Checked {
    let queue = queue_of(h, LONG, &["a", "b", "c"]).await;
    let source = queue.source();
    collect(&*source, 3).await?;
    expect_none(&*source, "although all are leased").await?;
    expect_left(&queue, 3).await
}

async fn comes_back<H: SourceHarness>(h: &H) -> Checked {
    let queue = queue_of(h, SHORT, &["a"]).await;
    let source = queue.source();
    let first = collect(&*source, 1).await?;
    queue.pass(SHORT).await;
    let again = collect(&*source, 1).await?;
    // Handles differ, or need not; everything else is the message's own.
    let expected: Vec<_> = first
        .into_iter()
        .zip(&again)
        .map(|(first, again)| Seen { attempt: first.attempt + 1, handle: again.handle.clone(), ..first })
        .collect();
    ensure(again == expected, || format!("{again:?} came instead of {expected:?}"))
}

async fn acked_for_good<H: SourceHarness>(h: &H) -> Checked {
    let queue = queue_of(h, SHORT, &["a", "b", "c"]).await;
    let source = queue.source();
    ack(&*source, &collect(&*source, 3).await?).await?;
    expect_left(&queue, 0).await?;
    queue.pass(SHORT + SECOND / 2).await;
    expect_none(&*source, "after all were acked").await
}

async fn acked_again<H: SourceHarness>(h: &H) -> Checked {
    let queue = queue_of(h, LONG, &["a", "b", "c", "d"]).await;
    let source = queue.source();
    let seen = collect(&*source, 4).await?;
    ack(&*source, &seen[..2]).await?;
    ack(&*source, &seen[..2]).await?;
    ack(&*source, &seen).await?;
    expect_left(&queue, 0).await
}

async fn extended<H: SourceHarness>(h: &H) -> Checked {
    let lease = 2 * SHORT;
    let queue = queue_of(h, lease, &["a", "b"]).await;
    let source = queue.source();
    let seen = collect(&*source, 2).await?;
    let outcomes = extend(&*source, &seen, LONG).await?;
    ensure(outcomes == [ExtendOutcome::Extended; 2], || format!("the outcomes are {outcomes:?}"))?;
    queue.pass(lease).await;
    expect_none(&*source, "although their leases were extended").await?;
    ack(&*source, &seen).await?;
    expect_left(&queue, 0).await
}

async fn extended_after_ack<H: SourceHarness>(h: &H) -> Checked {
    let queue = queue_of(h, LONG, &["a", "b"]).await;
    let source = queue.source();
    let seen = collect(&*source, 2).await?;
    ack(&*source, &seen[..1]).await?;
    let outcomes = extend(&*source, &seen, LONG).await?;
    ensure(outcomes == [ExtendOutcome::Lost, ExtendOutcome::Extended], || {
        format!("the outcomes for an acked message and one that is held are {outcomes:?}")
    })
}

async fn nacked_now<H: SourceHarness>(h: &H) -> Checked {
    let queue = queue_of(h, LONG, &["a", "b"]).await;
    let source = queue.source();
    nack(&*source, &collect(&*source, 2).await?, Duration::ZERO).await?;
    let again = collect(&*source, 2).await?;
    ensure(again.iter().all(|seen| seen.attempt == 2), || {
        "the redelivery does not count as attempt 2".to_owned()
    })
}

async fn nacked_later<H: SourceHarness>(h: &H) -> Checked {
    const DELAY: Duration = Duration::from_secs(4);
    let queue = queue_of(h, LONG, &["a"]).await;
    let source = queue.source();
    nack(&*source, &collect(&*source, 1).await?, DELAY).await?;
    let nacked_at = Instant::now();
    let early = receive(&*source, 1).await?;
    // On a machine that stood still for the whole delay it may come now.
    ensure(early.is_empty() || nacked_at.elapsed() >= DELAY, || {
        "it came before its delay had passed".to_owned()
    })?;
    queue.pass(DELAY.saturating_sub(nacked_at.elapsed())).await;
    if early.is_empty() { collect(&*source, 1).await.map(drop) } else { Ok(()) }
}

async fn full_batches<H: SourceHarness>(h: &H) -> Checked {
    let queue = h.open(Setup { lease: LONG, wait: SECOND }).await;
    let source = queue.source();
    let limits = source.limits();
    let batch = limits.max_batch.min(100);
    ensure(limits.max_receive > 0 && batch > 0, || format!("the limits are {limits:?}"))?;
    ensure(limits.lease == Some(LONG) || limits.lease.is_none(), || {
        format!("the limits state a lease of {:?} where it is {LONG:?}", limits.lease)
    })?;
    for _ in 0..2 * batch {
        queue.send("a").await;
    }
    let seen = collect(&*source, 2 * batch).await?;
    let outcomes = extend(&*source, &seen[..batch], LONG).await?;
    ensure(outcomes == vec![ExtendOutcome::Extended; batch], || format!("the outcomes are {outcomes:?}"))?;
    nack(&*source, &seen[..batch], Duration::ZERO).await?;
    ack(&*source, &seen[batch..]).await?;
    expect_left(&queue, batch as u64).await?;
    ack(&*source, &collect(&*source, batch).await?).await?;
    expect_left(&queue, 0).await
}

async fn stale_receipt<H: SourceHarness>(h: &H) -> Checked {
    let queue = queue_of(h, LONG, &["a"]).await;
    let source = queue.source();
    let stale = collect(&*source, 1).await?;
    nack(&*source, &stale, Duration::ZERO).await?;
    let fresh = collect(&*source, 1).await?;
    let outcome = extend(&*source, &stale, SECOND).await?;
    ensure(outcome == [ExtendOutcome::Lost], || format!("the outcome of extending with it is {outcome:?}"))?;
    nack(&*source, &stale, Duration::ZERO).await?;
    ack(&*source, &stale).await?;
    queue.pass(SECOND).await;
    expect_none(&*source, "while its newest receiver holds it").await?;
    ack(&*source, &fresh).await?;
    expect_left(&queue, 0).await?;
    ack(&*source, &stale).await
}
