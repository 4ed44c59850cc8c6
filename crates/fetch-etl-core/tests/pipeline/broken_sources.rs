//! What a pipeline does with a source that does not keep its contract.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use fetch_etl_core::login::LoginSchema;
use fetch_etl_core::pipeline::{Pipeline, PipelineConfig};
use fetch_etl_core::{
    AckFailure, Committed, Delivery, ExtendOutcome, Held, MessageKey, MessageSource, Returned, SourceError,
    SourceLimits,
};
use fetch_etl_testing::{FakeMasker, InMemorySink, InMemorySource};
use tokio_util::sync::CancellationToken;

use super::support::login;

/// Gives as many messages as it has, under ids of its own where it is told one.
struct Broken {
    inner: InMemorySource,
    id: Option<String>,
}

#[async_trait]
impl MessageSource for Broken {
    fn limits(&self) -> SourceLimits {
        self.inner.limits()
    }
    async fn receive(&self, max: usize) -> Result<Vec<Delivery>, SourceError> {
        let mut received = self.inner.receive(max).await?;
        match &self.id {
            Some(id) => received.iter_mut().for_each(|delivery| delivery.id = id.as_str().into()),
            None => received.extend(self.inner.receive(1).await?),
        }
        Ok(received)
    }
    async fn extend(&self, held: &[Held], lease: Duration) -> Result<Vec<ExtendOutcome>, SourceError> {
        self.inner.extend(held, lease).await
    }
    async fn ack(&self, committed: Vec<Committed>) -> Result<(), AckFailure> {
        self.inner.ack(committed).await
    }
    async fn nack(&self, returned: Vec<Returned>, delay: Duration) -> Result<(), SourceError> {
        self.inner.nack(returned, delay).await
    }
}

/// Why the pipeline ended, after it stored nothing and deleted nothing.
async fn cause(id: Option<&str>) -> String {
    let source = Arc::new(Broken { inner: InMemorySource::new(), id: id.map(str::to_owned) });
    (0..11).for_each(|n| drop(source.inner.send(login(n))));
    let sink = Arc::new(InMemorySink::new());
    let pipeline = Pipeline::new(
        PipelineConfig { max_receivers: 1, ..PipelineConfig::default() },
        source.clone(),
        LoginSchema,
        Arc::new(FakeMasker),
        sink.clone(),
    );
    let error = pipeline.run(CancellationToken::new()).await.unwrap_err();
    assert_eq!((error.summary.received, error.summary.unsettled()), (0, 0));
    assert_eq!((sink.len(), sink.quarantine().len(), source.inner.left()), (0, 0, 11));
    error.to_string()
}

#[tokio::test(start_paused = true)]
async fn more_messages_than_were_asked_for_end_the_pipeline() {
    assert_eq!(cause(None).await, "the source broke its contract: asked for 10 messages, it gave 11");
}

#[tokio::test(start_paused = true)]
async fn an_id_that_no_key_can_be_ends_the_pipeline_before_the_sink_sees_it() {
    let too_long = "i".repeat(MessageKey::MAX_CHARS + 1);
    for (id, problem) in [
        ("", "empty_field in message key"),
        ("id\0", "nul_character in message key"),
        (too_long.as_str(), "too_long in message key (length 129)"),
    ] {
        let expected = format!(
            "the source broke its contract: the id that it gave a message cannot be a key: {problem}"
        );
        assert_eq!(cause(Some(id)).await, expected);
    }
}
