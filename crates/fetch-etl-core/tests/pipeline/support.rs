//! A pipeline on parts in memory.

use std::sync::Arc;
use std::time::Duration;

use fetch_etl_core::login::{LoginRow, LoginSchema};
use fetch_etl_core::pipeline::{Observer, Pipeline, PipelineConfig, PipelineError, Stats, Summary};
use fetch_etl_core::{MessageKey, MessageSource, Pii, SealError, SealedBody, Sealer};
use fetch_etl_testing::{FakeMasker, InMemorySink, InMemorySource, SourceSettings};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// What a pipeline returned.
pub(crate) type Ended = Result<Summary, PipelineError>;

/// A source, a sink, and the pipelines between them.
pub(crate) struct Rig {
    pub(crate) source: Arc<InMemorySource>,
    pub(crate) sink: Arc<InMemorySink<LoginRow>>,
    config: PipelineConfig,
    sealer: Option<Arc<dyn Sealer>>,
    observer: Option<Arc<dyn Observer>>,
    stats: std::sync::Mutex<Option<Arc<Stats>>>,
}

impl Rig {
    pub(crate) fn new() -> Self {
        Self::with(PipelineConfig::default())
    }

    pub(crate) fn with(config: PipelineConfig) -> Self {
        Self {
            source: Arc::new(InMemorySource::new()),
            sink: Arc::new(InMemorySink::new()),
            config,
            sealer: None,
            observer: None,
            stats: std::sync::Mutex::default(),
        }
    }

    pub(crate) fn with_source(mut self, settings: SourceSettings) -> Self {
        self.source = Arc::new(InMemorySource::with(settings));
        self
    }

    pub(crate) fn with_wait(self, wait: Duration) -> Self {
        self.with_source(SourceSettings { wait, ..SourceSettings::default() })
    }

    pub(crate) fn with_sealer(mut self) -> Self {
        self.sealer = Some(Arc::new(LengthSealer));
        self
    }

    pub(crate) fn with_observer(mut self, observer: Arc<dyn Observer>) -> Self {
        self.observer = Some(observer);
        self
    }

    pub(crate) fn send_logins(&self, count: usize) {
        (0..count).for_each(|n| drop(self.source.send(login(n))));
    }

    /// Starts a pipeline; [`stats`](Self::stats) are its counters from now on.
    pub(crate) fn start(&self, stop: CancellationToken) -> JoinHandle<Ended> {
        self.spawn(self.config.clone(), stop)
    }

    pub(crate) fn start_until_empty(&self) -> JoinHandle<Ended> {
        self.spawn(PipelineConfig { until_empty: true, ..self.config.clone() }, CancellationToken::new())
    }

    pub(crate) async fn run_until_empty(&self) -> Ended {
        self.start_until_empty().await.expect("the pipeline itself does not panic")
    }

    fn spawn(&self, config: PipelineConfig, stop: CancellationToken) -> JoinHandle<Ended> {
        let (source, sink) = (self.source.clone(), self.sink.clone());
        let mut pipeline = Pipeline::new(config, source, LoginSchema, Arc::new(FakeMasker), sink);
        if let Some(sealer) = &self.sealer {
            pipeline = pipeline.with_sealer(sealer.clone());
        }
        if let Some(observer) = &self.observer {
            pipeline = pipeline.with_observer(observer.clone());
        }
        *self.stats.lock().unwrap() = Some(pipeline.stats());
        tokio::spawn(pipeline.run(stop))
    }

    pub(crate) fn stats(&self) -> Arc<Stats> {
        self.stats.lock().unwrap().clone().expect("a pipeline was started")
    }

    /// Waits until `count` messages are received and not settled: at most a minute of the paused clock.
    pub(crate) async fn wait_for_in_flight(&self, count: u64) {
        let waiting = async {
            while self.stats().in_flight() < count {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        let in_time = tokio::time::timeout(Duration::from_secs(60), waiting).await;
        assert!(in_time.is_ok(), "{} in flight, not {count}", self.stats().in_flight());
    }

    /// Messages that somebody holds, by the queue's own account.
    pub(crate) async fn invisible(&self) -> u64 {
        self.source.depth().await.unwrap().unwrap().in_flight
    }
}

/// A valid login; each `n` another one.
pub(crate) fn login(n: usize) -> String {
    format!(
        r#"{{"user_id":"u-{n}","app_version":"2.3.0","device_type":"ios","ip":"192.0.2.{}","locale":"US","device_id":"{n:09}"}}"#,
        n % 256
    )
}

/// Keeps nothing of a body but its length: enough where only the way of a sealed body matters.
struct LengthSealer;

impl Sealer for LengthSealer {
    fn seal(&self, _: &MessageKey, body: &Pii<[u8]>) -> Result<SealedBody, SealError> {
        Ok(SealedBody::new("test", body.expose().len().to_be_bytes().to_vec()))
    }
}
