//! `core`: the pipeline between a source that has everything in memory and a sink that keeps nothing, with real decoding and a
//! masker that costs nothing. One thread.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use async_trait::async_trait;
use fetch_etl_core::login::LoginSchema;
use fetch_etl_core::pipeline::{Pipeline, PipelineConfig};
use fetch_etl_core::{
    AckFailure, Committed, Delivery, ExtendOutcome, Held, KeyId, MaskedValue, Masker, MessageSource, Pii,
    Receipt, Returned, SourceError, SourceLimits, UnixMillis,
};
use tokio_util::sync::CancellationToken;

use super::Stretch;
use super::source::Nowhere;
use crate::Result;
use crate::load::{Values, login};
use crate::sqs::MOST;

const BODIES: u64 = 1_000;

pub(super) async fn run(messages: u64) -> Result<()> {
    let bodies = (0..BODIES).map(|number| login(number, Values::New).into_bytes()).collect();
    let ids = (0..BODIES).map(|number| format!("{number:036}").into()).collect();
    let source = Arc::new(Supply { bodies, ids, messages, handed_out: AtomicU64::new(0) });
    let config = PipelineConfig { until_empty: true, ..PipelineConfig::default() };
    let pipeline = Pipeline::new(config, source, LoginSchema, Arc::new(Constant), Arc::new(Nowhere));
    let stretch = Stretch::begin()?;
    let summary = pipeline.run(CancellationToken::new()).await?;
    if summary.inserted != messages {
        return Err(format!("of {messages} messages it stored {}", summary.inserted).into());
    }
    stretch.end(messages)
}

/// Hands out so many messages, ten at a time, as SQS does.
struct Supply {
    bodies: Vec<Vec<u8>>,
    /// As long as SQS's. They come again, which nobody here looks at: making new ones would be measured, too.
    ids: Vec<Box<str>>,
    messages: u64,
    handed_out: AtomicU64,
}

impl Supply {
    fn delivery(&self, number: u64) -> Delivery {
        let nth = (number % BODIES) as usize;
        Delivery {
            id: self.ids[nth].clone(),
            key: None,
            attempt: 1,
            sent_at: Some(UnixMillis::new(1_800_000_000_000)),
            trace: None,
            body: Pii::new(self.bodies[nth].clone()),
            receipt: Receipt::new("a receipt as long as those of the local queue, more or less"),
        }
    }
}

#[async_trait]
impl MessageSource for Supply {
    fn limits(&self) -> SourceLimits {
        let most = MOST as usize;
        SourceLimits {
            max_receive: most,
            max_batch: most,
            lease: Some(Duration::from_secs(30)),
            max_hold: None,
        }
    }

    async fn receive(&self, max: usize) -> std::result::Result<Vec<Delivery>, SourceError> {
        // A source that never waits would starve the other tasks of its thread.
        tokio::task::yield_now().await;
        let first = self.handed_out.fetch_add(max as u64, Relaxed);
        let last = (first + max as u64).min(self.messages);
        Ok((first.min(last)..last).map(|number| self.delivery(number)).collect())
    }

    async fn extend(
        &self,
        held: &[Held],
        _lease: Duration,
    ) -> std::result::Result<Vec<ExtendOutcome>, SourceError> {
        Ok(vec![ExtendOutcome::Extended; held.len()])
    }

    async fn ack(&self, _committed: Vec<Committed>) -> std::result::Result<(), AckFailure> {
        Ok(())
    }

    async fn nack(&self, _returned: Vec<Returned>, _delay: Duration) -> std::result::Result<(), SourceError> {
        Ok(())
    }
}

/// The same mask for everything.
struct Constant;

impl Masker for Constant {
    fn mask(&self, _field: &str, _value: &Pii<str>) -> Option<MaskedValue> {
        Some(MaskedValue::from_digest([7; 64]))
    }

    fn key_id(&self) -> KeyId {
        KeyId::UNKEYED
    }
}
