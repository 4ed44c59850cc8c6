//! The suite's own hands: what the pipeline does with deliveries, without a pipeline.
//!
//! Tokens for ack and nack come out of core's staging and writing only, so the suite stages with a schema that takes any
//! body and writes to a sink that stores nothing.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use fetch_etl_core::{
    Batch, Committed, Decoded, Delivery, EventSchema, ExtendOutcome, Held, Masker, MessageKey, MessageSource,
    Pii, Receipt, Reject, Returned, Sink, SinkError, SourceError, Staged, Stager, UnixMillis, WriteReport,
    write,
};

use crate::FakeMasker;

struct AnyBody;

impl EventSchema for AnyBody {
    type Row = ();
    fn decode_and_mask(&self, _: &Pii<[u8]>, _: &dyn Masker) -> Result<Decoded<()>, Reject> {
        Ok(Decoded { row: (), unknown_fields: 0, non_canonical: 0 })
    }
}

struct Nowhere;

#[async_trait]
impl Sink<()> for Nowhere {
    async fn write(&self, batch: &Batch<()>) -> Result<WriteReport, SinkError> {
        Ok(WriteReport { inserted: batch.rows().len() as u64, ..WriteReport::default() })
    }
}

/// What a delivery says, for comparing, and its receipt as text: a suite that checks for stale receipts must keep copies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Seen {
    pub(super) id: String,
    pub(super) attempt: u32,
    pub(super) sent_at: Option<UnixMillis>,
    pub(super) body: String,
    pub(super) handle: String,
}

impl From<Delivery> for Seen {
    fn from(delivery: Delivery) -> Self {
        Self {
            id: delivery.id.into(),
            attempt: delivery.attempt,
            sent_at: delivery.sent_at,
            body: String::from_utf8_lossy(delivery.body.expose()).into_owned(),
            handle: delivery.receipt.handle().to_owned(),
        }
    }
}

fn stage(seen: &[Seen]) -> Staged<()> {
    let again = |seen: &Seen| Delivery {
        id: seen.id.as_str().into(),
        key: None,
        attempt: seen.attempt,
        sent_at: seen.sent_at,
        trace: None,
        body: Pii::new(Vec::new()),
        receipt: Receipt::new(seen.handle.as_str()),
    };
    Stager::new(AnyBody, Arc::new(FakeMasker)).stage(seen.iter().map(again).collect())
}

async fn committed(seen: &[Seen]) -> Result<Vec<Committed>, String> {
    let settled = write(&Nowhere, stage(seen).batch).await.map_err(|failure| failure.to_string())?;
    Ok(settled.committed)
}

fn returned(seen: &[Seen]) -> Vec<Returned> {
    stage(seen).batch.into_returned()
}

fn held(seen: &[Seen]) -> Vec<Held> {
    stage(seen).held()
}

fn failed(operation: &str, error: &SourceError) -> String {
    format!("{operation} failed ({}): {error}", error.class())
}

/// One receive.
pub(super) async fn receive(source: &dyn MessageSource, max: usize) -> Result<Vec<Seen>, String> {
    let deliveries = source.receive(max).await.map_err(|error| failed("receive", &error))?;
    if deliveries.len() > max {
        return Err(format!("{} messages came where at most {max} were asked for", deliveries.len()));
    }
    let seen: Vec<_> = deliveries.into_iter().map(Seen::from).collect();
    if let Some(id) = seen.iter().map(|seen| &seen.id).find(|id| !can_be_key(id)) {
        return Err(format!("{id:?} is the id of a message, and cannot be its key"));
    }
    Ok(seen)
}

fn can_be_key(id: &str) -> bool {
    (1..=MessageKey::MAX_CHARS).contains(&id.chars().count()) && !id.contains('\0')
}

/// Receives until `count` different messages are there, through as many receives as that takes.
pub(super) async fn collect(source: &dyn MessageSource, count: usize) -> Result<Vec<Seen>, String> {
    const EMPTY_RECEIVES: usize = 5;
    let mut found = BTreeMap::new();
    let mut empty = 0;
    while found.len() < count && empty < EMPTY_RECEIVES {
        let more = receive(source, source.limits().max_receive).await?;
        empty = if more.is_empty() { empty + 1 } else { 0 };
        // At least once: of a message that comes twice the newest receipt counts.
        found.extend(more.into_iter().map(|seen| (seen.id.clone(), seen)));
    }
    if found.len() == count {
        Ok(found.into_values().collect())
    } else {
        Err(format!("{} messages came instead of {count}", found.len()))
    }
}

/// Acks in calls of the size that the source allows.
pub(super) async fn ack(source: &dyn MessageSource, seen: &[Seen]) -> Result<(), String> {
    for some in seen.chunks(source.limits().max_batch) {
        source.ack(committed(some).await?).await.map_err(|failure| {
            format!(
                "{}, {} of {} not acked",
                failed("ack", &failure.error),
                failure.unacked.len(),
                some.len()
            )
        })?;
    }
    Ok(())
}

/// Gives messages back in calls of the size that the source allows.
pub(super) async fn nack(source: &dyn MessageSource, seen: &[Seen], delay: Duration) -> Result<(), String> {
    for some in seen.chunks(source.limits().max_batch) {
        source.nack(returned(some), delay).await.map_err(|error| failed("nack", &error))?;
    }
    Ok(())
}

/// Extends in one call.
pub(super) async fn extend(
    source: &dyn MessageSource,
    seen: &[Seen],
    lease: Duration,
) -> Result<Vec<ExtendOutcome>, String> {
    let outcomes = source.extend(&held(seen), lease).await.map_err(|error| failed("extend", &error))?;
    if outcomes.len() == seen.len() {
        Ok(outcomes)
    } else {
        Err(format!("extend told {} outcomes for {} messages", outcomes.len(), seen.len()))
    }
}
