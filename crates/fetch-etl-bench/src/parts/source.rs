//! `limit.source` and `limit.source.lean`: receive and delete through the worker's own source, and nothing between.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use fetch_etl_core::{
    Batch, Decoded, EventSchema, KeyId, MaskedValue, Masker, MessageSource as _, Pii, Reject, Sink,
    SinkError, Stager, WriteReport, write,
};
use fetch_etl_sqs::{Queue, SqsConfig, SqsSource, Transport};
use futures_util::future::try_join_all;

use super::QueuePlace;
use crate::Result;
use crate::sqs::MOST;

/// As many as the worker has receivers by default.
const TASKS: usize = 16;

pub(super) async fn run(place: QueuePlace, by_sdk: bool) -> Result<()> {
    let config = SqsConfig {
        endpoint_url: Some(place.endpoint),
        wait_time: Duration::ZERO,
        transport: if by_sdk { Transport::Sdk } else { Transport::Lean },
        ..SqsConfig::new(Queue::Url(place.url))
    };
    let source = Arc::new(SqsSource::connect(config).await?);
    let tasks = (0..TASKS).map(|_| tokio::spawn(empty(source.clone())));
    for ended in try_join_all(tasks).await? {
        ended?;
    }
    Ok(())
}

/// Only what is written can be acked, so each receive goes through a stager that looks at nothing and a sink that keeps nothing.
async fn empty(source: Arc<SqsSource>) -> Result<()> {
    let stager = Stager::new(Unread, Arc::new(Nobody));
    loop {
        let deliveries = source.receive(MOST as usize).await?;
        if deliveries.is_empty() {
            return Ok(());
        }
        let settled =
            write(&Nowhere, stager.stage(deliveries).batch).await.map_err(|failure| failure.error)?;
        source.ack(settled.committed).await?;
    }
}

struct Unread;

impl EventSchema for Unread {
    type Row = ();

    fn decode_and_mask(
        &self,
        _body: &Pii<[u8]>,
        _masker: &dyn Masker,
    ) -> std::result::Result<Decoded<()>, Reject> {
        Ok(Decoded { row: (), unknown_fields: 0, non_canonical: 0 })
    }
}

/// Masks nothing, since nothing is read.
struct Nobody;

impl Masker for Nobody {
    fn mask(&self, _field: &str, _value: &Pii<str>) -> Option<MaskedValue> {
        None
    }

    fn key_id(&self) -> KeyId {
        KeyId::UNKEYED
    }
}

/// Keeps nothing, and says that it did.
pub(super) struct Nowhere;

#[async_trait]
impl<R: Send + Sync + 'static> Sink<R> for Nowhere {
    async fn write(&self, batch: &Batch<R>) -> std::result::Result<WriteReport, SinkError> {
        Ok(WriteReport {
            inserted: batch.rows().len() as u64,
            quarantined: batch.rejects().len() as u64,
            ..WriteReport::default()
        })
    }
}
