//! A pipeline on parts in memory, and a telemetry that watches it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use fetch_etl_core::login::{LoginRow, LoginSchema};
use fetch_etl_core::pipeline::{Pipeline, PipelineConfig, PipelineError, Stats, Summary};
use fetch_etl_telemetry::{About, Format, Telemetry};
use fetch_etl_testing::{FakeMasker, InMemorySink, InMemorySource};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

pub(crate) const ABOUT: About = About { version: "1.2.3", commit: "abcdef0", max_in_flight: 500 };

pub(crate) struct Rig {
    pub(crate) source: Arc<InMemorySource>,
    pub(crate) sink: Arc<InMemorySink<LoginRow>>,
    pub(crate) stats: Arc<Stats>,
    pub(crate) telemetry: Arc<Telemetry>,
    pub(crate) stop: CancellationToken,
}

impl Rig {
    pub(crate) fn new() -> Self {
        let (stats, stop) = (Arc::<Stats>::default(), CancellationToken::new());
        Self {
            source: Arc::new(InMemorySource::new()),
            sink: Arc::new(InMemorySink::new()),
            telemetry: Arc::new(Telemetry::new(stats.clone(), ABOUT, stop.clone())),
            stats,
            stop,
        }
    }

    /// All parts are in order, as far as somebody has to say so.
    pub(crate) fn in_order(self) -> Self {
        let health = self.telemetry.health();
        health.source_answers();
        health.sink_answers(true);
        health.policy_accepted(true);
        health.running();
        self
    }

    pub(crate) fn start(&self) -> JoinHandle<Result<Summary, PipelineError>> {
        let config = PipelineConfig { writers: 1, ..PipelineConfig::default() };
        let (source, sink) = (self.source.clone(), self.sink.clone());
        let pipeline = Pipeline::new(config, source, LoginSchema, Arc::new(FakeMasker), sink);
        tokio::spawn(pipeline.with_stats(self.stats.clone()).run(self.stop.clone()))
    }

    pub(crate) fn send(&self, bodies: &[&str]) {
        bodies.iter().for_each(|body| drop(self.source.send(*body)));
    }

    /// Waits until so many messages have their outcome.
    pub(crate) async fn settled(&self, count: u64) {
        while self.stats.received.get() < count || self.stats.in_flight() > 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    pub(crate) fn scrape(&self) -> Scrape {
        Scrape::of(&Format::Text.encode(self.telemetry.families()))
    }
}

/// The samples of an answer, by name and labels.
pub(crate) struct Scrape(pub(crate) BTreeMap<String, f64>);

impl Scrape {
    pub(crate) fn of(text: &str) -> Self {
        let sample = |line: &str| {
            let (name, value) = line.rsplit_once(' ').unwrap_or_else(|| panic!("{line}"));
            (name.to_owned(), value.parse().unwrap_or_else(|_| panic!("{line}")))
        };
        Self(text.lines().filter(|line| !line.starts_with('#')).map(sample).collect())
    }

    pub(crate) fn get(&self, sample: &str) -> f64 {
        *self.0.get(sample).unwrap_or_else(|| panic!("no {sample} in {:#?}", self.0))
    }
}

pub(crate) fn login(user: &str) -> String {
    format!(
        r#"{{"user_id":"{user}","app_version":"2.3.0","device_type":"ios","ip":"203.0.113.77","locale":"DE","device_id":"593-47-5928","extra":1}}"#
    )
}
