//! How to test one's own pipeline with mocks: `cargo test -p fetch-etl-core --features mock --example swap_in_a_mock`.
//!
//! The feature `mock` brings mockall's mocks of every trait. They are for "what is called, and with what"; where a test needs
//! a queue or a store that *behaves*, the in-memory parts of `fetch-etl-testing` are shorter.

fn main() {
    // An example must have one; this one's substance are its tests.
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use fetch_etl_core::login::{LoginRow, LoginSchema};
    use fetch_etl_core::pipeline::{Pipeline, PipelineConfig, PipelineError, Summary};
    use fetch_etl_core::{
        ErrorClass, KeyId, MaskedValue, Masker, MockMasker, MockSink, Sink, SinkError, WriteReport,
    };
    use fetch_etl_testing::{FakeMasker, InMemorySource};
    use tokio_util::sync::CancellationToken;

    const LOGIN: &str = r#"{"user_id":"ada","app_version":"2.3.0","device_type":"ios","ip":"203.0.113.7","locale":"GB","device_id":"593-47-5928"}"#;

    async fn run(
        source: &Arc<InMemorySource>,
        masker: impl Masker + 'static,
        sink: impl Sink<LoginRow> + 'static,
    ) -> Result<Summary, PipelineError> {
        let config = PipelineConfig { until_empty: true, ..PipelineConfig::default() };
        let pipeline = Pipeline::new(config, source.clone(), LoginSchema, Arc::new(masker), Arc::new(sink));
        pipeline.run(CancellationToken::new()).await
    }

    #[tokio::test]
    async fn the_sink_gets_what_the_masker_made() {
        let source = Arc::new(InMemorySource::new());
        source.send(LOGIN);

        let mut masker = MockMasker::new();
        masker.expect_key_id().return_const(KeyId::new(7));
        masker
            .expect_mask()
            .withf(|field, value| (field, value.expose()) == ("ip", "203.0.113.7"))
            .times(1)
            .returning(|_, _| Some(MaskedValue::from_masked_text("ip-mask")));
        masker
            .expect_mask()
            .withf(|field, value| (field, value.expose()) == ("device_id", "593-47-5928"))
            .times(1)
            .returning(|_, _| Some(MaskedValue::from_masked_text("device-mask")));

        let mut sink = MockSink::<LoginRow>::new();
        sink.expect_write()
            .withf(|batch| {
                let [row] = batch.rows() else { return false };
                let mask = row.row().masked_ip.as_ref().map(MaskedValue::to_text);
                mask.as_deref() == Some("ip-mask") && row.row().mask_key_id == KeyId::new(7)
            })
            .times(1)
            .returning(|_| Ok(WriteReport { inserted: 1, ..WriteReport::default() }));

        let summary = run(&source, masker, sink).await.unwrap();
        assert_eq!((summary.inserted, summary.unsettled()), (1, 0));
        assert_eq!(source.left(), 0, "what is stored is deleted from the queue");
    }

    #[tokio::test]
    async fn a_fatal_error_of_the_sink_ends_the_pipeline_and_loses_nothing() {
        let source = Arc::new(InMemorySource::new());
        source.send(LOGIN);

        let mut sink = MockSink::<LoginRow>::new();
        sink.expect_write().times(1).returning(|_| Err(SinkError::new(ErrorClass::Fatal, "no such table")));

        let error = run(&source, FakeMasker, sink).await.unwrap_err();
        assert!(error.to_string().contains("no such table"), "{error}");
        assert_eq!((error.summary.inserted, error.summary.returned), (0, 1));
        assert_eq!(source.left(), 1, "what is not stored stays in the queue");
    }
}
